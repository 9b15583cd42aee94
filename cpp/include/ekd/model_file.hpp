// Opening an exported model: what is it, and may it be run here?
#pragma once

#include <string>
#include <vector>

#include "ekd/archive.hpp"
#include "ekd/model_metadata.hpp"
#include "ekd/weights.hpp"

namespace ekd {

struct ModelFile {
  Archive archive;
  ModelMetadata metadata;
  std::string json;  // the whole metadata document
  // Whether the file holds the weights as plain numbers, as format 4 does for HIP-NN-TS. Others
  // hold TorchScript alone.
  bool has_weights = false;
};

// Reads the metadata of an exported model without loading the model.
// `sha256`: that the file must have, in hexadecimal; empty: any.
// Throws ModelFileError: no such file, not an exported model, truncated or damaged, another format
// or SHA-256. Throws Error: `sha256` is not hexadecimal.
ModelFile read_model_file(const std::string& path, const std::string& sha256 = "");

// The weights of its members, where it has them: of the same file, whatever has taken its place
// since. Throws ModelFileError: they are damaged, or contradict the metadata.
std::vector<HipnnWeights> read_weights(ModelFile& file);

}  // namespace ekd
