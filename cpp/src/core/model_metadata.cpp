#include "ekd/model_metadata.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include "ekd/error.hpp"
#include "ekd/printable.hpp"
#include "json.hpp"

namespace ekd {
namespace {

// One key of the document. The format allows no others.
struct Field {
  const char* name;
  Json::Type type;
  int since = kOldestModelFormat;  // the first format with this key
};

constexpr Field kFields[] = {
    {"ekd_version", Json::Type::kString},     {"torch_version", Json::Type::kString},
    {"created_utc", Json::Type::kString},     {"model", Json::Type::kObject},
    {"units", Json::Type::kObject},           {"dtype", Json::Type::kString},
    {"elements", Json::Type::kArray},         {"atomic_numbers", Json::Type::kArray},
    {"cutoff", Json::Type::kFloat},           {"interaction_range", Json::Type::kFloat},
    {"n_interactions", Json::Type::kInteger}, {"feature_widths", Json::Type::kArray},
    {"n_members", Json::Type::kInteger},      {"uncertainty", Json::Type::kBoolean, 3},
    {"strictly_local", Json::Type::kBoolean}, {"energy_reference", Json::Type::kObject},
    {"provenance", Json::Type::kArray},       {"required_ops", Json::Type::kArray},
    {"self_test", Json::Type::kObject},
};

constexpr std::int64_t kLastElement = 118;

// Limits of a self-test. Current files have a few thousand pairs, and tolerances no larger than
// rounding errors of single precision.
constexpr double kMostSelfTestPairs = 1e7;
constexpr double kLargestTolerance = 1e-2;
// Sufficient for any description; a parsed document takes much more memory than its text.
constexpr std::size_t kMostBytes = std::size_t{16} << 20;

constexpr const char* kMend = "; export the model again with this version of ekd [EKD-MODEL-003]";

bool has_type(const Json& value, Json::Type type) {
  return type == Json::Type::kFloat ? value.is_number() : value.is(type);
}

class Reader {
 public:
  Reader(const Json& document, const std::string& source) : document_(document), source_(source) {}

  void check_keys(int format) const {
    if (!document_.is(Json::Type::kObject)) fail("the metadata is not a JSON object");
    for (const Field& field : kFields) {
      if (field.since > format) continue;
      const Json* const found = document_.find(field.name);
      if (found == nullptr) fail("the metadata lacks '" + std::string(field.name) + "'");
      if (!has_type(*found, field.type))
        fail("'" + std::string(field.name) + "' in the metadata has type " + found->type_name() +
             ", expected " + Json::name_of(field.type));
    }
    for (const auto& [key, value] : document_.members()) {
      const auto known = [&key = key, format](const Field& field) {
        return key == field.name && field.since <= format;
      };
      if (std::none_of(std::begin(kFields), std::end(kFields), known))
        fail("the metadata has the unknown key '" + printable(key) + "'");
    }
  }

  // Applies `read` to the value of a field.
  template <class Read>
  auto get(const char* name, const Read& read) const {
    try {
      return read(document_.at(name));
    } catch (const JsonError& error) {
      fail("'" + std::string(name) + "' in the metadata cannot be read (" + error.what() + ")");
    }
  }

  void require(bool condition, const std::string& message) const {
    if (!condition) fail(message);
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw ModelFileError("'" + source_ + "' is damaged: " + message + kMend);
  }

