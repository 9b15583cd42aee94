#include "evaluator.h"

#include <ATen/Parallel.h>

#include "ekd/exported_model.hpp"

namespace ekd {
namespace {

// Views of the caller's memory; nothing is copied.
torch::Tensor view(const std::int64_t* values, std::int64_t n) {
  return torch::from_blob(const_cast<std::int64_t*>(values), {n}, torch::kInt64);
}

torch::Tensor view(const double* values, std::int64_t n, std::int64_t width) {
  return torch::from_blob(const_cast<double*>(values), {n, width}, torch::kFloat64);
}

// Features travel as double, the type of LAMMPS's buffers, which holds float32 exactly.
class Exchange : public FeatureExchange {
 public:
  Exchange(std::int64_t n_owned, std::int64_t n_all, GhostCommunication& communication)
      : n_owned_(n_owned), n_all_(n_all), communication_(communication) {}

  torch::Tensor forward(const torch::Tensor& features) override {
    const std::int64_t width = features.size(1);
    rows_.resize(n_all_ * width);
    torch::Tensor rows = view(rows_.data(), n_all_, width);
    rows.narrow(0, 0, features.size(0)).copy_(features);
    communication_.copy_to_ghosts(rows_, static_cast<int>(width));
    return rows.to(features.options(), /*non_blocking=*/false, /*copy=*/true);
  }

  torch::Tensor reverse(const torch::Tensor& gradients) override {
    const std::int64_t width = gradients.size(1);
    rows_.resize(n_all_ * width);
    torch::Tensor rows = view(rows_.data(), n_all_, width);
    rows.copy_(gradients);
    communication_.add_from_ghosts(rows_, static_cast<int>(width));
    return rows.narrow(0, 0, n_owned_).to(gradients.options(), false, true);
  }

 private:
  std::int64_t n_owned_;
  std::int64_t n_all_;
  GhostCommunication& communication_;
  std::vector<double> rows_;
};

Precision precision_named(const std::string& name) {
  if (name == "single") return Precision::kSingle;
  return name == "double" ? Precision::kDouble : Precision::kModel;
}

}  // namespace

std::string default_device(int rank_on_computer) {
  if (!torch::cuda::is_available()) return "cpu";
  return "cuda:" + std::to_string(rank_on_computer % static_cast<int>(torch::cuda::device_count()));
}

struct Evaluator::Implementation {
  ExportedModel model;
  Evaluation mean;  // of the last evaluation: the caller looks into it
};

Evaluator::Evaluator(const std::string& path, const EvaluatorOptions& options) {
  // torch would otherwise take every core on every rank.
  at::set_num_threads(options.n_threads);
  implementation_.reset(
      new Implementation{ExportedModel(path, torch::Device(options.device),
                                       precision_named(options.precision), options.block),
                         {}});
  if (options.self_test) implementation_->model.self_test();
}

Evaluator::~Evaluator() = default;

const ModelMetadata& Evaluator::metadata() const { return implementation_->model.metadata(); }

Energies Evaluator::evaluate(const Neighborhood& atoms, GhostCommunication& communication,
                             const std::function<void(const Energies&)>& each_member) {
  const auto n_all = static_cast<std::int64_t>(atoms.species.size());
  AtomGraph graph;
  graph.species = view(atoms.species.data(), n_all);
  graph.centers = view(atoms.centers.data(), atoms.n_pairs);
  graph.neighbors = view(atoms.neighbors.data(), atoms.n_pairs);
  graph.pair_vectors = view(atoms.pair_vectors.data(), atoms.n_pairs, 3);
  graph.n_owned = atoms.n_owned;
  graph.n_centers = atoms.complete ? n_all : atoms.n_owned;
  graph.with_uncertainty = atoms.with_uncertainty;
  const auto plain = [](const Evaluation& found) {
    return Energies{
        found.atomic_energies.const_data_ptr<double>(),
        found.pair_gradients.const_data_ptr<double>(),
        found.uncertainty.defined() ? found.uncertainty.const_data_ptr<double>() : nullptr};
  };
  std::function<void(const Evaluation&)> each;
  if (each_member) each = [&](const Evaluation& found) { each_member(plain(found)); };
  NoExchange nothing;
  Exchange exchange(atoms.n_owned, n_all, communication);
  FeatureExchange& used = atoms.complete ? static_cast<FeatureExchange&>(nothing) : exchange;
  implementation_->mean = {};  // its memory serves what comes
  implementation_->mean = implementation_->model.evaluate(graph, used, each);
  return plain(implementation_->mean);
}

}  // namespace ekd
