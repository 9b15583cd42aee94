#include "json.hpp"

#include <charconv>
#include <cmath>
#include <unordered_set>

#include "ekd/printable.hpp"

namespace ekd {
namespace {

constexpr int kDeepest = 64;

// Whether the text is valid UTF-8 (RFC 3629).
bool is_utf8(std::string_view text) {
  for (std::size_t k = 0; k < text.size();) {
    const auto first = static_cast<unsigned char>(text[k]);
    const std::size_t size = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
    if (size == 0 || size > text.size() - k) return false;
    // Range of the second byte: excludes overlong encodings, surrogates, and code points beyond the
    // last one.
    unsigned least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (std::size_t next = 1; next < size; ++next) {
      const auto byte = static_cast<unsigned char>(text[k + next]);
      if (byte < least || byte > most) return false;
      least = 0x80;
      most = 0xbf;
    }
    k += size;
  }
  return true;
}

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json document() {
    Json found = value(0);
    skip_space();
    if (place_ != text_.size()) fail("there is extra text after its end");
    return found;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw JsonError(reason + ", at byte " + std::to_string(place_));
  }

  char peek() const { return place_ < text_.size() ? text_[place_] : '\0'; }

  void skip_space() {
    while (place_ < text_.size() &&
           (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r'))
      ++place_;
  }

  bool take(char wanted) {
    if (place_ == text_.size() || peek() != wanted) return false;
    ++place_;
    return true;
  }

  void expect(char wanted) {
    if (!take(wanted)) fail(std::string("expected '") + wanted + "'");
  }

  Json value(int depth) {
    if (depth > kDeepest) fail("it is nested too deeply");
    skip_space();
    if (place_ == text_.size()) fail("it ends too early");
    Json found;
    switch (peek()) {
      case '{':
        found.type_ = Json::Type::kObject;
        object(found, depth);
        break;
      case '[':
        found.type_ = Json::Type::kArray;
        array(found, depth);
        break;
      case '"':
        found.type_ = Json::Type::kString;
        found.string_ = string();
        break;
      case 't':
      case 'f':
        found.type_ = Json::Type::kBoolean;
        found.boolean_ = peek() == 't';
        word(found.boolean_ ? "true" : "false");
        break;
      case 'n':
        word("null");
        break;
      default:
        number(found);
    }
    return found;
  }

  void word(std::string_view wanted) {
    if (text_.substr(place_, wanted.size()) != wanted) fail("unknown literal");
    place_ += wanted.size();
  }

  void object(Json& found, int depth) {
    expect('{');
    skip_space();
    if (take('}')) return;
    std::unordered_set<std::string> known;
    do {
      skip_space();
      std::string key = string();
      if (!known.insert(key).second) fail("the key '" + printable(key) + "' occurs twice");
      skip_space();
      expect(':');
      found.members_.emplace_back(std::move(key), value(depth + 1));
      skip_space();
    } while (take(','));
    expect('}');
  }

  void array(Json& found, int depth) {
    expect('[');
    skip_space();
    if (take(']')) return;
    do {
      found.items_.push_back(value(depth + 1));
      skip_space();
    } while (take(','));
    expect(']');
  }

  bool is_digit() const { return peek() >= '0' && peek() <= '9'; }

  void digits() {
    if (!is_digit()) fail("expected a digit");
    while (is_digit()) ++place_;
  }

  void number(Json& found) {
    const std::size_t begin = place_;
    take('-');
    if (!take('0')) digits();
    bool is_integer = true;
    if (take('.')) {
      is_integer = false;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      is_integer = false;
      ++place_;
      if (!take('+')) take('-');
      digits();
    }
    const char* const from = text_.data() + begin;
    const char* const to = text_.data() + place_;
    if (is_integer && std::from_chars(from, to, found.integer_).ec == std::errc()) {
      found.type_ = Json::Type::kInteger;
      found.number_ = static_cast<double>(found.integer_);
      return;
    }
    found.type_ = Json::Type::kFloat;
    if (std::from_chars(from, to, found.number_).ec != std::errc())
      fail("a number is out of range");
  }

  unsigned hexadecimal() {
    unsigned value = 0;
    for (int k = 0; k < 4; ++k, ++place_) {
      const char c = peek();
      if (c >= '0' && c <= '9')
        value = 16 * value + (c - '0');
      else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        value = 16 * value + ((c | 0x20) - 'a' + 10);
      else
        fail("expected four hexadecimal digits");
    }
    return value;
  }

  void append_utf8(std::string& to, unsigned code) const {
    const auto byte = [&](unsigned value) { to.push_back(static_cast<char>(value)); };
    if (code < 0x80) {
      byte(code);
    } else if (code < 0x800) {
      byte(0xc0 | code >> 6);
      byte(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      byte(0xe0 | code >> 12);
      byte(0x80 | (code >> 6 & 0x3f));
      byte(0x80 | (code & 0x3f));
    } else {
      byte(0xf0 | code >> 18);
      byte(0x80 | (code >> 12 & 0x3f));
      byte(0x80 | (code >> 6 & 0x3f));
      byte(0x80 | (code & 0x3f));
    }
  }

  void escape(std::string& to) {
    const char kind = peek();
    ++place_;
    switch (kind) {
      case '"':
      case '\\':
      case '/':
        to.push_back(kind);
        return;
      case 'b':
        to.push_back('\b');
        return;
      case 'f':
        to.push_back('\f');
        return;
      case 'n':
        to.push_back('\n');
        return;
      case 'r':
        to.push_back('\r');
        return;
      case 't':
        to.push_back('\t');
        return;
      case 'u':
        break;
      default:
        fail("unknown escape sequence");
    }
    unsigned code = hexadecimal();
    if (code >= 0xd800 && code < 0xdc00) {  // the first half of a pair
      if (!take('\\') || !take('u')) fail("incomplete surrogate pair");
      const unsigned low = hexadecimal();
      if (low < 0xdc00 || low > 0xdfff) fail("incomplete surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code <= 0xdfff) {
      fail("incomplete surrogate pair");
    }
    append_utf8(to, code);
  }

  std::string string() {
    expect('"');
    const std::size_t begin = place_;
    std::string found;
    while (!take('"')) {
      if (place_ == text_.size()) fail("a string is not terminated");
      const char c = text_[place_++];
      if (static_cast<unsigned char>(c) < 0x20) fail("a string contains a control character");
      if (c == '\\')
        escape(found);
      else
        found.push_back(c);
    }
    if (!is_utf8(text_.substr(begin, place_ - begin))) fail("a string is not UTF-8");
    return found;
  }

  std::string_view text_;
  std::size_t place_ = 0;
};

Json Json::parse(std::string_view text) { return JsonParser(text).document(); }

const char* Json::name_of(Type type) {
  switch (type) {
    case Type::kNull:
      return "null";
    case Type::kBoolean:
      return "boolean";
    case Type::kString:
      return "string";
    case Type::kArray:
      return "array";
    case Type::kObject:
      return "object";
    default:
      return "number";
  }
}

void Json::refuse(const char* wanted) const {
  throw JsonError(std::string("found type ") + type_name() + ", expected " + wanted);
}

bool Json::boolean() const {
  if (!is(Type::kBoolean)) refuse("boolean");
  return boolean_;
}

std::int64_t Json::integer() const {
  if (!is(Type::kInteger)) refuse("integer");
  return integer_;
}

double Json::number() const {
  if (!is_number()) refuse("number");
  return number_;
}

const std::string& Json::string() const {
  if (!is(Type::kString)) refuse("string");
  return string_;
}

const std::vector<Json>& Json::items() const {
  if (!is(Type::kArray)) refuse("array");
  return items_;
}

const std::vector<std::pair<std::string, Json>>& Json::members() const {
  if (!is(Type::kObject)) refuse("object");
  return members_;
}

const Json* Json::find(const std::string& key) const {
  for (const auto& [name, value] : members_)
    if (name == key) return &value;
  return nullptr;
}

const Json& Json::at(const std::string& key) const {
  const Json* const found = find(key);
  if (found == nullptr) throw JsonError("there is no key '" + key + "'");
  return *found;
}

std::vector<std::int64_t> Json::integers() const {
  std::vector<std::int64_t> values;
  for (const Json& item : items()) values.push_back(item.integer());
  return values;
}

std::vector<double> Json::numbers() const {
  std::vector<double> values;
  for (const Json& item : items()) values.push_back(item.number());
  return values;
}

std::vector<std::string> Json::strings() const {
  std::vector<std::string> values;
  for (const Json& item : items()) values.push_back(item.string());
  return values;
}

std::vector<bool> Json::booleans() const {
  std::vector<bool> values;
  for (const Json& item : items()) values.push_back(item.boolean());
  return values;
}

}  // namespace ekd
