#include "script_network.hpp"

#include <algorithm>

namespace ekd {

ScriptNetwork::ScriptNetwork(torch::jit::Module module, std::int64_t n_interactions,
                             torch::ScalarType dtype, std::int64_t block)
    : module_(std::move(module)), n_interactions_(n_interactions), block_(block) {
  // Profiling and fusing make the first steps slow and, on the CPU, no later step faster.
  torch::jit::getProfilingMode() = false;
  torch::jit::setGraphExecutorOptimize(false);
  // Parameters alone: buffers hold reference energies, which stay float64 in any precision.
  for (auto parameter : module_.parameters()) {
    parameter.requires_grad_(false);
    parameter.set_data(parameter.to(dtype));
  }
  // What enters every interaction but the first.
  const std::vector<std::int64_t> widths = module_.attr("feature_widths").toIntVector();
  for (std::size_t k = 1; k + 1 < widths.size(); ++k)
    exchange_width_ = std::max(exchange_width_, widths[k]);
}

std::vector<ScriptNetwork::Block> ScriptNetwork::cut(const AtomGraph& graph) const {
  const std::int64_t size = block_ > 0 ? block_ : std::max<std::int64_t>(1, graph.n_centers());
  const torch::Tensor offset_tensor = graph.offsets.to(torch::kCPU).contiguous();
  const std::int64_t* offsets = offset_tensor.const_data_ptr<std::int64_t>();
  std::vector<Block> blocks;
  std::int64_t first = 0;
  do {  // a process without atoms has one empty block
    const std::int64_t next = std::min(first + size, graph.n_centers());
    blocks.push_back({first, next - first, offsets[first], offsets[next] - offsets[first]});
    first = next;
  } while (first < graph.n_centers());
  return blocks;
}

ScriptNetwork::Stage ScriptNetwork::run(std::int64_t k, const AtomGraph& graph,
                                        const torch::Tensor& all_centers, const Block& block,
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
  torch::Tensor centers = all_centers.narrow(0, block.first_pair, block.n_pairs);
  torch::Tensor neighbors = graph.neighbors.narrow(0, block.first_pair, block.n_pairs);
  if (block.first_center > 0) {
    // The model evaluates the first atoms that it is given: the block goes to the front, and the
    // neighbours are counted behind it.
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

Evaluation ScriptNetwork::evaluate(const AtomGraph& graph, GhostExchange& exchange) {
  const std::int64_t last = n_interactions_ - 1;
  const std::vector<Block> blocks = cut(graph);
  const torch::Tensor centers = graph.centers();

  // Forward, up to the features that enter the last interaction. With a single block the graphs
  // are kept; with several they would need the memory that blocks are there to save, so each is
  // made again when its gradient is due.
  std::vector<torch::Tensor> features(last + 1);
  std::vector<Stage> kept(last);
  {
    torch::NoGradGuard no_grad;
    features[0] = module_.run_method("embed", graph.species).toTensor();
  }
  for (std::int64_t k = 0; k < last; ++k) {
    torch::Tensor out;
    if (blocks.size() == 1) {
      kept[k] = run(k, graph, centers, blocks[0], features[k], /*differentiable=*/true);
      out = kept[k].features_out.detach();
    } else {
      std::vector<torch::Tensor> parts;
      for (const Block& block : blocks)
        parts.push_back(run(k, graph, centers, block, features[k], false).features_out);
      out = torch::cat(parts);
    }
    if (exchange.is_needed()) {
      torch::Tensor all = torch::zeros({graph.species.size(0), out.size(1)}, out.options());
      all.narrow(0, 0, graph.n_centers()).copy_(out);
      exchange.copy_to_ghosts(all);
      out = all;
    }
    features[k + 1] = out;
  }

  // Backward: gradients of the energy with respect to the features that leave each interaction.
  const torch::Tensor counted = torch::arange(graph.n_centers(), graph.species.options())
                                    .lt(graph.n_owned)
                                    .to(torch::kFloat64);
  torch::Tensor energies = torch::zeros_like(counted);
  torch::Tensor pair_gradients = torch::zeros_like(graph.pair_vectors);
  torch::Tensor gradient_out;          // [n_centers, F_(k+1)]
  std::vector<torch::Tensor> leaving;  // the last interaction, by block, where somebody reads them
  for (std::int64_t k = last; k >= 0; --k) {
    torch::Tensor gradient_in;  // [n_all, F_k]
    if (k > 0) gradient_in = torch::zeros_like(features[k]);
    for (const Block& block : blocks) {
      Stage stage = k < last && blocks.size() == 1
                        ? std::move(kept[k])
                        : run(k, graph, centers, block, features[k], true);
      energies.narrow(0, block.first_center, block.n_centers).add_(stage.energies.detach());
      if (k == last && graph.with_uncertainty) leaving.push_back(stage.features_out.detach());
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
    exchange.add_from_ghosts(gradient_in);
    gradient_out = gradient_in.narrow(0, 0, graph.n_centers());
  }
  Evaluation found{energies.narrow(0, 0, graph.n_owned), pair_gradients, {}};
  if (graph.with_uncertainty && module_.find_method("uncertainty")) {
    torch::NoGradGuard no_grad;
    c10::List<torch::Tensor> owned;
    for (std::int64_t k = 0; k < last; ++k)
      owned.push_back(features[k + 1].narrow(0, 0, graph.n_owned));
    owned.push_back(torch::cat(leaving).narrow(0, 0, graph.n_owned));
    found.uncertainty = module_.run_method("uncertainty", owned).toTensor();
  }
  return found;
}

}  // namespace ekd
