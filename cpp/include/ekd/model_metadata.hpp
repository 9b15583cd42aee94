// What an exported model says about itself, read and checked before any of it is run.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace ekd {

// Version of the file format, and the oldest one that is still read. A reader refuses any other.
inline constexpr int kModelFormat = 4;
inline constexpr int kOldestModelFormat = 2;

// Names of the records inside the TorchScript archive.
inline constexpr const char* kFormatRecord = "ekd_format";
inline constexpr const char* kMetadataRecord = "ekd_metadata.json";

// A small periodic frame, and what the original network predicts for it.
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

// The fields an engine acts on. The JSON holds more, for people; docs/exported_model.md lists all.
struct ModelMetadata {
  std::string identity;  // of the file: a hash of its contents
  std::string ekd_version;
  std::string torch_version;
  std::string dtype;                         // "float32" or "float64"
  std::vector<std::string> elements;         // chemical symbols in species order
  std::vector<std::int64_t> atomic_numbers;  // the same, as numbers
  double cutoff = 0.0;                       // Å
  double interaction_range = 0.0;            // Å, n_interactions cutoffs
  std::int64_t n_interactions = 0;
  std::int64_t n_members = 0;                // students in the file; their mean is the prediction
  std::vector<std::int64_t> feature_widths;  // [n_interactions + 1]
  bool uncertainty = false;                  // whether every student has a head for it
  std::vector<std::string> required_ops;     // schemas of the operators the model calls
  // [n_species, n_species], Å: how close atoms of two elements come in the training data; of
  // several students the largest. Infinity: some student has seen no such pair within the cutoff.
  // Empty: the file does not tell.
  std::vector<double> training_distances;
  SelfTest self_test;

  std::int64_t species_of(const std::string& element) const;  // -1: the model lacks it
};

// Checks the format number, then the document against the rules of that format: required keys,
// types, no unknown keys, fields that agree with each other.
// `source` names the file in messages. Throws ModelFileError.
ModelMetadata parse_model_metadata(const std::string& format, const std::string& json,
                                   const std::string& source);

}  // namespace ekd
