#include "ekd/archive.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "ekd/error.hpp"
#include "ekd/printable.hpp"
#include "ekd/sha256.hpp"
#include "pickle.hpp"

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

// CRC-32 with the polynomial of zip, reflected.
std::uint32_t crc32(std::string_view data) {
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

bool begins_with_magic(std::string_view content) {
  return content.size() >= 4 && number<std::uint32_t>(&content[0]) == kLocalHeader;
}

// Whether a name stays inside the folder that torch uses for all records.
bool stays_in_folder(std::string_view name) {
  if (name.find('\0') != std::string_view::npos || name.find('\\') != std::string_view::npos)
    return false;
  std::size_t n_parts = 0;
  for (std::size_t begin = 0; begin <= name.size(); ++n_parts) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return n_parts >= 2;
}

}  // namespace

Archive::Archive(const std::string& path, const std::string& sha256) : path_(path) {
  const std::string expected = sha256.empty() ? "" : parse_sha256(sha256);
  const std::string no_model =
      "'" + path +
      "' is not an exported model; write one with 'ekd export' or TrainedModel.export() "
      "[EKD-MODEL-002]";
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  using Kind = std::filesystem::file_type;
  // Opening a pipe would wait for a writer.
  if (kind != Kind::regular && kind != Kind::not_found && kind != Kind::none)
    throw ModelFileError(no_model);
  std::ifstream file(path, std::ios::binary);
  if (!file.good())
    throw ModelFileError("model file '" + path +
                         "' cannot be opened; check the path [EKD-MODEL-001]");
  // Do not read a large file that is not an archive.
  std::string content(4, '\0');
  file.read(content.data(), 4);
  content.resize(static_cast<std::size_t>(file.gcount()));
  if (expected.empty() && !begins_with_magic(content)) throw ModelFileError(no_model);
  const std::uint64_t size = std::filesystem::file_size(path, error);
  if (!error && size > content.size()) {
    const std::size_t there = content.size();
    content.resize(size);
    file.read(content.data() + there, static_cast<std::streamsize>(size - there));
    content.resize(there + static_cast<std::size_t>(file.gcount()));
  }
  content_ = std::make_shared<const std::string>(std::move(content));
  if (!expected.empty()) {
    const std::string found = this->sha256();
    if (found != expected)
      throw ModelFileError("'" + path + "' is not the expected file: its SHA-256 is " + found +
                           ", expected " + expected +
                           "; restore that file, or give the SHA-256 of this one [EKD-MODEL-010]");
  }
  if (!begins_with_magic(*content_)) throw ModelFileError(no_model);
  read_index();
}

std::string Archive::sha256() const { return ekd::sha256(*content_); }

void Archive::fail(const std::string& reason) const {
  throw ModelFileError("'" + path_ + "' is truncated or damaged: " + reason +
                       "; copy or export it again [EKD-MODEL-003]");
}

std::string_view Archive::at(std::uint64_t place, std::uint64_t size) const {
  const std::string_view content = *content_;
  if (place > content.size() || size > content.size() - place)
    fail("a record extends beyond the end");
  return content.substr(place, size);
}

