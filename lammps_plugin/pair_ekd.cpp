#include "pair_ekd.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "atom.h"
#include "comm.h"
#include "ekd/error.hpp"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "register.h"
#include "text.h"
#include "torch_loader.h"
#include "update.h"
#include "utils.h"

// The part of the class in citeme.h that is used here. An installed LAMMPS of 2026 lacks a header
// that citeme.h includes.
namespace LAMMPS_NS {
class CiteMe {
 public:
  void add(const std::string&);
};
}  // namespace LAMMPS_NS

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
  // Set again when the model is known. pair_style hybrid reads it before, see init_style.
  centroidstressflag = CENTROID_AVAIL;
  // The virial is always summed over pairs below: with newton on or off, under hybrid styles and
  // with pair_modify nofdotr.
  no_virial_fdotr_compute = 1;
  values_.fill(0.0);
  pvector = values_.data();  // nextra, the number of valid entries, depends on the model
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
  settings_are_known_ = false;
  const Settings settings = read_settings({arg, arg + narg});
  // The same style again with other keywords: apply them to the model.
  if (model_) {
    const std::string problem = set_up(settings, path_, names_);
    if (!problem.empty()) error->all(FLERR, ekd::format("pair_style ekd: {}", problem));
  }
  settings_ = settings;
  settings_are_known_ = true;
}

// pair_coeff * * student.pt O H; LAMMPS has checked the asterisks, see one_coeff.
void PairEKD::coeff(int narg, char** arg) {
  coefficients_are_known_ = false;
  if (narg < 3)
    error->all(FLERR,
               "pair_coeff for pair_style ekd reads: pair_coeff * * student.pt <element of "
               "type 1> <element of type 2> ... [EKD-PAIR-006]");
  if (!allocated) allocate();
  const std::string problem = set_up(settings_, arg[2], {arg + 3, arg + narg});
  if (!problem.empty()) error->all(FLERR, ekd::format("pair_style ekd: {}", problem));
  coefficients_are_known_ = true;
  describe();
}

// Loads a model and assigns its elements to atom types. Returns an error message, in which case
// nothing has changed, or an empty string.
std::string PairEKD::set_up(const Settings& settings, const std::string& path,
                            const std::vector<std::string>& names) {
  std::unique_ptr<ekd::ExportedModel> model;
  std::vector<double> free_atom_energies;
  std::string problem;
  try {
    model = open(settings, path);
    free_atom_energies = model->free_atom_energies();
  } catch (const std::exception& error) {
    problem = error.what();
  }
  problem = agree(problem);
  if (!problem.empty()) return problem;
  const auto& metadata = model->metadata();
  std::vector<std::int64_t> species;
  problem = map_types(metadata, path, names, species);
  if (!problem.empty()) return problem;

  on_device_.reset();
  lists_are_there_ = false;
  model_ = std::move(model);
  free_atom_energies_ = std::move(free_atom_energies);
  path_ = path;
  names_ = names;
  species_of_type_ = std::move(species);
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j)
      setflag[i][j] = species_of_type_[i] >= 0 && species_of_type_[j] >= 0;
  cutoff_ = metadata.cutoff;
  told_energy_ = std::numeric_limits<double>::quiet_NaN();
  told_block_ = 0;

  // LAMMPS uses these once for its buffer sizes. Two numbers identify the owner of a ghost; with
  // newton off, forces, virials and centroid virials of ghosts are returned in one row; forces of
  // all members of a committee are returned together.
  const int widest = std::max(2, static_cast<int>(model_->exchange_width()));
  comm_forward = widest;
  comm_reverse = widest;
  if (is_committee()) comm_reverse = std::max(widest, 3 * static_cast<int>(metadata.n_members));
  comm_reverse_off = std::max(comm_reverse, kGhostRow);
  // With one interaction, the energy of an atom depends only on its own pairs, so the contribution
  // of each atom is known, and thus the heat current. Otherwise, it also depends on pairs of other
  // atoms, and only sums of the virials below are meaningful.
  centroidstressflag = metadata.n_interactions == 1 ? CENTROID_AVAIL : CENTROID_NOTAVAIL;
  nextra = (is_committee() ? kSpreadValues : 0) + (has_uncertainty() ? kUncertaintyValues : 0);
  // A thermo column shows NaN, also as a sum over ranks, until a value has been evaluated.
  values_.fill(std::numeric_limits<double>::quiet_NaN());
  spread_exists_ = spread_is_current_ = uncertainty_is_current_ = false;

  close_ = ekd::CloseCounter(metadata);
  const auto n_rows = static_cast<std::size_t>(close_.n_species() * close_.n_species());
  first_close_.assign(n_rows, {});
  told_close_.assign(n_rows, false);
  told_unseen_pairs_ = false;
  n_watched_ = 0;
  return {};
}

