#include <cstring>
#include <limits>

#include "check.hpp"
#include "ekd/error.hpp"
#include "ekd/model_metadata.hpp"
#include "ekd/weights.hpp"

using ekd::HipnnWeights;
using ekd::ModelFileError;
using ekd::ModelMetadata;
using ekd::Weights;

namespace {

const std::string kMember =
    R"({"architecture": "HIP-NN-TS", "cutoff": 4.0, "l_max": 1, "n_atom_layers": 2, )"
    R"("cusp": [1e-20], "zbl": false, "uncertainty": false})";

std::string description(const std::string& arrays) {
  return R"({"members": [)" + kMember + R"(], "arrays": [)" + arrays + "]}";
}

std::string array(const std::string& shape, const std::string& offset = "0",
                  const std::string& dtype = "float64", const std::string& name = "0.a") {
  return R"({"name": ")" + name + R"(", "dtype": ")" + dtype + R"(", "shape": )" + shape +
         R"(, "offset": )" + offset + "}";
}

// The numbers 0 to 11 as float64.
std::vector<char> numbers() {
  std::vector<char> bytes(96);
  for (int k = 0; k < 12; ++k) {
    const double number = k;
    std::memcpy(&bytes[8 * k], &number, 8);
  }
  return bytes;
}

std::vector<HipnnWeights> parse(const std::string& text) {
  ModelMetadata metadata;
  metadata.feature_widths = {4, 8};
  return ekd::parse_weights(text, numbers(), metadata, "student.pt");
}

void refuse(const std::string& text, std::string_view words, Place where = Place::here()) {
  check_throws<ModelFileError>([&] { parse(text); }, words, where);
}

std::string replaced(std::string text, const std::string& old, const std::string& by) {
  const std::size_t at = text.find(old);
  check(at != std::string::npos, old);
  return text.replace(at, old.size(), by);
}

const std::string kMetadata = R"({"ekd_version": "0.1.0", "torch_version": "2.13.0",
 "created_utc": "2026-11-30T00:00:00+00:00", "model": {"architecture": "HIP-NN-TS"},
 "units": {"length": "angstrom", "energy": "eV"}, "dtype": "float64", "elements": ["H", "O"],
 "atomic_numbers": [1, 8], "cutoff": 5.5, "interaction_range": 11.0, "n_interactions": 2,
 "feature_widths": [2, 4, 4], "n_members": 1, "uncertainty": true, "strictly_local": false,
 "energy_reference": {"H": -13.6, "O": -2041.8}, "provenance": [{}], "required_ops": [],
 "self_test": {"atomic_numbers": [1, 8], "positions": [[0, 0, 0], [1, 0, 0]],
 "cell": [[9, 0, 0], [0, 9, 0], [0, 0, 9]], "pbc": [true, true, true], "energy": -2055.4,
 "forces": [[0, 0, 0], [0, 0, 0]], "virial": [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
 "uncertainty": [0.1, 0.2], "tolerance": 1e-9}})";

void refuse_metadata(const std::string& old, const std::string& by, std::string_view words,
                     Place where = Place::here()) {
  const std::string text = replaced(kMetadata, old, by);
  check_throws<ModelFileError>([&] { ekd::parse_model_metadata("4", text, "student.pt"); }, words,
                               where);
}

}  // namespace

TEST(weights_as_they_lie) {
  const std::string four = array("[2, 3]") + "," + array("[3]", "49", "float32", "0.odd") + "," +
                           array("[]", "88", "float64", "0.last") + "," +
                           array("[0]", "96", "float64", "0.none");
  const auto members = parse(description(four));
  check(members.size() == 1);
  const Weights& arrays = members[0].arrays;
  check(arrays.get<double>("a", {2, 3}) == std::vector<double>({0, 1, 2, 3, 4, 5}));
  check(arrays.get<float>("a", {2, 3}) == std::vector<float>({0, 1, 2, 3, 4, 5}));
  check(arrays.get<double>("last", {}) == std::vector<double>({11}));
  check(arrays.get<double>("none", {0}).empty());
  check(arrays.get<float>("odd", {3}).size() == 3);
  check(arrays.size() == 4);
  check_throws<ModelFileError>([&] { arrays.get<double>("a", {3, 2}); }, "[2, 3], expected [3, 2]");
  check_throws<ModelFileError>([&] { arrays.get<double>("b", {1}); }, "no weight 'b'");
}

TEST(weights_that_nobody_uses) {
  const std::string two = array("[2, 3]") + "," + array("[6]", "48", "float64", "0.b");
  const auto members = parse(description(two));
  const Weights& arrays = members[0].arrays;
  arrays.get<double>("a", {2, 3});
  check_throws<ModelFileError>([&] { arrays.check_all_used(); }, "does not use the weight 'b'");
  arrays.get<double>("b", {6});
  arrays.check_all_used();
}

