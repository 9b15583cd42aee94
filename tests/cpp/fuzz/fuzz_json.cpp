#include "input.hpp"
#include "json.hpp"

namespace {

std::size_t count(const ekd::Json& value) {
  std::size_t n = 1;
  if (value.is(ekd::Json::Type::kArray))
    for (const ekd::Json& item : value.items()) n += count(item);
  if (value.is(ekd::Json::Type::kObject))
    for (const auto& [key, item] : value.members()) {
      require(value.find(key) == &item, "a key finds the wrong value");
      n += count(item);
    }
  return n;
}

}  // namespace

// An accepted document has no more values than bytes.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    require(count(ekd::Json::parse(text_of(data, size))) <= size, "more values than bytes");
  } catch (const ekd::JsonError&) {
  }
  return 0;
}
