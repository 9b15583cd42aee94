// The weights of a network by name, and its architecture. No torch here.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ekd {

// Arrays by name, such as "blocks.0.outer.weight", in a common block of memory.
class Weights {
 public:
  struct Array {
    std::vector<std::int64_t> shape;
    bool is_single;                // float32, otherwise float64
    const void* data;              // row-major, not necessarily aligned
    mutable bool is_used = false;  // whether it has been read by get()

    std::int64_t size() const;
  };

  // `source` is the name of the file in messages; `memory` is kept as long as the arrays.
  explicit Weights(std::string source, std::shared_ptr<const void> memory = {})
      : source_(std::move(source)), memory_(std::move(memory)) {}

  void add(const std::string& name, Array array) { arrays_[name] = std::move(array); }
  bool has(const std::string& name) const { return arrays_.count(name) != 0; }
  std::size_t size() const { return arrays_.size(); }
  const std::string& source() const { return source_; }

  // Shape of an array.
  // Throws ModelFileError: there is no array of this name.
  const std::vector<std::int64_t>& shape(const std::string& name) const;

  // The numbers of an array, which must have the given shape.
  // Throws ModelFileError: there is no array of this name, it has another shape, or a number in it
  // is not finite.
  template <class T>
  std::vector<T> get(const std::string& name, const std::vector<std::int64_t>& shape) const;

  // Throws ModelFileError: an array has not been read, so the file contains another network than
  // the one that was made from it.
  void check_all_used() const;

  [[noreturn]] void fail(const std::string& reason) const;

 private:
  const Array& find(const std::string& name) const;

  std::string source_;
  std::shared_ptr<const void> memory_;
  std::map<std::string, Array> arrays_;
};

// Everything needed to evaluate a HIP-NN-TS network. Names are as in python/ekd/models.
struct HipnnWeights {
  double cutoff = 0.0;  // Å
  std::int64_t l_max = 0;
  std::int64_t n_atom_layers = 0;
  std::vector<double> cusp;  // per interaction
  bool zbl = false;
  bool uncertainty = false;
  std::vector<std::int64_t> feature_widths;  // [n_interactions + 1], from the metadata
  Weights arrays{""};
};

// The members of a file, from the records of plain weights in a file of format 4.
// `description` describes the arrays in JSON, `numbers` contains them.
// Throws ModelFileError: they are inconsistent with each other or with the metadata.
std::vector<HipnnWeights> parse_weights(const std::string& description, std::vector<char> numbers,
                                        const struct ModelMetadata& metadata,
                                        const std::string& source);

// Names of these records.
inline constexpr const char* kWeightsRecord = "extra/ekd_weights.json";
inline constexpr const char* kNumbersRecord = "extra/ekd_weights.bin";

}  // namespace ekd
