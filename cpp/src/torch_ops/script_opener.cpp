// Opening of the TorchScript of an exported file, for code that is not linked to torch.
#include "ekd/script_opener.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/frontend/function_schema_parser.h>
#include <torch/cuda.h>
#include <torch/script.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <sstream>

#include "../runtime/hipnn_network.hpp"
#include "ekd/error.hpp"
#include "ekd/weights.hpp"
#include "script_network.hpp"

namespace ekd {
namespace {

// Reader of the bytes of a file for torch.
class Bytes : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit Bytes(const std::string& content) : content_(content) {}
  size_t size() const override { return content_.size(); }
  size_t read(uint64_t place, void* to, size_t n, const char*) const override {
    if (place >= content_.size()) return 0;
    const size_t n_read = std::min<size_t>(n, content_.size() - place);
    std::memcpy(to, content_.data() + place, n_read);
    return n_read;
  }

 private:
  const std::string& content_;
};

// The model calls operators by name; all of them must exist, with the same arguments.
void check_operators(const ModelMetadata& metadata, const std::string& path) {
  for (const std::string& text : metadata.required_ops) {
    std::optional<c10::FunctionSchema> wanted;
    try {
      wanted = torch::jit::parseSchema(text);
    } catch (const std::exception&) {
      throw ModelFileError(
          "'" + path + "' is damaged: 'required_ops' in the metadata holds '" + text +
          "', which is not an operator schema; export the model again [EKD-MODEL-003]");
    }
    const auto found = c10::Dispatcher::singleton().findSchema(
        c10::OperatorName(wanted->name(), wanted->overload_name()));
    if (found && found->schema() == *wanted) continue;
    std::ostringstream message;
    message << "'" << path << "' (written by ekd " << metadata.ekd_version
            << ") needs the operator " << text << ", but this build of ekd has "
            << (found ? "another form of it: " + toString(found->schema()) : "none of that name")
            << "; install the version of ekd that wrote the file, or export the model again "
               "[EKD-MODEL-005]";
    throw ModelFileError(message.str());
  }
}

bool is_hipnn(const torch::jit::Module& module) {
  const auto name = module.type()->name();
  if (!name) return false;
  const std::string& full = name->qualifiedName();
  return full.find("ekd.models.hipnn.") != std::string::npos && name->name() == "HIPNN";
}

// Weights of HIP-NN-TS from TorchScript, for files before format 4, which have no others.
HipnnWeights weights_of(const torch::jit::Module& module, const ScriptRequest& request) {
  HipnnWeights found;
  found.cutoff = module.attr("cutoff").toDouble();
  found.l_max = module.attr("l_max").toInt();
  for (const auto& block : module.attr("blocks").toModule().children()) {
    found.cusp.push_back(block.attr("interaction").toModule().attr("cusp").toDouble());
    found.n_atom_layers =
        static_cast<std::int64_t>(block.attr("atom_layers").toModule().children().size());
  }
  found.zbl = !module.attr("zbl").isNone();
  found.uncertainty =
      module.hasattr("uncertainty_head") && !module.attr("uncertainty_head").isNone();
  found.feature_widths = request.metadata->feature_widths;
  const auto memory = std::make_shared<std::vector<torch::Tensor>>();
  found.arrays = Weights(request.path, memory);
  const auto add = [&](const std::string& name, const torch::Tensor& tensor) {
    const bool single = tensor.scalar_type() == torch::kFloat32;
    const torch::Tensor flat =
        tensor.detach().to(torch::kCPU, single ? torch::kFloat32 : torch::kFloat64).contiguous();
    memory->push_back(flat);
    found.arrays.add(name, {flat.sizes().vec(), single, flat.const_data_ptr()});
  };
  for (const auto& parameter : module.named_parameters()) add(parameter.name, parameter.value);
  for (const auto& buffer : module.named_buffers()) add(buffer.name, buffer.value);
  return found;
}

std::vector<std::unique_ptr<Network>> open_script(const ScriptRequest& request) {
  const ModelMetadata& metadata = *request.metadata;
  // Otherwise, torch would use all cores on every rank.
  if (request.n_threads > 0) at::set_num_threads(request.n_threads);
  check_operators(metadata, request.path);
  std::optional<torch::Device> device;
  try {
    device.emplace(request.device);
    if (device->is_cuda() && !device->has_index() && torch::cuda::is_available())
      device->set_index(static_cast<c10::DeviceIndex>(
          request.process % static_cast<int>(torch::cuda::device_count())));
    torch::empty({0}, torch::TensorOptions().device(*device));
  } catch (const std::exception&) {
    throw Error("device '" + request.device +
                "' cannot be used by this torch; use device cpu, or install a torch that supports "
                "it [EKD-DEVICE-014]");
  }
  torch::jit::Module module;
  try {
    module = torch::jit::load(std::make_shared<Bytes>(*request.content), device);
  } catch (const std::exception&) {
    throw ModelFileError("'" + request.path +
                         "' is truncated or damaged: its metadata is sound but the model does not "
                         "load; copy or export it again [EKD-MODEL-003]");
  }
  module.eval();
  // The engine uses the metadata for neighbor lists and buffer sizes: the modules must agree.
  const auto require = [&](bool agrees, const char* name) {
    if (!agrees)
      throw ModelFileError(
          "'" + request.path + "' is damaged: '" + name +
          "' in its metadata does not match the model; export it again [EKD-MODEL-003]");
  };
  const auto check = [&](const torch::jit::Module& part) {
    const auto agrees = [&part](const char* name, const c10::IValue& value) {
      return part.hasattr(name) && part.attr(name) == value;
    };
    require(agrees("cutoff", metadata.cutoff), "cutoff");
    require(agrees("n_interactions", metadata.n_interactions), "n_interactions");
    require(agrees("feature_widths", c10::List<std::int64_t>(metadata.feature_widths)),
            "feature_widths");
    const bool uncertain = part.hasattr("has_uncertainty") && part.attr("has_uncertainty").toBool();
    require(uncertain || !metadata.uncertainty, "uncertainty");
  };
  check(module);
  std::vector<std::unique_ptr<Network>> members;
  if (module.hasattr("members")) {
    for (const torch::jit::Module& member : module.attr("members").toModule().children()) {
      check(member);
      for (const char* method : {"embed", "interact"})
        if (!member.find_method(method))
          throw ModelFileError(
              "'" + request.path + "' has no method '" + method +
              "'; export the model again with this version of ekd [EKD-MODEL-005]");
      if (device->is_cpu() && is_hipnn(member))
        members.push_back(
            make_hipnn_network(weights_of(member, request), request.single, request.block));
      else
        members.push_back(std::make_unique<ScriptNetwork>(
            member, metadata.n_interactions, *device,
            request.single ? torch::kFloat32 : torch::kFloat64, request.block));
    }
  }
  require(static_cast<std::int64_t>(members.size()) == metadata.n_members, "n_members");
  return members;
}

}  // namespace
}  // namespace ekd

// OpenScript, exported under the name kOpenScript.
extern "C" __attribute__((visibility("default"))) std::vector<std::unique_ptr<ekd::Network>>
ekd_open_script(const ekd::ScriptRequest& request) {
  return ekd::open_script(request);
}
