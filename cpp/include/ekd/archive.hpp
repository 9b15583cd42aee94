// Records of a TorchScript archive: a zip file whose entries are stored, not compressed. No torch.
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
  // Reads the file into memory, once, and then its index. Sizes and places are checked against the
  // file before anything is read by them. `sha256`: that the bytes must have, in hexadecimal;
  // empty: any. All that is read later comes from the same bytes, whatever happens to the file.
  // Throws ModelFileError: no such file, another SHA-256, no zip archive, truncated or damaged.
  // Throws Error: `sha256` is not hexadecimal.
  explicit Archive(const std::string& path, const std::string& sha256 = "");

  // Names are without the folder that torch puts all records of an archive in.
  bool has(const std::string& name) const { return entries_.count(name) != 0; }

  // Bytes of every record.
  std::map<std::string, std::uint64_t> sizes() const;

  // The content of a record.
  // Throws ModelFileError: there is none of that name, or its checksum is not that of the index.
  std::string_view read(const std::string& name) const;
  std::string read_text(const std::string& name) const { return std::string(read(name)); }

  // Reads all records, for those who hand the archive to another reader. `may_be_packed`: pass over
  // compressed ones, as TorchScript has them for long code.
  // Throws ModelFileError: as read().
  void check_all(bool may_be_packed = false) const;

  const std::string& path() const { return path_; }
  // The bytes of the file.
  const std::shared_ptr<const std::string>& content() const { return content_; }
  std::string sha256() const;

 private:
  struct Entry {
    std::uint64_t place;  // of the local header
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
