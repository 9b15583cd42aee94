#include "pair_ekd.h"

#include <algorithm>
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
  one_coeff = 1;
  manybody_flag = 1;
  // Set anew when the model is known.
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

// ---- commands -------------------------------------------------------------------------------

// pair_style ekd keyword value ...
void PairEKD::settings(int narg, char** arg) {
  options_ = {};
  options_.device = "auto";
  options_.n_threads = comm->nthreads;
  wide_ghosts_ = false;
  for (int k = 0; k < narg; k += 2) {
    const std::string keyword = arg[k];
    const auto known = {"block", "device", "ghosts", "precision", "self_test"};
    if (std::find(known.begin(), known.end(), keyword) == known.end())
      error->all(FLERR,
                 "Unknown pair_style ekd keyword '{}'; the keywords are block, device, ghosts, "
                 "precision and self_test (the model file goes on pair_coeff)",
                 keyword);
    if (k + 1 == narg) error->all(FLERR, "pair_style ekd keyword '{}' lacks its value", keyword);
    const std::string value = arg[k + 1];
    const auto one_of = [&](const std::string& first, const std::string& second) {
      if (value != first && value != second)
        error->all(FLERR, "pair_style ekd {} is '{}', expected {} or {}", keyword, value, first,
                   second);
      return value == first;
    };
    if (keyword == "ghosts") {
      wide_ghosts_ = one_of("wide", "staged");
    } else if (keyword == "self_test") {
      options_.self_test = one_of("yes", "no");
    } else if (keyword == "precision") {
      if (value != "model") one_of("single", "double");
      options_.precision = value;
    } else if (keyword == "block") {
      options_.block = utils::inumeric(FLERR, value, false, lmp);
      if (options_.block < 0)
        error->all(FLERR, "pair_style ekd block is {}, expected 0 (all atoms) or more", value);
    } else {
      options_.device = value;
    }
  }
  if (options_.device == "auto") options_.device = ekd::default_device(rank_on_computer());
  // The same style again, with other keywords: the model is to follow them.
  if (model_) {
    const std::string problem = set_up(path_, names_);
    if (!problem.empty()) error->all(FLERR, "pair_style ekd: {}", problem);
  }
}

// pair_coeff * * student.pt O H; LAMMPS has seen to the asterisks, see one_coeff.
void PairEKD::coeff(int narg, char** arg) {
  if (narg < 3)
    error->all(FLERR,
               "pair_coeff for pair_style ekd reads: pair_coeff * * student.pt <element of "
               "type 1> <element of type 2> ...");
  if (!allocated) allocate();
  const std::string problem = set_up(arg[2], {arg + 3, arg + narg});
  if (!problem.empty()) error->all(FLERR, "pair_style ekd: {}", problem);
  describe();
}

// Loads a model and gives each atom type an element of it. Returns what is wrong, or nothing.
std::string PairEKD::set_up(const std::string& path, const std::vector<std::string>& names) {
  path_ = path;
  try {
    model_ = std::make_unique<ekd::Evaluator>(path, options_);
  } catch (const std::exception& problem) {
    return problem.what();
  }
  const auto& metadata = model_->metadata();
  cutoff_ = metadata.cutoff;
  const std::string problem = map_types(names);
  if (!problem.empty()) return problem;
  names_ = names;

  // LAMMPS sizes its buffers once, by these. Features enter every interaction but the first; one
  // number tells a ghost's owner; with newton off, forces and virials of ghosts return in rows of
  // nine.
  int widest = 1;
  for (std::size_t k = 1; k + 1 < metadata.feature_widths.size(); ++k)
    widest = std::max(widest, static_cast<int>(metadata.feature_widths[k]));
  comm_forward = comm_reverse = widest;
  comm_reverse_off = std::max(widest, 9);
  // The energy of an atom depends on its own pairs alone if there is one interaction: then what
  // each atom does to it is known, and so is the heat current. Otherwise an atom's energy feels
  // pairs of other atoms, and only sums of the virials below mean something.
  centroidstressflag = metadata.n_interactions == 1 ? CENTROID_AVAIL : CENTROID_NOTAVAIL;
  return {};
}

