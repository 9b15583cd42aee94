// A loaded model file: one student or a committee, which evaluates the atoms of a process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ekd/device_rows.hpp"
#include "ekd/model_metadata.hpp"
#include "ekd/network.hpp"
#include "ekd/script_opener.hpp"

namespace ekd {

enum class Precision { kModel, kSingle, kDouble };

struct ModelOptions {
  // "cpu"; "cuda" or "cuda:N"; "emulated", which runs the device kernels on the CPU, for tests; or
  // a device of torch.
  std::string device = "cpu";
  Precision precision = Precision::kModel;
  std::int64_t block = 0;  // number of centers evaluated at once, which limits the memory; 0: as
                           // many as fit into the memory of a workstation
  int n_threads = 0;       // threads of torch, if it is used; 0: unchanged
  int process = 0;         // index of the process on its node; "cuda" without a number assigns the
                           // GPUs of the node to its processes in turn
  std::string sha256;      // required SHA-256 in hexadecimal; empty: any
  // Called if torch is needed: the device is not the CPU, or the file does not contain plain
  // weights. Empty: torch is not available.
  std::function<OpenScript()> find_torch;
};

class ExportedModel {
 public:
  // Reads the file once; checks its SHA-256, then the metadata, and then loads the model.
  // Throws ModelFileError; NeedsTorchError if the file needs torch and it is not available; Error
  // if the device needs torch, or the expected SHA-256 is not hexadecimal; std::exception if torch
  // cannot use the device.
  explicit ExportedModel(const std::string& path, const ModelOptions& options = {});

  const ModelMetadata& metadata() const { return metadata_; }
  const std::string& metadata_json() const { return json_; }
  // SHA-256 of the bytes that the model was read from, in hexadecimal.
  const std::string& sha256() const { return sha256_; }
  // Whether its networks compute in single precision.
  bool is_single() const { return single_; }

  // Energy of an atom without neighbors, averaged over the members: [n_species] eV.
  // Throws std::exception if the model fails.
  std::vector<double> free_atom_energies();

  // Largest Network::exchange_width of all members.
  std::int64_t exchange_width() const;

  // Returns the mean over the members. `each_member` is called with the results of each of them,
  // which are discarded afterwards. The uncertainty is included if the graph requests it and the
  // file has it. Collective, once per member; see Network::evaluate.
  // Throws MemoryError if there is not enough memory; std::exception if the model fails.
  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange,
                      const std::function<void(const Evaluation&)>& each_member = {});

  // Reduced number of atoms evaluated at once, and of atoms in a batch of structures, after memory
  // has run out; 0: it has not. For warnings to users.
  std::int64_t reduced_block() const;
  std::int64_t reduced_max_atoms() const { return reduced_max_atoms_; }
  void set_reduced_max_atoms(std::int64_t max_atoms) { reduced_max_atoms_ = max_atoms; }

  // The members as networks of a device; empty if the model does not run on a device.
  std::vector<DeviceRows*> on_device();
  const std::string& device() const { return device_; }
  int process() const { return process_; }

  // Evaluates the frame stored in the file and compares with its stored results. It also warms up
  // the model, so later evaluations are not slow.
  // Throws SelfTestError if a difference exceeds the tolerance of the file.
  void self_test();

 private:
  Evaluation evaluate_members(const AtomGraph& graph, GhostExchange& exchange,
                              const std::function<void(const Evaluation&)>& each_member);

  std::string path_;
  ModelMetadata metadata_;
  std::string json_;
  std::string sha256_;
  bool single_ = false;
  std::string device_;
  int process_ = 0;
  std::int64_t reduced_max_atoms_ = 0;
  std::vector<std::unique_ptr<Network>> members_;
};

}  // namespace ekd
