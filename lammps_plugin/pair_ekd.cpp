#include "pair_ekd.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "atom.h"
#include "comm.h"
#include "ekd/error.hpp"
#include "ekd/neighbor_list.hpp"
#include "ekd/sha256.hpp"
#include "error.h"
#include "exceptions.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "register.h"
#include "text.h"
#include "torch_loader.h"
#include "update.h"
#include "utils.h"

// Of the class in citeme.h, what is used here. An installed LAMMPS of 2026 has that header without
// one that it includes.
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
  // Set anew when the model is known. pair_style hybrid asks before, see init_style.
  centroidstressflag = CENTROID_AVAIL;
  // The virial is summed over pairs below, in every case: with newton on or off, under hybrid
  // styles and with pair_modify nofdotr.
  no_virial_fdotr_compute = 1;
  values_.fill(0.0);
  pvector = values_.data();  // nextra, how many of them count, depends on the model
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

// What the keywords say, whether or not there is a model. Changes nothing: a command that fails
// leaves the style as it was.
PairEKD::Settings PairEKD::read_settings(const std::vector<std::string>& words) {
  Settings settings;
  for (std::size_t k = 0; k < words.size(); k += 2) {
    const std::string& keyword = words[k];
    const auto known = {"block",  "committee_every", "device",    "energy", "force_max",
                        "ghosts", "precision",       "self_test", "sha256"};
    if (std::find(known.begin(), known.end(), keyword) == known.end())
      error->all(
          FLERR,
          ekd::format(
              "Unknown pair_style ekd keyword '{}'; the keywords are block, committee_every, "
              "device, energy, force_max, ghosts, precision, self_test and sha256 (the model file "
              "goes on pair_coeff) [EKD-PAIR-003]",
              keyword));
    if (k + 1 == words.size())
      error->all(FLERR, ekd::format("pair_style ekd keyword '{}' lacks its value [EKD-PAIR-004]",
                                    keyword));
    const std::string& value = words[k + 1];
    const auto one_of = [&](const std::string& first, const std::string& second) {
      if (value != first && value != second)
        error->all(FLERR, ekd::format("pair_style ekd {} is '{}', expected {} or {} [EKD-PAIR-005]",
                                      keyword, value, first, second));
      return value == first;
    };
    if (keyword == "energy") {
      settings.relative_energy = one_of("relative", "total");
    } else if (keyword == "ghosts") {
      settings.wide_ghosts = one_of("wide", "staged");
    } else if (keyword == "self_test") {
      settings.self_test = one_of("yes", "no");
    } else if (keyword == "precision") {
      if (value != "model") one_of("single", "double");
      settings.precision = value;
    } else if (keyword == "block") {
      settings.block = utils::inumeric(FLERR, value, false, lmp);
      if (settings.block < 0)
        error->all(
            FLERR,
            ekd::format("pair_style ekd block is {}, expected 0 (all atoms) or more [EKD-PAIR-005]",
                        value));
    } else if (keyword == "force_max") {
      settings.force_max = value == "none" ? 0.0 : utils::numeric(FLERR, value, false, lmp);
      if (!(settings.force_max >= 0.0))
        error->all(FLERR, ekd::format("pair_style ekd force_max is {}, expected a force in "
                                      "eV/Angstrom, or none [EKD-PAIR-005]",
                                      value));
    } else if (keyword == "committee_every") {
      settings.committee_every = utils::inumeric(FLERR, value, false, lmp);
      if (settings.committee_every < 0)
        error->all(FLERR, ekd::format("pair_style ekd committee_every is {}, expected a number of "
                                      "steps, or 0 (never) [EKD-PAIR-005]",
                                      value));
    } else if (keyword == "sha256") {
      try {
        settings.sha256 = ekd::parse_sha256(value);
      } catch (const ekd::Error& problem) {
        error->all(FLERR, ekd::format("pair_style ekd: {}", problem.what()));
      }
    } else {
      settings.device = value == "auto" ? "cpu" : value;
    }
  }
  return settings;
}

// pair_style ekd keyword value ...
void PairEKD::settings(int narg, char** arg) {
  settings_are_known_ = false;
  const Settings settings = read_settings({arg, arg + narg});
  // The same style again, with other keywords: the model is to follow them.
  if (model_) {
    const std::string problem = set_up(settings, path_, names_);
    if (!problem.empty()) error->all(FLERR, ekd::format("pair_style ekd: {}", problem));
  }
  settings_ = settings;
  settings_are_known_ = true;
}