std::string PairEKD::map_types(const std::vector<std::string>& names) {
  const auto& metadata = model_->metadata();
  std::string known;
  for (const auto& element : metadata.elements) known += (known.empty() ? "" : " ") + element;
  if (static_cast<int>(names.size()) != atom->ntypes)
    return fmt::format(
        "pair_coeff names {} element(s), but there are {} atom types; name one element per type, "
        "of those in '{}': {}",
        names.size(), atom->ntypes, path_, known);
  species_of_type_.assign(atom->ntypes + 1, -1);
  for (int type = 1; type <= atom->ntypes; ++type) {
    const std::string& name = names[type - 1];
    if (name == "NULL") continue;
    species_of_type_[type] = metadata.species_of(name);
    if (species_of_type_[type] < 0)
      return fmt::format(
          "pair_coeff gives atom type {} the element '{}', which is not in the model '{}'; it "
          "knows: {}",
          type, name, path_, known);
  }
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j)
      setflag[i][j] = species_of_type_[i] >= 0 && species_of_type_[j] >= 0;
  return {};
}

// One line, so that a log file says which model made it.
void PairEKD::describe() {
  if (comm->me != 0) return;
  const auto& metadata = model_->metadata();
  std::string types;
  for (int type = 1; type <= atom->ntypes; ++type)
    types += fmt::format(" {}={}", type, names_[type - 1]);
  utils::logmesg(lmp,
                 "pair_style ekd: model {} (ekd {}), types{}, cutoff {} Angstrom, {} "
                 "interaction(s), {} (precision {}), device {}, {} MPI rank(s) x {} thread(s)\n",
                 path_, metadata.ekd_version, types, metadata.cutoff, metadata.n_interactions,
                 metadata.dtype, options_.precision, options_.device, comm->nprocs, comm->nthreads);
}

// Ranks of this replica on this computer share its GPUs.
int PairEKD::rank_on_computer() {
  MPI_Comm computer;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &computer);
  int rank = 0;
  MPI_Comm_rank(computer, &rank);
  MPI_Comm_free(&computer);
  return rank;
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
  if (atom->molecular != Atom::ATOMIC)
    for (int k = 1; k <= 3; ++k)
      if (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0)
        error->all(FLERR,
                   "pair_style ekd needs all neighbors, but special_bonds removes bonded pairs; "
                   "use special_bonds lj/coul 1 1 1");
  if (wide_ghosts_) {
    if (std::find(names_.begin(), names_.end(), "NULL") != names_.end())
      error->all(FLERR,
                 "pair_style ekd ghosts wide needs an element for every atom type, found "
                 "NULL on pair_coeff; use ghosts staged");
    comm->cutghostuser =
        std::max(comm->cutghostuser, model_->metadata().interaction_range + neighbor->skin);
  }
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
  return cutoff_;
}

// ---- restart files --------------------------------------------------------------------------

namespace {

void write_string(FILE* file, const std::string& text) {
  const int length = static_cast<int>(text.size());
  fwrite(&length, sizeof length, 1, file);
  fwrite(text.data(), 1, length, file);
}

}  // namespace

// Strings are read by rank 0, the only one that has the file, and sent to the others.
static std::string read_string(FILE* file, int me, MPI_Comm world, Error* error) {
  int length = 0;
  if (me == 0) utils::sfread(FLERR, &length, sizeof length, 1, file, nullptr, error);
  MPI_Bcast(&length, 1, MPI_INT, 0, world);
  std::string text(length, ' ');
  if (me == 0) utils::sfread(FLERR, text.data(), 1, length, file, nullptr, error);
  MPI_Bcast(text.data(), length, MPI_CHAR, 0, world);
  return text;
}

void PairEKD::write_restart_settings(FILE* file) {
  const std::string block = std::to_string(options_.block);
  for (const std::string& text :
       {std::string("block"), block, std::string("ghosts"),
        std::string(wide_ghosts_ ? "wide" : "staged"), std::string("precision"), options_.precision,
        std::string("self_test"), std::string(options_.self_test ? "yes" : "no")})
    write_string(file, text);
}

void PairEKD::read_restart_settings(FILE* file) {
  std::vector<std::string> words;
  for (int k = 0; k < 8; ++k) words.push_back(read_string(file, comm->me, world, error));
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  settings(static_cast<int>(arguments.size()), arguments.data());
}

void PairEKD::write_restart(FILE* file) {
  write_restart_settings(file);
  write_string(file, path_);
  write_string(file, model_->metadata().identity);
  for (const std::string& name : names_) write_string(file, name);
}

