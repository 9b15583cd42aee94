#include "ekd/model_metadata.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ekd/error.hpp"

namespace ekd {
namespace {

using nlohmann::json;

// One key of the document. The format knows these and no others.
struct Field {
  const char* name;
  json::value_t type;
  int since = kOldestModelFormat;  // the first format that has it
};

constexpr Field kFields[] = {
    {"ekd_version", json::value_t::string},
    {"torch_version", json::value_t::string},
    {"created_utc", json::value_t::string},
    {"model", json::value_t::object},
    {"units", json::value_t::object},
    {"dtype", json::value_t::string},
    {"elements", json::value_t::array},
    {"atomic_numbers", json::value_t::array},
    {"cutoff", json::value_t::number_float},
    {"interaction_range", json::value_t::number_float},
    {"n_interactions", json::value_t::number_integer},
    {"feature_widths", json::value_t::array},
    {"n_members", json::value_t::number_integer},
    {"uncertainty", json::value_t::boolean, 3},
    {"strictly_local", json::value_t::boolean},
    {"energy_reference", json::value_t::object},
    {"provenance", json::value_t::array},
    {"required_ops", json::value_t::array},
    {"self_test", json::value_t::object},
};

constexpr const char* kMend = "; export the model again with this version of ekd";

bool has_type(const json& value, json::value_t type) {
  if (type == json::value_t::number_float) return value.is_number();
  if (type == json::value_t::number_integer) return value.is_number_integer();
  return value.type() == type;
}

class Reader {
 public:
  Reader(const json& document, const std::string& source) : document_(document), source_(source) {}

  void check_keys(int format) const {
    if (!document_.is_object()) fail("the metadata is not a JSON object");
    for (const Field& field : kFields) {
      if (field.since > format) continue;
      const auto found = document_.find(field.name);
      if (found == document_.end()) fail("the metadata lacks '" + std::string(field.name) + "'");
      if (!has_type(*found, field.type))
        fail("'" + std::string(field.name) + "' in the metadata has type " + found->type_name() +
             ", expected " + json(field.type).type_name());
    }
    for (const auto& [key, value] : document_.items()) {
      const auto known = [&key = key, format](const Field& field) {
        return key == field.name && field.since <= format;
      };
      if (std::none_of(std::begin(kFields), std::end(kFields), known))
        fail("the metadata has the unknown key '" + key + "'");
    }
  }

