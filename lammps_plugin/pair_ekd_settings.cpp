// The keywords of pair_style ekd, in inputs and in restart files.
#include <algorithm>

#include "atom.h"
#include "comm.h"
#include "ekd/error.hpp"
#include "ekd/sha256.hpp"
#include "error.h"
#include "pair_ekd.h"
#include "text.h"
#include "utils.h"

using namespace LAMMPS_NS;

// Parses the keywords, with or without a model. Changes nothing, so that a failed command does not
// affect the style.
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

// ---- restart files --------------------------------------------------------------------------

namespace {

void write_string(FILE* file, const std::string& text) {
  const int length = static_cast<int>(text.size());
  fwrite(&length, sizeof length, 1, file);
  fwrite(text.data(), 1, length, file);
}

}  // namespace

// Read by rank 0, which has the file, and broadcast to the others.
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

static constexpr int kLengthOfBlock = 5;  // length of the first word in files without a count
static constexpr int kMostWords = 64;

// Writes the number of words, then keywords and values; the device is not stored.
void PairEKD::write_restart_settings(FILE* file) {
  std::vector<std::string> words{
      "block",           std::to_string(settings_.block),
      "committee_every", std::to_string(settings_.committee_every),
      "ghosts",          settings_.wide_ghosts ? "wide" : "staged",
      "precision",       settings_.precision,
      "self_test",       settings_.self_test ? "yes" : "no",
      "energy",          settings_.relative_energy ? "relative" : "total",
      "force_max",       ekd::format("{:.17g}", settings_.force_max)};
  // Without the keyword, older versions can still read the file.
  if (!settings_.sha256.empty()) words.insert(words.end(), {"sha256", settings_.sha256});
  const int n_words = static_cast<int>(words.size());
  fwrite(&n_words, sizeof n_words, 1, file);
  for (const std::string& word : words) write_string(file, word);
}

void PairEKD::read_restart_settings(FILE* file) {
  const int count = read_int(file, comm->me, world, error);
  std::vector<std::string> words;
  if (count == kLengthOfBlock) {
    // Old format without a count: ten words beginning with "block", and total energies.
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
  // Not fatal: a pair_coeff command can set the model.
  on_device_.reset();
  model_.reset();
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j) setflag[i][j] = 0;
  if (comm->me == 0)
    error->warning(FLERR,
                   ekd::format("pair_style ekd: {}; name the model with pair_coeff", problem));
}
