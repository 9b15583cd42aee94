#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "check.hpp"
#include "ekd/archive.hpp"
#include "ekd/error.hpp"

using ekd::Archive;
using ekd::ModelFileError;

namespace {

using Records = std::map<std::string, std::string>;

const Records kRecords{{"extra/ekd_format", "4"},
                       {"extra/empty", ""},
                       {"data.pkl", std::string("\x80\x02pickle\0.", 10)},
                       {"extra/ekd_weights.bin", std::string(200, '\x5a')}};

std::uint32_t crc32(const std::string& content) {
  std::uint32_t sum = 0xffffffff;
  for (const unsigned char byte : content) {
    sum ^= byte;
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0xedb88320 : 0);
  }
  return ~sum;
}

template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
void put_at(std::string& to, std::size_t at, T value) {
  std::memcpy(&to.at(at), &value, sizeof value);
}

// The bytes of a zip file, and where its index and its end record begin.
struct Zip {
  std::string bytes;
  std::size_t index = 0;
  std::size_t end = 0;
};

struct ZipSettings {
  bool zip64 = false;  // all sizes and offsets are in zip64 fields
  std::string comment{};
  // Values that are XORed with the zip64 fields, to damage them.
  std::uint64_t size_64 = 0, packed_64 = 0, place_64 = 0;
  std::uint64_t n_64 = 0, index_size_64 = 0, index_place_64 = 0, end_place_64 = 0;
};

Zip make_zip(const Records& records, const ZipSettings& settings = {}) {
  Zip zip;
  std::string index;
  for (const auto& [short_name, content] : records) {
    const std::string name = "model/" + short_name;
    const std::uint64_t place = zip.bytes.size();
    const std::uint32_t sum = crc32(content);
    const auto size = static_cast<std::uint32_t>(content.size());
    const auto common = [&](std::string& to, std::uint32_t written) {
      for (const std::uint16_t field : {20, 0, 0, 0, 0}) put(to, field);  // stored
      put(to, sum);
      put(to, written);
      put(to, written);
      put(to, static_cast<std::uint16_t>(name.size()));
    };
    put<std::uint32_t>(zip.bytes, 0x04034b50);
    common(zip.bytes, size);
    put<std::uint16_t>(zip.bytes, 7);  // padding for alignment, as written by torch
    zip.bytes += name + std::string("FB\3\0ZZZ", 7) + content;

    std::string extra;
    if (settings.zip64) {
      put<std::uint16_t>(extra, 0x4246);  // an unrelated field comes first
      put<std::uint16_t>(extra, 2);
      extra += "??";
      put<std::uint16_t>(extra, 1);
      put<std::uint16_t>(extra, 24);
      put<std::uint64_t>(extra, size ^ settings.size_64);
      put<std::uint64_t>(extra, size ^ settings.packed_64);
      put<std::uint64_t>(extra, place ^ settings.place_64);
    }
    put<std::uint32_t>(index, 0x02014b50);
    put<std::uint16_t>(index, 20);
    common(index, settings.zip64 ? 0xffffffff : size);
    put(index, static_cast<std::uint16_t>(extra.size()));
    for (int k = 0; k < 5; ++k) put<std::uint16_t>(index, 0);  // comment, disk, attributes
    put(index, settings.zip64 ? 0xffffffffU : static_cast<std::uint32_t>(place));
    index += name + extra;
  }
  zip.index = zip.bytes.size();
  zip.bytes += index;
  if (settings.zip64) {
    const std::uint64_t end64 = zip.bytes.size();
    put<std::uint32_t>(zip.bytes, 0x06064b50);
    put<std::uint64_t>(zip.bytes, 44);
    put<std::uint32_t>(zip.bytes, 45 | 45 << 16);
    put<std::uint64_t>(zip.bytes, 0);
    put<std::uint64_t>(zip.bytes, records.size());
    put<std::uint64_t>(zip.bytes, records.size() ^ settings.n_64);
    put<std::uint64_t>(zip.bytes, index.size() ^ settings.index_size_64);
    put<std::uint64_t>(zip.bytes, zip.index ^ settings.index_place_64);
    put<std::uint32_t>(zip.bytes, 0x07064b50);
    put<std::uint32_t>(zip.bytes, 0);
    put<std::uint64_t>(zip.bytes, end64 ^ settings.end_place_64);
    put<std::uint32_t>(zip.bytes, 1);
  }
  zip.end = zip.bytes.size();
  put<std::uint32_t>(zip.bytes, 0x06054b50);
  put<std::uint32_t>(zip.bytes, 0);
  const auto n = static_cast<std::uint16_t>(settings.zip64 ? 0xffff : records.size());
  put(zip.bytes, n);
  put(zip.bytes, n);
  put(zip.bytes, settings.zip64 ? 0xffffffffU : static_cast<std::uint32_t>(index.size()));
  put(zip.bytes, settings.zip64 ? 0xffffffffU : static_cast<std::uint32_t>(zip.index));
  put(zip.bytes, static_cast<std::uint16_t>(settings.comment.size()));
  zip.bytes += settings.comment;
  return zip;
}

