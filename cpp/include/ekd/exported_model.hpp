// A loaded file: one student or a committee of them, ready to evaluate the atoms of a process.
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
  // "cpu"; "cuda" or "cuda:N"; "emulated", which runs the kernels of devices on the CPU, for tests;
  // or a device of torch.
  std::string device = "cpu";
  Precision precision = Precision::kModel;
  std::int64_t block = 0;  // bounds the memory: so many centres are evaluated at a time; 0: as many
                           // as a workstation has room for
  int n_threads = 0;       // of torch, where it is used; 0: as it is set
  int process = 0;         // number among those of a computer, which share its GPUs: "cuda" without
                           // a number is theirs in turn
  std::string sha256;      // that the file must have, in hexadecimal; empty: any
  // Called where torch is needed: the device is not the CPU, or the file does not hold its weights
  // as plain numbers. Empty: torch is not here.
  std::function<OpenScript()> find_torch;
};

class ExportedModel {
 public:
  // Reads the file, once; checks its SHA-256, then the metadata, and then loads the model.
  // Throws ModelFileError, which is a NeedsTorchError if the file needs torch and it is not there;
  // Error if the device needs it, or the expected SHA-256 is not hexadecimal; std::exception if
  // torch cannot use the device.
  explicit ExportedModel(const std::string& path, const ModelOptions& options = {});

  const ModelMetadata& metadata() const { return metadata_; }
  const std::string& metadata_json() const { return json_; }
  // Of the bytes that the model was read from, in hexadecimal.
  const std::string& sha256() const { return sha256_; }
  // Whether its networks compute in single precision.
  bool is_single() const { return single_; }

  // What the model gives to an atom without neighbours, the mean over the members: [n_species] eV.
  // Throws std::exception if the model misbehaves.
  std::vector<double> free_atom_energies();

  // As Network::exchange_width, of all members.
  std::int64_t exchange_width() const;

  // The mean over the members. `each_member` is shown what every one of them finds, in turn; it
  // is forgotten afterwards. The uncertainty is there if the graph asks for it and the file has it.
  // Collective, once per member; see Network::evaluate.
  // Throws MemoryError if there is not enough memory; std::exception if the model misbehaves.
  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange,
                      const std::function<void(const Evaluation&)>& each_member = {});

  // Atoms that are evaluated at a time since memory has run out, and structures of a batch together
  // have no more than so many; 0: it never has. For those who tell the user.
  std::int64_t reduced_block() const;
  std::int64_t reduced_max_atoms() const { return reduced_max_atoms_; }
  void set_reduced_max_atoms(std::int64_t max_atoms) { reduced_max_atoms_ = max_atoms; }

  // Its members as networks of a device; none if it runs elsewhere.
  std::vector<DeviceRows*> on_device();
  const std::string& device() const { return device_; }
  int process() const { return process_; }

  // Evaluates the frame that the file carries and compares with the results beside it. It also
  // takes whatever is slow about a first evaluation.
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
