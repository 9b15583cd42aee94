#include "make_network.hpp"

#include "hipnn_network.hpp"
#include "script_network.hpp"

namespace ekd {

std::unique_ptr<Network> make_network(torch::jit::Module member, const ModelMetadata& metadata,
                                      const torch::Device& device, torch::ScalarType dtype,
                                      std::int64_t block) {
  if (device.is_cpu() && is_hipnn(member)) return make_hipnn_network(member, dtype, block);
  return std::make_unique<ScriptNetwork>(std::move(member), metadata.n_interactions, dtype, block);
}

}  // namespace ekd