// Opens an archive and reads all its records, which must be correct because their checksums are
// verified. Returns the number of records. Throws ModelFileError.
std::size_t read_all(const std::string& bytes) {
  Archive archive(in_memory(bytes));
  std::size_t n = 0;
  for (const auto& [name, content] : kRecords) {
    if (!archive.has(name)) continue;
    check(archive.read_text(name) == content, name);
    ++n;
  }
  return n;
}

void refuse(const std::string& bytes, std::string_view words = "", Place where = Place::here()) {
  check_throws<ModelFileError>([&] { read_all(bytes); }, words, where);
}

}  // namespace

TEST(archive_reads_what_was_written) {
  check(read_all(make_zip(kRecords).bytes) == kRecords.size());
  check(read_all(make_zip(kRecords, {.zip64 = true}).bytes) == kRecords.size());
  check(read_all(make_zip(kRecords, {.comment = std::string(65535, 'c')}).bytes) ==
        kRecords.size());
  check(read_all(make_zip(kRecords, {.zip64 = true, .comment = std::string(65535, 'c')}).bytes) ==
        kRecords.size());
  check(read_all(make_zip({{"another", ""}}).bytes) == 0);
  Archive archive(in_memory(make_zip(kRecords).bytes));
  check(!archive.has("extra/nothing"));
  check_throws<ModelFileError>([&] { archive.read("extra/nothing"); }, "extra/nothing");
}

TEST(archive_that_is_none) {
  refuse("", "not an exported model");
  refuse("PK", "not an exported model");
  refuse(std::string(1000, '\0'), "not an exported model");
  refuse("PK\3\4", "truncated or damaged");
  refuse("PK\3\4" + std::string(200000, '\0'), "truncated or damaged");
  const std::string folder = std::filesystem::temp_directory_path();
  check_throws<ModelFileError>([&] { Archive archive(folder); }, "not an exported model");
  check_throws<ModelFileError>([&] { Archive archive(folder + "/ekd-nothing"); }, "check the path");
}

TEST(archive_truncated_anywhere) {
  for (const bool zip64 : {false, true}) {
    const Zip zip = make_zip(kRecords, {.zip64 = zip64});
    for (std::size_t size = 0; size < zip.bytes.size(); ++size) refuse(zip.bytes.substr(0, size));
  }
}

TEST(archive_with_any_bit_of_its_index_flipped) {
  for (const bool zip64 : {false, true}) {
    const Zip zip = make_zip(kRecords, {.zip64 = zip64});
    for (std::size_t at = zip.index; at < zip.bytes.size(); ++at)
      for (int bit = 0; bit < 8; ++bit) {
        std::string bytes = zip.bytes;
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
        succeeds<ModelFileError>([&] { read_all(bytes); });
      }
  }
}

TEST(archive_with_any_bit_of_a_record_flipped) {
  const Zip zip = make_zip(kRecords);
  const std::size_t begin = zip.bytes.find("ZZZ\x5a") + 3;
  for (std::size_t at = begin; at < begin + 200; ++at) {
    std::string bytes = zip.bytes;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    refuse(bytes, "checksum");
  }
}

TEST(archive_with_absurd_sizes) {
  const Zip zip = make_zip(kRecords);
  for (const std::uint32_t size :
       {1U, 0x7fffffffU, 0x80000000U, 0xfffffffeU, 0xffffffffU, 0xffff0000U}) {
    for (const std::size_t field : {20, 24, 42})  // sizes and offset of the first record
      succeeds<ModelFileError>([&] {
        std::string bytes = zip.bytes;
        put_at(bytes, zip.index + field, size);
        read_all(bytes);
      });
    for (const std::size_t field : {12, 16}) {  // size and offset of the index
      std::string bytes = zip.bytes;
      put_at(bytes, zip.end + field, size);
      refuse(bytes);
    }
  }
  for (const std::uint16_t size : {0xffff, 0x8000, 0x7fff, 300})
    for (const std::size_t field : {28, 30, 32}) {  // name, extra fields, comment
      std::string bytes = zip.bytes;
      put_at(bytes, zip.index + field, size);
      refuse(bytes);
    }
  std::string bytes = zip.bytes;
  put_at<std::uint16_t>(bytes, zip.end + 10, 0xffff);  // records
  refuse(bytes, "no readable index");
  bytes = zip.bytes;
  put_at<std::uint16_t>(bytes, zip.index + 10, 8);  // deflated
  refuse(bytes, "compressed");
}

