#include "pair_ekd.h"

#include <cmath>
#include <cstring>

#include "atom.h"
#include "citeme.h"
#include "comm.h"
#include "ekd/error.hpp"
#include "ekd/neighbor_list.hpp"
#include "error.h"
#include "exceptions.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

using namespace LAMMPS_NS;

static const char kCite[] =
    "pair_style ekd: arXiv:2503.14293\n\n"
    "@misc{Matin2025,\n"
    " title = {Ensemble Knowledge Distillation for Machine Learning Interatomic Potentials},\n"
    " author = {Matin, Sakib and Shinkle, Emily and Pimonova, Yulia and Craven, Galen T. and "
    "Pachalieva, Aleksandra and Li, Ying Wai and Barros, Kipton and Lubbers, Nicholas},\n"
    " year = {2025},\n"
    " eprint = {2503.14293},\n"
    " archivePrefix = {arXiv}\n"
    "}\n\n";

PairEKD::PairEKD(LAMMPS* lmp) : Pair(lmp) {
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  // Energies of atoms depend on pairs beyond their own, so halves of pair virials are no centroid
  // virials.
  centroidstressflag = CENTROID_NOTAVAIL;
  // The virial is summed over pairs below, in every case: with newton on or off, under hybrid
  // styles and with pair_modify nofdotr.
  no_virial_fdotr_compute = 1;
  if (lmp->citeme) lmp->citeme->add(kCite);
}

PairEKD::~PairEKD() {
  if (copymode || !allocated) return;
  memory->destroy(setflag);
  memory->destroy(cutsq);
}

void PairEKD::allocate() {
  const int n = atom->ntypes;
  memory->create(setflag, n + 1, n + 1, "pair:setflag");
  memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
  for (int i = 1; i <= n; ++i)
    for (int j = i; j <= n; ++j) setflag[i][j] = 0;
  allocated = 1;
}

void PairEKD::settings(int narg, char** arg) {
  if (narg > 0)
    error->all(FLERR,
               "Unknown pair_style ekd argument '{}': the style takes none; the model file and the "
               "elements go on pair_coeff",
               arg[0]);
}

// pair_coeff * * student.pt O H; LAMMPS has seen to the asterisks, see one_coeff.
void PairEKD::coeff(int narg, char** arg) {
  if (narg < 3)
    error->all(FLERR,
               "pair_coeff for pair_style ekd reads: pair_coeff * * student.pt <element of "
               "type 1> <element of type 2> ...");
  if (!allocated) allocate();
  const std::string path = arg[2];
  try {
    model_ = std::make_unique<ekd::Evaluator>(path, comm->nthreads);
  } catch (const std::exception& problem) {
    error->all(FLERR, "pair_style ekd: {}", problem.what());
  }
  map_types(path, narg - 3, arg + 3);

  // LAMMPS sizes its buffers once, by these. Features enter every interaction but the first.
  int widest = 0;
  const auto& widths = model_->metadata().feature_widths;
  for (std::size_t k = 1; k + 1 < widths.size(); ++k)
    widest = std::max(widest, static_cast<int>(widths[k]));
  comm_forward = comm_reverse = comm_reverse_off = widest;
  describe(path);
}

void PairEKD::map_types(const std::string& path, int n_names, char** names) {
  const auto& metadata = model_->metadata();
  std::string known;
  for (const auto& element : metadata.elements) known += (known.empty() ? "" : " ") + element;
  if (n_names != atom->ntypes)
    error->all(FLERR,
               "pair_coeff for pair_style ekd names {} element(s), but there are {} atom types; "
               "name one element per type, of those in '{}': {}",
               n_names, atom->ntypes, path, known);
  species_of_type_.assign(atom->ntypes + 1, -1);
  for (int type = 1; type <= atom->ntypes; ++type) {
    const std::string name = names[type - 1];
    if (name == "NULL") continue;
    species_of_type_[type] = metadata.species_of(name);
    if (species_of_type_[type] < 0)
      error->all(FLERR,
                 "pair_coeff for pair_style ekd gives atom type {} the element '{}', which is not "
                 "in the model '{}'; it knows: {}",
                 type, name, path, known);
  }
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j)
      setflag[i][j] = species_of_type_[i] >= 0 && species_of_type_[j] >= 0;
}

