#include <algorithm>
#include <cctype>
#include <map>
#include <mutex>

#include "device.hpp"
#include "ekd/error.hpp"

namespace ekd::device {
namespace {

// N of "cuda:N"; -1: no number.
int number_of(const std::string& name) {
  const std::string prefix = "cuda:";
  if (name == "cuda") return -1;
  const std::string digits = name.substr(std::min(prefix.size(), name.size()));
  const bool is_number = !digits.empty() && digits.size() <= 4 &&
                         std::all_of(digits.begin(), digits.end(),
                                     [](unsigned char c) { return std::isdigit(c) != 0; });
  if (!is_number)
    throw DeviceError("device '" + name +
                      "' is not one of cuda, cuda:0, cuda:1, ... [EKD-DEVICE-001]");
  return std::stoi(digits);
}

}  // namespace

bool is_device(const std::string& name) {
  return name == "emulated" || name == "cuda" || name.rfind("cuda:", 0) == 0;
}

std::shared_ptr<Device> open_device(const std::string& name, int process) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<Device>> opened;
  const std::lock_guard lock(mutex);
  if (name == "emulated") {
    auto& device = opened[name];
    if (device == nullptr) device = make_host_device();
    return device;
  }
  const int wanted = number_of(name);
  const int count = cuda_device_count();
  if (count == 0)
    throw DeviceError(
        "device '" + name +
        "': the NVIDIA driver finds no GPU here (is CUDA_VISIBLE_DEVICES empty?) [EKD-DEVICE-002]");
  if (wanted >= count)
    throw DeviceError("device '" + name + "' does not exist: there are " + std::to_string(count) +
                      ", counted from cuda:0 [EKD-DEVICE-003]");
  const int number = wanted >= 0 ? wanted : process % count;
  auto& device = opened["cuda:" + std::to_string(number)];
  if (device == nullptr) device = open_cuda_device(number);
  return device;
}

}  // namespace ekd::device
