#include <cmath>
#include <limits>

#include "check.hpp"
#include "json.hpp"

using ekd::Json;
using ekd::JsonError;

namespace {

void refuse(std::string_view text, std::string_view words = "", Place where = Place::here()) {
  check_throws<JsonError>([&] { Json::parse(text); }, words, where);
}

std::string repeated(const std::string& text, int n) {
  std::string all;
  for (int k = 0; k < n; ++k) all += text;
  return all;
}

}  // namespace

TEST(json_values) {
  const Json document = Json::parse(
      " {\"a\" : [1, -2.5e3 ,true,\tfalse, null],\r\n\"b\": {\"c\": \"text\"}, \"\": []} ");
  const auto& items = document.at("a").items();
  check(items.size() == 5 && items[0].integer() == 1 && items[1].number() == -2500.0);
  check(items[2].boolean() && !items[3].boolean() && items[4].is(Json::Type::kNull));
  check(document.at("b").at("c").string() == "text");
  check(document.at("").items().empty());
  check(document.find("d") == nullptr && items[0].find("d") == nullptr);
  check(document.members()[1].first == "b");
  check_throws<JsonError>([&] { document.at("d"); }, "'d'");
  check_throws<JsonError>([&] { document.at("a").integer(); }, "found type array");
  check_throws<JsonError>([&] { items[1].integer(); }, "expected integer");
  check_throws<JsonError>([&] { items[0].string(); }, "found type number");
  check(Json::parse("[]").items().empty() && Json::parse("{}").members().empty());
  check(Json::parse("\"alone\"").string() == "alone");
}

TEST(json_numbers) {
  const auto number = [](const char* text) { return Json::parse(text).number(); };
  check(Json::parse("-0").integer() == 0 && std::signbit(number("-0.0")));
  check(Json::parse("9223372036854775807").integer() == std::numeric_limits<std::int64_t>::max());
  check(Json::parse("-9223372036854775808").integer() == std::numeric_limits<std::int64_t>::min());
  check(number("0.1") == 0.1 && number("1.7976931348623157e308") == 1.7976931348623157e308);
  check(number("1E+2") == 100.0 && number("1e-2") == 0.01);
  check(number("5e-324") == 5e-324);
  for (const char* text : {"9223372036854775808", "-9223372036854775809", "18446744073709551615"}) {
    const Json large = Json::parse(text);
    check(large.is(Json::Type::kFloat) && std::abs(large.number()) >= 9223372036854775808.0);
    check_throws<JsonError>([&] { large.integer(); }, "expected integer");
  }
  for (const char* text : {"1e309", "-1e999999999"}) refuse(text, "out of range");
  refuse(std::string(100000, '9'), "out of range");
  for (const char* text : {"01", "+1", "1.", ".5", "-", "1e", "1e+", "0x10", "NaN", "Infinity",
                           "-Infinity", "1_0", "1,", "- 1", "00"})
    refuse(text);
}

TEST(json_strings) {
  const auto string = [](const char* text) { return Json::parse(text).string(); };
  check(string(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
  check(string(R"("\u0041\u00e5\u20AC")") == "A\xc3\xa5\xe2\x82\xac");
  check(string(R"("\ud83d\ude00")") == "\xf0\x9f\x98\x80");
  check(string(R"("\udbff\udfff")") == "\xf4\x8f\xbf\xbf");
  check(string(R"("a\u0000b")") == std::string("a\0b", 3));
  check(string("\"\xc3\xa5 \xe2\x82\xac \xf0\x9f\x98\x80\"") ==
        "\xc3\xa5 \xe2\x82\xac \xf0\x9f\x98\x80");
  for (const char* text : {R"("\ud83d")", R"("\ud83dx")", R"("\ud83d\n")", R"("\ud83d\u0041")",
                           R"("\ud83d\ud83d")", R"("\ude00")", R"("\ud83d\)"})
    refuse(text, "surrogate");
  for (const char* text : {R"("\x41")", R"("\u12")", R"("\u12g4")", R"("\u)", R"("\)", R"("open)",
                           "\"line\nbreak\"", "\"\t\"", R"('a')", "\"", R"("a" "b")"})
    refuse(text);
  refuse(std::string("\"a\0b\"", 5), "control character");
}

TEST(json_strings_are_utf8) {
  for (const char* text : {"\"\x80\"",              // begins with a continuation byte
                           "\"\xff\"", "\"\xc3\"",  // incomplete sequence
                           "\"\xe2\x82\"", "\"\xf0\x9f\x98\"", "\"\xc3(\"", "\"\xe2(\xac\"",
                           "\"\xc0\xaf\"",  // overlong encoding
                           "\"\xe0\x80\xaf\"", "\"\xf0\x80\x80\xaf\"",
                           "\"\xed\xa0\x80\"",      // surrogate
                           "\"\xf4\x90\x80\x80\"",  // above U+10FFFF
                           "\"\xf8\x88\x80\x80\x80\"", "{\"\xff\": 1}"})
    refuse(text, "UTF-8");
  check(Json::parse("\"\xef\xbf\xbf\xf4\x8f\xbf\xbf\"").string() == "\xef\xbf\xbf\xf4\x8f\xbf\xbf");
}

TEST(json_documents_that_are_none) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[",
                           "]",
                           "}",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{,}",
                           "{1:2}",
                           "{\"a\":1 \"b\":2}",
                           "{\"a\",1}",
                           "nul",
                           "nulL",
                           "tru",
                           "True",
                           "falsehood",
                           "[1]]",
                           "1 1",
                           "[1];",
                           "//",
                           "\xef\xbb\xbf[]",
                           "{\"a\":1}{}"})
    refuse(text);
  refuse(std::string("[1]\0", 4));
  refuse("{\"a\": 1, \"b\": 2, \"a\": 1}", "'a' occurs twice");
  refuse("{\"a\": 1, \"\\u0061\": 1}", "twice");
}

TEST(json_nesting) {
  check(Json::parse(repeated("[", 65) + repeated("]", 65)).is(Json::Type::kArray));
  refuse(repeated("[", 66) + repeated("]", 66), "nested too deeply");
  refuse(repeated("{\"a\":", 66) + "1" + repeated("}", 66), "nested too deeply");
  refuse(std::string(2000000, '['), "nested too deeply");
  refuse(repeated("{\"a\":", 400000), "nested too deeply");
}

TEST(json_many_keys) {
  std::string text = "{";
  for (int k = 0; k < 100000; ++k) text += "\"key" + std::to_string(k) + "\":0,";
  text.back() = '}';
  check(Json::parse(text).members().size() == 100000);
  text.back() = ',';
  refuse(text + "\"key7\":0}", "'key7' occurs twice");
}

TEST(json_mutated) {
  const std::string sound =
      R"({"name": "\u00e5\ud83d\ude00 x", "n": [1, -2.5e-3, 12345678901], "o": {"t": true, "f": )"
      R"([false, null, [], {}], "deep": [[[["\\\""]]]]}})";
  Json::parse(sound);
  Random random(1);
  int n_sound = 0;
  for (int k = 0; k < 20000; ++k) {
    const std::string text = mutated(sound, random);
    n_sound += succeeds<JsonError>([&] { Json::parse(text); }) ? 1 : 0;
  }
  check(n_sound > 500 && n_sound < 15000, std::to_string(n_sound));
  for (std::size_t size = 0; size < sound.size(); ++size) refuse(sound.substr(0, size));
}