TEST(weights_of_nobody_and_twice) {
  for (const char* name : {"1.a", "a", ".a", "00.a", "-1.a", "9999999999999999999999.a"})
    refuse(description(array("[12]", "0", "float64", name)), "belongs to no network of the file");
  refuse(description(array("[6]") + "," + array("[6]", "48")), "'0.a' occurs twice");
}

TEST(weights_that_overlap_or_leave_gaps) {
  const auto b = [](const char* shape, const char* offset) {
    return "," + array(shape, offset, "float64", "0.b");
  };
  const char* const words = "overlap, or leave numbers unused";
  parse(description(array("[4]") + b("[8]", "32")));
  parse(description(array("[4]") + b("[1]", "88")));
  refuse(description(array("[6]") + b("[7]", "40")), words);
  refuse(description(array("[12]") + b("[12]", "0")), words);
  refuse(description(array("[12]") + b("[1]", "8")), words);
  refuse(description(array("[3]") + b("[1]", "88")), words);  // a gap of 64 bytes
  refuse(description(array("[11]")), words);
  refuse(description(""), words);
}

TEST(weights_with_unknown_keys) {
  const std::string sound = description(array("[12]"));
  parse(sound);
  refuse(replaced(sound, "\"zbl\"", "\"new\": 1, \"zbl\""), "a member has the unknown key 'new'");
  refuse(replaced(sound, "\"name\"", "\"new\": 1, \"name\""), "an array has the unknown key 'new'");
  refuse(replaced(sound, "\"members\"", "\"new\": 1, \"members\""), "it has the unknown key 'new'");
  refuse(sound.substr(0, sound.size() - 1) + std::string(std::size_t{16} << 20, ' ') + "}",
         "expected 16777216 at most");
}

TEST(weights_outside_their_record) {
  refuse(description(array("[13]")), "beyond the end");
  refuse(description(array("[12]", "1")), "beyond the end");
  refuse(description(array("[1]", "96")), "beyond the end");
  refuse(description(array("[1]", "-8")), "beyond the end");
  refuse(description(array("[0]", "97")), "beyond the end");
  refuse(description(array("[1]", "9223372036854775807")), "beyond the end");
}

TEST(weights_of_absurd_shapes) {
  for (const char* shape :
       {"[-1]", "[4294967297]", "[9223372036854775807]", "[-9223372036854775808]",
        "[4294967296, 4294967296]",  // 2^64 numbers
        "[4294967296, 2147483648]",  // 2^63
        "[4294967296, 4294967296, 4294967296, 4294967296]", "[65536, 65537]", "[-1, -1]", "[2, -2]",
        "[0, -1]", "[0, 4294967297]"})
    refuse(description(array(shape)), "has the shape");
  refuse(description(array("[1, 1, 1, 1, 1]")), "more than 4 dimensions");
  refuse(description(array("[1]", "0", "float16")), "float16");
}

TEST(weights_that_are_not_finite) {
  for (const double number :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(), 1e300}) {
    Weights arrays("student.pt");
    arrays.add("a", {{1}, false, &number});
    check_throws<ModelFileError>([&] { arrays.get<float>("a", {1}); }, "not finite");
  }
}

TEST(weights_with_an_unsound_description) {
  refuse("", "cannot be read");
  refuse("[]", "cannot be read");
  refuse("{}", "'members'");
  refuse(R"({"members": [{}], "arrays": []})", "'architecture'");
  refuse(R"({"members": [1], "arrays": []})", "cannot be read");
  refuse(R"({"members": {}, "arrays": []})", "expected array");
  refuse(description(R"({"name": 1, "dtype": "float64", "shape": [1], "offset": 0})"), "string");
  refuse(description(R"({"name": "0.a", "dtype": "float64", "shape": [1.5], "offset": 0})"),
         "expected integer");
  refuse(replaced(description(""), "HIP-NN-TS", "MACE"), "'MACE', expected HIP-NN-TS");
}

TEST(weights_mutated) {
  const std::string sound =
      description(array("[2, 3]") + "," + array("[4]", "64", "float64", "0.b"));
  parse(sound);
  Random random(3);
  for (int k = 0; k < 10000; ++k) {
    const std::string text = mutated(sound, random);
    succeeds<ModelFileError>([&] {
      for (const HipnnWeights& member : parse(text)) {
        if (member.arrays.has("a")) member.arrays.get<double>("a", member.arrays.shape("a"));
        if (member.arrays.has("b")) member.arrays.get<float>("b", member.arrays.shape("b"));
      }
    });
  }
}

