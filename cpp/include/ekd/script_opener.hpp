// Opening of files or devices that need torch, by code that is not linked to it.
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
  const std::string* content = nullptr;  // bytes of the file, even if it has changed since
  const ModelMetadata* metadata = nullptr;
  std::string device;      // a torch device
  bool single = false;     // float32, otherwise float64
  std::int64_t block = 0;  // see ExportedModel
  int n_threads = 0;       // threads of torch; 0: unchanged
  int process = 0;         // index of the process on its node; "cuda" without a number assigns the
                           // GPUs of the node to its processes in turn
};

// Loads the TorchScript of a file.
// Throws ModelFileError, or another std::exception if the device is not available.
using OpenScript = std::vector<std::unique_ptr<Network>> (*)(const ScriptRequest&);

// Name of this function in libekd_torch.so.
inline constexpr const char* kOpenScript = "ekd_open_script";

}  // namespace ekd
