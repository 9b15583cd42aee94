// pair_style ekd: molecular dynamics with an exported student. See docs/pair_ekd.md.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "evaluator.h"
#include "pair.h"

namespace LAMMPS_NS {

class PairEKD : public Pair, private ekd::GhostCommunication {
 public:
  explicit PairEKD(class LAMMPS*);
  ~PairEKD() override;

  void settings(int, char**) override;
  void coeff(int, char**) override;
  void init_style() override;
  double init_one(int, int) override;
  void compute(int, int) override;

  void write_restart(FILE*) override;
  void read_restart(FILE*) override;
  void write_restart_settings(FILE*) override;
  void read_restart_settings(FILE*) override;
  double memory_usage() override;
  void* extract(const char*, int&) override;

  int pack_forward_comm(int, int*, double*, int, int*) override;
  void unpack_forward_comm(int, int, double*) override;
  int pack_reverse_comm(int, int, double*) override;
  void unpack_reverse_comm(int, int*, double*) override;

 private:
  void copy_to_ghosts(std::vector<double>& rows, int width) override;
  void add_from_ghosts(std::vector<double>& rows, int width) override;

  void allocate();
  std::string set_up(const std::string& path, const std::vector<std::string>& names);
  std::string map_types(const std::vector<std::string>& names);
  void describe();
  int rank_on_computer();
  bool use_owners() const;
  void find_owners();
  void gather_species();
  void gather_pairs();
  void gather_pairs_of_ghosts_too();
  void tally_energies(const std::vector<double>& atomic_energies);
  void tally_forces(const std::vector<double>& pair_gradients);
  [[noreturn]] void report_overlap(int i, int j, double distance);

  ekd::EvaluatorOptions options_;
  bool wide_ghosts_ = false;  // evaluate ghosts here instead of exchanging features
  std::string path_;
  std::vector<std::string> names_;  // element of each atom type, as on pair_coeff
  std::unique_ptr<ekd::Evaluator> model_;
  std::vector<std::int64_t> species_of_type_;  // [ntypes + 1]; -1: another pair style's type
  double cutoff_ = 0.0;                        // Å
  double energy_unit_ = 1.0;                   // eV in units of this run

  ekd::Neighborhood atoms_;              // kept between steps: its memory is reused
  std::vector<double> owners_;           // [n_all] on one rank: whose image a ghost is
  std::vector<int> partners_;            // [n_pairs] neighbour in LAMMPS's count, ghosts included
  std::vector<double> ghost_rows_;       // forces and virials on their way home, newton off
  std::vector<double>* rows_ = nullptr;  // what is being exchanged, and its width
  int width_ = 0;
};

}  // namespace LAMMPS_NS
