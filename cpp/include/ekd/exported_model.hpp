// A loaded student: energies, and gradients with respect to every pair vector, stage by stage.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>

#include "ekd/model_metadata.hpp"

// Libraries are built with hidden symbols; these are what libekd_torch.so offers to engines.
#define EKD_EXPORT __attribute__((visibility("default")))

namespace ekd {

// The atoms of a process, and the pairs whose centres it evaluates.
struct AtomGraph {
  torch::Tensor species;  // [n_all] int64, index into the elements of the model
  torch::Tensor pairs;    // [2, n_pairs] int64, ascending by centre (row 0); neighbours in row 1
  torch::Tensor pair_vectors;  // [n_pairs, 3] float64, Å, from centre to neighbour
  std::int64_t n_centers = 0;  // atoms 0 .. n_centers - 1 are evaluated ...
  std::int64_t n_owned = 0;    // ... and the energies of the first n_owned of them count
};

struct Evaluation {
  torch::Tensor atomic_energies;  // [n_owned], eV, float64
  torch::Tensor pair_gradients;   // [n_pairs, 3], dE/d(pair_vector), eV/Å, float64
};

// How an engine moves features between atoms that are evaluated and those that are not (ghosts).
class EKD_EXPORT FeatureExchange {
 public:
  virtual ~FeatureExchange() = default;
  // features [n_centers, F] -> features [n_all, F]: ghosts get those of their owners.
  virtual torch::Tensor forward(const torch::Tensor& features) = 0;
  // gradients [n_all, F] -> [n_centers, F]: those of ghosts are added to their owners'.
  virtual torch::Tensor reverse(const torch::Tensor& gradients) = 0;
};

// For a graph in which every atom is evaluated.
class EKD_EXPORT NoExchange : public FeatureExchange {
 public:
  torch::Tensor forward(const torch::Tensor& features) override { return features; }
  torch::Tensor reverse(const torch::Tensor& gradients) override { return gradients; }
};

enum class Precision { kModel, kSingle, kDouble };

class EKD_EXPORT ExportedModel {
 public:
  // Reads and checks the metadata, then loads the model. `block` bounds the memory: so many
  // centres are evaluated at a time; 0: all at once.
  // Throws ModelFileError; std::exception if the device is not there.
  explicit ExportedModel(const std::string& path, const torch::Device& device = torch::kCPU,
                         Precision precision = Precision::kModel, std::int64_t block = 0);
  ~ExportedModel();

  const ModelMetadata& metadata() const { return metadata_; }

  // Collective where the exchange is: n_interactions - 1 exchanges forward and as many in
  // reverse, atoms or not.
  // Throws std::exception if the model misbehaves.
  Evaluation evaluate(const AtomGraph& graph, FeatureExchange& exchange);

  // Evaluates the frame that the file carries and compares with the results beside it. It also
  // takes whatever is slow about a first evaluation.
  // Throws ModelFileError if a difference exceeds the tolerance of the file.
  void self_test();

 private:
  struct Module;  // keeps TorchScript out of this header
  struct Stage;
  struct Block;
  std::vector<Block> cut(const AtomGraph& graph) const;
  Stage run(std::int64_t k, const AtomGraph& graph, const Block& block,
            const torch::Tensor& features, bool differentiable);

  std::string path_;
  ModelMetadata metadata_;
  torch::Device device_;
  torch::ScalarType dtype_;
  std::int64_t block_;
  std::unique_ptr<Module> module_;
};

}  // namespace ekd