TEST(archive_with_absurd_zip64_fields) {
  using Field = std::uint64_t ZipSettings::*;
  for (const std::uint64_t flip :
       {std::uint64_t{1} << 63, std::uint64_t{1} << 62, ~std::uint64_t{0}, std::uint64_t{1} << 32,
        std::uint64_t{1} << 40, std::uint64_t{1} << 20}) {
    for (const Field field :
         {&ZipSettings::size_64, &ZipSettings::place_64, &ZipSettings::n_64,
          &ZipSettings::index_size_64, &ZipSettings::index_place_64, &ZipSettings::end_place_64}) {
      ZipSettings settings{.zip64 = true};
      settings.*field = flip;
      refuse(make_zip(kRecords, settings).bytes);
    }
    ZipSettings settings{.zip64 = true};
    settings.packed_64 = flip;  // not read, because records are not compressed
    check(read_all(make_zip(kRecords, settings).bytes) == kRecords.size());
  }
  // The field is too short for the numbers that it must contain.
  const Zip zip = make_zip(kRecords, {.zip64 = true});
  const std::size_t extra = zip.bytes.find(std::string("\1\0\30\0", 4), zip.index);
  for (const std::uint16_t size : {0, 7, 8, 16, 23}) {
    std::string bytes = zip.bytes;
    put_at(bytes, extra + 2, size);
    refuse(bytes);
  }
}

TEST(archive_with_names_that_leave_the_folder) {
  for (const char* name :
       {"../evil", "extra/../../evil", "extra/./evil", "extra//evil", "", "/etc", "extra\\evil"})
    refuse(make_zip({{name, "1"}}).bytes, "leaves its folder");
  refuse(make_zip({{std::string("a\0b", 3), "1"}}).bytes, "leaves its folder");
  const Zip zip = make_zip(kRecords);
  for (const char* folder : {"/odel", "../el", "mo/.."}) {
    std::string bytes = zip.bytes;
    const std::string name = "model/data.pkl";
    bytes.replace(bytes.find(name, zip.index), 5, folder);
    refuse(bytes);
  }
}

TEST(archive_with_records_that_two_readers_could_read_differently) {
  const Zip zip = make_zip(kRecords);
  const auto in_index = [&](const std::string& name) { return zip.bytes.find(name, zip.index); };
  std::string bytes = zip.bytes;
  bytes.replace(in_index("model/extra/empty"), 5, "other");
  refuse(bytes, "two folders");
  const Zip twin = make_zip({{"a", "1"}, {"b", "2"}});
  bytes = twin.bytes;
  bytes.replace(bytes.find("model/b", twin.index), 7, "model/a");
  refuse(bytes, "'model/a' occurs twice");
  // The name or the compression method in the header differs from the index.
  bytes = zip.bytes;
  bytes.replace(bytes.find("model/extra/empty"), 17, "model/extra/Empty");
  refuse(bytes, "is not where the index says");
  bytes = zip.bytes;
  put_at<std::uint16_t>(bytes, bytes.find("model/data.pkl") - 22, 8);
  refuse(bytes, "is compressed according to its header");
  // A second end record after the comment, and an index with more entries than the end record
  // states.
  bytes = make_zip(kRecords, {.comment = "twenty-two characters!"}).bytes;
  bytes += bytes.substr(zip.end, 22);
  refuse(bytes);
  bytes = zip.bytes;
  put_at<std::uint16_t>(bytes, zip.end + 10, 3);
  refuse(bytes, "no readable index");
}

TEST(archive_with_another_sha256) {
  const std::string bytes = make_zip(kRecords).bytes;
  const std::string right = Archive(in_memory(bytes)).sha256();
  check(Archive(in_memory(bytes), right).sha256() == right);
  std::string wrong = right;
  wrong[0] = wrong[0] == '0' ? '1' : '0';
  check_throws<ModelFileError>([&] { Archive(in_memory(bytes), wrong); }, "expected " + wrong);
  // The checksum is compared before the file is parsed.
  check_throws<ModelFileError>([&] { Archive(in_memory("no archive"), wrong); },
                               "expected " + wrong);
  check_throws<ekd::Error>([&] { Archive(in_memory(bytes), "no digits"); }, "'no digits'");
}

TEST(archive_is_read_once) {
  const std::string path = std::filesystem::temp_directory_path() / "ekd-archive-read-once";
  const auto write = [&](const std::string& bytes) { std::ofstream(path) << bytes; };
  write(make_zip(kRecords).bytes);
  Archive archive(path);
  write("another file");
  check(archive.read_text("extra/ekd_format") == "4");
  archive.check_all();
  std::filesystem::remove(path);
}

TEST(archive_of_which_another_record_is_damaged) {
  std::string bytes = make_zip(kRecords).bytes;
  bytes[bytes.find("pickle")] ^= 1;
  Archive archive(in_memory(bytes));
  archive.read("extra/ekd_format");
  check_throws<ModelFileError>([&] { archive.check_all(); }, "checksum of the record 'data.pkl'");
}

TEST(archive_with_a_pickle_that_would_fill_the_memory) {
  Records records = kRecords;
  records["data.pkl"] = std::string("\x80\2N", 3) + std::string("r\xff\xff\xff\x7f.", 6);
  const Archive archive(in_memory(make_zip(records).bytes));
  archive.check_all();
  check_throws<ModelFileError>([&] { archive.check_script(); }, "sizes that are larger");
}

TEST(archive_mutated) {
  Random random(2);
  for (const bool zip64 : {false, true}) {
    const std::string sound = make_zip(kRecords, {.zip64 = zip64}).bytes;
    for (int k = 0; k < 3000; ++k) {
      const std::string bytes = mutated(sound, random);
      succeeds<ModelFileError>([&] { read_all(bytes); });
    }
  }
}