// pair_coeff * * student.pt O H; LAMMPS has seen to the asterisks, see one_coeff.
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

// Loads a model and gives each atom type an element of it. Returns what is wrong, and then has
// changed nothing; or nothing.
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

  // LAMMPS sizes its buffers once, by these. Two numbers tell a ghost's owner; with newton off,
  // forces, virials and centroid virials of ghosts return in one row; forces of a committee return
  // side by side.
  const int widest = std::max(2, static_cast<int>(model_->exchange_width()));
  comm_forward = widest;
  comm_reverse = widest;
  if (is_committee()) comm_reverse = std::max(widest, 3 * static_cast<int>(metadata.n_members));
  comm_reverse_off = std::max(comm_reverse, kGhostRow);
  // The energy of an atom depends on its own pairs alone if there is one interaction: then what
  // each atom does to it is known, and so is the heat current. Otherwise an atom's energy feels
  // pairs of other atoms, and only sums of the virials below mean something.
  centroidstressflag = metadata.n_interactions == 1 ? CENTROID_AVAIL : CENTROID_NOTAVAIL;
  nextra = (is_committee() ? kSpreadValues : 0) + (has_uncertainty() ? kUncertaintyValues : 0);
  // A thermo column of something that was never evaluated shows it. The sum over ranks is NaN.
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

// What is wrong on any rank, for all of them: a file may be missing on one computer, or memory. If
// one rank went on alone, the others would wait for it forever.
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
  // torch would otherwise take every core on every rank.
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

// One line, so that a log file says which model made it.
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

// Number of this rank among those of this replica on this computer, which share its GPUs.
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
  // Under pair_style hybrid, LAMMPS sizes the buffers by those of the parent.
  if (force->pair != this) {
    force->pair->comm_forward = std::max(force->pair->comm_forward, comm_forward);
    force->pair->comm_reverse = std::max(force->pair->comm_reverse, comm_reverse);
    force->pair->comm_reverse_off = std::max(force->pair->comm_reverse_off, comm_reverse_off);
    // It has what its styles have, and gathers their centroid virials.
    if (centroidstressflag == CENTROID_NOTAVAIL)
      force->pair->centroidstressflag = CENTROID_NOTAVAIL;
  }
}

// Written again at the start of a run if the sum has changed: some fixes insert and delete atoms.
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

// The lists are new: whether LAMMPS has left out pairs that the model needs.
void PairEKD::check_pairs_are_complete() {
  // Exclusions may have come with fixes (fix gcmc), after init_style.
  if (settings_.wide_ghosts && (neighbor->exclude != 0 || neighbor->includegroup != 0))
    error->all(
        FLERR,
        ekd::format(
            "pair_style ekd ghosts wide finds its own neighbors and cannot apply neigh_modify {}, "
            "which this input or one of its fixes uses; use ghosts staged [EKD-PAIR-013]",
            neighbor->exclude != 0 ? "exclude" : "include"));
  // With wide ghosts the pairs come from a list of our own, which removes none.
  if (atom->molecular != Atom::ATOMIC && !settings_.wide_ghosts) check_special_pairs();
}

