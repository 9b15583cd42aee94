#include "checks.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>

#include "ekd/error.hpp"
#include "ekd/exported_model.hpp"
#include "ekd/host_rows.hpp"
#include "ekd/structure_results.hpp"
#include "record.hpp"
#include "structures.hpp"

namespace bench {
namespace {

constexpr double kSkin = 0.7;  // Å, of the rows

// Allowed difference of a number, as a part of the largest of its kind or of one.
double tolerance(ekd::Precision precision) {
  return precision == ekd::Precision::kDouble ? 1e-10 : 1e-4;
}

// The largest difference as such a part; not a number where one of them is none.
class Differences {
 public:
  explicit Differences(Record& record) : record_(record) {}

  template <class Found, class Expected>
  void add(const std::string& name, const Found& found, const Expected& expected, std::size_t n) {
    double most = 1.0, off = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
      most = std::max(most, std::abs(expected[k]));
      const double difference = std::abs(found[k] - expected[k]);
      if (!(difference <= off)) off = difference;  // NaN stays
      if (std::isnan(off)) break;
    }
    record_.add(name, off / most);
    if (!(off / most <= largest_)) largest_ = std::isnan(off) ? off : off / most;
  }
  double largest() const { return largest_; }

 private:
  Record& record_;
  double largest_ = 0.0;
};

ekd::AtomGraph graph_of(const Structure& structure, const ekd::NeighborList& list, int n_threads) {
  ekd::AtomGraph graph;
  graph.n_atoms = graph.n_centers = graph.n_owned = structure.n_atoms();
  graph.species = structure.species.data();
  graph.n_pairs = static_cast<std::int64_t>(list.n_pairs());
  graph.offsets = list.center_offsets.data();
  graph.neighbors = list.neighbors().data();
  graph.pair_vectors = list.pair_vectors.data();
  graph.n_threads = n_threads;
  return graph;
}

void check_pairs(ekd::ExportedModel& model, const ekd::AtomGraph& graph,
                 const ekd::StructureResults& expected, Differences& off) {
  const ekd::StructureResults found = ekd::evaluate_structure(model, graph);
  off.add("energies", found.atomic_energies, expected.atomic_energies, graph.n_owned);
  off.add("forces", found.forces, expected.forces, 3 * graph.n_atoms);
  off.add("virial", found.virial, expected.virial, 9);
  off.add("forces_std", found.forces_std, expected.forces_std, expected.forces_std.size());
  off.add("uncertainty", found.uncertainty, expected.uncertainty, expected.uncertainty.size());
}

// Order of the six numbers of a virial in the nine of a matrix.
constexpr int kSix[6] = {0, 4, 8, 1, 2, 5};
// Of the nine of a centroid virial: xx, yy, zz, xy, xz, yz, yx, zx, zy.
constexpr int kNine[9] = {0, 4, 8, 1, 2, 5, 3, 6, 7};

bool check_rows(ekd::ExportedModel& model, const Structure& structure, int n_threads, int repeats,
                const ekd::StructureResults& expected, Differences& off) {
  const Supercell cell(structure, {1, 1, 1}, model.metadata().cutoff + kSkin, n_threads);
  std::vector<const int*> starts;
  const std::vector<int> rows = cell.rows(starts);
  ekd::HostRows host;
  host.n_atoms = cell.n_atoms();
  host.n_owned = cell.n_owned();
  host.species = cell.species().data();
  host.owners = cell.owners().data();
  host.counts = cell.counts().data();
  host.rows = starts.data();
  ekd::HostRowsEvaluator evaluator(model);
  evaluator.set_rows(host);
  ekd::HostRequest request;
  request.virial = request.atomic_virials = request.centroid_virials = true;
  request.uncertainty = model.metadata().uncertainty;
  ekd::NoExchange nothing;
  const ekd::HostResults found = evaluator.evaluate(cell.positions().data(), request, nothing);

  const auto n_owned = static_cast<std::size_t>(cell.n_owned());
  const auto n_atoms = static_cast<std::size_t>(cell.n_atoms());
  off.add("energies", found.energies, expected.atomic_energies, n_owned);
  off.add("forces", found.forces, expected.forces, 3 * n_owned);
  std::vector<double> six(6), of_atoms(6, 0.0), nine(9), of_centroids(9, 0.0);
  for (int c = 0; c < 6; ++c) six[c] = expected.virial[kSix[c]];
  for (int c = 0; c < 9; ++c) nine[c] = expected.virial[kNine[c]];
  for (std::size_t i = 0; i < n_atoms; ++i) {
    for (int c = 0; c < 6; ++c) of_atoms[c] += found.atomic_virials[6 * i + c];
    for (int c = 0; c < 9; ++c) of_centroids[c] += found.centroid_virials[9 * i + c];
  }
  off.add("virial", found.virial, six, 6);
  off.add("atomic_virials", of_atoms, six, 6);
  // Its sum is not symmetric by itself, only by what rotations leave alone.
  for (int c = 3; c < 6; ++c)
    of_centroids[c] = of_centroids[c + 3] = 0.5 * (of_centroids[c] + of_centroids[c + 3]);
  off.add("centroid_virials", of_centroids, nine, 9);
  off.add("uncertainty", found.uncertainty, expected.uncertainty, expected.uncertainty.size());

  // In a process of its own order of events: the same bits, whatever ran in between.
  bool same = true;
  for (int repeat = 1; repeat < repeats; ++repeat) {
    const ekd::HostResults& again = evaluator.evaluate(cell.positions().data(), request, nothing);
    same = same && again.energies == found.energies && again.forces == found.forces &&
           again.virial == found.virial;
  }
  return same;
}

}  // namespace

int check(const CheckPlan& plan) {
  int failed = 0;
  for (const std::string& model_path : plan.models) {
    for (const ekd::Precision precision : {ekd::Precision::kDouble, ekd::Precision::kSingle}) {
      ekd::ModelOptions on_host, on_device;
      on_host.precision = on_device.precision = precision;
      on_device.device = plan.device;
      ekd::ExportedModel host(model_path, on_host);
      ekd::ExportedModel device(model_path, on_device);
      for (const std::string& structure_path : plan.structures) {
        const Structure structure = read_structure(structure_path, host.metadata());
        const ekd::NeighborList list = structure.pairs(host.metadata().cutoff, plan.n_threads);
        const ekd::AtomGraph graph = graph_of(structure, list, plan.n_threads);
        const ekd::StructureResults expected = ekd::evaluate_structure(host, graph);
        for (const std::string way : {"rows", "pairs"}) {
          Record record("check");
          record.add("model", std::filesystem::path(model_path).stem().string())
              .add("structure", std::filesystem::path(structure_path).stem().string())
              .add("precision", precision == ekd::Precision::kDouble ? "float64" : "float32")
              .add("way", way)
              .add("atoms", structure.n_atoms());
          Differences off(record);
          bool same = true;
          std::string error;
          try {
            if (way == "rows")
              same = check_rows(device, structure, plan.n_threads, plan.repeats, expected, off);
            else
              check_pairs(device, graph, expected, off);
          } catch (const std::exception& failure) {
            error = failure.what();
          }
          const bool passed = error.empty() && same && off.largest() <= tolerance(precision);
          record.add("largest", off.largest()).add("allowed", tolerance(precision));
          if (way == "rows") record.add("same_bits", same);
          if (!error.empty()) record.add("error", error);
          record.add("passed", passed).print();
          if (!passed) ++failed;
        }
      }
    }
  }
  return failed;
}

}  // namespace bench
