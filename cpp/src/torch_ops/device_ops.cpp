#include "device_ops.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "../device/device.hpp"
#include "ekd/error.hpp"

namespace ekd {
namespace {

using at::Tensor;
using device::TrainingKernel;

std::atomic<bool> emulates{false};

void emulate_devices(bool on) { emulates = on; }

constexpr int kThreads = 256;

// The program for the device and precision of a tensor. Compiled once.
device::Program& program_for(const Tensor& tensor) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, bool>, std::unique_ptr<device::Program>> programs;
  std::string name = "emulated";
  if (tensor.is_cuda()) {
    name = "cuda:" + std::to_string(tensor.device().index());
    // The kernels use the default stream, so the operations around them must, too.
    const c10::impl::VirtualGuardImpl guard(tensor.device().type());
    TORCH_CHECK(guard.getStream(tensor.device()).id() == 0,
                "ekd: its kernels run only on the default stream of torch; leave "
                "torch.cuda.stream, or set EKD_DEVICE_OPS=torch");
  }
  const bool single = tensor.scalar_type() == at::kFloat;
  const std::lock_guard lock(mutex);
  auto& program = programs[{name, single}];
  if (program == nullptr) {
    device::ProgramKey key;
    key.single = single;
    key.training = true;
    program = device::open_device(name)->compile(key);
  }
  return *program;
}

template <class Argument>
void run(const Tensor& tensor, TrainingKernel kernel, std::int64_t n_items,
         const Argument& argument) {
  const std::int64_t blocks = (n_items + kThreads - 1) / kThreads;
  TORCH_CHECK(blocks <= std::numeric_limits<int>::max(), "ekd: too many pairs for a device");
  program_for(tensor).launch(kernel, {static_cast<int>(blocks), kThreads, 0}, &argument);
}

template <class T>
const T* data(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

const device::Int64* indices(const Tensor& tensor) {
  static_assert(sizeof(device::Int64) == sizeof(std::int64_t));
  return reinterpret_cast<const device::Int64*>(tensor.const_data_ptr<std::int64_t>());
}

// First position of each number below n in a sorted list.
Tensor offsets_of(const Tensor& sorted, std::int64_t n) {
  return at::searchsorted(sorted, at::arange(n + 1, sorted.options()));
}

template <class T>
device::MessageArguments<T> message_arguments(const Tensor& gradient, const Tensor& weights,
                                              const Tensor& features, const Tensor& pairs) {
  device::MessageArguments<T> a{};
  a.n_pairs = pairs.size(1);
  a.centers = indices(pairs);
  a.neighbors = a.centers + a.n_pairs;
  a.gradient = data<T>(gradient);
  a.weights = data<T>(weights);
  a.features = data<T>(features);
  a.n_weights = static_cast<int>(weights.defined() ? weights.size(1) : gradient.size(1));
  a.n_features = static_cast<int>(features.defined() ? features.size(1) : gradient.size(2));
  return a;
}

template <class T>
device::PairWeightsArguments<T> pair_arguments(const Tensor& vectors, const Tensor& mu,
                                               const Tensor& sigma, double cutoff,
                                               std::int64_t l_max) {
  device::PairWeightsArguments<T> a{};
  a.n_pairs = vectors.size(0);
  a.n_components = static_cast<int>((l_max + 1) * (l_max + 1));
  a.n_sensitivities = static_cast<int>(mu.size(0));
  a.cutoff = cutoff;
  a.vectors = data<T>(vectors);
  a.mu = data<T>(mu);
  a.sigma = data<T>(sigma);
  return a;
}

template <class T>
device::InvariantsArguments<T> invariants_arguments(const Tensor& mixed, const Tensor& scales,
                                                    double cusp) {
  device::InvariantsArguments<T> a{};
  a.n_atoms = mixed.size(0);
  a.n_components = static_cast<int>(mixed.size(1));
  a.n_features = static_cast<int>(mixed.size(2));
  a.cusp = cusp;
  a.mixed = data<T>(mixed);
  a.scales = data<T>(scales);
  return a;
}

}  // namespace

bool has_device_kernels(const Tensor& tensor) {
  const auto type = tensor.scalar_type();
  if (type != at::kFloat && type != at::kDouble) return false;
  if (tensor.is_cpu()) return emulates;
  static const bool torch = [] {
    const char* const asked = std::getenv("EKD_DEVICE_OPS");
    return asked != nullptr && std::string(asked) == "torch";
  }();
  return tensor.is_cuda() && !torch;
}

Tensor device_message(const Tensor& weights, const Tensor& features, const Tensor& pairs,
                      std::int64_t n_centers) {
  const Tensor offsets = offsets_of(pairs[0].contiguous(), n_centers);
  Tensor out = at::empty({n_centers, weights.size(1), features.size(1)}, weights.options());
  AT_DISPATCH_FLOATING_TYPES(weights.scalar_type(), "ekd::message", [&] {
    auto a = message_arguments<scalar_t>({}, weights, features, pairs);
    a.n_centers = n_centers;
    a.offsets = indices(offsets);
    a.out = out.mutable_data_ptr<scalar_t>();
    run(weights, TrainingKernel::message, out.numel(), a);
  });
  return out;
}

Tensor device_message_weight(const Tensor& gradient, const Tensor& features, const Tensor& pairs) {
  Tensor out = at::empty({pairs.size(1), gradient.size(1)}, gradient.options());
  AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "ekd::message_weight", [&] {
    auto a = message_arguments<scalar_t>(gradient, {}, features, pairs);
    a.out = out.mutable_data_ptr<scalar_t>();
    run(gradient, TrainingKernel::message_weight, out.numel(), a);
  });
  return out;
}