void Archive::read_index() {
  const char* const no_index = "its archive has no readable index";
  // The end record is at the end of the file, followed only by a comment.
  const std::uint64_t file_size = content_->size();
  const std::uint64_t tail_size = std::min(file_size, kEndSize + kMostComment + kLocatorSize);
  const char* const tail = at(file_size - tail_size, tail_size).data();
  if (tail_size < kEndSize) fail(no_index);
  std::uint64_t end = tail_size - kEndSize;
  while (number<std::uint32_t>(tail + end) != kEnd)
    if (end-- == 0) fail(no_index);
  // Other readers locate the record by the length of the comment: all must find the same record.
  if (end + kEndSize + number<std::uint16_t>(tail + end + 20) != tail_size) fail(no_index);
  std::uint64_t n_entries = number<std::uint16_t>(tail + end + 10);
  std::uint64_t index_size = number<std::uint32_t>(tail + end + 12);
  std::uint64_t index_place = number<std::uint32_t>(tail + end + 16);
  if (end >= kLocatorSize && number<std::uint32_t>(tail + end - kLocatorSize) == kEnd64Locator) {
    const char* const end64 =
        at(number<std::uint64_t>(tail + end - kLocatorSize + 8), kEnd64Size).data();
    if (number<std::uint32_t>(end64) != kEnd64) fail(no_index);
    n_entries = number<std::uint64_t>(end64 + 32);
    index_size = number<std::uint64_t>(end64 + 40);
    index_place = number<std::uint64_t>(end64 + 48);
  }
  if (index_place > file_size || index_size > file_size - index_place ||
      n_entries > index_size / kCentralSize)
    fail(no_index);
  const char* const index = at(index_place, index_size).data();

  std::string folder;
  std::uint64_t place = 0;
  for (std::uint64_t k = 0; k < n_entries; ++k) {
    if (index_size - place < kCentralSize) fail(no_index);
    const char* const header = index + place;
    if (number<std::uint32_t>(header) != kCentralHeader) fail(no_index);
    const std::uint64_t name_size = number<std::uint16_t>(header + 28);
    const std::uint64_t extra_size = number<std::uint16_t>(header + 30);
    const std::uint64_t comment_size = number<std::uint16_t>(header + 32);
    if (index_size - place - kCentralSize < name_size + extra_size + comment_size) fail(no_index);
    const std::string name(header + kCentralSize, name_size);
    Entry entry{number<std::uint32_t>(header + 42), number<std::uint32_t>(header + 24),
                number<std::uint32_t>(header + 16), number<std::uint16_t>(header + 10) == 0, name};
    // The zip64 field contains the numbers that do not fit into the header, in this order: size,
    // compressed size, offset.
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
    // Nothing is unpacked here, but other programs may do it. Of two records with the same name,
    // different readers may use different ones.
    if (!stays_in_folder(name))
      fail("the name of a record, '" + printable(name) + "', leaves its folder");
    const std::size_t slash = name.find('/');
    if (k == 0) folder = name.substr(0, slash);
    if (name.compare(0, slash, folder) != 0)
      fail("its records are in two folders, '" + printable(folder) + "' and '" +
           printable(name.substr(0, slash)) + "'");
    if (!entries_.emplace(name.substr(slash + 1), std::move(entry)).second)
      fail("the record '" + printable(name) + "' occurs twice");
    place += kCentralSize + name_size + extra_size + comment_size;
  }
  if (place != index_size) fail(no_index);
}

std::map<std::string, std::uint64_t> Archive::sizes() const {
  std::map<std::string, std::uint64_t> found;
  for (const auto& [name, entry] : entries_) found[name] = entry.size;
  return found;
}

std::string_view Archive::read(const std::string& name) const {
  const std::string record = "the record '" + printable(name) + "'";
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail("it has no record '" + printable(name) + "'");
  const Entry& entry = found->second;
  if (!entry.is_stored) fail(record + " is compressed");
  const char* const header = at(entry.place, kLocalSize).data();
  const std::uint64_t name_size = number<std::uint16_t>(header + 26);
  if (number<std::uint32_t>(header) != kLocalHeader ||
      at(entry.place + kLocalSize, name_size) != entry.full_name)
    fail(record + " is not where the index says");
  if (number<std::uint16_t>(header + 8) != 0)
    fail(record + " is compressed according to its header");
  const std::uint64_t begin =
      entry.place + kLocalSize + name_size + number<std::uint16_t>(header + 28);
  if (begin > content_->size() || entry.size > content_->size() - begin)
    fail(record + " extends beyond the end");
  const std::string_view content = at(begin, entry.size);
  if (crc32(content) != entry.crc32)
    fail("the checksum of " + record + " does not match the index");
  return content;
}

void Archive::check_all() const {
  for (const auto& [name, entry] : entries_) read(name);
}

void Archive::check_script() const {
  for (const auto& [name, entry] : entries_) {
    if (!entry.is_stored) continue;
    const std::string_view content = read(name);
    if (name.ends_with("pkl") && !has_possible_sizes(content))
      fail("the record '" + printable(name) + "' states sizes that are larger than the record");
  }
}

}  // namespace ekd
