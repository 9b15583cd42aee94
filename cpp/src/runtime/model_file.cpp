#include "ekd/model_file.hpp"

#include <ATen/core/dispatch/Dispatcher.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/frontend/function_schema_parser.h>

#include <fstream>
#include <memory>
#include <optional>
#include <sstream>

#include "ekd/error.hpp"

namespace ekd {
namespace {

// A TorchScript archive is a zip file; this is how every one of them starts.
bool starts_like_zip(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  file.read(magic, sizeof magic);
  return file.gcount() == sizeof magic && std::string(magic, 4) == "PK\x03\x04";
}

std::string read_record(caffe2::serialize::PyTorchStreamReader& reader, const std::string& name) {
  auto [data, size] = reader.getRecord(name);
  return {static_cast<const char*>(data.get()), size};
}

// The model calls operators by name; all of them must be there, with the same arguments.
void check_operators(const ModelMetadata& metadata, const std::string& path) {
  for (const std::string& text : metadata.required_ops) {
    std::optional<c10::FunctionSchema> wanted;
    try {
      wanted = torch::jit::parseSchema(text);
    } catch (const std::exception&) {
      throw ModelFileError("'" + path + "' is damaged: 'required_ops' in the metadata holds '" +
                           text + "', which is no operator schema; export the model again");
    }
    const auto found = c10::Dispatcher::singleton().findSchema(
        c10::OperatorName(wanted->name(), wanted->overload_name()));
    if (found && found->schema() == *wanted) continue;
    std::ostringstream message;
    message << "'" << path << "' (written by ekd " << metadata.ekd_version
            << ") needs the operator " << text << ", but this build of ekd has "
            << (found ? "another form of it: " + toString(found->schema()) : "none of that name")
            << "; install the version of ekd that wrote the file, or export the model again";
    throw ModelFileError(message.str());
  }
}

}  // namespace

ModelFile read_model_file(const std::string& path) {
  if (!std::ifstream(path).good())
    throw ModelFileError("model file '" + path + "' cannot be opened; check the path");
  if (!starts_like_zip(path))
    throw ModelFileError("'" + path +
                         "' is not an exported model; write one with 'ekd export' or "
                         "TrainedModel.export()");
  std::unique_ptr<caffe2::serialize::PyTorchStreamReader> reader;
  try {
    reader = std::make_unique<caffe2::serialize::PyTorchStreamReader>(path);
  } catch (const std::exception&) {
    throw ModelFileError("'" + path +
                         "' is truncated or damaged: its archive has no readable index; copy or "
                         "export it again");
  }
  const std::string format_record = std::string("extra/") + kFormatRecord;
  const std::string metadata_record = std::string("extra/") + kMetadataRecord;
  if (!reader->hasRecord(format_record) || !reader->hasRecord(metadata_record))
    throw ModelFileError("'" + path +
                         "' is a torch archive but not an ekd model: it carries no ekd metadata; "
                         "write one with 'ekd export' or TrainedModel.export()");
  ModelFile file;
  std::string format;
  try {
    format = read_record(*reader, format_record);
    file.json = read_record(*reader, metadata_record);
  } catch (const std::exception&) {
    throw ModelFileError("'" + path +
                         "' is damaged: its metadata cannot be read; copy or export it again");
  }
  file.metadata = parse_model_metadata(format, file.json, path);
  file.metadata.identity = reader->serializationId();
  check_operators(file.metadata, path);
  return file;
}

}  // namespace ekd
