#include "ekd/host_rows.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "../device/staging.hpp"
#include "ekd/device_rows.hpp"
#include "ekd/error.hpp"
#include "host_exchange.hpp"

namespace ekd {

struct HostRowsEvaluator::Parts {
  Parts(ExportedModel& the_model, std::shared_ptr<device::Device> the_device)
      : model(the_model),
        on(std::move(the_device)),
        staging(on),
        species(on),
        owners(on),
        counts(on),
        neighbors(on),
        positions(on),
        energies(on),
        forces(on),
        virial(on),
        atomic_virials(on),
        centroid_virials(on),
        uncertainty(on) {}

  ExportedModel& model;
  std::shared_ptr<device::Device> on;
  device::Staging staging;
  DeviceAtoms atoms;
  HostResults results, of_member;
  std::vector<double> exchanged;  // buffer of exchanged rows
  device::Array<int> species, owners, counts, neighbors;
  device::Array<double> positions, energies, forces, virial, atomic_virials, centroid_virials,
      uncertainty;
};

HostRowsEvaluator::HostRowsEvaluator(ExportedModel& model)
    : parts_(std::make_unique<Parts>(model, device::open_device(model.device(), model.process()))) {
}

HostRowsEvaluator::~HostRowsEvaluator() = default;

void HostRowsEvaluator::set_rows(const HostRows& rows) {
  Parts& p = *parts_;
  if (rows.n_atoms > std::numeric_limits<int>::max())
    throw Error("a process has too many atoms for a device: use more processes [EKD-DEVICE-012]");
  DeviceAtoms& atoms = p.atoms;
  atoms = {};
  atoms.n_atoms = static_cast<int>(rows.n_atoms);
  atoms.n_owned = atoms.n_centers = static_cast<int>(rows.n_owned);
  const auto send = [&p](device::Array<int>& to, const int* from, std::int64_t n) {
    int* const sent = to.reserve(n);
    p.staging.upload(sent, from, n);
    return sent;
  };
  atoms.species = send(p.species, rows.species, rows.n_atoms);
  if (rows.owners != nullptr) atoms.owners = send(p.owners, rows.owners, rows.n_atoms);
  atoms.counts = send(p.counts, rows.counts, rows.n_owned);
  for (std::int64_t i = 0; i < rows.n_owned; ++i)
    atoms.most_neighbors = std::max(atoms.most_neighbors, rows.counts[i]);
  // Stored by column, so that adjacent threads read adjacent numbers. The number of columns copied
  // at once is that of a row in a cache line, or as many as fit into 64 MiB.
  constexpr std::int64_t kLine = 16;
  constexpr std::int64_t kMostTogether = std::int64_t(16) << 20;
  const std::int64_t n = rows.n_owned;
  const std::int64_t together =
      std::clamp<std::int64_t>(kMostTogether / std::max<std::int64_t>(n, 1), 1, kLine);
  const auto size = static_cast<std::size_t>(n) * atoms.most_neighbors;
  int* const neighbors = p.neighbors.reserve(size);
  p.staging.upload(
      neighbors, size,
      [&](std::size_t start, std::size_t here, int* columns) {
        const std::int64_t first_column = static_cast<std::int64_t>(start) / n;
        const std::int64_t n_columns = static_cast<std::int64_t>(here) / n;
        for (std::int64_t first = 0; first < n; first += kLine)
          for (std::int64_t k = 0; k < n_columns; ++k)
            for (std::int64_t i = first; i < std::min(first + kLine, n); ++i)
              columns[k * n + i] =
                  first_column + k < rows.counts[i] ? rows.rows[i][first_column + k] : 0;
      },
      static_cast<std::size_t>(together * n));
  atoms.neighbors = neighbors;
  atoms.row_stride = 1;
  atoms.column_stride = n;
}

const HostResults& HostRowsEvaluator::evaluate(
    const double* positions, const HostRequest& request, GhostExchange& exchange,
    const std::function<void(const HostResults&)>& each_member) {
  Parts& p = *parts_;
  DeviceAtoms& atoms = p.atoms;
  const auto n_atoms = static_cast<std::size_t>(atoms.n_atoms);
  const auto n_owned = static_cast<std::size_t>(atoms.n_owned);
  double* const sent = p.positions.reserve(3 * n_atoms);
  p.staging.upload(sent, positions, 3 * n_atoms);
  atoms.positions = sent;
  HostExchange by_host(p.staging, exchange, atoms.n_atoms, atoms.n_owned, p.exchanged);
  const std::vector<DeviceRows*> members = p.model.on_device();

  DeviceResults results;
  results.scale = request.scale / static_cast<double>(members.size());
  results.virial = request.virial ? p.virial.reserve_cleared(6) : nullptr;
  results.atomic_virials =
      request.atomic_virials ? p.atomic_virials.reserve_cleared(6 * n_atoms) : nullptr;
  results.centroid_virials =
      request.centroid_virials ? p.centroid_virials.reserve_cleared(9 * n_atoms) : nullptr;
  results.uncertainty = request.uncertainty ? p.uncertainty.reserve_cleared(n_owned) : nullptr;
  const auto clear = [&] {
    results.energies = p.energies.reserve_cleared(n_owned);
    results.forces = p.forces.reserve_cleared(3 * n_atoms);
  };
  const auto fetch = [&](HostResults& to) {
    to.energies.resize(n_owned);
    to.forces.resize(3 * n_atoms);
    p.staging.download(to.energies.data(), p.energies.data(), n_owned);
    p.staging.download(to.forces.data(), p.forces.data(), 3 * n_atoms);
  };
  HostResults& found = p.results;
  if (!each_member) {
    clear();
    for (DeviceRows* const member : members) member->evaluate_rows(atoms, by_host, results);
    fetch(found);
  } else {
    found.energies.assign(n_owned, 0.0);
    found.forces.assign(3 * n_atoms, 0.0);
    const auto n_members = static_cast<double>(members.size());
    for (DeviceRows* const member : members) {
      clear();
      member->evaluate_rows(atoms, by_host, results);
      fetch(p.of_member);
      for (std::size_t k = 0; k < n_owned; ++k) found.energies[k] += p.of_member.energies[k];
      for (std::size_t k = 0; k < 3 * n_atoms; ++k) found.forces[k] += p.of_member.forces[k];
      for (double& energy : p.of_member.energies) energy *= n_members;
      for (double& force : p.of_member.forces) force *= n_members;
      each_member(p.of_member);
    }
  }
  const auto fetch_if = [&p](bool asked, std::vector<double>& to, const device::Array<double>& from,
                             std::size_t n) {
    to.resize(asked ? n : 0);
    if (asked) p.staging.download(to.data(), from.data(), n);
  };
  fetch_if(request.virial, found.virial, p.virial, 6);
  fetch_if(request.atomic_virials, found.atomic_virials, p.atomic_virials, 6 * n_atoms);
  fetch_if(request.centroid_virials, found.centroid_virials, p.centroid_virials, 9 * n_atoms);
  fetch_if(request.uncertainty, found.uncertainty, p.uncertainty, n_owned);
  return found;
}

}  // namespace ekd
