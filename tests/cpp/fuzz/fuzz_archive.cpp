#include "ekd/archive.hpp"
#include "ekd/error.hpp"
#include "input.hpp"

// Each record of an accepted archive has the size that the index states, or is refused.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(text_of(data, size));
  if (size % 2 == 0) repair_checksums(bytes);
  const MemoryFile file(bytes);
  try {
    const ekd::Archive archive(file.path());
    for (const auto& [name, record_size] : archive.sizes()) {
      try {
        const std::string_view record = archive.read(name);
        require(record.size() == record_size, "a record has the wrong size");
      } catch (const ekd::ModelFileError&) {
      }
    }
  } catch (const ekd::ModelFileError&) {
  }
  return 0;
}
