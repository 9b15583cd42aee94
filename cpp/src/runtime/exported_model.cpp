#include "ekd/exported_model.hpp"

#include <torch/script.h>

#include "ekd/error.hpp"
#include "ekd/model_file.hpp"

namespace ekd {

struct ExportedModel::Module {
  torch::jit::Module script;
};

ExportedModel::ExportedModel(const std::string& path, const torch::Device& device)
    : metadata_(read_model_file(path).metadata),
      device_(device),
      module_(std::make_unique<Module>()) {
  // Profiling and fusing make the first steps slow and, on the CPU, no later step faster.
  torch::jit::getProfilingMode() = false;
  torch::jit::setGraphExecutorOptimize(false);
  try {
    module_->script = torch::jit::load(path, device_);
  } catch (const std::exception&) {
    throw ModelFileError("'" + path +
                         "' is truncated or damaged: its metadata is sound but the model does not "
                         "load; copy or export it again");
  }
  module_->script.eval();
  for (const auto& parameter : module_->script.parameters()) parameter.requires_grad_(false);
  for (const char* method : {"embed", "interact"})
    if (!module_->script.find_method(method))
      throw ModelFileError("'" + path + "' has no method '" + method +
                           "'; export the model again with this version of ekd");
}

ExportedModel::~ExportedModel() = default;

Evaluation ExportedModel::evaluate(const torch::Tensor& species_in, const torch::Tensor& pairs_in,
                                   const torch::Tensor& pair_vectors_in, std::int64_t n_local,
                                   FeatureExchange& exchange) {
  const std::int64_t n_interactions = metadata_.n_interactions;
  const torch::Tensor species = species_in.to(device_);
  const torch::Tensor pairs = pairs_in.to(device_);
  const torch::Tensor pair_vectors = pair_vectors_in.to(device_);

  // The graph of each stage has leaves of its own, so that features can leave the process in
  // between: its inputs are the features after an exchange and the pair vectors.
  struct Stage {
    torch::Tensor features_in, pair_vectors, features_out, energies;
  };
  std::vector<Stage> stages(n_interactions);
  torch::Tensor total = torch::zeros({n_local}, species.options().dtype(torch::kFloat64));
  for (std::int64_t k = 0; k < n_interactions; ++k) {
    Stage& stage = stages[k];
    stage.pair_vectors = pair_vectors.detach().clone().requires_grad_(true);
    if (k == 0) {  // the species of ghosts are known: nothing to exchange, nothing to derive
      torch::NoGradGuard no_grad;
      stage.features_in = module_->script.run_method("embed", species).toTensor();
    } else {
      stage.features_in =
          exchange.forward(stages[k - 1].features_out.detach()).detach().requires_grad_(true);
    }
    const auto outputs = module_->script
                             .run_method("interact", k, species, stage.features_in, pairs,
                                         stage.pair_vectors, n_local)
                             .toTuple();
    stage.features_out = outputs->elements()[0].toTensor();
    stage.energies = outputs->elements()[1].toTensor();
    total += stage.energies.detach();
  }

  torch::Tensor pair_gradients = torch::zeros_like(pair_vectors);
  torch::Tensor feature_gradients;  // of the features that leave stage k
  for (std::int64_t k = n_interactions - 1; k >= 0; --k) {
    Stage& stage = stages[k];
    std::vector<torch::Tensor> outputs{stage.energies}, seeds{torch::ones_like(stage.energies)};
    if (k + 1 < n_interactions) {
      outputs.push_back(stage.features_out);
      seeds.push_back(feature_gradients);
    }
    std::vector<torch::Tensor> inputs{stage.pair_vectors};
    if (k > 0) inputs.push_back(stage.features_in);
    const auto gradients = torch::autograd::grad(outputs, inputs, seeds, /*retain_graph=*/false,
                                                 /*create_graph=*/false, /*allow_unused=*/true);
    if (gradients[0].defined()) pair_gradients += gradients[0];
    if (k > 0)
      feature_gradients = exchange.reverse(
          gradients[1].defined() ? gradients[1] : torch::zeros_like(stage.features_in));
    stage = {};  // frees the graph
  }
  return {total.to(torch::kCPU), pair_gradients.to(torch::kCPU, torch::kFloat64)};
}

}  // namespace ekd