// One line, so that a log file says which model made it.
void PairEKD::describe(const std::string& path) {
  if (comm->me != 0) return;
  const auto& metadata = model_->metadata();
  std::string types;
  for (int type = 1; type <= atom->ntypes; ++type)
    types += fmt::format(" {}={}", type,
                         species_of_type_[type] < 0 ? std::string("NULL")
                                                    : metadata.elements[species_of_type_[type]]);
  utils::logmesg(lmp,
                 "pair_style ekd: model {} (ekd {}), types{}, cutoff {} Angstrom, {} "
                 "interaction(s), {}, {} MPI rank(s) x {} thread(s)\n",
                 path, metadata.ekd_version, types, metadata.cutoff, metadata.n_interactions,
                 metadata.dtype, comm->nprocs, comm->nthreads);
}

void PairEKD::init_style() {
  const std::string units = update->unit_style;
  if (units != "metal" && units != "real")
    error->all(FLERR, "pair_style ekd needs units metal or units real, found units {}", units);
  energy_unit_ =
      units == "metal" ? 1.0 : utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  if (atom->natoms == 0)
    error->all(FLERR,
               "pair_style ekd: the system has no atoms; create or read some before the run");
  if (force->newton_pair == 0)
    error->all(FLERR, "pair_style ekd needs newton pair on, found it off; use newton on");
  if (atom->molecular != Atom::ATOMIC)
    for (int k = 1; k <= 3; ++k)
      if (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0)
        error->all(FLERR,
                   "pair_style ekd needs all neighbors, but special_bonds removes bonded pairs; "
                   "use special_bonds lj/coul 1 1 1");
  neighbor->add_request(this, NeighConst::REQ_FULL);
  // Under pair_style hybrid, LAMMPS sizes the buffers by those of the parent.
  if (force->pair != this) {
    force->pair->comm_forward = std::max(force->pair->comm_forward, comm_forward);
    force->pair->comm_reverse = std::max(force->pair->comm_reverse, comm_reverse);
    force->pair->comm_reverse_off = std::max(force->pair->comm_reverse_off, comm_reverse_off);
  }
}

double PairEKD::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR,
               "All pair coeffs are not set: pair_style ekd has no element for type {} or {}", i,
               j);
  return model_->metadata().cutoff;
}

void PairEKD::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  gather_pairs();
  ekd::Energies result;
  try {
    result = model_->evaluate(atoms_, *this);
  } catch (const LAMMPSException&) {  // from the communication: it has been reported
    throw;
  } catch (const std::exception& problem) {
    error->one(FLERR, "pair_style ekd: the model cannot be evaluated: {}", problem.what());
  }
  tally_energies(result.atomic_energies);
  tally_forces(result.pair_gradients);
}

// Species of all atoms, and the pairs of owned atoms within the cutoff, ascending by centre.
void PairEKD::gather_pairs() {
  const int n_local = atom->nlocal;
  const int n_all = n_local + atom->nghost;
  const double cutoff = model_->metadata().cutoff;
  double** x = atom->x;

  atoms_.n_local = n_local;
  atoms_.species.resize(n_all);
  // A type without an element takes part in no pair, so its species is never looked at.
  for (int i = 0; i < n_all; ++i)
    atoms_.species[i] = std::max<std::int64_t>(0, species_of_type_[atom->type[i]]);

  atoms_.centers.clear();
  atoms_.neighbors.clear();
  atoms_.pair_vectors.clear();
  int previous = -1;
  for (int ii = 0; ii < list->inum; ++ii) {
    const int i = list->ilist[ii];
    if (i < previous) error->one(FLERR, "pair_style ekd: the neighbor list is not in atom order");
    previous = i;
    if (species_of_type_[atom->type[i]] < 0) continue;
    for (int jj = 0; jj < list->numneigh[i]; ++jj) {
      const int j = list->firstneigh[i][jj] & NEIGHMASK;
      if (species_of_type_[atom->type[j]] < 0) continue;
      const double r[3] = {x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]};
      const double squared = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
      if (squared >= cutoff * cutoff) continue;
      if (squared < ekd::kOverlapDistance * ekd::kOverlapDistance)
        report_overlap(i, j, std::sqrt(squared));
      atoms_.centers.push_back(i);
      atoms_.neighbors.push_back(j);
      atoms_.pair_vectors.insert(atoms_.pair_vectors.end(), r, r + 3);
    }
  }
}

