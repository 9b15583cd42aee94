// Opening an exported model: what is it, and may it be run here?
#pragma once

#include <string>

#include "ekd/model_metadata.hpp"

namespace ekd {

struct ModelFile {
  ModelMetadata metadata;
  std::string json;  // the whole metadata document
};

// Reads the metadata of an exported model without loading the model.
// Throws ModelFileError: no such file, not an exported model, truncated or damaged, a newer format,
// an operator that this build of ekd does not have.
ModelFile read_model_file(const std::string& path);

}  // namespace ekd
