// A loaded student: energies, and gradients with respect to every pair vector, stage by stage.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>

#include "ekd/model_metadata.hpp"

// Libraries are built with hidden symbols; these are what libekd_torch.so offers to engines.
#define EKD_EXPORT __attribute__((visibility("default")))

namespace ekd {

// How an engine moves features between the owners of atoms and their ghosts. Atoms
// 0 .. n_local - 1 are owned; the rest, up to n_all - 1, are ghosts.
class EKD_EXPORT FeatureExchange {
 public:
  virtual ~FeatureExchange() = default;
  // features [n_local, F] of owned atoms -> features [n_all, F] of owned atoms and ghosts.
  virtual torch::Tensor forward(const torch::Tensor& features) = 0;
  // gradients [n_all, F] -> [n_local, F]: those of ghosts are added to their owners'.
  virtual torch::Tensor reverse(const torch::Tensor& gradients) = 0;
};

struct Evaluation {
  torch::Tensor atomic_energies;  // [n_local], eV, float64
  torch::Tensor pair_gradients;   // [n_pairs, 3], dE/d(pair_vector), eV/Å, float64
};

class EKD_EXPORT ExportedModel {
 public:
  // Reads and checks the metadata, then loads the model. Throws ModelFileError.
  explicit ExportedModel(const std::string& path, const torch::Device& device = torch::kCPU);
  ~ExportedModel();

  const ModelMetadata& metadata() const { return metadata_; }

  // Evaluates all stages for the owned atoms. Every rank must call it, atoms or not, because the
  // exchanges are collective: n_interactions - 1 forward and as many reverse.
  //   species      [n_all] int64, index into metadata().elements
  //   pairs        [2, n_pairs] int64, sorted by centre (row 0, all owned); neighbours in row 1
  //   pair_vectors [n_pairs, 3] float64, Å
  // Throws c10::Error or std::exception if the model misbehaves.
  Evaluation evaluate(const torch::Tensor& species, const torch::Tensor& pairs,
                      const torch::Tensor& pair_vectors, std::int64_t n_local,
                      FeatureExchange& exchange);

 private:
  struct Module;  // keeps TorchScript out of this header
  ModelMetadata metadata_;
  torch::Device device_;
  std::unique_ptr<Module> module_;
};

}  // namespace ekd
