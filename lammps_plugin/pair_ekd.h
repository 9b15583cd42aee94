// pair_style ekd: molecular dynamics with an exported student. See docs/pair_ekd.md.

// Used by LAMMPS to register the style if it is compiled into LAMMPS.
#ifdef PAIR_CLASS
// clang-format off
PairStyle(ekd,PairEKD);
// clang-format on
#else

#ifndef LMP_PAIR_EKD_H
#define LMP_PAIR_EKD_H

#include <array>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "committee_spread.h"
#include "ekd/close_pairs.hpp"
#include "ekd/exported_model.hpp"
#include "ekd/host_rows.hpp"
#include "neighborhood.h"
#include "pair.h"

namespace LAMMPS_NS {

// Base class of ekd/kk for the package KOKKOS, see pair_ekd_kokkos.h.
class PairEKD : public Pair, protected ekd::GhostExchange {
 public:
  explicit PairEKD(class LAMMPS*);
  ~PairEKD() override;

  void settings(int, char**) override;
  void coeff(int, char**) override;
  void init_style() override;
  double init_one(int, int) override;
  void compute(int, int) override;
  void finish() override;

  void write_restart(FILE*) override;
  void read_restart(FILE*) override;
  void write_restart_settings(FILE*) override;
  void read_restart_settings(FILE*) override;
  double memory_usage() override;
  void* extract(const char*, int&) override;
  void* extract_peratom(const char*, int&) override;

  int pack_forward_comm(int, int*, double*, int, int*) override;
  void unpack_forward_comm(int, int, double*) override;
  int pack_reverse_comm(int, int, double*) override;
  void unpack_reverse_comm(int, int*, double*) override;

 protected:
  // Columns sent from ghosts to owners with newton off: force (3), virial (6), centroid virial (9).
  static constexpr int kVirialColumn = 3;
  static constexpr int kCentroidColumn = 9;
  static constexpr int kGhostRow = 18;

  bool is_needed() const override { return true; }
  void copy_to_ghosts(ekd::AtomRows rows) override;
  void add_from_ghosts(ekd::AtomRows rows) override;
  void send(const ekd::AtomRows& rows);
  char* row(int atom);

  // The keywords of pair_style.
  struct Settings {
    std::string device = "cpu";       // or a torch device
    std::string precision = "model";  // "single", "double", or precision of the file
    int block = 0;                    // atoms evaluated at once, 0: limited only by memory
    bool self_test = true;
    bool wide_ghosts = false;     // evaluate ghosts here instead of exchanging features
    bool relative_energy = true;  // energies relative to free atoms
    int committee_every = 1;      // steps between evaluations of the spread; 0: only on request
    std::string sha256;           // required SHA-256 of the model file; empty: any
    double force_max = 1000.0;    // eV/Å, largest force on an atom in a run; 0: any finite force
  };

  void allocate();
  Settings read_settings(const std::vector<std::string>& words);
  std::string set_up(const Settings& settings, const std::string& path,
                     const std::vector<std::string>& names);
  std::string agree(const std::string& problem);
  std::string map_types(const ekd::ModelMetadata& metadata, const std::string& path,
                        const std::vector<std::string>& names, std::vector<std::int64_t>& species);
  std::unique_ptr<ekd::ExportedModel> open(const Settings& settings, const std::string& path);
  virtual std::string device_of(const Settings& settings) const { return settings.device; }
  void describe();
  void tell_energy_of_free_atoms();
  void check_pairs_are_complete();
  void check_special_pairs();
  int rank_on_computer();
  bool shows_ghosts() const;
  bool has_features() const;
  void find_owners();
  void gather_species();
  void gather_pairs();
  std::int64_t drop_unknown(std::int64_t* neighbors, double* vectors, std::int64_t n) const;
  void gather_pairs_of_ghosts_too();
  void tally_energies(const double* atomic_energies);
  void tally_forces(const double* pair_gradients);
  void add_forces(const double* pair_gradients);
  void bring_home(int width);
  bool is_on_device() const;
  void send_lists();
  virtual void compute_on_device();
  void tally_results(const ekd::HostResults& found);
  bool is_committee() const;
  bool spread_is_due() const;
  double sum_of_energies(const double* atomic_energies) const;
  void tally_spread();
  bool has_uncertainty() const;
  void tally_uncertainty(const double* uncertainty);
  std::array<double, 2> largest_and_mean(const std::vector<double>& of_atoms) const;
  [[noreturn]] void report_overlap(int i, int j, double distance);
  [[noreturn]] void report_energy(int i);

