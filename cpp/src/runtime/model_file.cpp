#include "ekd/model_file.hpp"

#include "ekd/archive.hpp"
#include "ekd/error.hpp"

namespace ekd {
namespace {

constexpr const char* kIdentityRecord = ".data/serialization_id";  // torch's hash of the contents

}  // namespace

ModelFile read_model_file(const std::string& path, const std::string& sha256) {
  ModelFile file{Archive(path, sha256), {}, {}};
  Archive& archive = file.archive;
  const std::string format_record = std::string("extra/") + kFormatRecord;
  const std::string metadata_record = std::string("extra/") + kMetadataRecord;
  if (!archive.has(format_record) || !archive.has(metadata_record))
    throw ModelFileError("'" + path +
                         "' is a torch archive but not an ekd model: it contains no ekd metadata; "
                         "write one with 'ekd export' or TrainedModel.export() [EKD-MODEL-002]");
  file.json = archive.read_text(metadata_record);
  file.metadata = parse_model_metadata(archive.read_text(format_record), file.json, path);
  if (archive.has(kIdentityRecord)) file.metadata.identity = archive.read_text(kIdentityRecord);
  file.has_weights = archive.has(kWeightsRecord);
  return file;
}

std::vector<HipnnWeights> read_weights(ModelFile& file) {
  const ModelMetadata& metadata = file.metadata;
  const std::string& path = file.archive.path();
  const std::string_view numbers = file.archive.read(kNumbersRecord);
  std::vector<HipnnWeights> members = parse_weights(
      file.archive.read_text(kWeightsRecord), {numbers.begin(), numbers.end()}, metadata, path);
  // The engine uses the metadata for neighbor lists and buffer sizes: the weights must agree.
  const auto require = [&](bool agrees, const char* name) {
    if (!agrees)
      throw ModelFileError(
          "'" + path + "' is damaged: '" + name +
          "' in its metadata does not match the model; export it again [EKD-MODEL-003]");
  };
  require(static_cast<std::int64_t>(members.size()) == metadata.n_members, "n_members");
  for (const HipnnWeights& member : members) {
    require(member.cutoff == metadata.cutoff, "cutoff");
    require(static_cast<std::int64_t>(member.cusp.size()) == metadata.n_interactions,
            "n_interactions");
    require(member.uncertainty || !metadata.uncertainty, "uncertainty");
  }
  return members;
}

}  // namespace ekd
