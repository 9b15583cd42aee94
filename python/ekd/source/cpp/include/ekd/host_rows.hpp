// A model on an accelerator, for engines whose atoms lie in the memory of the host: what is new
// goes to the device, and what is asked for comes back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "ekd/exported_model.hpp"

namespace ekd {

// The atoms of a process and their neighbours, which change when lists are made anew.
struct HostRows {
  std::int64_t n_atoms = 0;      // with ghosts
  std::int64_t n_owned = 0;      // all of which are evaluated
  const int* species = nullptr;  // [n_atoms]; below 0: not an atom of the model
  const int* owners = nullptr;   // [n_atoms]; null: every atom stands for itself
  // Of each owned atom; see DeviceAtoms.
  const int* counts = nullptr;       // [n_owned]
  const int* const* rows = nullptr;  // [n_owned], of counts[i] numbers each
};

struct HostRequest {
  bool virial = false;
  bool atomic_virials = false;
  bool centroid_virials = false;
  bool uncertainty = false;
  double scale = 1.0;
};

struct HostResults {
  std::vector<double> energies;          // [n_owned]
  std::vector<double> forces;            // [n_atoms, 3]
  std::vector<double> virial;            // [6], as DeviceResults has it
  std::vector<double> atomic_virials;    // [n_atoms, 6], if asked for, as the next two
  std::vector<double> centroid_virials;  // [n_atoms, 9]
  std::vector<double> uncertainty;       // [n_owned]
};

class HostRowsEvaluator {
 public:
  // The model is the caller's, runs on a device and outlives this.
  explicit HostRowsEvaluator(ExportedModel& model);
  ~HostRowsEvaluator();

  void set_rows(const HostRows& rows);

  // positions: [n_atoms, 3], Å. The mean over the members; `each_member` is shown what every one
  // of them finds, energies and forces alone, in turn. Collective, once per member; see DeviceRows.
  // Throws as DeviceRows does.
  const HostResults& evaluate(const double* positions, const HostRequest& request,
                              GhostExchange& exchange,
                              const std::function<void(const HostResults&)>& each_member = {});

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ekd