// Shares an error message of any rank with all of them: a file may be missing on one node, or
// memory. If some ranks continued alone, they would wait for the others forever.
std::string PairEKD::agree(const std::string& problem) {
  int first = problem.empty() ? comm->nprocs : comm->me;
  int n_failed = problem.empty() ? 0 : 1;
  MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, world);
  MPI_Allreduce(MPI_IN_PLACE, &n_failed, 1, MPI_INT, MPI_SUM, world);
  if (n_failed == 0) return {};
  std::string text = problem;
  int length = static_cast<int>(text.size());
  MPI_Bcast(&length, 1, MPI_INT, first, world);
  text.resize(length);
  MPI_Bcast(text.data(), length, MPI_CHAR, first, world);
  if (n_failed < comm->nprocs)
    text += ekd::format(" (on {} of {} MPI ranks, the first is rank {})", n_failed, comm->nprocs,
                        first);
  return text;
}

std::unique_ptr<ekd::ExportedModel> PairEKD::open(const Settings& settings,
                                                  const std::string& path) {
  ekd::ModelOptions options;
  options.device = device_of(settings);
  if (settings.precision == "single") options.precision = ekd::Precision::kSingle;
  if (settings.precision == "double") options.precision = ekd::Precision::kDouble;
  options.block = settings.block;
  options.sha256 = settings.sha256;
  options.find_torch = ekd::load_torch;
  // Otherwise, torch would use all cores on every rank.
  options.n_threads = comm->nthreads;
  options.process = rank_on_computer();
  auto model = std::make_unique<ekd::ExportedModel>(path, options);
  if (settings.self_test) model->self_test();
  return model;
}

std::string PairEKD::map_types(const ekd::ModelMetadata& metadata, const std::string& path,
                               const std::vector<std::string>& names,
                               std::vector<std::int64_t>& species) {
  std::string known;
  for (const auto& element : metadata.elements) known += (known.empty() ? "" : " ") + element;
  if (static_cast<int>(names.size()) != atom->ntypes)
    return ekd::format(
        "pair_coeff names {} element(s), but there are {} atom types; name one element per type, "
        "of those in '{}': {} [EKD-PAIR-007]",
        names.size(), atom->ntypes, path, known);
  species.assign(atom->ntypes + 1, -1);
  for (int type = 1; type <= atom->ntypes; ++type) {
    const std::string& name = names[type - 1];
    if (name == "NULL") continue;
    species[type] = metadata.species_of(name);
    if (species[type] < 0)
      return ekd::format(
          "pair_coeff gives atom type {} the element '{}', which is not in the model '{}'; it "
          "knows: {} [EKD-PAIR-008]",
          type, name, path, known);
  }
  return {};
}

// Logs the model in one line.
void PairEKD::describe() {
  if (comm->me != 0) return;
  const auto& metadata = model_->metadata();
  std::string types;
  for (int type = 1; type <= atom->ntypes; ++type)
    types += ekd::format(" {}={}", type, names_[type - 1]);
  utils::logmesg(
      lmp, ekd::format(
               "pair_style ekd: model {} (ekd {}), {} student(s), types{}, cutoff {} Angstrom, "
               "{} interaction(s), {} (precision {}), device {}, {} MPI rank(s) x {} thread(s)\n",
               path_, metadata.ekd_version, metadata.n_members, types, metadata.cutoff,
               metadata.n_interactions, metadata.dtype, settings_.precision, device_of(settings_),
               comm->nprocs, comm->nthreads));
}

