#include "ekd/structure_results.hpp"

#include <numeric>

#include "ekd/forces.hpp"

namespace ekd {
namespace {

double sum(const Buffer<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

StructureResults evaluate_structure(ExportedModel& model, AtomGraph graph,
                                    const WantedResults& wanted) {
  graph.with_uncertainty = wanted.uncertainty;
  StructureResults results;
  std::vector<Buffer<double>> member_forces;
  std::function<void(const Evaluation&)> each_member;
  if (wanted.spread && model.metadata().n_members > 1)
    each_member = [&](const Evaluation& found) {
      results.member_energies.push_back(sum(found.atomic_energies));
      member_forces.push_back(forces(graph, found.pair_gradients.data()));
    };
  NoExchange nothing;
  Evaluation mean = model.evaluate(graph, nothing, each_member);
  results.forces = forces(graph, mean.pair_gradients.data());
  results.virial = virial(graph, mean.pair_gradients.data());
  results.atomic_energies = std::move(mean.atomic_energies);
  results.pair_gradients = std::move(mean.pair_gradients);
  results.uncertainty = std::move(mean.uncertainty);
  if (member_forces.empty())
    results.member_energies.push_back(sum(results.atomic_energies));
  else
    results.forces_std = forces_spread(member_forces, results.forces);
  return results;
}

}  // namespace ekd
