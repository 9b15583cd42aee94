#include "ekd/archive.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>

#include "ekd/error.hpp"

namespace ekd {
namespace {

static_assert(std::endian::native == std::endian::little, "the file format is little-endian");

// PKWARE, APPNOTE.TXT - .ZIP File Format Specification, 6.3.10, sections 4.3.7 to 4.3.16, 4.5.3.
constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;
constexpr std::uint64_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56,
                        kLocatorSize = 20;
constexpr std::uint64_t kMostComment = 65535;
constexpr std::uint16_t kZip64Field = 1;
constexpr std::uint32_t kElsewhere32 = 0xffffffff;  // the number is in the zip64 field

template <class T>
T number(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The polynomial of zip, reflected.
std::uint32_t crc32(const std::vector<char>& data) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t value = byte;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0xedb88320U : 0U);
      made[byte] = value;
    }
    return made;
  }();
  std::uint32_t sum = 0xffffffff;
  for (const char byte : data)
    sum = (sum >> 8) ^ table[(sum ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~sum;
}

}  // namespace

Archive::Archive(const std::string& path) : path_(path) {
  const char* const no_model =
      "' is not an exported model; write one with 'ekd export' or TrainedModel.export() "
      "[EKD-MODEL-002]";
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) throw ModelFileError("'" + path + no_model);
  file_.open(path, std::ios::binary);
  if (!file_.good())
    throw ModelFileError("model file '" + path +
                         "' cannot be opened; check the path [EKD-MODEL-001]");
  file_size_ = std::filesystem::file_size(path, error);
  char magic[4] = {};
  file_.read(magic, sizeof magic);
  if (file_.gcount() != sizeof magic || number<std::uint32_t>(magic) != kLocalHeader)
    throw ModelFileError("'" + path + no_model);
  file_.clear();
  read_index();
}

void Archive::fail(const std::string& reason) const {
  throw ModelFileError("'" + path_ + "' is truncated or damaged: " + reason +
                       "; copy or export it again [EKD-MODEL-003]");
}

void Archive::read_at(std::uint64_t place, char* to, std::uint64_t size) {
  if (place > file_size_ || size > file_size_ - place) fail("a record lies beyond the end");
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(place));
  file_.read(to, static_cast<std::streamsize>(size));
  if (static_cast<std::uint64_t>(file_.gcount()) != size) fail("a record cannot be read");
}

void Archive::read_index() {
  const char* const no_index = "its archive has no readable index";
  // The end record is the last thing in the file but for a comment.
  const std::uint64_t tail_size = std::min(file_size_, kEndSize + kMostComment + kLocatorSize);
  std::vector<char> tail(tail_size);
  read_at(file_size_ - tail_size, tail.data(), tail_size);
  if (tail_size < kEndSize) fail(no_index);
  std::uint64_t at = tail_size - kEndSize;
  while (number<std::uint32_t>(&tail[at]) != kEnd)
    if (at-- == 0) fail(no_index);
  std::uint64_t n_entries = number<std::uint16_t>(&tail[at + 10]);
  std::uint64_t index_size = number<std::uint32_t>(&tail[at + 12]);
  std::uint64_t index_place = number<std::uint32_t>(&tail[at + 16]);
  if (at >= kLocatorSize && number<std::uint32_t>(&tail[at - kLocatorSize]) == kEnd64Locator) {
    char end[kEnd64Size];
    read_at(number<std::uint64_t>(&tail[at - kLocatorSize + 8]), end, sizeof end);
    if (number<std::uint32_t>(end) != kEnd64) fail(no_index);
    n_entries = number<std::uint64_t>(end + 32);
    index_size = number<std::uint64_t>(end + 40);
    index_place = number<std::uint64_t>(end + 48);
  }
  if (index_place > file_size_ || index_size > file_size_ - index_place ||
      n_entries > index_size / kCentralSize)
    fail(no_index);
  std::vector<char> index(index_size);
  read_at(index_place, index.data(), index_size);

  std::uint64_t place = 0;
  for (std::uint64_t k = 0; k < n_entries; ++k) {
    if (index_size - place < kCentralSize) fail(no_index);
    const char* const header = &index[place];
    if (number<std::uint32_t>(header) != kCentralHeader) fail(no_index);
    const std::uint64_t name_size = number<std::uint16_t>(header + 28);
    const std::uint64_t extra_size = number<std::uint16_t>(header + 30);
    const std::uint64_t comment_size = number<std::uint16_t>(header + 32);
    if (index_size - place - kCentralSize < name_size + extra_size + comment_size) fail(no_index);
    Entry entry{number<std::uint32_t>(header + 42), number<std::uint32_t>(header + 24),
                number<std::uint32_t>(header + 16), number<std::uint16_t>(header + 10) == 0};
    // The zip64 field holds those numbers that have no room in the header, in this order: size,
    // compressed size, place.
    const char* extra = header + kCentralSize + name_size;
    const char* const extra_end = extra + extra_size;
    while (extra_end - extra >= 4) {
      const auto size = number<std::uint16_t>(extra + 2);
      if (extra_end - extra - 4 < size) break;
      if (number<std::uint16_t>(extra) == kZip64Field) {
        std::uint64_t used = 0;
        const auto next = [&] {
          if (used + 8 > size) fail(no_index);
          used += 8;
          return number<std::uint64_t>(extra + 4 + used - 8);
        };
        if (entry.size == kElsewhere32) entry.size = next();
        if (number<std::uint32_t>(header + 20) == kElsewhere32) next();
        if (entry.place == kElsewhere32) entry.place = next();
      }
      extra += 4 + size;
    }
    const std::string name(header + kCentralSize, name_size);
    const auto slash = name.find('/');
    entries_[slash == std::string::npos ? name : name.substr(slash + 1)] = entry;
    place += kCentralSize + name_size + extra_size + comment_size;
  }
}

std::vector<char> Archive::read(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail("it has no record '" + name + "'");
  const Entry& entry = found->second;
  if (!entry.is_stored) fail("the record '" + name + "' is compressed");
  char header[kLocalSize];
  read_at(entry.place, header, sizeof header);
  if (number<std::uint32_t>(header) != kLocalHeader)
    fail("the record '" + name + "' is not where the index says");
  const std::uint64_t begin = entry.place + kLocalSize + number<std::uint16_t>(header + 26) +
                              number<std::uint16_t>(header + 28);
  if (begin > file_size_ || entry.size > file_size_ - begin)
    fail("the record '" + name + "' lies beyond the end");
  std::vector<char> content(entry.size);
  read_at(begin, content.data(), entry.size);
  if (crc32(content) != entry.crc32)
    fail("the checksum of the record '" + name + "' is not that of the index");
  return content;
}

std::string Archive::read_text(const std::string& name) {
  const std::vector<char> content = read(name);
  return {content.begin(), content.end()};
}

}  // namespace ekd
