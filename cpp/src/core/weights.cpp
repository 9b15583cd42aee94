#include "ekd/weights.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "ekd/error.hpp"
#include "ekd/model_metadata.hpp"
#include "ekd/printable.hpp"
#include "json.hpp"

namespace ekd {
namespace {

constexpr std::int64_t kMostDimensions = 4;
constexpr std::int64_t kMostNumbers = std::int64_t{1} << 32;
constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // of the description
constexpr std::int64_t kAlignment = 64;

std::string text(const std::vector<std::int64_t>& shape) {
  std::string words = "[";
  for (const std::int64_t n : shape) words += (words.size() > 1 ? ", " : "") + std::to_string(n);
  return words + "]";
}

template <class Stored, class T>
void copy(const void* from, std::vector<T>& to) {
  for (std::size_t k = 0; k < to.size(); ++k) {
    Stored number;
    std::memcpy(&number, static_cast<const char*>(from) + k * sizeof(Stored), sizeof(Stored));
    to[k] = static_cast<T>(number);
  }
}

// Checks that an object has only known keys.
void check_keys(const Json& object, const char* what,
                std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.members())
    if (std::find(known.begin(), known.end(), key) == known.end())
      throw JsonError(std::string(what) + " has the unknown key '" + printable(key) + "'");
}

struct Extent {
  std::int64_t begin, end;  // bytes
};

// Whether arrays are contiguous except for alignment. Overlaps and gaps are signs of damage, and
// with overlaps a few bytes could be many weights.
bool fill(std::vector<Extent> extents, std::int64_t size) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return a.begin < b.begin || (a.begin == b.begin && a.end < b.end);
  });
  std::int64_t end = 0;
  for (const Extent& extent : extents) {
    if (extent.begin < end || extent.begin - end >= kAlignment) return false;
    end = extent.end;
  }
  return end == size;
}

}  // namespace

std::int64_t Weights::Array::size() const {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape) n *= extent;
  return n;
}

void Weights::fail(const std::string& reason) const {
  throw ModelFileError("'" + source_ + "' is damaged: " + reason +
                       "; copy or export it again [EKD-MODEL-003]");
}

const Weights::Array& Weights::find(const std::string& name) const {
  const auto found = arrays_.find(name);
  if (found == arrays_.end()) fail("there is no weight '" + name + "'");
  return found->second;
}

const std::vector<std::int64_t>& Weights::shape(const std::string& name) const {
  return find(name).shape;
}

template <class T>
std::vector<T> Weights::get(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const Array& array = find(name);
  if (array.shape != shape)
    fail("the weight '" + name + "' has the shape " + text(array.shape) + ", expected " +
         text(shape));
  std::vector<T> values(array.size());
  if (array.is_single)
    copy<float>(array.data, values);
  else
    copy<double>(array.data, values);
  for (const T value : values)
    if (!std::isfinite(value)) fail("the weight '" + name + "' has a number that is not finite");
  array.is_used = true;
  return values;
}

void Weights::check_all_used() const {
  for (const auto& [name, array] : arrays_)
    if (!array.is_used) fail("the network does not use the weight '" + printable(name) + "'");
}

template std::vector<float> Weights::get<float>(const std::string&,
                                                const std::vector<std::int64_t>&) const;
template std::vector<double> Weights::get<double>(const std::string&,
                                                  const std::vector<std::int64_t>&) const;

std::vector<HipnnWeights> parse_weights(const std::string& description, std::vector<char> numbers,
                                        const ModelMetadata& metadata, const std::string& source) {
  const auto memory = std::make_shared<const std::vector<char>>(std::move(numbers));
  const Weights nothing(source);
  std::vector<HipnnWeights> members;
  std::vector<Extent> extents;
  if (description.size() > kMostBytes)
    nothing.fail("the description of its weights takes " + std::to_string(description.size()) +
                 " bytes, expected " + std::to_string(kMostBytes) + " at most");
  try {
    const Json document = Json::parse(description);
    check_keys(document, "it", {"members", "arrays"});
    for (const Json& entry : document.at("members").items()) {
      check_keys(
          entry, "a member",
          {"architecture", "cutoff", "l_max", "n_atom_layers", "cusp", "zbl", "uncertainty"});
      const auto architecture = entry.at("architecture").string();
      if (architecture != "HIP-NN-TS")
        nothing.fail("its weights are those of '" + printable(architecture) +
                     "', expected HIP-NN-TS");
      HipnnWeights member;
      member.cutoff = entry.at("cutoff").number();
      member.l_max = entry.at("l_max").integer();
      member.n_atom_layers = entry.at("n_atom_layers").integer();
      member.cusp = entry.at("cusp").numbers();
      member.zbl = entry.at("zbl").boolean();
      member.uncertainty = entry.at("uncertainty").boolean();
      member.feature_widths = metadata.feature_widths;
      member.arrays = Weights(source, memory);
      members.push_back(std::move(member));
    }
    for (const Json& entry : document.at("arrays").items()) {
      check_keys(entry, "an array", {"name", "dtype", "shape", "offset"});
      const auto name = entry.at("name").string();
      const auto dtype = entry.at("dtype").string();
      const std::string weight = "the weight '" + printable(name) + "'";
      Weights::Array array;
      array.shape = entry.at("shape").integers();
      array.is_single = dtype == "float32";
      if (!array.is_single && dtype != "float64")
        nothing.fail(weight + " is of type '" + printable(dtype) +
                     "', expected float32 or float64");
      if (std::ssize(array.shape) > kMostDimensions)
        nothing.fail(weight + " has more than 4 dimensions");
      std::int64_t size = 1;
      for (const std::int64_t extent : array.shape) {
        if (extent < 0 || extent > kMostNumbers / std::max<std::int64_t>(size, 1))
          nothing.fail(weight + " has the shape " + text(array.shape));
        size *= extent;
      }
      const auto offset = entry.at("offset").integer();
      const std::int64_t bytes = size * (array.is_single ? 4 : 8);
      if (offset < 0 || offset > std::ssize(*memory) || bytes > std::ssize(*memory) - offset)
        nothing.fail(weight + " extends beyond the end of its record");
      array.data = memory->data() + offset;
      extents.push_back({offset, offset + bytes});
      // "0.blocks.1.outer.weight" belongs to the first member.
      const auto dot = name.find('.');
      std::size_t owner = 0;
      while (owner < members.size() &&
             (dot == std::string::npos || name.substr(0, dot) != std::to_string(owner)))
        ++owner;
      if (owner == members.size()) nothing.fail(weight + " belongs to no network of the file");
      const std::string own_name = name.substr(dot + 1);
      if (members[owner].arrays.has(own_name)) nothing.fail(weight + " occurs twice");
      members[owner].arrays.add(own_name, array);
    }
  } catch (const JsonError& error) {
    nothing.fail(std::string("the description of its weights cannot be read (") + error.what() +
                 ")");
  }
  if (!fill(std::move(extents), std::ssize(*memory)))
    nothing.fail("its weights overlap, or leave numbers unused");
  return members;
}

}  // namespace ekd