 private:
  const Json& document_;
  const std::string& source_;
};

int parse_format(const std::string& text, const std::string& source) {
  int format = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, format);
  if (error == std::errc() && stop == end && format > 0) return format;
  throw ModelFileError("'" + source + "' has the format number '" + printable(text) +
                       "', expected a positive integer" + kMend);
}

// Rows of three numbers.
std::vector<double> vectors(const Json& rows) {
  std::vector<double> values;
  for (const Json& row : rows.items()) {
    if (row.items().size() != 3) throw JsonError("found a row that does not have 3 numbers");
    for (const Json& value : row.items()) values.push_back(value.number());
  }
  return values;
}

std::array<double, 3> cross(const double* a, const double* b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

// Approximate upper bound of pairs, including images, in the neighbor list of a self-test.
double most_pairs(const SelfTest& test, double cutoff) {
  const auto n_atoms = static_cast<double>(test.species.size());
  double n_images = n_atoms;
  for (int d = 0; d < 3; ++d) {
    if (test.pbc[d] == 0) continue;
    const double* const a = test.cell.data() + 3 * ((d + 1) % 3);
    const double* const b = test.cell.data() + 3 * ((d + 2) % 3);
    const std::array<double, 3> normal = cross(a, b);
    double volume = 0.0, square = 0.0;
    for (int c = 0; c < 3; ++c) {
      volume += normal[c] * test.cell[3 * d + c];
      square += normal[c] * normal[c];
    }
    n_images *= 1.0 + 2.0 * cutoff * std::sqrt(square) / std::abs(volume);
  }
  return n_atoms * n_images;
}

SelfTest parse_self_test(const Json& frame, const ModelMetadata& metadata, const Reader& reader) {
  SelfTest test;
  std::vector<double> cell, virial;
  std::vector<bool> pbc;
  try {
    static constexpr std::string_view known_keys[] = {
        "atomic_numbers", "positions", "cell",        "pbc",       "energy",
        "forces",         "virial",    "uncertainty", "tolerance",
    };
    for (const auto& [key, value] : frame.members())
      reader.require(
          std::find(std::begin(known_keys), std::end(known_keys), key) != std::end(known_keys),
          "'self_test' in the metadata has the unknown key '" + printable(key) + "'");
    for (const Json& number : frame.at("atomic_numbers").items()) {
      const auto& known = metadata.atomic_numbers;
      const auto found = std::find(known.begin(), known.end(), number.integer());
      reader.require(found != known.end(), "the self-test has an element the model lacks");
      test.species.push_back(found - known.begin());
    }
    test.positions = vectors(frame.at("positions"));
    test.forces = vectors(frame.at("forces"));
    const Json* const uncertainty = frame.find("uncertainty");
    if (metadata.uncertainty || uncertainty != nullptr)
      test.uncertainty = frame.at("uncertainty").numbers();
    cell = vectors(frame.at("cell"));
    virial = vectors(frame.at("virial"));
    pbc = frame.at("pbc").booleans();
    test.energy = frame.at("energy").number();
    test.tolerance = frame.at("tolerance").number();
  } catch (const JsonError& error) {
    reader.fail(std::string("'self_test' in the metadata cannot be read (") + error.what() + ")");
  }
  const std::size_t n = 3 * test.species.size();
  const std::size_t n_uncertain = metadata.uncertainty ? test.species.size() : 0;
  reader.require(n > 0 && test.positions.size() == n && test.forces.size() == n &&
                     test.uncertainty.size() == n_uncertain && cell.size() == 9 &&
                     virial.size() == 9 && pbc.size() == 3,
                 "the arrays of 'self_test' in the metadata are inconsistent");
  reader.require(test.tolerance > 0.0 && test.tolerance <= kLargestTolerance,
                 "'tolerance' of 'self_test' in the metadata is not between 0 and 0.01");
  std::copy(cell.begin(), cell.end(), test.cell.begin());
  std::copy(pbc.begin(), pbc.end(), test.pbc.begin());
  // A cell without a volume is refused by the neighbor list, with its own message.
  const double n_pairs = most_pairs(test, metadata.cutoff);
  reader.require(!(n_pairs > kMostSelfTestPairs && std::isfinite(n_pairs)),
                 "'self_test' in the metadata has more pairs of atoms than a test needs: its cell "
                 "is too small for the cutoff, or it has too many atoms");
  return test;
}

// The shortest distances of one student: `closest_pairs` of its provenance.
std::vector<double> parse_closest_pairs(const Json& pairs, const ModelMetadata& metadata,
                                        const Reader& reader) {
  const auto n_species = static_cast<std::int64_t>(metadata.elements.size());
  std::vector<double> distances(n_species * n_species, -1.0);
  try {
    for (const Json& pair : pairs.items()) {
      const std::vector<std::string> elements = pair.at("elements").strings();
      std::int64_t species[2] = {-1, -1};
      for (std::size_t k = 0; k < std::min<std::size_t>(2, elements.size()); ++k)
        species[k] = metadata.species_of(elements[k]);
      reader.require(elements.size() == 2 && species[0] >= 0 && species[1] >= 0,
                     "'closest_pairs' in the provenance has a pair that is not of two elements of "
                     "the model");
      const bool is_there = pair.at("n_pairs").integer() > 0;
      const double distance =
          is_there ? pair.at("distance").number() : std::numeric_limits<double>::infinity();
      reader.require(is_there ? distance >= 0.0 && distance <= metadata.cutoff
                              : pair.at("distance").is(Json::Type::kNull),
                     "a distance of 'closest_pairs' in the provenance is not within the cutoff, or "
                     "is given for zero pairs");
      double& known = distances[species[0] * n_species + species[1]];
      reader.require(known < 0.0, "'closest_pairs' in the provenance has a pair of elements twice");
      known = distances[species[1] * n_species + species[0]] = distance;
    }
  } catch (const JsonError& error) {
    reader.fail(std::string("'closest_pairs' in the provenance cannot be read (") + error.what() +
                ")");
  }
  reader.require(std::all_of(distances.begin(), distances.end(), [](double d) { return d >= 0.0; }),
                 "'closest_pairs' in the provenance lacks a pair of elements");
  return distances;
}

// The largest for several students: below it, at least one of them has no training data.
std::vector<double> parse_training_distances(const Json& provenance, const ModelMetadata& metadata,
                                             const Reader& reader) {
  std::vector<double> distances;
  bool is_known = true;
  for (const Json& student : provenance.items()) {
    const Json* const pairs = student.find("closest_pairs");
    if (pairs == nullptr) {
      is_known = false;
      continue;
    }
    const std::vector<double> found = parse_closest_pairs(*pairs, metadata, reader);
    distances.resize(found.size(), 0.0);
    for (std::size_t k = 0; k < found.size(); ++k) distances[k] = std::max(distances[k], found[k]);
  }
  if (!is_known) distances.clear();
  return distances;
}

}  // namespace

std::int64_t ModelMetadata::species_of(const std::string& element) const {
  const auto found = std::find(elements.begin(), elements.end(), element);
  return found == elements.end() ? -1 : found - elements.begin();
}

ModelMetadata parse_model_metadata(const std::string& format_text, const std::string& text,
                                   const std::string& source) {
  const int format = parse_format(format_text, source);
  if (format > kModelFormat)
    throw ModelFileError("'" + source + "' has model format " + std::to_string(format) +
                         ", but ekd " EKD_VERSION " reads formats " +
                         std::to_string(kOldestModelFormat) + " to " +
                         std::to_string(kModelFormat) +
                         "; update ekd, or export the model with this version [EKD-MODEL-004]");
  if (format < kOldestModelFormat)
    throw ModelFileError(
        "'" + source + "' has model format " + std::to_string(format) +
        ", which ekd " EKD_VERSION
        " no longer reads; export the model again with this version of ekd [EKD-MODEL-004]");
  if (text.size() > kMostBytes)
    throw ModelFileError("'" + source + "' is damaged: its metadata take " +
                         std::to_string(text.size()) + " bytes, expected " +
                         std::to_string(kMostBytes) + " at most" + kMend);
  Json document;
  try {
    document = Json::parse(text);
  } catch (const JsonError& error) {
    throw ModelFileError("'" + source + "' is damaged: its metadata is not JSON (" + error.what() +
                         ")" + kMend);
  }
  const Reader reader(document, source);
  reader.check_keys(format);

  const auto string = [](const Json& value) { return value.string(); };
  const auto strings = [](const Json& value) { return value.strings(); };
  const auto number = [](const Json& value) { return value.number(); };
  const auto integer = [](const Json& value) { return value.integer(); };
  const auto boolean = [](const Json& value) { return value.boolean(); };
  const auto integers = [](const Json& value) { return value.integers(); };
  ModelMetadata metadata;
  metadata.ekd_version = reader.get("ekd_version", string);
  metadata.torch_version = reader.get("torch_version", string);
  metadata.dtype = reader.get("dtype", string);
  metadata.elements = reader.get("elements", strings);
  metadata.atomic_numbers = reader.get("atomic_numbers", integers);
  metadata.cutoff = reader.get("cutoff", number);
  metadata.interaction_range = reader.get("interaction_range", number);
  metadata.n_interactions = reader.get("n_interactions", integer);
  metadata.feature_widths = reader.get("feature_widths", integers);
  metadata.n_members = reader.get("n_members", integer);
  metadata.uncertainty = format >= 3 && reader.get("uncertainty", boolean);
  metadata.required_ops = reader.get("required_ops", strings);

  std::string units;
  for (const auto& [name, unit] : document.at("units").members())
    units += (units.empty() ? "" : ", ") + name + " " +
             (unit.is(Json::Type::kString) ? unit.string() : unit.type_name());
  reader.require(units == "length angstrom, energy eV" || units == "energy eV, length angstrom",
                 "units are '" + printable(units) + "', expected length angstrom, energy eV");
  reader.require(metadata.dtype == "float32" || metadata.dtype == "float64",
                 "dtype is '" + printable(metadata.dtype) + "', expected 'float32' or 'float64'");
  reader.require(!metadata.elements.empty(), "there are no elements");
  reader.require(metadata.elements.size() == metadata.atomic_numbers.size(),
                 "elements and atomic_numbers differ in length");
  for (auto number = metadata.atomic_numbers.begin(); number != metadata.atomic_numbers.end();
       ++number) {
    reader.require(*number >= 1 && *number <= kLastElement,
                   "the atomic number " + std::to_string(*number) + " is not an element");
    reader.require(std::find(metadata.atomic_numbers.begin(), number, *number) == number,
                   "the atomic number " + std::to_string(*number) + " occurs twice");
  }
  for (auto name = metadata.elements.begin(); name != metadata.elements.end(); ++name)
    reader.require(std::find(metadata.elements.begin(), name, *name) == name,
                   "the element '" + printable(*name) + "' occurs twice");
  reader.require(std::isfinite(metadata.cutoff) && metadata.cutoff > 0.0,
                 "the cutoff is not a positive number");
  reader.require(metadata.n_interactions >= 1, "n_interactions is below 1");
  reader.require(std::ssize(metadata.feature_widths) - 1 == metadata.n_interactions,
                 "feature_widths does not have n_interactions + 1 entries");
  reader.require(
      metadata.feature_widths.front() == static_cast<std::int64_t>(metadata.elements.size()),
      "the first of feature_widths is not the number of elements");
  reader.require(metadata.n_members >= 1, "n_members is below 1");
  reader.require(std::ssize(document.at("provenance").items()) == metadata.n_members,
                 "provenance does not have n_members entries");
  for (const Json& entry : document.at("provenance").items())
    reader.require(entry.is(Json::Type::kObject), "provenance has entries that are not objects");
  const auto& references = document.at("energy_reference").members();
  reader.require(references.size() == metadata.elements.size(),
                 "energy_reference does not have one energy for each element");
  for (const auto& [element, energy] : references)
    reader.require(metadata.species_of(element) >= 0 && energy.is_number(),
                   "energy_reference does not have one energy for each element");
  reader.require(document.at("strictly_local").boolean() == (metadata.n_interactions == 1),
                 "strictly_local contradicts n_interactions");
  const double reach = metadata.cutoff * static_cast<double>(metadata.n_interactions);
  reader.require(std::abs(metadata.interaction_range - reach) < 1e-9 * reach,
                 "interaction_range is not n_interactions times the cutoff");
  metadata.training_distances =
      parse_training_distances(document.at("provenance"), metadata, reader);
  metadata.self_test = parse_self_test(document.at("self_test"), metadata, reader);
  return metadata;
}

}  // namespace ekd