void PairEKD::read_restart(FILE* file) {
  read_restart_settings(file);
  const std::string path = read_string(file, comm->me, world, error);
  const std::string identity = read_string(file, comm->me, world, error);
  std::vector<std::string> names;
  for (int type = 1; type <= atom->ntypes; ++type)
    names.push_back(read_string(file, comm->me, world, error));
  allocate();
  std::string problem = set_up(path, names);
  if (problem.empty() && model_->metadata().identity != identity)
    problem = fmt::format("'{}' is not the file that the restart was written with", path);
  if (problem.empty()) {
    describe();
    return;
  }
  // Not the end: a pair_coeff command can name the model.
  model_.reset();
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j) setflag[i][j] = 0;
  if (comm->me == 0)
    error->warning(FLERR, "pair_style ekd: {}; name the model with pair_coeff", problem);
}

double PairEKD::memory_usage() {
  double bytes = Pair::memory_usage();
  bytes += static_cast<double>(atoms_.species.capacity() + atoms_.centers.capacity() +
                               atoms_.neighbors.capacity()) *
           sizeof(std::int64_t);
  bytes +=
      static_cast<double>(atoms_.pair_vectors.capacity() + ghost_rows_.capacity()) * sizeof(double);
  return bytes;
}

void* PairEKD::extract(const char* name, int& dimension) {
  dimension = 0;
  return std::strcmp(name, "cutoff") == 0 ? &cutoff_ : nullptr;
}

// ---- a step ---------------------------------------------------------------------------------

void PairEKD::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  ekd::Energies result;
  try {
    gather_species();
    if (wide_ghosts_)
      gather_pairs_of_ghosts_too();
    else
      gather_pairs();
    result = model_->evaluate(atoms_, *this);
  } catch (const LAMMPSException&) {  // it has been reported
    throw;
  } catch (const std::exception& problem) {
    error->one(FLERR, "pair_style ekd: the model cannot be evaluated: {}", problem.what());
  }
  tally_energies(result.atomic_energies);
  tally_forces(result.pair_gradients);
}

// On one rank every ghost is the image of an atom that is evaluated anyway: the model is shown the
// atom itself, and neither evaluates nor exchanges anything for ghosts.
bool PairEKD::use_owners() const { return comm->nprocs == 1 && !wide_ghosts_; }

// Which atom a ghost is the image of changes when LAMMPS makes new ghosts, with its lists.
void PairEKD::find_owners() {
  const int n_all = atom->nlocal + atom->nghost;
  if (neighbor->ago != 0 && static_cast<int>(owners_.size()) == n_all) return;
  owners_.resize(n_all);
  for (int i = 0; i < atom->nlocal; ++i) owners_[i] = i;
  copy_to_ghosts(owners_, 1);
}

void PairEKD::gather_species() {
  const int n_all = use_owners() ? atom->nlocal : atom->nlocal + atom->nghost;
  atoms_.n_owned = atom->nlocal;
  atoms_.complete = wide_ghosts_ || use_owners();
  atoms_.species.resize(n_all);
  // A type without an element takes part in no pair, so its species is never looked at.
  for (int i = 0; i < n_all; ++i)
    atoms_.species[i] = std::max<std::int64_t>(0, species_of_type_[atom->type[i]]);
}

// The pairs of owned atoms within the cutoff, ascending by centre.
void PairEKD::gather_pairs() {
  double** x = atom->x;
  const bool owners = use_owners();
  if (owners) find_owners();
  atoms_.centers.clear();
  atoms_.neighbors.clear();
  atoms_.pair_vectors.clear();
  partners_.clear();
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
      if (squared >= cutoff_ * cutoff_) continue;
      if (squared < ekd::kOverlapDistance * ekd::kOverlapDistance)
        report_overlap(i, j, std::sqrt(squared));
      atoms_.centers.push_back(i);
      atoms_.neighbors.push_back(owners ? static_cast<std::int64_t>(owners_[j]) : j);
      partners_.push_back(j);
      atoms_.pair_vectors.insert(atoms_.pair_vectors.end(), r, r + 3);
    }
  }
}