TEST(metadata_that_do_not_agree) {
  const auto sound = ekd::parse_model_metadata("4", kMetadata, "student.pt");
  check(sound.n_interactions == 2 && sound.self_test.species == std::vector<std::int64_t>({0, 1}));
  refuse_metadata("\"n_interactions\": 2", "\"n_interactions\": 9223372036854775807",
                  "feature_widths");
  refuse_metadata("\"n_interactions\": 2", "\"n_interactions\": -1", "n_interactions is below 1");
  refuse_metadata("[2, 4, 4]", "[]", "feature_widths");
  refuse_metadata("\"cutoff\": 5.5", "\"cutoff\": 0", "cutoff");
  refuse_metadata("\"cutoff\": 5.5", "\"cutoff\": 1.7e308", "interaction_range");
  refuse_metadata("\"atomic_numbers\": [1, 8], \"cutoff\"",
                  "\"atomic_numbers\": [1, 0], \"cutoff\"", "atomic number");
  refuse_metadata("\"atomic_numbers\": [1, 8], \"cutoff\"",
                  "\"atomic_numbers\": [1, 4294967304], \"cutoff\"", "atomic number");
  refuse_metadata("\"atomic_numbers\": [1, 8], \"cutoff\"",
                  "\"atomic_numbers\": [8, 8], \"cutoff\"", "twice");
  refuse_metadata("[0.1, 0.2]", "[0.1]", "are inconsistent");
  refuse_metadata("[true, true, true]", "[true, true]", "are inconsistent");
  refuse_metadata("[true, true, true]", "[1, 1, 1]", "expected boolean");
  refuse_metadata("\"n_members\": 1", "\"n_members\": 2", "provenance");
  refuse_metadata("\"H\", \"O\"", "\"H\", \"H\"", "the element 'H' occurs twice");
  refuse_metadata("\"O\": -2041.8", "\"C\": -2041.8", "energy_reference");
  refuse_metadata(", \"O\": -2041.8", "", "energy_reference");
  refuse_metadata("\"O\": -2041.8", "\"O\": \"a lot\"", "energy_reference");
  refuse_metadata("[{}]", "[1]", "provenance has entries that are not objects");
  refuse_metadata("\"units\"", "\"\\u001b[2J\": 1, \"units\"", "unknown key '?[2J'");
  for (const char* format : {"", "-1", "0", "4.0", "four", "99999999999999999999", "4x"})
    check_throws<ModelFileError>([&] { ekd::parse_model_metadata(format, kMetadata, "a.pt"); },
                                 "expected a positive integer");
}

TEST(metadata_with_an_unsound_self_test) {
  refuse_metadata("\"energy\": -2055.4", "\"new\": 1, \"energy\": -2055.4", "unknown key 'new'");
  refuse_metadata("[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0, 1], [0, 0]]", "does not have 3 numbers");
  refuse_metadata("\"virial\": [[0, 0, 0], ", "\"virial\": [", "are inconsistent");
  refuse_metadata("\"virial\"", "\"virtue\"", "unknown key 'virtue'");
  for (const char* tolerance : {"0", "-1e-9", "0.02", "1e300"})
    refuse_metadata("1e-9}", std::string(tolerance) + "}", "not between 0 and 0.01");
  refuse_metadata("1e-9}", "1e999}", "out of range");
  refuse_metadata("1e-9}", "NaN}", "is not JSON");
  // A small cell has many images within the cutoff. A cell without volume is accepted here, because
  // the neighbor list refuses it with a clearer message.
  refuse_metadata("[[9, 0, 0], [0, 9, 0]", "[[9e-3, 0, 0], [0, 9e-3, 0]", "more pairs of atoms");
  refuse_metadata("[[9, 0, 0]", "[[1e-300, 0, 0]", "more pairs of atoms");
  ekd::parse_model_metadata("4", replaced(kMetadata, "[[9, 0, 0]", "[[0, 0, 0]"), "student.pt");
  std::string numbers = "1", rows = "[0, 0, 0]";
  for (int k = 1; k < 4000; ++k) {
    numbers += ", 1";
    rows += ", [0, 0, 0]";
  }
  std::string text =
      replaced(kMetadata, "{\"atomic_numbers\": [1, 8]", "{\"atomic_numbers\": [" + numbers + "]");
  text = replaced(text, "\"positions\": [[0, 0, 0], [1, 0, 0]]", "\"positions\": [" + rows + "]");
  text = replaced(text, "\"forces\": [[0, 0, 0], [0, 0, 0]]", "\"forces\": [" + rows + "]");
  std::string uncertain = "0.1";
  for (int k = 1; k < 4000; ++k) uncertain += ", 0.1";
  text = replaced(text, "[0.1, 0.2]", "[" + uncertain + "]");
  check_throws<ModelFileError>([&] { ekd::parse_model_metadata("4", text, "student.pt"); },
                               "more pairs of atoms");
  check_throws<ModelFileError>(
      [&] {
        ekd::parse_model_metadata("4", kMetadata + std::string(std::size_t{16} << 20, ' '), "a.pt");
      },
      "expected 16777216 at most");
}

TEST(metadata_mutated) {
  Random random(4);
  for (int k = 0; k < 5000; ++k) {
    const std::string text = mutated(kMetadata, random);
    succeeds<ModelFileError>([&] { ekd::parse_model_metadata("4", text, "student.pt"); });
  }
}
