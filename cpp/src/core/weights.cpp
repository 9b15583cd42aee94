#include "ekd/weights.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ekd/error.hpp"
#include "ekd/model_metadata.hpp"
#include "json.hpp"

namespace ekd {
namespace {

constexpr std::int64_t kMostDimensions = 4;
constexpr std::int64_t kMostNumbers = std::int64_t{1} << 32;

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
    if (!std::isfinite(value)) fail("the weight '" + name + "' holds a number that is not finite");
  return values;
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
  try {
    const Json document = Json::parse(description);
    for (const Json& entry : document.at("members").items()) {
      const auto architecture = entry.at("architecture").string();
      if (architecture != "HIP-NN-TS")
        nothing.fail("its weights are those of '" + architecture + "', expected HIP-NN-TS");
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
      const auto name = entry.at("name").string();
      const auto dtype = entry.at("dtype").string();
      Weights::Array array;
      array.shape = entry.at("shape").integers();
      array.is_single = dtype == "float32";
      if (!array.is_single && dtype != "float64")
        nothing.fail("the weight '" + name + "' is of type '" + dtype +
                     "', expected float32 or float64");
      if (std::ssize(array.shape) > kMostDimensions)
        nothing.fail("the weight '" + name + "' has more than 4 dimensions");
      std::int64_t size = 1;
      for (const std::int64_t extent : array.shape) {
        if (extent < 0 || extent > kMostNumbers / std::max<std::int64_t>(size, 1))
          nothing.fail("the weight '" + name + "' has the shape " + text(array.shape));
        size *= extent;
      }
      const auto offset = entry.at("offset").integer();
      const std::int64_t bytes = size * (array.is_single ? 4 : 8);
      if (offset < 0 || offset > std::ssize(*memory) || bytes > std::ssize(*memory) - offset)
        nothing.fail("the weight '" + name + "' lies beyond the end of its record");
      array.data = memory->data() + offset;
      const auto dot = name.find('.');
      const std::string number = name.substr(0, dot);
      for (std::size_t k = 0; k < members.size(); ++k)
        if (dot != std::string::npos && number == std::to_string(k))
          members[k].arrays.add(name.substr(dot + 1), array);
    }
  } catch (const JsonError& error) {
    nothing.fail(std::string("the description of its weights cannot be read (") + error.what() +
                 ")");
  }
  return members;
}

}  // namespace ekd
