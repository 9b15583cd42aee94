#include "ekd/host_rows.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "../device/device.hpp"
#include "ekd/device_rows.hpp"
#include "ekd/error.hpp"
#include "host_exchange.hpp"

namespace ekd {

struct HostRowsEvaluator::Parts {
  Parts(ExportedModel& the_model, std::shared_ptr<device::Device> the_device)
      : model(the_model),
        on(std::move(the_device)),
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
  DeviceAtoms atoms;
  HostResults results, of_member;
  std::vector<int> columns;       // the list, one column after the other
  std::vector<double> exchanged;  // what passes through the host
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
    throw Error(
        "a process has more atoms than a device counts: use more processes [EKD-DEVICE-012]");
  DeviceAtoms& atoms = p.atoms;
  atoms = {};
  atoms.n_atoms = static_cast<int>(rows.n_atoms);
  atoms.n_owned = atoms.n_centers = static_cast<int>(rows.n_owned);
  atoms.species = p.species.set(rows.species, rows.n_atoms);
  if (rows.owners != nullptr) atoms.owners = p.owners.set(rows.owners, rows.n_atoms);
  atoms.counts = p.counts.set(rows.counts, rows.n_owned);
  for (std::int64_t i = 0; i < rows.n_owned; ++i)
    atoms.most_neighbors = std::max(atoms.most_neighbors, rows.counts[i]);
  // Column by column, so that threads side by side read numbers side by side. Atoms are taken
  // together that share a line of the cache.
  constexpr std::int64_t kLine = 16;
  const std::int64_t n = rows.n_owned;
  p.columns.resize(static_cast<std::size_t>(n) * atoms.most_neighbors);
  for (std::int64_t first = 0; first < n; first += kLine)
    for (int k = 0; k < atoms.most_neighbors; ++k)
      for (std::int64_t i = first; i < std::min(first + kLine, n); ++i)
        p.columns[k * n + i] = k < rows.counts[i] ? rows.rows[i][k] : 0;
  atoms.neighbors = p.neighbors.set(p.columns.data(), p.columns.size());
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
  atoms.positions = p.positions.set(positions, 3 * n_atoms);
  HostExchange by_host(*p.on, exchange, atoms.n_atoms, p.exchanged);
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
    p.energies.get(to.energies.data(), n_owned);
    p.forces.get(to.forces.data(), 3 * n_atoms);
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
  const auto fetch_if = [](bool asked, std::vector<double>& to, const device::Array<double>& from,
                           std::size_t n) {
    to.resize(asked ? n : 0);
    if (asked) from.get(to.data(), n);
  };
  fetch_if(request.virial, found.virial, p.virial, 6);
  fetch_if(request.atomic_virials, found.atomic_virials, p.atomic_virials, 6 * n_atoms);
  fetch_if(request.centroid_virials, found.centroid_virials, p.centroid_virials, 9 * n_atoms);
  fetch_if(request.uncertainty, found.uncertainty, p.uncertainty, n_owned);
  return found;
}

}  // namespace ekd
