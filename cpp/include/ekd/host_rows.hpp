// Interface to a model on an accelerator for MD engines with atoms in host memory: copies new data
// to the device, and requested results back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "ekd/exported_model.hpp"

namespace ekd {

// The atoms of a process and their neighbors, which change when neighbor lists are rebuilt.
struct HostRows {
  std::int64_t n_atoms = 0;      // including ghosts
  std::int64_t n_owned = 0;      // all are evaluated
  const int* species = nullptr;  // [n_atoms]; below 0: not an atom of the model
  const int* owners = nullptr;   // [n_atoms]; null: no atom is a copy
  // Neighbors of each owned atom; see DeviceAtoms.
  const int* counts = nullptr;       // [n_owned]
  const int* const* rows = nullptr;  // [n_owned], counts[i] indices each
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
  std::vector<double> virial;            // [6], see DeviceResults
  std::vector<double> atomic_virials;    // [n_atoms, 6], if requested, like the next two
  std::vector<double> centroid_virials;  // [n_atoms, 9]
  std::vector<double> uncertainty;       // [n_owned]
};

class HostRowsEvaluator {
 public:
  // The model must run on a device and outlive this object.
  explicit HostRowsEvaluator(ExportedModel& model);
  ~HostRowsEvaluator();

  void set_rows(const HostRows& rows);

  // positions: [n_atoms, 3], Å. Returns the mean over the members; `each_member` is called with the
  // energies and forces of each of them. Collective, once per member; see DeviceRows.
  // Throws as DeviceRows does.
  const HostResults& evaluate(const double* positions, const HostRequest& request,
                              GhostExchange& exchange,
                              const std::function<void(const HostResults&)>& each_member = {});

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ekd
