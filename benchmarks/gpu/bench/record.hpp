// One result as a line of JSON on the standard output.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace bench {

class Record {
 public:
  explicit Record(const std::string& kind) { add("kind", kind); }

  Record& add(const std::string& name, const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return put(name, quoted + "\"");
  }
  Record& add(const std::string& name, const char* text) { return add(name, std::string(text)); }
  Record& add(const std::string& name, double number) {
    char text[40] = "null";  // JSON has no infinities
    if (std::isfinite(number)) std::snprintf(text, sizeof(text), "%.9g", number);
    return put(name, text);
  }
  Record& add(const std::string& name, std::int64_t number) {
    return put(name, std::to_string(number));
  }
  Record& add(const std::string& name, int number) { return put(name, std::to_string(number)); }
  Record& add(const std::string& name, bool flag) { return put(name, flag ? "true" : "false"); }

  // At once, so that what was found before a crash is known.
  void print() const {
    std::printf("{%s}\n", content_.c_str());
    std::fflush(stdout);
  }

 private:
  Record& put(const std::string& name, const std::string& value) {
    if (!content_.empty()) content_ += ", ";
    content_ += "\"" + name + "\": " + value;
    return *this;
  }

  std::string content_;
};

}  // namespace bench