Tensor device_message_feature(const Tensor& gradient, const Tensor& weights, const Tensor& pairs,
                              std::int64_t n_neighbors) {
  // Stable, so that every sum keeps the order of the pairs.
  const auto sorted = pairs[1].sort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor offsets = offsets_of(std::get<0>(sorted), n_neighbors);
  const Tensor& order = std::get<1>(sorted);
  Tensor out = at::empty({n_neighbors, gradient.size(2)}, gradient.options());
  AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "ekd::message_feature", [&] {
    auto a = message_arguments<scalar_t>(gradient, weights, {}, pairs);
    a.n_neighbors = n_neighbors;
    a.offsets = indices(offsets);
    a.order = indices(order);
    a.out = out.mutable_data_ptr<scalar_t>();
    run(gradient, TrainingKernel::message_feature, out.numel(), a);
  });
  return out;
}

Tensor device_pair_weights(const Tensor& vectors, const Tensor& mu, const Tensor& sigma,
                           double cutoff, std::int64_t l_max) {
  Tensor out =
      at::empty({vectors.size(0), (l_max + 1) * (l_max + 1) * mu.size(0)}, vectors.options());
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "ekd::pair_weights", [&] {
    auto a = pair_arguments<scalar_t>(vectors, mu, sigma, cutoff, l_max);
    a.weights = out.mutable_data_ptr<scalar_t>();
    run(vectors, TrainingKernel::pair_weights, a.n_pairs, a);
  });
  return out;
}

std::vector<Tensor> device_pair_weights_gradient(const Tensor& gradient, const Tensor& vectors,
                                                 const Tensor& mu, const Tensor& sigma,
                                                 double cutoff, std::int64_t l_max) {
  Tensor d_vectors = at::empty_like(vectors);
  Tensor d_mu = at::empty({vectors.size(0), mu.size(0)}, vectors.options());
  Tensor d_sigma = at::empty_like(d_mu);
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "ekd::pair_weights", [&] {
    auto a = pair_arguments<scalar_t>(vectors, mu, sigma, cutoff, l_max);
    a.gradient = data<scalar_t>(gradient);
    a.d_vectors = d_vectors.mutable_data_ptr<scalar_t>();
    a.d_mu = d_mu.mutable_data_ptr<scalar_t>();
    a.d_sigma = d_sigma.mutable_data_ptr<scalar_t>();
    run(vectors, TrainingKernel::pair_weights_gradient, a.n_pairs, a);
  });
  return {d_vectors, d_mu.sum(0), d_sigma.sum(0)};
}