// LAMMPS removes pairs of bonded atoms if both their factors are zero, unless a kspace style needs
// these pairs. That is an error only if both atoms of such a pair belong to the model. Collective,
// so that one message names the pair with the smallest tag, whatever rank owns it.
void PairEKD::check_special_pairs() {
  const int* const flag = neighbor->special_flag;
  if (flag[1] != 0 && flag[2] != 0 && flag[3] != 0) return;
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::int64_t first = kNone, partner = 0;  // tags; of molecule templates the partner stays 0
  for (int i = 0; i < atom->nlocal; ++i) {
    if (species_of_type_[atom->type[i]] < 0 || atom->tag[i] >= first) continue;
    if (atom->molecular == Atom::TEMPLATE) {
      if (atom->molindex[i] >= 0) first = atom->tag[i];
      continue;
    }
    const int* const ends = atom->nspecial[i];
    for (int n = 0; n < ends[2]; ++n) {
      const int kind = n < ends[0] ? 1 : n < ends[1] ? 2 : 3;
      if (flag[kind] != 0) continue;
      const int j = atom->map(atom->special[i][n]);
      if (j < 0 || species_of_type_[atom->type[j]] < 0) continue;
      first = atom->tag[i];
      partner = atom->tag[j];
      break;
    }
  }
  const std::int64_t own = first;
  MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT64_T, MPI_MIN, world);
  if (first == kNone) return;
  if (own != first) partner = 0;
  MPI_Allreduce(MPI_IN_PLACE, &partner, 1, MPI_INT64_T, MPI_MAX, world);

  std::array<double, 3> lj, coul;
  for (int k = 1; k <= 3; ++k) {
    lj[k - 1] = flag[k] == 0 ? 1e-30 : force->special_lj[k];
    coul[k - 1] = flag[k] == 0 ? 1e-30 : force->special_coul[k];
  }
  const auto words = [](const std::array<double, 3>& f) {
    return ekd::format("{:.6g} {:.6g} {:.6g}", f[0], f[1], f[2]);
  };
  const std::string advice = lj == coul ? "special_bonds lj/coul " + words(lj)
                                        : "special_bonds lj " + words(lj) + " coul " + words(coul);
  const std::string atoms =
      partner == 0 ? std::string() : ekd::format(", such as {} and {}", first, partner);
  error->all(
      FLERR,
      ekd::format("pair_style ekd needs all neighbors, but special_bonds removes pairs of bonded "
                  "atoms{}; use '{}', which keeps them in the list and changes no energy of other "
                  "styles [EKD-PAIR-014]",
                  atoms, advice));
}

double PairEKD::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, ekd::format("All pair coeffs are not set: pair_style ekd has no element for "
                                  "type {} or {} [EKD-PAIR-010]",
                                  i, j));
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

// Read by rank 0, the only one that has the file, and sent to the others.
static int read_int(FILE* file, int me, MPI_Comm world, Error* error) {
  int number = 0;
  if (me == 0) utils::sfread(FLERR, &number, sizeof number, 1, file, nullptr, error);
  MPI_Bcast(&number, 1, MPI_INT, 0, world);
  return number;
}

static std::string read_text(int length, FILE* file, int me, MPI_Comm world, Error* error) {
  std::string text(length, ' ');
  if (me == 0) utils::sfread(FLERR, text.data(), 1, length, file, nullptr, error);
  MPI_Bcast(text.data(), length, MPI_CHAR, 0, world);
  return text;
}

static std::string read_string(FILE* file, int me, MPI_Comm world, Error* error) {
  constexpr int kLongest = 65536;
  const int length = read_int(file, me, world, error);
  if (length < 0 || length > kLongest)
    error->all(FLERR,
               ekd::format("pair_style ekd: the restart file holds a text of {} bytes, expected up "
                           "to {}; it is damaged, or of another version of ekd [EKD-PAIR-015]",
                           length, kLongest));
  return read_text(length, file, me, world, error);
}

static constexpr int kLengthOfBlock = 5;  // of the first word in files without a count
static constexpr int kMostWords = 64;

// The number of words, then keywords and values; device is chosen anew.
void PairEKD::write_restart_settings(FILE* file) {
  std::vector<std::string> words{
      "block",           std::to_string(settings_.block),
      "committee_every", std::to_string(settings_.committee_every),
      "ghosts",          settings_.wide_ghosts ? "wide" : "staged",
      "precision",       settings_.precision,
      "self_test",       settings_.self_test ? "yes" : "no",
      "energy",          settings_.relative_energy ? "relative" : "total",
      "force_max",       ekd::format("{:.17g}", settings_.force_max)};
  // Versions without the keyword go on reading the files of those who do not use it.
  if (!settings_.sha256.empty()) words.insert(words.end(), {"sha256", settings_.sha256});
  const int n_words = static_cast<int>(words.size());
  fwrite(&n_words, sizeof n_words, 1, file);
  for (const std::string& word : words) write_string(file, word);
}

