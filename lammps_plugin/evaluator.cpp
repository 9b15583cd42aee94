#include "evaluator.h"

#include <ATen/Parallel.h>

#include "ekd/exported_model.hpp"

namespace ekd {
namespace {

// Views of the caller's memory; nothing is copied.
torch::Tensor view(const std::vector<std::int64_t>& values) {
  return torch::from_blob(const_cast<std::int64_t*>(values.data()),
                          {static_cast<std::int64_t>(values.size())}, torch::kInt64);
}

torch::Tensor view(const std::vector<double>& values, std::int64_t width) {
  return torch::from_blob(const_cast<double*>(values.data()),
                          {static_cast<std::int64_t>(values.size()) / width, width},
                          torch::kFloat64);
}

std::vector<double> to_vector(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.to(torch::kCPU, torch::kFloat64).contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

Energies to_plain(const Evaluation& found) {
  return {to_vector(found.atomic_energies), to_vector(found.pair_gradients)};
}

// Features travel as double, the type of LAMMPS's buffers, which holds float32 exactly.
class Exchange : public FeatureExchange {
 public:
  Exchange(std::int64_t n_owned, std::int64_t n_all, GhostCommunication& communication)
      : n_owned_(n_owned), n_all_(n_all), communication_(communication) {}

  torch::Tensor forward(const torch::Tensor& features) override {
    const std::int64_t width = features.size(1);
    std::vector<double> rows = to_vector(features);
    rows.resize(n_all_ * width);
    communication_.copy_to_ghosts(rows, static_cast<int>(width));
    return view(rows, width).to(features.options(), /*non_blocking=*/false, /*copy=*/true);
  }

  torch::Tensor reverse(const torch::Tensor& gradients) override {
    const std::int64_t width = gradients.size(1);
    std::vector<double> rows = to_vector(gradients);
    communication_.add_from_ghosts(rows, static_cast<int>(width));
    return view(rows, width).narrow(0, 0, n_owned_).to(gradients.options(), false, true);
  }

 private:
  std::int64_t n_owned_;
  std::int64_t n_all_;
  GhostCommunication& communication_;
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
};

Evaluator::Evaluator(const std::string& path, const EvaluatorOptions& options) {
  // torch would otherwise take every core on every rank.
  at::set_num_threads(options.n_threads);
  implementation_.reset(new Implementation{ExportedModel(
      path, torch::Device(options.device), precision_named(options.precision), options.block)});
  if (options.self_test) implementation_->model.self_test();
}

Evaluator::~Evaluator() = default;

const ModelMetadata& Evaluator::metadata() const { return implementation_->model.metadata(); }

Energies Evaluator::evaluate(const Neighborhood& atoms, GhostCommunication& communication,
                             const std::function<void(const Energies&)>& each_member) {
  AtomGraph graph;
  graph.species = view(atoms.species);
  graph.pairs = torch::stack({view(atoms.centers), view(atoms.neighbors)});
  graph.pair_vectors = view(atoms.pair_vectors, 3);
  graph.n_owned = atoms.n_owned;
  const std::int64_t n_all = graph.species.size(0);
  graph.n_centers = atoms.complete ? n_all : atoms.n_owned;
  std::function<void(const Evaluation&)> each;
  if (each_member) each = [&](const Evaluation& found) { each_member(to_plain(found)); };
  NoExchange nothing;
  Exchange exchange(atoms.n_owned, n_all, communication);
  FeatureExchange& used = atoms.complete ? static_cast<FeatureExchange&>(nothing) : exchange;
  return to_plain(implementation_->model.evaluate(graph, used, each));
}

}  // namespace ekd
