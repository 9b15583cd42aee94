// Parser of JSON documents (RFC 8259) in exported models. Own code, so that a build needs only a
// compiler.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ekd {

struct JsonError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Json {
 public:
  enum class Type { kNull, kBoolean, kInteger, kFloat, kString, kArray, kObject };

  // Throws JsonError: not JSON or not UTF-8, nested more than 64 deep, or a duplicate key.
  // Numbers without fraction and exponent are integers if they fit into 64 bits; seeds may not.
  static Json parse(std::string_view text);

  Type type() const { return type_; }
  // "null", "boolean", "number", "string", "array" or "object".
  static const char* name_of(Type type);
  const char* type_name() const { return name_of(type_); }
  bool is(Type type) const { return type_ == type; }
  bool is_number() const { return is(Type::kInteger) || is(Type::kFloat); }

  // Each throws JsonError for a value of another type.
  bool boolean() const;
  std::int64_t integer() const;
  double number() const;
  const std::string& string() const;
  const std::vector<Json>& items() const;                            // of an array
  const std::vector<std::pair<std::string, Json>>& members() const;  // of an object, in order

  const Json* find(const std::string& key) const;  // null: no such key, or not an object
  const Json& at(const std::string& key) const;    // throws JsonError if there is no such key

  // Arrays of one type.
  std::vector<std::int64_t> integers() const;
  std::vector<double> numbers() const;
  std::vector<std::string> strings() const;
  std::vector<bool> booleans() const;

 private:
  friend class JsonParser;

  [[noreturn]] void refuse(const char* wanted) const;

  Type type_ = Type::kNull;
  bool boolean_ = false;
  std::int64_t integer_ = 0;
  double number_ = 0.0;
  std::string string_;
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
};

}  // namespace ekd