void PairEKD::read_restart_settings(FILE* file) {
  const int count = read_int(file, comm->me, world, error);
  std::vector<std::string> words;
  if (count == kLengthOfBlock) {
    // Before there was a count, ten words began with "block", and energies were total.
    words.push_back(read_text(count, file, comm->me, world, error));
    while (words.size() < 10) words.push_back(read_string(file, comm->me, world, error));
    words.insert(words.end(), {"energy", "total"});
  } else if (count >= 0 && count <= kMostWords && count % 2 == 0) {
    for (int k = 0; k < count; ++k) words.push_back(read_string(file, comm->me, world, error));
  } else {
    error->all(
        FLERR,
        ekd::format("pair_style ekd: the restart file holds {} words of settings, expected an even "
                    "number up to {}; it is damaged, or of another version of ekd [EKD-PAIR-015]",
                    count, kMostWords));
  }
  std::vector<char*> arguments;
  arguments.reserve(words.size());
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
  if (!allocated) allocate();
  std::string problem = set_up(settings_, path, names);
  if (problem.empty() && model_->metadata().identity != identity)
    problem =
        ekd::format("'{}' is not the file that the restart was written with [EKD-PAIR-016]", path);
  coefficients_are_known_ = problem.empty();
  if (problem.empty()) {
    describe();
    return;
  }
  // Not the end: a pair_coeff command can name the model.
  on_device_.reset();
  model_.reset();
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j) setflag[i][j] = 0;
  if (comm->me == 0)
    error->warning(FLERR,
                   ekd::format("pair_style ekd: {}; name the model with pair_coeff", problem));
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

void* PairEKD::extract(const char* name, int& dimension) {
  dimension = 0;
  if (std::strcmp(name, "cutoff") == 0) return &cutoff_;
  if (std::strcmp(name, "forces_std_flag") == 0 && is_committee()) return &forces_std_flag_;
  if (std::strcmp(name, "uncertainty_flag") == 0 && has_uncertainty()) return &uncertainty_flag_;
  return nullptr;
}

// For fix pair, which asks once when it is defined, for the number of columns, and then for the
// values at its steps.
void* PairEKD::extract_peratom(const char* name, int& columns) {
  columns = 0;
  const bool uncertainty = std::strcmp(name, "uncertainty") == 0;
  if (!uncertainty && std::strcmp(name, "forces_std") != 0) return nullptr;
  if (!model_)
    error->all(
        FLERR,
        ekd::format(
            "pair_style ekd: {} needs the model; put pair_coeff before fix pair [EKD-PAIR-017]",
            name));
  if (uncertainty && !has_uncertainty())
    error->all(FLERR,
               ekd::format(
                   "pair_style ekd: '{}' has no uncertainty; distill the student from labels of at "
                   "least two teachers, with this version of ekd [EKD-PAIR-018]",
                   path_));
  if (!uncertainty && !is_committee())
    error->all(
        FLERR,
        ekd::format(
            "pair_style ekd: '{}' holds one student, and forces_std is the spread of several; "
            "write a committee with 'ekd committee' [EKD-PAIR-019]",
            path_));
  const bool running = update->whichflag != 0;
  if (running && !(uncertainty ? uncertainty_is_current_ : spread_is_current_))
    error->all(
        FLERR,
        ekd::format(
            "pair_style ekd: {} was not evaluated at step {}; use fix pair with '{} 1', which "
            "asks for it at its own steps [EKD-PAIR-020]",
            name, update->ntimestep, name));
  return uncertainty ? uncertainty_.data() : forces_std_.data();
}

// ---- a step ---------------------------------------------------------------------------------

// Calls `step`, whose errors become LAMMPS's.
template <class Step>
void PairEKD::run_model(const Step& step) {
  try {
    step();
  } catch (const LAMMPSException&) {  // it has been reported
    throw;
  } catch (const std::exception& problem) {
    std::string place;
    // The device does not say which atoms.
    if (is_on_device() && dynamic_cast<const ekd::StructureError*>(&problem) != nullptr) {
      each_listed_pair([this](int i, int j) {
        if (const double r = distance_of(i, j); r < ekd::kOverlapDistance) report_overlap(i, j, r);
      });
      place = ekd::format("; at step {} {}", update->ntimestep, closest_contact());
    }
    error->one(FLERR, ekd::format("pair_style ekd: the model cannot be evaluated: {}{}",
                                  problem.what(), place));
  }
}