  // Checks during a run, see pair_ekd_checks.cpp.
  std::string name_of(int i) const;
  bool has_position(int i) const;
  double distance_of(int i, int j) const;
  virtual void each_listed_pair(const std::function<void(int, int)>& act);
  template <class Act>
  void each_pair_of_wide_ghosts(const Act& act);
  bool is_trial() const;
  double largest_sound_force() const;
  void check_results();
  virtual bool has_unsound_forces(double limit);
  virtual std::vector<double> own_forces();
  void report_forces(double limit);
  std::string closest_contact(int atom_index);
  std::string closest_contact();
  void tell_unseen_pairs();
  void begin_watching();
  void watch(int i, int j, double squared);
  virtual void watch_list();
  void tell_close_pairs();

  template <class Step>
  void run_model(const Step& step);
  void compute_from_pairs();
  void tell_of_memory();

  Settings settings_;
  // False after a command that failed. Such a command changes nothing, but a run is then refused.
  bool settings_are_known_ = false;
  bool coefficients_are_known_ = false;
  std::string path_;
  std::vector<std::string> names_;  // element of each atom type, as on pair_coeff
  std::unique_ptr<ekd::ExportedModel> model_;
  std::vector<double> free_atom_energies_;     // [n_species] eV
  std::vector<std::int64_t> species_of_type_;  // [ntypes + 1]; -1: another pair style's type
  double cutoff_ = 0.0;                        // Å
  double energy_unit_ = 1.0;                   // 1 eV in units of this run
  // Energy subtracted for an atom of each type: [ntypes + 1], units of this run.
  std::vector<double> energy_zero_;
  std::int64_t told_block_ = 0;  // reduced block that was logged, after memory has run out
  double told_energy_;           // energy of free atoms that was logged; NaN: none

  ekd::Neighborhood atoms_;           // kept between steps to reuse its memory
  ekd::Evaluation result_;            // of the last step, kept for the same reason
  std::vector<std::int64_t> owners_;  // [n_all] atom that a ghost is an image of, or itself
  bool owners_known_ = false;
  // For models on a device; created when it is first needed.
  std::unique_ptr<ekd::HostRowsEvaluator> on_device_;
  bool lists_are_there_ = false;             // whether LAMMPS's lists are on the device
  const ekd::HostResults* found_ = nullptr;  // results of the last step on the device
  std::vector<double> ghost_rows_;           // forces and virials sent to owners, newton off
  // The spread of a committee: the last evaluation, and whether it is for the current atoms.
  ekd::CommitteeSpread spread_;
  std::vector<double> forces_std_;  // [nlocal], units of this run
  bool spread_exists_ = false;
  bool spread_is_current_ = false;
  int forces_std_flag_ = 0;  // set by fix pair on steps where it needs the spread
  // The uncertainty predicted by students, likewise.
  std::vector<double> uncertainty_;  // [nlocal], units of this run
  bool uncertainty_is_current_ = false;
  int uncertainty_flag_ = 0;
  // For compute pair, see set_up: three values of the spread, two of the uncertainty.
  std::array<double, 5> values_;
  static constexpr int kSpreadValues = 3;
  static constexpr int kUncertaintyValues = 2;

  // Pairs of atoms that are closer than in the training data.
  struct FirstClose {
    std::int64_t step = -1;  // -1: has not occurred
    std::int64_t tags[2] = {0, 0};
    double distance = 0.0;  // Å
  };
  ekd::CloseCounter close_;
  std::vector<FirstClose> first_close_;  // for each pair of elements
  std::vector<bool> told_close_;         // for each pair of elements: whether reported
  bool told_unseen_pairs_ = false;
  bool present_is_known_ = false;  // whether the elements on this rank are known
  bool is_watching_ = false;       // whether pairs are checked in this evaluation
  std::int64_t n_watched_ = 0;     // number of checked evaluations
  std::vector<int> candidates_;    // of one atom: indices of neighbors within reach

  ekd::AtomRows rows_{static_cast<double*>(nullptr), 0};  // rows being exchanged
  std::size_t row_bytes_ = 0;                             // size of a row
  int room_ = 0;                                          // size of a row in a buffer, in doubles
};

}  // namespace LAMMPS_NS

#endif
#endif
