// The kernels of training on devices, on tensors that lie there.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace ekd {

// Whether operations on this tensor are done by the kernels of devices: it is on a GPU of NVIDIA
// and in single or double precision; or on the CPU while devices are emulated, for tests.
// EKD_DEVICE_OPS=torch in the environment leaves GPUs to the operations of torch.
bool has_device_kernels(const at::Tensor& tensor);

// All tensors are on one device and contiguous. Shapes as those of the operations; pairs are sorted
// by centre. They have been checked.
// Throw DeviceError: the device cannot be used.

at::Tensor device_message(const at::Tensor& weights, const at::Tensor& features,
                          const at::Tensor& pairs, std::int64_t n_centers);
at::Tensor device_message_weight(const at::Tensor& gradient, const at::Tensor& features,
                                 const at::Tensor& pairs);
at::Tensor device_message_feature(const at::Tensor& gradient, const at::Tensor& weights,
                                  const at::Tensor& pairs, std::int64_t n_neighbors);

at::Tensor device_pair_weights(const at::Tensor& vectors, const at::Tensor& mu,
                               const at::Tensor& sigma, double cutoff, std::int64_t l_max);
// By vectors, mu and sigma.
std::vector<at::Tensor> device_pair_weights_gradient(const at::Tensor& gradient,
                                                     const at::Tensor& vectors,
                                                     const at::Tensor& mu, const at::Tensor& sigma,
                                                     double cutoff, std::int64_t l_max);
// By gradient, vectors, mu and sigma, along the changes t of the latter three.
std::vector<at::Tensor> device_pair_weights_second_gradient(
    const at::Tensor& gradient, const at::Tensor& vectors, const at::Tensor& mu,
    const at::Tensor& sigma, double cutoff, std::int64_t l_max, const std::vector<at::Tensor>& t);

at::Tensor device_invariants(const at::Tensor& mixed, const at::Tensor& scales,
                             const at::Tensor& base, double cusp);
// By mixed and scales.
std::vector<at::Tensor> device_invariants_gradient(const at::Tensor& gradient,
                                                   const at::Tensor& mixed,
                                                   const at::Tensor& scales, double cusp);
// By gradient, mixed and scales, along the changes t of the latter two.
std::vector<at::Tensor> device_invariants_second_gradient(const at::Tensor& gradient,
                                                          const at::Tensor& mixed,
                                                          const at::Tensor& scales, double cusp,
                                                          const std::vector<at::Tensor>& t);

}  // namespace ekd
