#include "script_network.hpp"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

namespace ekd {

namespace {

// A copy in CPU memory.
Buffer<double> numbers(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.to(torch::kCPU, torch::kFloat64).contiguous();
  Buffer<double> copy(flat.numel());
  std::copy_n(flat.const_data_ptr<double>(), flat.numel(), copy.begin());
  return copy;
}

// [n, width] float32 or float64 on the CPU, contiguous.
AtomRows rows_of(torch::Tensor& tensor) {
  const std::int64_t width = tensor.size(1);
  if (tensor.scalar_type() == torch::kFloat32) return {tensor.mutable_data_ptr<float>(), width};
  return {tensor.mutable_data_ptr<double>(), width};
}

// In place if the tensor is in CPU memory, otherwise with a copy.
template <class Communicate>
void on_cpu(torch::Tensor& tensor, const Communicate& communicate) {
  torch::Tensor copy = tensor.to(torch::kCPU).contiguous();
  communicate(rows_of(copy));
  if (!copy.is_same(tensor)) tensor.copy_(copy);
}

}  // namespace

ScriptNetwork::ScriptNetwork(torch::jit::Module module, std::int64_t n_interactions,
                             const torch::Device& device, torch::ScalarType dtype,
                             std::int64_t block)
    : module_(std::move(module)), n_interactions_(n_interactions), device_(device), block_(block) {
  // Profiling and fusing slow down the first steps and, on the CPU, do not speed up later ones.
  torch::jit::getProfilingMode() = false;
  torch::jit::setGraphExecutorOptimize(false);
  // Only parameters: buffers contain reference energies, which are always float64.
  for (auto parameter : module_.parameters()) {
    parameter.requires_grad_(false);
    parameter.set_data(parameter.to(dtype));
  }
  // Input features of every interaction except the first.
  const std::vector<std::int64_t> widths = module_.attr("feature_widths").toIntVector();
  for (std::size_t k = 1; k + 1 < widths.size(); ++k)
    exchange_width_ = std::max(exchange_width_, widths[k]);
}

std::vector<ScriptNetwork::Block> ScriptNetwork::cut(const AtomGraph& graph) const {
  const std::int64_t size = block_ > 0 ? block_ : std::max<std::int64_t>(1, graph.n_centers);
  std::vector<Block> blocks;
  std::int64_t first = 0;
  do {  // a process without atoms has one empty block
    const std::int64_t next = std::min(first + size, graph.n_centers);
    blocks.push_back(
        {first, next - first, graph.offsets[first], graph.offsets[next] - graph.offsets[first]});
    first = next;
  } while (first < graph.n_centers);
  return blocks;
}

ScriptNetwork::Graph ScriptNetwork::copy_to_device(const AtomGraph& graph) const {
  const auto view = [](const auto* values, at::IntArrayRef shape, torch::ScalarType type) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(values)>>;
    return torch::from_blob(const_cast<T*>(values), shape, type);
  };
  const torch::Tensor offsets = view(graph.offsets, {graph.n_centers + 1}, torch::kInt64);
  const torch::Tensor centers = torch::repeat_interleave(
      torch::arange(graph.n_centers, torch::kInt64), offsets.slice(0, 1) - offsets.slice(0, 0, -1),
      /*dim=*/0, /*output_size=*/graph.n_pairs);
  return {view(graph.species, {graph.n_atoms}, torch::kInt64).to(device_), centers.to(device_),
          view(graph.neighbors, {graph.n_pairs}, torch::kInt64).to(device_),
          view(graph.pair_vectors, {graph.n_pairs, 3}, torch::kFloat64).to(device_)};
}