void PairEKD::report_overlap(int i, int j, double distance) {
  error->one(FLERR,
             "pair_style ekd: atoms {} and {} are {:.3g} Angstrom apart: they lie on top of each "
             "other; use delete_atoms overlap, or check the box and its boundaries",
             atom->tag[i], atom->tag[j], distance);
}

void PairEKD::tally_energies(const std::vector<double>& atomic_energies) {
  for (int ii = 0; ii < list->inum; ++ii) {
    const int i = list->ilist[ii];
    if (species_of_type_[atom->type[i]] < 0) continue;
    const double energy = energy_unit_ * atomic_energies[i];
    if (!std::isfinite(energy))
      error->one(FLERR,
                 "pair_style ekd: the energy of atom {} is not finite at step {}; atoms have come "
                 "too close or moved too far: minimize first, or use a smaller timestep",
                 atom->tag[i], update->ntimestep);
    if (eflag_global) eng_vdwl += energy;
    if (eflag_atom) eatom[i] += energy;
  }
}

// With g = dE/d(r_j - r_i):  f_i += g,  f_j -= g,  virial = -(r_j - r_i) g, half to each atom.
void PairEKD::tally_forces(const std::vector<double>& pair_gradients) {
  double** f = atom->f;
  for (std::size_t p = 0; p < atoms_.centers.size(); ++p) {
    const auto i = atoms_.centers[p];
    const auto j = atoms_.neighbors[p];
    const double* r = &atoms_.pair_vectors[3 * p];
    const double g[3] = {energy_unit_ * pair_gradients[3 * p],
                         energy_unit_ * pair_gradients[3 * p + 1],
                         energy_unit_ * pair_gradients[3 * p + 2]};
    for (int d = 0; d < 3; ++d) {
      f[i][d] += g[d];
      f[j][d] -= g[d];
    }
    if (!vflag_either) continue;
    const double v[6] = {-r[0] * g[0],
                         -r[1] * g[1],
                         -r[2] * g[2],
                         -0.5 * (r[0] * g[1] + r[1] * g[0]),
                         -0.5 * (r[0] * g[2] + r[2] * g[0]),
                         -0.5 * (r[1] * g[2] + r[2] * g[1])};
    if (vflag_global)
      for (int c = 0; c < 6; ++c) virial[c] += v[c];
    if (vflag_atom)
      for (int c = 0; c < 6; ++c) {
        vatom[i][c] += 0.5 * v[c];
        vatom[j][c] += 0.5 * v[c];
      }
  }
}

// ---- features of ghosts, and gradients back to their owners ---------------------------------

void PairEKD::copy_to_ghosts(std::vector<double>& rows, int width) {
  rows_ = &rows;
  width_ = width;
  comm->forward_comm(this, width);
}

void PairEKD::add_from_ghosts(std::vector<double>& rows, int width) {
  rows_ = &rows;
  width_ = width;
  comm->reverse_comm(this, width);
}

int PairEKD::pack_forward_comm(int n, int* list, double* buffer, int, int*) {
  for (int k = 0; k < n; ++k)
    std::memcpy(buffer + k * width_, rows_->data() + static_cast<std::size_t>(list[k]) * width_,
                width_ * sizeof(double));
  return n * width_;
}

void PairEKD::unpack_forward_comm(int n, int first, double* buffer) {
  std::memcpy(rows_->data() + static_cast<std::size_t>(first) * width_, buffer,
              static_cast<std::size_t>(n) * width_ * sizeof(double));
}

int PairEKD::pack_reverse_comm(int n, int first, double* buffer) {
  std::memcpy(buffer, rows_->data() + static_cast<std::size_t>(first) * width_,
              static_cast<std::size_t>(n) * width_ * sizeof(double));
  return n * width_;
}

void PairEKD::unpack_reverse_comm(int n, int* list, double* buffer) {
  for (int k = 0; k < n; ++k) {
    double* row = rows_->data() + static_cast<std::size_t>(list[k]) * width_;
    for (int w = 0; w < width_; ++w) row[w] += buffer[k * width_ + w];
  }
}

extern "C" __attribute__((visibility("default"))) void* ekd_create_pair(void* lmp) {
  return new PairEKD(static_cast<LAMMPS*>(lmp));
}