void PairEKD::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (neighbor->ago == 0) check_pairs_are_complete();
  spread_is_current_ = spread_is_due();
  // Where LAMMPS asks for the energy, compute pair may ask for this.
  uncertainty_is_current_ = has_uncertainty() && (uncertainty_flag_ || eflag_global);
  begin_watching();
  if (is_on_device()) {
    run_model([this] { compute_on_device(); });
    // The pairs are not known here: lists are looked through when they are new, and when LAMMPS
    // wants the energy.
    is_watching_ = is_watching_ && (neighbor->ago == 0 || eflag_global);
    if (is_watching_) watch_list();
  } else {
    run_model([this] { compute_from_pairs(); });
    if (is_watching_ && settings_.wide_ghosts) watch_list();
  }
  tell_of_memory();
  n_watched_ += static_cast<std::int64_t>(is_watching_);
  check_results();
  if (is_watching_ && (neighbor->ago == 0 || eflag_global)) tell_close_pairs();
}

// Once for every block that the model has come to because memory ran out.
void PairEKD::tell_of_memory() {
  const std::int64_t block = model_->reduced_block();
  if (block == 0 || (told_block_ > 0 && block >= told_block_)) return;
  told_block_ = block;
  error->warning(
      FLERR, ekd::format(
                 "pair_style ekd: memory has run out at step {}; MPI rank {} goes on with {} atoms "
                 "at a time: use 'pair_style ekd block {}' from the start, or "
                 "more ranks",
                 update->ntimestep, comm->me, block, block));
}

void PairEKD::compute_from_pairs() {
  std::function<void(const ekd::Evaluation&)> each_member;
  if (spread_is_current_)
    each_member = [this](const ekd::Evaluation& found) {
      spread_.add(atoms_, sum_of_energies(found.atomic_energies.data()),
                  found.pair_gradients.data());
    };
  gather_species();
  if (settings_.wide_ghosts)
    gather_pairs_of_ghosts_too();
  else
    gather_pairs();
  if (spread_is_current_)
    spread_.begin(atoms_.species.size(), static_cast<int>(model_->metadata().n_members));
  ekd::AtomGraph graph = atoms_.graph();
  graph.with_uncertainty = uncertainty_is_current_;
  graph.n_threads = comm->nthreads;
  result_ = {};  // its memory serves what comes
  ekd::NoExchange nothing;
  result_ = atoms_.complete ? model_->evaluate(graph, nothing, each_member)
                            : model_->evaluate(graph, *this, each_member);
  tally_energies(result_.atomic_energies.data());
  tally_forces(result_.pair_gradients.data());
  if (spread_is_current_) tally_spread();
  if (uncertainty_is_current_) tally_uncertainty(result_.uncertainty.data());
}

// ---- the spread of a committee ----------------------------------------------------------------

bool PairEKD::is_committee() const { return model_ && model_->metadata().n_members > 1; }

// On the steps that the keyword names, on those for which fix pair asks, and at the start, so that
// there is always something to show.
bool PairEKD::spread_is_due() const {
  if (!is_committee()) return false;
  if (forces_std_flag_) return true;
  if (settings_.committee_every == 0) return false;
  return !spread_exists_ || update->ntimestep % settings_.committee_every == 0;
}

double PairEKD::sum_of_energies(const double* atomic_energies) const {
  double sum = 0.0;
  for (int i = 0; i < atom->nlocal; ++i)
    if (species_of_type_[atom->type[i]] >= 0) sum += atomic_energies[i];
  return sum;
}

// Spread of the force on every atom; for compute pair its maximum, its mean over the atoms that
// the model knows, and the spread of the energy.
void PairEKD::tally_spread() {
  // What ghosts feel belongs to their owners.
  if (shows_ghosts()) add_from_ghosts({spread_.forces().data(), spread_.width()});
  std::vector<double>& energies = spread_.energies();
  MPI_Allreduce(MPI_IN_PLACE, energies.data(), static_cast<int>(energies.size()), MPI_DOUBLE,
                MPI_SUM, world);

  forces_std_.assign(std::max(1, atom->nlocal), 0.0);  // never empty: its address is asked for
  for (int i = 0; i < atom->nlocal; ++i)
    if (species_of_type_[atom->type[i]] >= 0) forces_std_[i] = energy_unit_ * spread_.forces_std(i);
  const auto [largest, mean] = largest_and_mean(forces_std_);
  const double energy_std = energy_unit_ * spread_.energy_std();
  // compute pair adds up what the ranks have.
  const double share = comm->me == 0 ? 1.0 : 0.0;
  values_[0] = share * largest;
  values_[1] = share * mean;
  values_[2] = share * energy_std;
  spread_exists_ = true;
}

