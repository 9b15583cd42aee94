// Opening of exported models, with checks of their metadata.
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
  // Whether the file contains plain weights, as format 4 does for HIP-NN-TS. Other files contain
  // only TorchScript.
  bool has_weights = false;
};

// Reads the metadata of an exported model without loading the model.
// `sha256`: required SHA-256 in hexadecimal; empty: any.
// Throws ModelFileError: missing file, not an exported model, truncated or damaged, another format
// or SHA-256. Throws Error: `sha256` is not hexadecimal.
ModelFile read_model_file(const std::string& path, const std::string& sha256 = "");

// The plain weights of the members, from the bytes read before, even if the file has changed since.
// Throws ModelFileError: they are damaged, or contradict the metadata.
std::vector<HipnnWeights> read_weights(ModelFile& file);

}  // namespace ekd