ScriptNetwork::Stage ScriptNetwork::run(std::int64_t k, const Graph& graph, const Block& block,
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
  torch::Tensor centers = graph.centers.narrow(0, block.first_pair, block.n_pairs);
  torch::Tensor neighbors = graph.neighbors.narrow(0, block.first_pair, block.n_pairs);
  if (block.first_center > 0) {
    // The model evaluates the first atoms of its input: put the block first, and shift the indices
    // of neighbors.
    const auto lead = [&block](const torch::Tensor& all) {
      return torch::cat({all.narrow(0, block.first_center, block.n_centers), all});
    };
    species = lead(species);
    rows = lead(rows);
    centers = centers - block.first_center;
    neighbors = neighbors + block.n_centers;
  }
  torch::AutoGradMode grad_mode(differentiable);
  const auto outputs =
      module_
          .run_method("interact", k, species, rows, torch::stack({centers, neighbors}),
                      stage.pair_vectors, block.n_centers)
          .toTuple();
  stage.features_out = outputs->elements()[0].toTensor();
  stage.energies = outputs->elements()[1].toTensor();
  return stage;
}

Evaluation ScriptNetwork::evaluate(const AtomGraph& atoms, GhostExchange& exchange) {
  const std::int64_t last = n_interactions_ - 1;
  const std::vector<Block> blocks = cut(atoms);
  const Graph graph = copy_to_device(atoms);

  // Forward pass, up to the input features of the last interaction. With a single block, the graphs
  // are kept. With several blocks this would need the memory that blocks save, so each graph is
  // rebuilt for its gradient.
  std::vector<torch::Tensor> features(last + 1);
  std::vector<Stage> kept(last);
  {
    torch::NoGradGuard no_grad;
    features[0] = module_.run_method("embed", graph.species).toTensor();
  }
  for (std::int64_t k = 0; k < last; ++k) {
    torch::Tensor out;
    if (blocks.size() == 1) {
      kept[k] = run(k, graph, blocks[0], features[k], /*differentiable=*/true);
      out = kept[k].features_out.detach();
    } else {
      std::vector<torch::Tensor> parts;
      parts.reserve(blocks.size());
      for (const Block& block : blocks)
        parts.push_back(run(k, graph, block, features[k], false).features_out);
      out = torch::cat(parts);
    }
    if (exchange.is_needed()) {
      torch::Tensor all = torch::zeros({atoms.n_atoms, out.size(1)}, out.options());
      all.narrow(0, 0, atoms.n_centers).copy_(out);
      on_cpu(all, [&](const AtomRows& rows) { exchange.copy_to_ghosts(rows); });
      out = all;
    }
    features[k + 1] = out;
  }

  // Backward pass: gradients of the energy with respect to output features of each interaction.
  const torch::Tensor counted =
      torch::arange(atoms.n_centers, graph.species.options()).lt(atoms.n_owned).to(torch::kFloat64);
  torch::Tensor energies = torch::zeros_like(counted);
  torch::Tensor pair_gradients = torch::zeros_like(graph.pair_vectors);
  torch::Tensor gradient_out;          // [n_centers, F_(k+1)]
  std::vector<torch::Tensor> leaving;  // outputs of the last interaction by block, if used
  for (std::int64_t k = last; k >= 0; --k) {
    torch::Tensor gradient_in;  // [n_all, F_k]
    if (k > 0) gradient_in = torch::zeros_like(features[k]);
    for (const Block& block : blocks) {
      Stage stage = k < last && blocks.size() == 1 ? std::move(kept[k])
                                                   : run(k, graph, block, features[k], true);
      energies.narrow(0, block.first_center, block.n_centers).add_(stage.energies.detach());
      if (k == last && atoms.with_uncertainty) leaving.push_back(stage.features_out.detach());
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
    if (k == 0) break;
    on_cpu(gradient_in, [&](const AtomRows& rows) { exchange.add_from_ghosts(rows); });
    gradient_out = gradient_in.narrow(0, 0, atoms.n_centers);
  }
  Evaluation found{numbers(energies.narrow(0, 0, atoms.n_owned)), numbers(pair_gradients), {}};
  if (atoms.with_uncertainty && module_.find_method("uncertainty")) {
    torch::NoGradGuard no_grad;
    c10::List<torch::Tensor> owned;
    for (std::int64_t k = 0; k < last; ++k)
      owned.push_back(features[k + 1].narrow(0, 0, atoms.n_owned));
    owned.push_back(torch::cat(leaving).narrow(0, 0, atoms.n_owned));
    found.uncertainty = numbers(module_.run_method("uncertainty", owned).toTensor());
  }
  return found;
}

}  // namespace ekd
