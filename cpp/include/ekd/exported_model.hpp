// A loaded file: one student or a committee of them, ready to evaluate the atoms of a process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ekd/model_metadata.hpp"
#include "ekd/network.hpp"

namespace ekd {

enum class Precision { kModel, kSingle, kDouble };

class EKD_EXPORT ExportedModel {
 public:
  // Reads and checks the metadata, then loads the model. `block` bounds the memory: so many
  // centres are evaluated at a time; 0: all at once.
  // Throws ModelFileError; std::exception if the device is not there.
  explicit ExportedModel(const std::string& path, const torch::Device& device = torch::kCPU,
                         Precision precision = Precision::kModel, std::int64_t block = 0);

  const ModelMetadata& metadata() const { return metadata_; }

  // What the model gives to an atom without neighbours, the mean over the members: [n_species] eV.
  // Throws std::exception if the model misbehaves.
  std::vector<double> free_atom_energies();

  // As Network::exchange_width, of all members.
  std::int64_t exchange_width() const;

  // The mean over the members. `each_member` is shown what every one of them finds, in turn; it
  // is forgotten afterwards. The uncertainty is there if the graph asks for it and the file has it.
  // Takes tensors on any device and returns them on the CPU.
  // Collective, once per member; see Network::evaluate.
  // Throws std::exception if the model misbehaves.
  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange,
                      const std::function<void(const Evaluation&)>& each_member = {});

  // Evaluates the frame that the file carries and compares with the results beside it. It also
  // takes whatever is slow about a first evaluation.
  // Throws ModelFileError if a difference exceeds the tolerance of the file.
  void self_test();

 private:
  std::string path_;
  ModelMetadata metadata_;
  torch::Device device_;
  torch::ScalarType dtype_;
  std::vector<std::unique_ptr<Network>> members_;
};

}  // namespace ekd