// With wide ghosts, LAMMPS's list does not serve: ghosts have no neighbors in it, or, on request,
// some that ignore what was said about exclusions. Owned atoms and ghosts are a cluster of their
// own here, in which the outermost ghosts lack neighbors, but are too far away to matter.
void PairEKD::gather_pairs_of_ghosts_too() {
  const std::int64_t n_all = atom->nlocal + atom->nghost;
  const std::int64_t offsets[2] = {0, n_all};
  if (n_all == 0) {
    atoms_.centers.clear();
    atoms_.neighbors.clear();
    atoms_.pair_vectors.clear();
    partners_.clear();
    return;
  }
  ekd::StructureBatch cluster;
  cluster.n_structures = 1;
  cluster.offsets = offsets;
  cluster.positions = &atom->x[0][0];
  const ekd::NeighborList found = ekd::build_neighbor_list(cluster, cutoff_);
  atoms_.centers.assign(found.centers().begin(), found.centers().end());
  atoms_.neighbors.assign(found.neighbors().begin(), found.neighbors().end());
  atoms_.pair_vectors.assign(found.pair_vectors.begin(), found.pair_vectors.end());
  partners_.assign(found.neighbors().begin(), found.neighbors().end());
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

// With r = r_j - r_i and g = dE/dr:  f_i += g,  f_j -= g,  virial = -r g.
//
// Half of a pair's virial goes to each atom. The centroid virial goes to the neighbour alone: it
// is (r_j - r_i) F_j, where F_j = -g is what the energy of i, which sits at r_i, does to j.
// Fan et al., Phys. Rev. B 92, 094301 (2015), eq. 22; Surblys et al., Phys. Rev. E 99, 051301
// (2019).
void PairEKD::tally_forces(const std::vector<double>& pair_gradients) {
  const int n_local = atom->nlocal;
  double** f = atom->f;
  // With newton on, LAMMPS sends home what ghosts have gathered; with newton off, we do.
  constexpr int kWidth = 9;
  const bool own_rows = force->newton_pair == 0;
  if (own_rows) ghost_rows_.assign(static_cast<std::size_t>(n_local + atom->nghost) * kWidth, 0.0);

  for (std::size_t p = 0; p < atoms_.centers.size(); ++p) {
    const auto i = atoms_.centers[p];
    const auto j = partners_[p];
    const double* r = &atoms_.pair_vectors[3 * p];
    const double g[3] = {energy_unit_ * pair_gradients[3 * p],
                         energy_unit_ * pair_gradients[3 * p + 1],
                         energy_unit_ * pair_gradients[3 * p + 2]};
    double* row_i = own_rows && i >= n_local ? &ghost_rows_[i * kWidth] : nullptr;
    double* row_j = own_rows && j >= n_local ? &ghost_rows_[j * kWidth] : nullptr;
    double* force_i = row_i ? row_i : f[i];
    double* force_j = row_j ? row_j : f[j];
    for (int d = 0; d < 3; ++d) {
      force_i[d] += g[d];
      force_j[d] -= g[d];
    }
    if (!vflag_either && !cvflag_atom) continue;
    const double v[6] = {-r[0] * g[0],
                         -r[1] * g[1],
                         -r[2] * g[2],
                         -0.5 * (r[0] * g[1] + r[1] * g[0]),
                         -0.5 * (r[0] * g[2] + r[2] * g[0]),
                         -0.5 * (r[1] * g[2] + r[2] * g[1])};
    if (vflag_global)
      for (int c = 0; c < 6; ++c) virial[c] += v[c];
    if (vflag_atom) {
      double* virial_i = row_i ? row_i + 3 : vatom[i];
      double* virial_j = row_j ? row_j + 3 : vatom[j];
      for (int c = 0; c < 6; ++c) {
        virial_i[c] += 0.5 * v[c];
        virial_j[c] += 0.5 * v[c];
      }
    }
    if (cvflag_atom) {
      static constexpr int kFirst[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2};
      static constexpr int kSecond[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};
      for (int c = 0; c < 9; ++c) cvatom[j][c] -= r[kFirst[c]] * g[kSecond[c]];
    }
  }

  if (!own_rows) return;
  add_from_ghosts(ghost_rows_, kWidth);
  for (int i = 0; i < n_local; ++i) {
    const double* row = &ghost_rows_[static_cast<std::size_t>(i) * kWidth];
    for (int d = 0; d < 3; ++d) f[i][d] += row[d];
    if (vflag_atom)
      for (int c = 0; c < 6; ++c) vatom[i][c] += row[3 + c];
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