// Index of this rank among those of this replica on this node, which share its GPUs.
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
    error->all(
        FLERR,
        ekd::format("pair_style ekd needs units metal or units real, found units {} [EKD-PAIR-011]",
                    units));
  if (!settings_are_known_)
    error->all(FLERR,
               "The last pair_style ekd command failed, and its keywords are not in effect; repeat "
               "it, corrected, before the run [EKD-PAIR-009]");
  if (!coefficients_are_known_)
    error->all(
        FLERR,
        "All pair coeffs are not set: pair_style ekd has no model, or its last pair_coeff "
        "command failed; give a pair_coeff command that succeeds before the run [EKD-PAIR-010]");
  owners_known_ = false;
  lists_are_there_ = false;
  energy_unit_ =
      units == "metal" ? 1.0 : utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  energy_zero_.assign(atom->ntypes + 1, 0.0);
  if (settings_.relative_energy)
    for (int type = 1; type <= atom->ntypes; ++type)
      if (species_of_type_[type] >= 0)
        energy_zero_[type] = energy_unit_ * free_atom_energies_[species_of_type_[type]];
  present_is_known_ = false;
  tell_energy_of_free_atoms();
  tell_unseen_pairs();
  if (settings_.wide_ghosts) {
    if (std::find(names_.begin(), names_.end(), "NULL") != names_.end())
      error->all(FLERR,
                 "pair_style ekd ghosts wide needs an element for every atom type, found "
                 "NULL on pair_coeff; use ghosts staged [EKD-PAIR-012]");
    comm->cutghostuser =
        std::max(comm->cutghostuser, model_->metadata().interaction_range + neighbor->skin);
  }
  neighbor->add_request(this, NeighConst::REQ_FULL);
  // Under pair_style hybrid, LAMMPS uses the buffer sizes of the parent style.
  if (force->pair != this) {
    force->pair->comm_forward = std::max(force->pair->comm_forward, comm_forward);
    force->pair->comm_reverse = std::max(force->pair->comm_reverse, comm_reverse);
    force->pair->comm_reverse_off = std::max(force->pair->comm_reverse_off, comm_reverse_off);
    // The parent sums the centroid virials of its styles.
    if (centroidstressflag == CENTROID_NOTAVAIL)
      force->pair->centroidstressflag = CENTROID_NOTAVAIL;
  }
}

// Logged again at the start of a run if the sum has changed, as some fixes insert or delete atoms.
void PairEKD::tell_energy_of_free_atoms() {
  if (!settings_.relative_energy) return;
  double energy = 0.0;
  for (int i = 0; i < atom->nlocal; ++i) energy += energy_zero_[atom->type[i]];
  MPI_Allreduce(MPI_IN_PLACE, &energy, 1, MPI_DOUBLE, MPI_SUM, world);
  if (std::abs(energy - told_energy_) <= 1e-9 * std::abs(energy)) return;
  told_energy_ = energy;
  if (comm->me == 0)
    utils::logmesg(
        lmp,
        ekd::format("pair_style ekd: energies are relative to free atoms; their sum is {:.10g} {}, "
                    "which 'pair_style ekd energy total' includes\n",
                    energy, energy_unit_ == 1.0 ? "eV" : "kcal/mol"));
}

double PairEKD::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, ekd::format("All pair coeffs are not set: pair_style ekd has no element for "
                                  "type {} or {} [EKD-PAIR-010]",
                                  i, j));
  return cutoff_;
}

double PairEKD::memory_usage() {
  double bytes = Pair::memory_usage();
  bytes += static_cast<double>(atoms_.neighbors.capacity_in_bytes() +
                               atoms_.pair_vectors.capacity_in_bytes());
  bytes += static_cast<double>(
      (atoms_.species.capacity() + atoms_.offsets.capacity() + owners_.capacity()) *
      sizeof(std::int64_t));
  bytes += static_cast<double>(ghost_rows_.capacity() * sizeof(double));
  bytes += static_cast<double>(candidates_.capacity() * sizeof(int));
  return bytes + spread_.memory_usage() +
         static_cast<double>((forces_std_.capacity() + uncertainty_.capacity()) * sizeof(double));
}

void* ekd_create_pair(void* lmp) {
  return static_cast<Pair*>(new PairEKD(static_cast<LAMMPS*>(lmp)));
}
