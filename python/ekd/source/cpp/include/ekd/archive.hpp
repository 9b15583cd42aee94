// Records of a TorchScript archive: a zip file whose entries are stored, not compressed. No torch.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace ekd {

class Archive {
 public:
  // Opens the file and reads its index. Sizes and places are checked against the file before
  // anything is read by them.
  // Throws ModelFileError: no such file, no zip archive, truncated or damaged.
  explicit Archive(const std::string& path);

  // Names are without the folder that torch puts all records of an archive in.
  bool has(const std::string& name) const { return entries_.count(name) != 0; }

  // The content of a record.
  // Throws ModelFileError: there is none of that name, or its checksum is not that of the index.
  std::vector<char> read(const std::string& name);
  std::string read_text(const std::string& name);

  const std::string& path() const { return path_; }

 private:
  struct Entry {
    std::uint64_t place;  // of the local header
    std::uint64_t size;
    std::uint32_t crc32;
    bool is_stored;
  };
  void read_index();
  void read_at(std::uint64_t place, char* to, std::uint64_t size);
  [[noreturn]] void fail(const std::string& reason) const;

  std::string path_;
  std::ifstream file_;
  std::uint64_t file_size_ = 0;
  std::map<std::string, Entry> entries_;
};

}  // namespace ekd