// Over all atoms that the model knows, of all ranks.
std::array<double, 2> PairEKD::largest_and_mean(const std::vector<double>& of_atoms) const {
  double largest = 0.0;
  double sum_and_count[2] = {0.0, 0.0};
  for (int i = 0; i < atom->nlocal; ++i) {
    if (species_of_type_[atom->type[i]] < 0) continue;
    largest = std::max(largest, of_atoms[i]);
    sum_and_count[0] += of_atoms[i];
    sum_and_count[1] += 1.0;
  }
  MPI_Allreduce(MPI_IN_PLACE, &largest, 1, MPI_DOUBLE, MPI_MAX, world);
  MPI_Allreduce(MPI_IN_PLACE, sum_and_count, 2, MPI_DOUBLE, MPI_SUM, world);
  return {largest, sum_and_count[1] > 0.0 ? sum_and_count[0] / sum_and_count[1] : 0.0};
}

// ---- the uncertainty that students have learned -----------------------------------------------

bool PairEKD::has_uncertainty() const { return model_ && model_->metadata().uncertainty; }

// Of a component of the force on every atom; for compute pair its maximum and its mean, after the
// spread if there is one. It is read from the features of owned atoms: nothing to exchange.
void PairEKD::tally_uncertainty(const double* uncertainty) {
  uncertainty_.assign(std::max(1, atom->nlocal), 0.0);  // never empty, as above
  for (int i = 0; i < atom->nlocal; ++i)
    if (species_of_type_[atom->type[i]] >= 0) uncertainty_[i] = energy_unit_ * uncertainty[i];
  const auto [largest, mean] = largest_and_mean(uncertainty_);
  const int first = is_committee() ? kSpreadValues : 0;
  const double share = comm->me == 0 ? 1.0 : 0.0;
  values_[first] = share * largest;
  values_[first + 1] = share * mean;
}

// ---- rows of ghosts, to and from their owners -----------------------------------------------

namespace {

template <class T>
void add_row(T* row, const double* buffer, int width) {
  for (int w = 0; w < width; ++w) {
    T number;  // the buffer holds what the row does, whatever its own type
    std::memcpy(&number, reinterpret_cast<const char*>(buffer) + w * sizeof(T), sizeof(T));
    row[w] += number;
  }
}

}  // namespace

void PairEKD::copy_to_ghosts(ekd::AtomRows rows) {
  send(rows);
  comm->forward_comm(this, room_);
}

void PairEKD::add_from_ghosts(ekd::AtomRows rows) {
  send(rows);
  comm->reverse_comm(this, room_);
}

// A buffer of LAMMPS counts in double: two floats take the place of one.
void PairEKD::send(const ekd::AtomRows& rows) {
  rows_ = rows;
  row_bytes_ = rows.width * (rows.is_single ? sizeof(float) : sizeof(double));
  room_ = static_cast<int>((row_bytes_ + sizeof(double) - 1) / sizeof(double));
}

char* PairEKD::row(int atom) { return static_cast<char*>(rows_.numbers) + atom * row_bytes_; }

int PairEKD::pack_forward_comm(int n, int* list, double* buffer, int, int*) {
  for (int k = 0; k < n; ++k) std::memcpy(buffer + k * room_, row(list[k]), row_bytes_);
  return n * room_;
}

void PairEKD::unpack_forward_comm(int n, int first, double* buffer) {
  for (int k = 0; k < n; ++k) std::memcpy(row(first + k), buffer + k * room_, row_bytes_);
}

int PairEKD::pack_reverse_comm(int n, int first, double* buffer) {
  for (int k = 0; k < n; ++k) std::memcpy(buffer + k * room_, row(first + k), row_bytes_);
  return n * room_;
}

void PairEKD::unpack_reverse_comm(int n, int* list, double* buffer) {
  for (int k = 0; k < n; ++k) {
    char* const to = row(list[k]);
    const int width = static_cast<int>(rows_.width);
    if (rows_.is_single)
      add_row(reinterpret_cast<float*>(to), buffer + k * room_, width);
    else
      add_row(reinterpret_cast<double*>(to), buffer + k * room_, width);
  }
}

void* ekd_create_pair(void* lmp) {
  return static_cast<Pair*>(new PairEKD(static_cast<LAMMPS*>(lmp)));
}
