#include "ekd/exported_model.hpp"

#include <torch/script.h>

#include <algorithm>
#include <sstream>

#include "ekd/error.hpp"
#include "ekd/model_file.hpp"
#include "ekd/neighbor_list.hpp"

namespace ekd {

struct ExportedModel::Module {
  torch::jit::Module script;
};

// Some consecutive centres and their pairs.
struct ExportedModel::Block {
  std::int64_t first_center, n_centers, first_pair, n_pairs;
};

// One interaction of one block. Its graph has leaves of its own, so that features can leave the
// process in between: the features after an exchange, and the pair vectors.
struct ExportedModel::Stage {
  torch::Tensor features_in;   // [n_all, F_k], leaf
  torch::Tensor pair_vectors;  // [n_pairs of the block, 3], leaf
  torch::Tensor features_out;  // [n_centers of the block, F_(k+1)]
  torch::Tensor energies;      // [n_centers of the block]
};

ExportedModel::ExportedModel(const std::string& path, const torch::Device& device,
                             Precision precision, std::int64_t block)
    : path_(path),
      metadata_(read_model_file(path).metadata),
      device_(device),
      block_(block),
      module_(std::make_unique<Module>()) {
  const bool single = precision == Precision::kModel ? metadata_.dtype == "float32"
                                                     : precision == Precision::kSingle;
  dtype_ = single ? torch::kFloat32 : torch::kFloat64;
  // Profiling and fusing make the first steps slow and, on the CPU, no later step faster.
  torch::jit::getProfilingMode() = false;
  torch::jit::setGraphExecutorOptimize(false);
  try {
    torch::empty({0}, torch::TensorOptions().device(device_));
  } catch (const std::exception&) {
    throw Error("device '" + device_.str() +
                "' cannot be used by this torch; use device cpu, or install a torch that supports "
                "it");
  }
  try {
    module_->script = torch::jit::load(path, device_);
  } catch (const std::exception&) {
    throw ModelFileError("'" + path +
                         "' is truncated or damaged: its metadata is sound but the model does not "
                         "load; copy or export it again");
  }
  module_->script.eval();
  // Parameters alone: buffers hold reference energies, which stay float64 in any precision.
  for (auto parameter : module_->script.parameters()) {
    parameter.requires_grad_(false);
    parameter.set_data(parameter.to(dtype_));
  }
  for (const char* method : {"embed", "interact"})
    if (!module_->script.find_method(method))
      throw ModelFileError("'" + path + "' has no method '" + method +
                           "'; export the model again with this version of ekd");
  // The engine builds neighbour lists and sizes buffers by the metadata: the module must agree.
  const auto agrees = [this](const char* name, const c10::IValue& value) {
    if (!module_->script.hasattr(name) || module_->script.attr(name) != value)
      throw ModelFileError("'" + path_ + "' is damaged: '" + name +
                           "' in its metadata is not that of the model; export it again");
  };
  agrees("cutoff", metadata_.cutoff);
  agrees("n_interactions", metadata_.n_interactions);
  agrees("feature_widths", c10::List<std::int64_t>(metadata_.feature_widths));
}

ExportedModel::~ExportedModel() = default;

std::vector<ExportedModel::Block> ExportedModel::cut(const AtomGraph& graph) const {
  const std::int64_t size = block_ > 0 ? block_ : std::max<std::int64_t>(1, graph.n_centers);
  const torch::Tensor centers = graph.pairs[0].to(torch::kCPU).contiguous();
  const std::int64_t* begin = centers.const_data_ptr<std::int64_t>();
  const std::int64_t* end = begin + centers.numel();
  std::vector<Block> blocks;
  std::int64_t first = 0;
  do {  // a process without atoms has one empty block
    const std::int64_t next = std::min(first + size, graph.n_centers);
    const std::int64_t first_pair = std::lower_bound(begin, end, first) - begin;
    const std::int64_t next_pair = std::lower_bound(begin, end, next) - begin;
    blocks.push_back({first, next - first, first_pair, next_pair - first_pair});
    first = next;
  } while (first < graph.n_centers);
  return blocks;
}

ExportedModel::Stage ExportedModel::run(std::int64_t k, const AtomGraph& graph, const Block& block,
                                        const torch::Tensor& features, bool differentiable) {
  Stage stage;
  stage.features_in = features.detach();
  stage.pair_vectors = graph.pair_vectors.narrow(0, block.first_pair, block.n_pairs).detach();
  if (differentiable) {
    // A detached tensor shares its memory; asking for its gradient does not touch the original.
    if (k > 0) stage.features_in.requires_grad_(true);
    stage.pair_vectors.requires_grad_(true);
  }
  torch::Tensor species = graph.species;
  torch::Tensor rows = stage.features_in;
  torch::Tensor pairs = graph.pairs.narrow(1, block.first_pair, block.n_pairs);
  if (block.first_center > 0) {
    // The model evaluates the first atoms that it is given: the block goes to the front, and the
    // neighbours are counted behind it.
    const auto lead = [&block](const torch::Tensor& all) {
      return torch::cat({all.narrow(0, block.first_center, block.n_centers), all});
    };
    species = lead(species);
    rows = lead(rows);
    pairs = torch::stack({pairs[0] - block.first_center, pairs[1] + block.n_centers});
  }
  torch::AutoGradMode grad_mode(differentiable);
  const auto outputs =
      module_->script
          .run_method("interact", k, species, rows, pairs, stage.pair_vectors, block.n_centers)
          .toTuple();
  stage.features_out = outputs->elements()[0].toTensor();
  stage.energies = outputs->elements()[1].toTensor();
  return stage;
}

Evaluation ExportedModel::evaluate(const AtomGraph& input, FeatureExchange& exchange) {
  AtomGraph graph = input;
  graph.species = input.species.to(device_);
  graph.pairs = input.pairs.to(device_);
  graph.pair_vectors = input.pair_vectors.to(device_);
  const std::int64_t last = metadata_.n_interactions - 1;
  const std::vector<Block> blocks = cut(graph);

  // Forward, up to the features that enter the last interaction. With a single block the graphs
  // are kept; with several they would need the memory that blocks are there to save, so each is
  // made again when its gradient is due.
  std::vector<torch::Tensor> features(last + 1);
  std::vector<Stage> kept(last);
  {
    torch::NoGradGuard no_grad;
    features[0] = module_->script.run_method("embed", graph.species).toTensor();
  }
  for (std::int64_t k = 0; k < last; ++k) {
    torch::Tensor out;
    if (blocks.size() == 1) {
      kept[k] = run(k, graph, blocks[0], features[k], /*differentiable=*/true);
      out = kept[k].features_out.detach();
    } else {
      std::vector<torch::Tensor> parts;
      for (const Block& block : blocks)
        parts.push_back(run(k, graph, block, features[k], false).features_out);
      out = torch::cat(parts);
    }
    features[k + 1] = exchange.forward(out);
  }

  // Backward: gradients of the energy with respect to the features that leave each interaction.
  const torch::Tensor counted =
      torch::arange(graph.n_centers, graph.species.options()).lt(graph.n_owned).to(torch::kFloat64);
  torch::Tensor energies = torch::zeros_like(counted);
  torch::Tensor pair_gradients = torch::zeros_like(graph.pair_vectors);
  torch::Tensor gradient_out;  // [n_centers, F_(k+1)]
  for (std::int64_t k = last; k >= 0; --k) {
    torch::Tensor gradient_in;  // [n_all, F_k]
    if (k > 0) gradient_in = torch::zeros_like(features[k]);
    for (const Block& block : blocks) {
      Stage stage = k < last && blocks.size() == 1 ? std::move(kept[k])
                                                   : run(k, graph, block, features[k], true);
      energies.narrow(0, block.first_center, block.n_centers).add_(stage.energies.detach());
      std::vector<torch::Tensor> outputs{stage.energies};
      std::vector<torch::Tensor> seeds{counted.narrow(0, block.first_center, block.n_centers)};
      if (k < last) {
        outputs.push_back(stage.features_out);
        seeds.push_back(gradient_out.narrow(0, block.first_center, block.n_centers));
      }
      std::vector<torch::Tensor> inputs{stage.pair_vectors};
      if (k > 0) inputs.push_back(stage.features_in);
      const auto gradients = torch::autograd::grad(outputs, inputs, seeds, /*retain_graph=*/false,
                                                   /*create_graph=*/false, /*allow_unused=*/true);
      if (gradients[0].defined())
        pair_gradients.narrow(0, block.first_pair, block.n_pairs).add_(gradients[0]);
      if (k > 0 && gradients[1].defined()) gradient_in.add_(gradients[1]);
    }
    if (k > 0) gradient_out = exchange.reverse(gradient_in);
  }
  return {energies.narrow(0, 0, graph.n_owned).to(torch::kCPU),
          pair_gradients.to(torch::kCPU, torch::kFloat64)};
}

void ExportedModel::self_test() {
  const SelfTest& test = metadata_.self_test;
  const auto n_atoms = static_cast<std::int64_t>(test.species.size());
  const std::array<std::int64_t, 2> offsets{0, n_atoms};
  StructureBatch structure;
  structure.n_structures = 1;
  structure.offsets = offsets.data();
  structure.positions = test.positions.data();
  structure.cells = test.cell.data();
  structure.pbc = test.pbc.data();
  NeighborList list = build_neighbor_list(structure, metadata_.cutoff);
  const auto n_pairs = static_cast<std::int64_t>(list.n_pairs());

  AtomGraph graph;
  graph.species = torch::tensor(test.species, torch::kInt64);
  graph.pairs = torch::from_blob(list.pairs.data(), {2, n_pairs}, torch::kInt64).clone();
  graph.pair_vectors =
      torch::from_blob(list.pair_vectors.data(), {n_pairs, 3}, torch::kFloat64).clone();
  graph.n_centers = graph.n_owned = n_atoms;
  NoExchange nothing;
  const Evaluation found = evaluate(graph, nothing);

  const torch::Tensor forces = torch::zeros({n_atoms, 3}, torch::kFloat64)
                                   .index_add_(0, graph.pairs[0], found.pair_gradients)
                                   .index_add_(0, graph.pairs[1], -found.pair_gradients);
  const torch::Tensor expected = torch::tensor(test.forces, torch::kFloat64).view({n_atoms, 3});
  const double energy =
      std::abs(found.atomic_energies.sum().item<double>() - test.energy) / n_atoms;
  const double force = (forces - expected).abs().max().item<double>();
  // A double-precision file run in single precision is as exact as single precision is.
  const double tolerance =
      dtype_ == torch::kFloat32 ? std::max(test.tolerance, 1e-4) : test.tolerance;
  if (energy <= tolerance && force <= tolerance) return;
  std::ostringstream message;
  message << "'" << path_ << "' fails its self-test: here it differs from the original model by "
          << energy << " eV/atom and " << force << " eV/Å, expected below " << tolerance
          << "; check the installation with 'ekd check', or switch the test off to look further";
  throw ModelFileError(message.str());
}

}  // namespace ekd
