#include "make_network.hpp"

#include "script_network.hpp"

namespace ekd {

std::unique_ptr<Network> make_network(torch::jit::Module member, const ModelMetadata& metadata,
                                      const torch::Device& /*device*/, torch::ScalarType dtype,
                                      std::int64_t block) {
  return std::make_unique<ScriptNetwork>(std::move(member), metadata.n_interactions, dtype, block);
}

}  // namespace ekd
