// pair_style ekd: molecular dynamics with an exported student. See docs/pair_ekd.md.

// Where the style is compiled into LAMMPS, its table of styles comes from this.
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

// ekd/kk, for the package KOKKOS, is derived from it: see pair_ekd_kokkos.h.
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
  // What a ghost returns to its owner with newton off: force (3), virial (6), centroid virial (9).
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
    std::string precision = "model";  // "single", "double", or that of the file
    int block = 0;                    // atoms evaluated at a time, 0: as many as there is room for
    bool self_test = true;
    bool wide_ghosts = false;     // evaluate ghosts here instead of exchanging features
    bool relative_energy = true;  // to free atoms
    int committee_every = 1;      // steps between evaluations of the spread; 0: on request only
    double force_max = 1000.0;    // eV/Å, of an atom in a run; 0: any that is finite
  };

  void allocate();
  Settings read_settings(const std::vector<std::string>& words);
  std::string set_up(const Settings& settings, const std::string& path,
                     const std::vector<std::string>& names);
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

  // What is watched, see pair_ekd_checks.cpp.
  std::string name_of(int i) const;
  bool has_position(int i) const;
  double distance_of(int i, int j) const;
  virtual void each_listed_pair(const std::function<void(int, int)>& act);
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

  Settings settings_;
  // False after a command that failed. Nothing has changed then, but no run may follow as if it
  // had.
  bool settings_are_known_ = false;
  bool coefficients_are_known_ = false;
  std::string path_;
  std::vector<std::string> names_;  // element of each atom type, as on pair_coeff
  std::unique_ptr<ekd::ExportedModel> model_;
  std::vector<double> free_atom_energies_;     // [n_species] eV
  std::vector<std::int64_t> species_of_type_;  // [ntypes + 1]; -1: another pair style's type
  double cutoff_ = 0.0;                        // Å
  double energy_unit_ = 1.0;                   // eV in units of this run
  // What is taken off the energy of an atom of each type: [ntypes + 1], units of this run.
  std::vector<double> energy_zero_;
  double told_energy_;  // of free atoms, as the log has it; NaN: it has not

  ekd::Neighborhood atoms_;           // kept between steps: its memory is reused
  ekd::Evaluation result_;            // of the last step, for the same reason
  std::vector<std::int64_t> owners_;  // [n_all] atom in whose place a ghost stands, or itself
  bool owners_known_ = false;
  // Where the model runs on a device; there when it was first needed.
  std::unique_ptr<ekd::HostRowsEvaluator> on_device_;
  bool lists_are_there_ = false;             // those of LAMMPS
  const ekd::HostResults* found_ = nullptr;  // of the last step there
  std::vector<double> ghost_rows_;           // forces and virials on their way home, newton off
  // The spread of a committee: the last one that was evaluated, and whether it is of these atoms.
  ekd::CommitteeSpread spread_;
  std::vector<double> forces_std_;  // [nlocal], units of this run
  bool spread_exists_ = false;
  bool spread_is_current_ = false;
  int forces_std_flag_ = 0;  // set by fix pair on the steps whose spread it wants
  // The uncertainty that students have learned from their teachers, likewise.
  std::vector<double> uncertainty_;  // [nlocal], units of this run
  bool uncertainty_is_current_ = false;
  int uncertainty_flag_ = 0;
  // For compute pair, see set_up: of the spread three values, of the uncertainty two.
  std::array<double, 5> values_;
  static constexpr int kSpreadValues = 3;
  static constexpr int kUncertaintyValues = 2;

  // Pairs of atoms that are closer than in the training data.
  struct FirstClose {
    std::int64_t step = -1;  // it has not happened
    std::int64_t tags[2] = {0, 0};
    double distance = 0.0;  // Å
  };
  ekd::CloseCounter close_;
  std::vector<FirstClose> first_close_;  // of each pair of elements
  std::vector<bool> told_close_;         // likewise
  bool told_unseen_pairs_ = false;
  bool present_is_known_ = false;  // which elements there are on this rank
  bool is_watching_ = false;       // in this evaluation
  std::int64_t n_watched_ = 0;     // evaluations
  std::vector<int> candidates_;    // of one atom: places of its neighbors within reach

  ekd::AtomRows rows_{static_cast<double*>(nullptr), 0};  // what is being exchanged
  std::size_t row_bytes_ = 0;                             // of an atom
  int room_ = 0;                                          // for it in a buffer, in doubles
};

}  // namespace LAMMPS_NS

#endif
#endif