std::vector<Tensor> device_pair_weights_second_gradient(const Tensor& gradient,
                                                        const Tensor& vectors, const Tensor& mu,
                                                        const Tensor& sigma, double cutoff,
                                                        std::int64_t l_max,
                                                        const std::vector<Tensor>& t) {
  Tensor d_gradient = at::empty_like(gradient);
  Tensor d_vectors = at::empty_like(vectors);
  Tensor d_mu = at::empty({vectors.size(0), mu.size(0)}, vectors.options());
  Tensor d_sigma = at::empty_like(d_mu);
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "ekd::pair_weights", [&] {
    auto a = pair_arguments<scalar_t>(vectors, mu, sigma, cutoff, l_max);
    a.gradient = data<scalar_t>(gradient);
    a.t_vectors = data<scalar_t>(t[0]);
    a.t_mu = data<scalar_t>(t[1]);
    a.t_sigma = data<scalar_t>(t[2]);
    a.d_gradient = d_gradient.mutable_data_ptr<scalar_t>();
    a.d_vectors = d_vectors.mutable_data_ptr<scalar_t>();
    a.d_mu = d_mu.mutable_data_ptr<scalar_t>();
    a.d_sigma = d_sigma.mutable_data_ptr<scalar_t>();
    run(vectors, TrainingKernel::pair_weights_second_gradient, a.n_pairs, a);
  });
  return {d_gradient, d_vectors, d_mu.sum(0), d_sigma.sum(0)};
}

Tensor device_invariants(const Tensor& mixed, const Tensor& scales, const Tensor& base,
                         double cusp) {
  Tensor out = at::empty_like(base);
  AT_DISPATCH_FLOATING_TYPES(mixed.scalar_type(), "ekd::invariants", [&] {
    auto a = invariants_arguments<scalar_t>(mixed, scales, cusp);
    a.base = data<scalar_t>(base);
    a.out = out.mutable_data_ptr<scalar_t>();
    run(mixed, TrainingKernel::invariants, out.numel(), a);
  });
  return out;
}

std::vector<Tensor> device_invariants_gradient(const Tensor& gradient, const Tensor& mixed,
                                               const Tensor& scales, double cusp) {
  Tensor d_mixed = at::empty_like(mixed);
  Tensor d_scales = at::empty({mixed.size(0), scales.size(0), scales.size(1)}, mixed.options());
  AT_DISPATCH_FLOATING_TYPES(mixed.scalar_type(), "ekd::invariants", [&] {
    auto a = invariants_arguments<scalar_t>(mixed, scales, cusp);
    a.gradient = data<scalar_t>(gradient);
    a.d_mixed = d_mixed.mutable_data_ptr<scalar_t>();
    a.d_scales = d_scales.mutable_data_ptr<scalar_t>();
    run(mixed, TrainingKernel::invariants_gradient, gradient.numel(), a);
  });
  return {d_mixed, d_scales.sum(0)};
}

std::vector<Tensor> device_invariants_second_gradient(const Tensor& gradient, const Tensor& mixed,
                                                      const Tensor& scales, double cusp,
                                                      const std::vector<Tensor>& t) {
  Tensor d_gradient = at::empty_like(gradient);
  Tensor d_mixed = at::empty_like(mixed);
  Tensor d_scales = at::empty({mixed.size(0), scales.size(0), scales.size(1)}, mixed.options());
  AT_DISPATCH_FLOATING_TYPES(mixed.scalar_type(), "ekd::invariants", [&] {
    auto a = invariants_arguments<scalar_t>(mixed, scales, cusp);
    a.gradient = data<scalar_t>(gradient);
    a.t_mixed = data<scalar_t>(t[0]);
    a.t_scales = data<scalar_t>(t[1]);
    a.d_gradient = d_gradient.mutable_data_ptr<scalar_t>();
    a.d_mixed = d_mixed.mutable_data_ptr<scalar_t>();
    a.d_scales = d_scales.mutable_data_ptr<scalar_t>();
    run(mixed, TrainingKernel::invariants_second_gradient, gradient.numel(), a);
  });
  return {d_gradient, d_mixed, d_scales.sum(0)};
}

}  // namespace ekd

TORCH_LIBRARY_FRAGMENT(ekd, m) {
  // For tests: whether operations on the CPU use the device kernels.
  m.def("emulate_devices(bool on) -> ()", &ekd::emulate_devices);
}
