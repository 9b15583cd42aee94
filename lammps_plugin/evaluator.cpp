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

class Exchange : public GhostExchange {
 public:
  explicit Exchange(GhostCommunication& communication) : communication_(communication) {}

  bool is_needed() const override { return true; }

  void copy_to_ghosts(torch::Tensor& rows) override {
    on_cpu(rows, [this](const AtomRows& numbers) { communication_.copy_to_ghosts(numbers); });
  }

  void add_from_ghosts(torch::Tensor& rows) override {
    on_cpu(rows, [this](const AtomRows& numbers) { communication_.add_from_ghosts(numbers); });
  }

 private:
  // In place where the tensor is in the memory of the CPU, and by a copy where it is not.
  template <class Communicate>
  static void on_cpu(torch::Tensor& rows, Communicate communicate) {
    torch::Tensor numbers = rows.to(torch::kCPU).contiguous();
    const auto width = static_cast<int>(rows.size(1));
    if (numbers.scalar_type() == torch::kFloat32)
      communicate(AtomRows(numbers.mutable_data_ptr<float>(), width));
    else
      communicate(AtomRows(numbers.mutable_data_ptr<double>(), width));
    if (!numbers.is_same(rows)) rows.copy_(numbers);
  }

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
  std::vector<double> free_atom_energies;
  Evaluation mean;  // of the last evaluation: the caller looks into it
};

Evaluator::Evaluator(const std::string& path, const EvaluatorOptions& options) {
  // torch would otherwise take every core on every rank.
  at::set_num_threads(options.n_threads);
  implementation_.reset(
      new Implementation{ExportedModel(path, torch::Device(options.device),
                                       precision_named(options.precision), options.block),
                         {},
                         {}});
  if (options.self_test) implementation_->model.self_test();
  implementation_->free_atom_energies = implementation_->model.free_atom_energies();
}

Evaluator::~Evaluator() = default;

const ModelMetadata& Evaluator::metadata() const { return implementation_->model.metadata(); }

const std::vector<double>& Evaluator::free_atom_energies() const {
  return implementation_->free_atom_energies;
}

int Evaluator::exchange_width() const {
  return static_cast<int>(implementation_->model.exchange_width());
}

Energies Evaluator::evaluate(const Neighborhood& atoms, GhostCommunication& communication,
                             const std::function<void(const Energies&)>& each_member) {
  const auto n_all = static_cast<std::int64_t>(atoms.species.size());
  AtomGraph graph;
  graph.species = view(atoms.species.data(), n_all);
  graph.offsets = view(atoms.offsets.data(), static_cast<std::int64_t>(atoms.offsets.size()));
  graph.neighbors = view(atoms.neighbors.data(), atoms.n_pairs);
  graph.pair_vectors = view(atoms.pair_vectors.data(), atoms.n_pairs, 3);
  graph.n_owned = atoms.n_owned;
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
  Exchange exchange(communication);
  GhostExchange& used = atoms.complete ? static_cast<GhostExchange&>(nothing) : exchange;
  implementation_->mean = {};  // its memory serves what comes
  implementation_->mean = implementation_->model.evaluate(graph, used, each);
  return plain(implementation_->mean);
}

}  // namespace ekd