  template <class T>
  T get(const char* name) const {
    try {
      return document_.at(name).get<T>();
    } catch (const json::exception& error) {
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
  const json& document_;
  const std::string& source_;
};

int parse_format(const std::string& text, const std::string& source) {
  try {
    std::size_t used = 0;
    const int format = std::stoi(text, &used);
    if (used == text.size() && format > 0) return format;
  } catch (const std::exception&) {  // reported below, with the text that was found
  }
  throw ModelFileError("'" + source + "' has the format number '" + text +
                       "', expected a positive integer" + kMend);
}

std::vector<double> flattened(const json& rows) {
  std::vector<double> values;
  for (const json& row : rows)
    for (const json& value : row) values.push_back(value.get<double>());
  return values;
}

SelfTest parse_self_test(const json& frame, const ModelMetadata& metadata, const Reader& reader) {
  SelfTest test;
  std::vector<double> cell;
  std::vector<bool> pbc;
  try {
    for (const json& number : frame.at("atomic_numbers")) {
      const auto& known = metadata.atomic_numbers;
      const auto found = std::find(known.begin(), known.end(), number.get<std::int64_t>());
      reader.require(found != known.end(), "the self-test has an element the model lacks");
      test.species.push_back(found - known.begin());
    }
    test.positions = flattened(frame.at("positions"));
    test.forces = flattened(frame.at("forces"));
    if (metadata.uncertainty) test.uncertainty = frame.at("uncertainty").get<std::vector<double>>();
    cell = flattened(frame.at("cell"));
    pbc = frame.at("pbc").get<std::vector<bool>>();
    test.energy = frame.at("energy").get<double>();
    test.tolerance = frame.at("tolerance").get<double>();
  } catch (const json::exception& error) {
    reader.fail(std::string("'self_test' in the metadata cannot be read (") + error.what() + ")");
  }
  const std::size_t n = 3 * test.species.size();
  const std::size_t n_uncertain = metadata.uncertainty ? test.species.size() : 0;
  reader.require(n > 0 && test.positions.size() == n && test.forces.size() == n &&
                     test.uncertainty.size() == n_uncertain && cell.size() == 9 && pbc.size() == 3,
                 "the arrays of 'self_test' in the metadata do not fit together");
  std::copy(cell.begin(), cell.end(), test.cell.begin());
  std::copy(pbc.begin(), pbc.end(), test.pbc.begin());
  return test;
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
    throw ModelFileError(
        "'" + source + "' has model format " + std::to_string(format) +
        ", but ekd " EKD_VERSION " reads formats " + std::to_string(kOldestModelFormat) + " to " +
        std::to_string(kModelFormat) + "; update ekd, or export the model with this version");
  if (format < kOldestModelFormat)
    throw ModelFileError("'" + source + "' has model format " + std::to_string(format) +
                         ", which ekd " EKD_VERSION " no longer reads" + kMend);
  json document;
  try {
    document = json::parse(text);
  } catch (const json::exception& error) {
    throw ModelFileError("'" + source + "' is damaged: its metadata is not JSON (" + error.what() +
                         ")" + kMend);
  }
  const Reader reader(document, source);
  reader.check_keys(format);

  ModelMetadata metadata;
  metadata.ekd_version = reader.get<std::string>("ekd_version");
  metadata.torch_version = reader.get<std::string>("torch_version");
  metadata.dtype = reader.get<std::string>("dtype");
  metadata.elements = reader.get<std::vector<std::string>>("elements");
  metadata.atomic_numbers = reader.get<std::vector<std::int64_t>>("atomic_numbers");
  metadata.cutoff = reader.get<double>("cutoff");
  metadata.interaction_range = reader.get<double>("interaction_range");
  metadata.n_interactions = reader.get<std::int64_t>("n_interactions");
  metadata.feature_widths = reader.get<std::vector<std::int64_t>>("feature_widths");
  metadata.n_members = reader.get<std::int64_t>("n_members");
  metadata.uncertainty = format >= 3 && reader.get<bool>("uncertainty");
  metadata.required_ops = reader.get<std::vector<std::string>>("required_ops");

  for (const char* name : {"atomic_numbers", "feature_widths"})
    for (const json& value : document[name])
      reader.require(value.is_number_integer(), "'" + std::string(name) +
                                                    "' in the metadata holds " + value.dump() +
                                                    ", expected integers");
  const json& units = document["units"];
  reader.require(units == json({{"length", "angstrom"}, {"energy", "eV"}}),
                 "units are " + units.dump() + ", expected angstrom and eV");
  reader.require(metadata.dtype == "float32" || metadata.dtype == "float64",
                 "dtype is '" + metadata.dtype + "', expected 'float32' or 'float64'");
  reader.require(!metadata.elements.empty(), "there are no elements");
  reader.require(metadata.elements.size() == metadata.atomic_numbers.size(),
                 "elements and atomic_numbers differ in length");
  reader.require(std::isfinite(metadata.cutoff) && metadata.cutoff > 0.0,
                 "the cutoff is not a positive number");
  reader.require(metadata.n_interactions >= 1, "n_interactions is below 1");
  reader.require(
      static_cast<std::int64_t>(metadata.feature_widths.size()) == metadata.n_interactions + 1,
      "feature_widths does not have n_interactions + 1 entries");
  reader.require(
      metadata.feature_widths.front() == static_cast<std::int64_t>(metadata.elements.size()),
      "the first of feature_widths is not the number of elements");
  reader.require(metadata.n_members >= 1, "n_members is below 1");
  reader.require(static_cast<std::int64_t>(document["provenance"].size()) == metadata.n_members,
                 "provenance does not have n_members entries");
  reader.require(document["strictly_local"].get<bool>() == (metadata.n_interactions == 1),
                 "strictly_local contradicts n_interactions");
  const double reach = metadata.cutoff * static_cast<double>(metadata.n_interactions);
  reader.require(std::abs(metadata.interaction_range - reach) < 1e-9 * reach,
                 "interaction_range is not n_interactions times the cutoff");
  metadata.self_test = parse_self_test(document["self_test"], metadata, reader);
  return metadata;
}

}  // namespace ekd
