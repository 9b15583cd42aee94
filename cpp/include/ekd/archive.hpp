// Records of a TorchScript archive: a zip file with uncompressed entries. No torch here.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ekd {

class Archive {
 public:
  // Reads the file into memory once, and then its index. Sizes and offsets are checked against the
  // file before they are used. `sha256`: required SHA-256 in hexadecimal; empty: any. All later
  // reads use the same bytes, even if the file changes.
  // Throws ModelFileError: missing file, another SHA-256, not a zip archive, truncated or damaged.
  // Throws Error: `sha256` is not hexadecimal.
  explicit Archive(const std::string& path, const std::string& sha256 = "");

  // Names do not include the folder that torch adds to all records of an archive.
  bool has(const std::string& name) const { return entries_.count(name) != 0; }

  // Size of every record in bytes.
  std::map<std::string, std::uint64_t> sizes() const;

  // The content of a record.
  // Throws ModelFileError: the record is missing, or its checksum differs from the index.
  std::string_view read(const std::string& name) const;
  std::string read_text(const std::string& name) const { return std::string(read(name)); }

  // Reads all records, before the archive is passed to another reader.
  // Throws ModelFileError: as read().
  void check_all() const;

  // The same before an archive is loaded as TorchScript, without the compressed records that
  // TorchScript writes for long code, and with a check of its pickles.
  // Throws ModelFileError: as read(), or a pickle that states more than it can contain.
  void check_script() const;

  const std::string& path() const { return path_; }
  // The bytes of the file.
  const std::shared_ptr<const std::string>& content() const { return content_; }
  std::string sha256() const;

 private:
  struct Entry {
    std::uint64_t place;  // offset of the local header
    std::uint64_t size;
    std::uint32_t crc32;
    bool is_stored;
    std::string full_name;  // with the folder
  };
  void read_index();
  std::string_view at(std::uint64_t place, std::uint64_t size) const;
  [[noreturn]] void fail(const std::string& reason) const;

  std::string path_;
  std::shared_ptr<const std::string> content_;
  std::map<std::string, Entry> entries_;
};

}  // namespace ekd
