// pair_style ekd: molecular dynamics with an exported student. See docs/pair_ekd.md.
#pragma once

#include <memory>

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

  int pack_forward_comm(int, int*, double*, int, int*) override;
  void unpack_forward_comm(int, int, double*) override;
  int pack_reverse_comm(int, int, double*) override;
  void unpack_reverse_comm(int, int*, double*) override;

 private:
  void copy_to_ghosts(std::vector<double>& rows, int width) override;
  void add_from_ghosts(std::vector<double>& rows, int width) override;

  void allocate();
  void map_types(const std::string& path, int n_names, char** names);
  void describe(const std::string& path);
  void gather_pairs();
  void tally_energies(const std::vector<double>& atomic_energies);
  void tally_forces(const std::vector<double>& pair_gradients);
  [[noreturn]] void report_overlap(int i, int j, double distance);

  std::unique_ptr<ekd::Evaluator> model_;
  ekd::Neighborhood atoms_;                    // kept between steps: its memory is reused
  std::vector<std::int64_t> species_of_type_;  // [ntypes + 1]; -1: another pair style's type
  double energy_unit_ = 1.0;                   // eV in units of this run
  std::vector<double>* rows_ = nullptr;        // what is being exchanged, and its width
  int width_ = 0;
};

}  // namespace LAMMPS_NS
