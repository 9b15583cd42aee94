#include "check.hpp"
#include "ekd/error.hpp"
#include "ekd/printable.hpp"
#include "ekd/sha256.hpp"

TEST(sha256_of_the_examples_of_nist) {
  check(ekd::sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  check(ekd::sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  check(ekd::sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  check(ekd::sha256(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Sizes at which the padding needs another block; digests from Python's hashlib.
TEST(sha256_where_blocks_end) {
  check(ekd::sha256(std::string(55, 'a')) ==
        "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  check(ekd::sha256(std::string(56, 'a')) ==
        "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
  check(ekd::sha256(std::string(64, 'a')) ==
        "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

TEST(sha256_that_is_expected) {
  const std::string digits = ekd::sha256("abc");
  std::string upper = digits;
  for (char& digit : upper)
    if (digit >= 'a') digit = static_cast<char>(digit - 'a' + 'A');
  check(ekd::parse_sha256(digits) == digits && ekd::parse_sha256(upper) == digits);
  for (const std::string& text :
       {std::string(), std::string("abc"), digits + "0", digits.substr(1), "g" + digits.substr(1)})
    check_throws<ekd::Error>([&] { ekd::parse_sha256(text); }, "64 hexadecimal digits");
}

TEST(printable_text) {
  check(ekd::printable("extra/ekd_format") == "extra/ekd_format");
  check(ekd::printable("\x1b[2J\xff\n") == "?[2J??");
  check(ekd::printable(std::string(500, 'a')) == std::string(120, 'a') + "...");
}
