// How a file, or a device, that needs torch is opened by those who do not link to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ekd/model_metadata.hpp"
#include "ekd/network.hpp"

namespace ekd {

struct ScriptRequest {
  std::string path;                      // for messages
  const std::string* content = nullptr;  // of the file, whatever has taken its place since
  const ModelMetadata* metadata = nullptr;
  std::string device;      // a torch device
  bool single = false;     // float32, else float64
  std::int64_t block = 0;  // see ExportedModel
  int n_threads = 0;       // of torch; 0: as it is set
  int process = 0;         // number among those of a computer, which share its GPUs: "cuda" without
                           // a number is theirs in turn
};

// Loads the TorchScript of a file.
// Throws ModelFileError, or another std::exception if the device is not there.
using OpenScript = std::vector<std::unique_ptr<Network>> (*)(const ScriptRequest&);

// The name of this function in libekd_torch.so.
inline constexpr const char* kOpenScript = "ekd_open_script";

}  // namespace ekd
