// Metadata of an exported model, read and checked before the model is used.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace ekd {

// Version of the file format, and the oldest one that can be read. All others are refused.
inline constexpr int kModelFormat = 4;
inline constexpr int kOldestModelFormat = 2;

// Names of the records inside the TorchScript archive.
inline constexpr const char* kFormatRecord = "ekd_format";
inline constexpr const char* kMetadataRecord = "ekd_metadata.json";

// A small periodic frame, with the predictions of the original network.
struct SelfTest {
  std::vector<std::int64_t> species;  // [n_atoms], index into the elements
  std::vector<double> positions;      // [n_atoms, 3], Å
  std::array<double, 9> cell{};       // rows are lattice vectors, Å
  std::array<std::uint8_t, 3> pbc{};
  double energy = 0.0;              // eV
  std::vector<double> forces;       // [n_atoms, 3], eV/Å
  std::vector<double> uncertainty;  // [n_atoms], eV/Å; empty if the model has none
  double tolerance = 0.0;           // eV/atom and eV/Å
};

// The fields used by engines. docs/exported_model.md describes all fields of the JSON document.
struct ModelMetadata {
  std::string identity;  // hash of the contents of the file
  std::string ekd_version;
  std::string torch_version;
  std::string dtype;                         // "float32" or "float64"
  std::vector<std::string> elements;         // chemical symbols in species order
  std::vector<std::int64_t> atomic_numbers;  // of these elements
  double cutoff = 0.0;                       // Å
  double interaction_range = 0.0;            // Å, n_interactions * cutoff
  std::int64_t n_interactions = 0;
  std::int64_t n_members = 0;                // students in the file; their mean is the prediction
  std::vector<std::int64_t> feature_widths;  // [n_interactions + 1]
  bool uncertainty = false;                  // whether every student has an uncertainty head
  std::vector<std::string> required_ops;     // schemas of the operators the model calls
  // [n_species, n_species], Å: shortest distances of two elements in the training data; for several
  // students, the largest of these. Infinity: a student has seen no such pair within the cutoff.
  // Empty: not in the file.
  std::vector<double> training_distances;
  SelfTest self_test;

  std::int64_t species_of(const std::string& element) const;  // -1: the model lacks it
};

// Checks the format number, then the document against the rules of that format: required keys,
// types, no unknown keys, consistent fields.
// `source` names the file in messages. Throws ModelFileError.
ModelMetadata parse_model_metadata(const std::string& format, const std::string& json,
                                   const std::string& source);

}  // namespace ekd
