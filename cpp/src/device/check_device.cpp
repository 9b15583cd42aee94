#include <cmath>

#include "cuda_library.hpp"
#include "device.hpp"
#include "ekd/device_check.hpp"
#include "ekd/error.hpp"

namespace ekd {
namespace {

template <class T>
void check_product(const std::shared_ptr<device::Device>& on) {
  constexpr int kRows = 2 * device::kProductRows, kDepth = 20, kColumns = 12;
  std::vector<T> from(kRows * kDepth), matrix(kDepth * kColumns), found(kRows * kColumns);
  for (std::size_t k = 0; k < from.size(); ++k) from[k] = static_cast<T>(std::sin(0.7 * k));
  for (std::size_t k = 0; k < matrix.size(); ++k) matrix[k] = static_cast<T>(std::cos(0.3 * k));
  device::Array<T> on_from(on), on_matrix(on), on_found(on);
  device::ProductArguments<T> a{};
  a.n_rows = kRows;
  a.from = on_from.set(from.data(), from.size());
  a.from_stride = kDepth;
  a.matrix = {on_matrix.set(matrix.data(), matrix.size()), kDepth, kColumns};
  a.to = on_found.reserve_cleared(found.size());
  a.to_stride = kColumns;
  a.adds = 1;
  device::ProgramKey key;
  key.single = sizeof(T) == 4;
  key.components = 9;
  on->compile(key)->launch(device::Kernel::product, {2, 64, 0}, &a);
  on_found.get(found.data(), found.size());
  const double limit = key.single ? 1e-4 : 1e-12;
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) {
      double expected = 0.0;
      for (int k = 0; k < kDepth; ++k)
        expected += static_cast<double>(from[r * kDepth + k]) * matrix[k * kColumns + c];
      if (!(std::abs(found[r * kColumns + c] - expected) < limit))
        throw DeviceError(
            on->name() +
            " computes wrong numbers; is its driver damaged, or its memory? [EKD-DEVICE-010]");
    }
  }
}

}  // namespace

std::string check_device(const std::string& name) {
  const std::shared_ptr<device::Device> on = device::open_device(name);
  check_product<float>(on);
  check_product<double>(on);
  return on->name();
}

int count_cuda_devices() { return device::cuda_device_count(); }

std::string nvrtc_version() { return device::nvrtc_version(); }

std::size_t compile_kernels(int architecture, bool single, int components, int width,
                            int sensitivities) {
  device::ProgramKey key;
  key.single = single;
  key.training = components == 0;
  key.components = components;
  key.width = width;
  key.sensitivities = sensitivities;
  key.sensitivity_width = (sensitivities + 3) / 4 * 4;
  return device::compile_for_cuda(architecture, key).size();
}

}  // namespace ekd
