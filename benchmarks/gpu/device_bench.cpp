// What a device computes, against the host, and how fast. See README.md; `make gpu` calls it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "bench/checks.hpp"
#include "bench/device_memory.hpp"
#include "bench/rates.hpp"
#include "bench/record.hpp"
#include "ekd/device_check.hpp"
#include "ekd/error.hpp"

namespace {

const char* const kUsage =
    "usage: device_bench COMMAND [--OPTION VALUE ...]\n"
    "  device    runs something on the device and names it\n"
    "  check     --models A,B --structures C,D [--repeats N]: against the kernels of the host\n"
    "  rate      --model A --structure C --sizes N,M [--tiles 16x256,8x128]: the list given\n"
    "  transfers the same, positions and forces in the memory of the host\n"
    "  kernels   the same, time of each kernel\n"
    "  opening   --model A: time until it is ready\n"
    "all: --device cuda|cuda:N|emulated --threads N --seconds S --precision float32|float64\n"
    "Results are lines of JSON. The exit status is 1 if something differs or fails.\n";

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
  return words;
}

class Options {
 public:
  Options(int n, char** words) {
    for (int k = 0; k < n; k += 2) {
      const std::string name = words[k];
      if (name.rfind("--", 0) != 0 || k + 1 == n)
        throw ekd::Error("'" + name + "' is not an option with a value\n" + kUsage);
      values_[name.substr(2)] = words[k + 1];
    }
  }
  std::string get(const std::string& name, const std::string& otherwise) const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }
  std::string need(const std::string& name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) throw ekd::Error("--" + name + " is missing\n" + kUsage);
    return found->second;
  }

 private:
  std::map<std::string, std::string> values_;
};

int name_device(const Options& options) {
  const std::string device = options.get("device", "cuda");
  const std::string name = ekd::check_device(device);
  const bench::DeviceMemory memory = bench::device_memory(device);
  bench::Record record("device");
  record.add("name", name).add("memory_total_bytes", memory.total);
  record.add("nvrtc", device == "emulated" ? std::string("not used") : ekd::nvrtc_version());
  record.print();
  return 0;
}

int check(const Options& options) {
  bench::CheckPlan plan;
  plan.device = options.get("device", "cuda");
  plan.models = split(options.need("models"));
  plan.structures = split(options.need("structures"));
  plan.n_threads = std::stoi(options.get("threads", "1"));
  plan.repeats = std::stoi(options.get("repeats", "5"));
  return bench::check(plan);
}

bench::RatePlan rate_plan(const Options& options, bool with_atoms) {
  bench::RatePlan plan;
  plan.device = options.get("device", "cuda");
  plan.model = options.need("model");
  plan.precision = options.get("precision", "float32");
  if (plan.precision != "float32" && plan.precision != "float64")
    throw ekd::Error("--precision is '" + plan.precision + "', expected float32 or float64");
  plan.seconds = std::stod(options.get("seconds", "1"));
  plan.n_threads = std::stoi(options.get("threads", "1"));
  plan.skin = std::stod(options.get("skin", "1"));
  if (!with_atoms) return plan;
  plan.structure = options.need("structure");
  for (const std::string& size : split(options.need("sizes")))
    plan.sizes.push_back(std::stoll(size));
  plan.tiles = split(options.get("tiles", ""));
  return plan;
}

int run(const std::string& command, const Options& options) {
  if (command == "device") return name_device(options);
  if (command == "check") return check(options);
  if (command == "rate") return bench::measure_rates(rate_plan(options, true));
  if (command == "transfers") return bench::measure_with_transfers(rate_plan(options, true));
  if (command == "kernels") return bench::measure_kernels(rate_plan(options, true));
  if (command == "opening") return bench::measure_opening(rate_plan(options, false));
  throw ekd::Error("'" + command + "' is not a command\n" + kUsage);
}

}  // namespace

int main(int n_words, char** words) {
  if (n_words < 2) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  try {
    return run(words[1], Options(n_words - 2, words + 2)) == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_bench: %s\n", error.what());
    return 1;
  }
}
