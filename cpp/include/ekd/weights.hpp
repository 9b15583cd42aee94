// The weights of a network by name, and what is known of it beside them. No torch.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ekd {

// Arrays by name, such as "blocks.0.outer.weight", in memory that they share.
class Weights {
 public:
  struct Array {
    std::vector<std::int64_t> shape;
    bool is_single;                // float32, else float64
    const void* data;              // row-major, not necessarily aligned
    mutable bool is_used = false;  // whether somebody has got its numbers

    std::int64_t size() const;
  };

  // `source` names the file in messages; `memory` is kept as long as the arrays are.
  explicit Weights(std::string source, std::shared_ptr<const void> memory = {})
      : source_(std::move(source)), memory_(std::move(memory)) {}

  void add(const std::string& name, Array array) { arrays_[name] = std::move(array); }
  bool has(const std::string& name) const { return arrays_.count(name) != 0; }
  std::size_t size() const { return arrays_.size(); }
  const std::string& source() const { return source_; }

  // Its shape.
  // Throws ModelFileError: there is no array of that name.
  const std::vector<std::int64_t>& shape(const std::string& name) const;

  // The numbers of an array, which must have this shape.
  // Throws ModelFileError: there is no array of that name, it has another shape, or a number in it
  // is not finite.
  template <class T>
  std::vector<T> get(const std::string& name, const std::vector<std::int64_t>& shape) const;

  // Throws ModelFileError: there is an array whose numbers nobody has got, so that the file holds
  // another network than the one that was made of it.
  void check_all_used() const;

  [[noreturn]] void fail(const std::string& reason) const;

 private:
  const Array& find(const std::string& name) const;

  std::string source_;
  std::shared_ptr<const void> memory_;
  std::map<std::string, Array> arrays_;
};

// Everything that is needed to evaluate one HIP-NN-TS. The names are those of python/ekd/models.
struct HipnnWeights {
  double cutoff = 0.0;  // Å
  std::int64_t l_max = 0;
  std::int64_t n_atom_layers = 0;
  std::vector<double> cusp;  // by interaction
  bool zbl = false;
  bool uncertainty = false;
  std::vector<std::int64_t> feature_widths;  // [n_interactions + 1], from the metadata
  Weights arrays{""};
};

// The members of a file, from the records that a file of format 4 carries beside its TorchScript.
// `description` is the JSON that says what the numbers are, `numbers` holds them.
// Throws ModelFileError: they do not fit together, or not to the metadata.
std::vector<HipnnWeights> parse_weights(const std::string& description, std::vector<char> numbers,
                                        const struct ModelMetadata& metadata,
                                        const std::string& source);

// Names of these records.
inline constexpr const char* kWeightsRecord = "extra/ekd_weights.json";
inline constexpr const char* kNumbersRecord = "extra/ekd_weights.bin";

}  // namespace ekd
