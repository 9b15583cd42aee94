// torch.ops.ekd.message and its two gradients: schemas, CPU kernels, plain torch operations for all
// other devices, and derivatives of all orders.
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "device_ops.hpp"
#include "ekd/message_kernels.hpp"
#include "row_offsets.hpp"

namespace ekd {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// ---- calls through the dispatcher -----------------------------------------------------------

Tensor call_message(const Tensor& weights, const Tensor& features, const Tensor& pairs,
                    std::int64_t n_centers) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("ekd::message", "")
          .typed<Tensor(const Tensor&, const Tensor&, const Tensor&, std::int64_t)>();
  return op.call(weights, features, pairs, n_centers);
}

Tensor call_message_weight(const Tensor& gradient, const Tensor& features, const Tensor& pairs) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("ekd::message_weight", "")
                             .typed<Tensor(const Tensor&, const Tensor&, const Tensor&)>();
  return op.call(gradient, features, pairs);
}

Tensor call_message_feature(const Tensor& gradient, const Tensor& weights, const Tensor& pairs,
                            std::int64_t n_neighbors) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("ekd::message_feature", "")
          .typed<Tensor(const Tensor&, const Tensor&, const Tensor&, std::int64_t)>();
  return op.call(gradient, weights, pairs, n_neighbors);
}

// ---- checks ---------------------------------------------------------------------------------

void check_pairs(const Tensor& pairs) {
  TORCH_CHECK(pairs.dim() == 2 && pairs.size(0) == 2 && pairs.scalar_type() == at::kLong,
              "ekd::message: pairs must be int64 of shape (2, n_pairs), found ",
              pairs.scalar_type(), " of shape ", pairs.sizes());
}

void check_rows(const char* what, const Tensor& tensor, std::int64_t dim, std::int64_t rows) {
  TORCH_CHECK(tensor.dim() == dim && (rows < 0 || tensor.size(0) == rows), "ekd::message: ", what,
              " must have ", dim, " dimensions",
              rows < 0 ? std::string() : " and " + std::to_string(rows) + " rows", ", found shape ",
              tensor.sizes());
}

// Number of centers per task that is worth starting a thread.
std::int64_t grain(const PairRows& rows, std::int64_t n_pairs) {
  constexpr std::int64_t kTask = 1 << 16;  // multiply-adds
  const std::int64_t work = n_pairs * rows.n_weights * rows.n_features;
  return std::max<std::int64_t>(1, kTask * rows.n_centers / std::max<std::int64_t>(1, work));
}

// ---- CPU ------------------------------------------------------------------------------------

Tensor message_cpu(const Tensor& weights_in, const Tensor& features_in, const Tensor& pairs_in,
                   std::int64_t n_centers) {
  check_pairs(pairs_in);
  const std::int64_t n_pairs = pairs_in.size(1);
  check_rows("weights", weights_in, 2, n_pairs);
  check_rows("features", features_in, 2, -1);
  const Tensor pairs = pairs_in.contiguous();
  const Tensor weights = weights_in.contiguous();
  const Tensor features = features_in.contiguous();
  const Tensor offsets = row_offsets("ekd::message", pairs, n_centers, features.size(0));
  if (has_device_kernels(weights)) return device_message(weights, features, pairs, n_centers);
  PairRows rows{n_centers, offsets.const_data_ptr<std::int64_t>(),
                pairs.const_data_ptr<std::int64_t>() + n_pairs, weights.size(1), features.size(1)};
  Tensor out = at::empty({n_centers, rows.n_weights, rows.n_features}, weights.options());
  AT_DISPATCH_FLOATING_TYPES(weights.scalar_type(), "ekd::message", [&] {
    rows.by_feature =
        sums_by_feature(features.size(0), features.size(1), features.const_data_ptr<scalar_t>());
    at::parallel_for(0, n_centers, grain(rows, n_pairs), [&](std::int64_t begin, std::int64_t end) {
      message<scalar_t>(rows, weights.const_data_ptr<scalar_t>(),
                        features.const_data_ptr<scalar_t>(), begin, end,
                        out.mutable_data_ptr<scalar_t>());
    });
  });
  return out;
}

Tensor message_weight_cpu(const Tensor& gradient_in, const Tensor& features_in,
                          const Tensor& pairs_in) {
  check_pairs(pairs_in);
  check_rows("gradient", gradient_in, 3, -1);
  check_rows("features", features_in, 2, -1);
  const std::int64_t n_pairs = pairs_in.size(1);
  const Tensor pairs = pairs_in.contiguous();
  const Tensor gradient = gradient_in.contiguous();
  const Tensor features = features_in.contiguous();
  const Tensor offsets = row_offsets("ekd::message", pairs, gradient.size(0), features.size(0));
  if (has_device_kernels(gradient)) return device_message_weight(gradient, features, pairs);
  PairRows rows{gradient.size(0), offsets.const_data_ptr<std::int64_t>(),
                pairs.const_data_ptr<std::int64_t>() + n_pairs, gradient.size(1), gradient.size(2)};
  Tensor out = at::empty({n_pairs, rows.n_weights}, gradient.options());
  AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "ekd::message_weight", [&] {
    rows.by_feature =
        sums_by_feature(features.size(0), features.size(1), features.const_data_ptr<scalar_t>());
    at::parallel_for(0, rows.n_centers, grain(rows, n_pairs),
                     [&](std::int64_t begin, std::int64_t end) {
                       message_weight<scalar_t>(rows, gradient.const_data_ptr<scalar_t>(),
                                                features.const_data_ptr<scalar_t>(), begin, end,
                                                out.mutable_data_ptr<scalar_t>());
                     });
  });
  return out;
}

Tensor message_feature_cpu(const Tensor& gradient_in, const Tensor& weights_in,
                           const Tensor& pairs_in, std::int64_t n_neighbors) {
  check_pairs(pairs_in);
  const std::int64_t n_pairs = pairs_in.size(1);
  check_rows("gradient", gradient_in, 3, -1);
  check_rows("weights", weights_in, 2, n_pairs);
  const Tensor pairs = pairs_in.contiguous();
  const Tensor gradient = gradient_in.contiguous();
  const Tensor weights = weights_in.contiguous();
  const std::int64_t* centers = pairs.const_data_ptr<std::int64_t>();
  const std::int64_t* neighbors = centers + n_pairs;
  const Tensor offsets = row_offsets("ekd::message", pairs, gradient.size(0), n_neighbors);
  if (has_device_kernels(gradient))
    return device_message_feature(gradient, weights, pairs, n_neighbors);
  const PairRows rows{gradient.size(0), offsets.const_data_ptr<std::int64_t>(), neighbors,
                      gradient.size(1), gradient.size(2)};
  Tensor out = at::zeros({n_neighbors, rows.n_features}, gradient.options());
  const bool threaded = at::get_num_threads() > 1 && !at::in_parallel_region() &&
                        grain(rows, n_pairs) < rows.n_centers;
  // Two threads must not add to the same neighbor: each thread handles different neighbors, whose
  // pairs are grouped by a stable counting sort. Every sum keeps the order of the pairs, so the
  // result does not depend on the number of threads.
  std::vector<std::int64_t> neighbor_offsets;
  std::vector<std::int64_t> by_neighbor;
  if (threaded) {
    neighbor_offsets.assign(n_neighbors + 1, 0);
    for (std::int64_t p = 0; p < n_pairs; ++p) ++neighbor_offsets[neighbors[p] + 1];
    for (std::int64_t j = 0; j < n_neighbors; ++j) neighbor_offsets[j + 1] += neighbor_offsets[j];
    by_neighbor.resize(n_pairs);
    std::vector<std::int64_t> next(neighbor_offsets.begin(), neighbor_offsets.end() - 1);
    for (std::int64_t p = 0; p < n_pairs; ++p) by_neighbor[next[neighbors[p]]++] = p;
  }
  AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "ekd::message_feature", [&] {
    const auto run = [&](const std::int64_t* order, std::int64_t begin, std::int64_t end) {
      message_feature<scalar_t>(rows, gradient.const_data_ptr<scalar_t>(),
                                weights.const_data_ptr<scalar_t>(), order, centers, begin, end,
                                out.mutable_data_ptr<scalar_t>());
    };
    if (threaded)
      at::parallel_for(0, n_neighbors, grain(rows, n_pairs),
                       [&](std::int64_t begin, std::int64_t end) {
                         run(by_neighbor.data(), neighbor_offsets[begin], neighbor_offsets[end]);
                       });
    else
      run(nullptr, 0, n_pairs);
  });
  return out;
}

// ---- every other device ---------------------------------------------------------------------

Tensor message_generic(const Tensor& weights, const Tensor& features, const Tensor& pairs,
                       std::int64_t n_centers) {
  const Tensor outer = weights.unsqueeze(2) * features.index_select(0, pairs[1]).unsqueeze(1);
  return at::zeros({n_centers, weights.size(1), features.size(1)}, weights.options())
      .index_add_(0, pairs[0], outer);
}

Tensor message_weight_generic(const Tensor& gradient, const Tensor& features, const Tensor& pairs) {
  return at::bmm(gradient.index_select(0, pairs[0]),
                 features.index_select(0, pairs[1]).unsqueeze(2))
      .squeeze(2);
}

Tensor message_feature_generic(const Tensor& gradient, const Tensor& weights, const Tensor& pairs,
                               std::int64_t n_neighbors) {
  const Tensor rows = at::bmm(weights.unsqueeze(1), gradient.index_select(0, pairs[0])).squeeze(1);
  return at::zeros({n_neighbors, gradient.size(2)}, gradient.options())
      .index_add_(0, pairs[1], rows);
}

// ---- GPUs -------------------------------------------------------------------------------------
//
// Indices are not checked, because that would wait for the device; they come from lists made by
// ekd.

Tensor message_cuda(const Tensor& weights, const Tensor& features, const Tensor& pairs,
                    std::int64_t n_centers) {
  if (!has_device_kernels(weights)) return message_generic(weights, features, pairs, n_centers);
  check_pairs(pairs);
  check_rows("weights", weights, 2, pairs.size(1));
  check_rows("features", features, 2, -1);
  return device_message(weights.contiguous(), features.contiguous(), pairs.contiguous(), n_centers);
}

Tensor message_weight_cuda(const Tensor& gradient, const Tensor& features, const Tensor& pairs) {
  if (!has_device_kernels(gradient)) return message_weight_generic(gradient, features, pairs);
  check_pairs(pairs);
  check_rows("gradient", gradient, 3, -1);
  check_rows("features", features, 2, -1);
  return device_message_weight(gradient.contiguous(), features.contiguous(), pairs.contiguous());
}

Tensor message_feature_cuda(const Tensor& gradient, const Tensor& weights, const Tensor& pairs,
                            std::int64_t n_neighbors) {
  if (!has_device_kernels(gradient))
    return message_feature_generic(gradient, weights, pairs, n_neighbors);
  check_pairs(pairs);
  check_rows("gradient", gradient, 3, -1);
  check_rows("weights", weights, 2, pairs.size(1));
  return device_message_feature(gradient.contiguous(), weights.contiguous(), pairs.contiguous(),
                                n_neighbors);
}

// ---- derivatives: see the trilinear form in message_kernels.hpp -----------------------------

struct Message : torch::autograd::Function<Message> {
  static Tensor forward(AutogradContext* context, const Tensor& weights, const Tensor& features,
                        const Tensor& pairs, std::int64_t n_centers) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({weights, features, pairs});
    return call_message(weights, features, pairs, n_centers);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor& weights = saved[0];
    const Tensor& features = saved[1];
    const Tensor& pairs = saved[2];
    variable_list out(4);
    if (context->needs_input_grad(0)) out[0] = call_message_weight(gradients[0], features, pairs);
    if (context->needs_input_grad(1))
      out[1] = call_message_feature(gradients[0], weights, pairs, features.size(0));
    return out;
  }
};

struct MessageWeight : torch::autograd::Function<MessageWeight> {
  static Tensor forward(AutogradContext* context, const Tensor& gradient, const Tensor& features,
                        const Tensor& pairs) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({gradient, features, pairs});
    return call_message_weight(gradient, features, pairs);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor& gradient = saved[0];
    const Tensor& features = saved[1];
    const Tensor& pairs = saved[2];
    variable_list out(3);
    if (context->needs_input_grad(0))
      out[0] = call_message(gradients[0], features, pairs, gradient.size(0));
    if (context->needs_input_grad(1))
      out[1] = call_message_feature(gradient, gradients[0], pairs, features.size(0));
    return out;
  }
};

struct MessageFeature : torch::autograd::Function<MessageFeature> {
  static Tensor forward(AutogradContext* context, const Tensor& gradient, const Tensor& weights,
                        const Tensor& pairs, std::int64_t n_neighbors) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({gradient, weights, pairs});
    return call_message_feature(gradient, weights, pairs, n_neighbors);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor& gradient = saved[0];
    const Tensor& weights = saved[1];
    const Tensor& pairs = saved[2];
    variable_list out(4);
    if (context->needs_input_grad(0))
      out[0] = call_message(weights, gradients[0], pairs, gradient.size(0));
    if (context->needs_input_grad(1)) out[1] = call_message_weight(gradient, gradients[0], pairs);
    return out;
  }
};

Tensor message_autograd(const Tensor& weights, const Tensor& features, const Tensor& pairs,
                        std::int64_t n_centers) {
  return Message::apply(weights, features, pairs, n_centers);
}

Tensor message_weight_autograd(const Tensor& gradient, const Tensor& features,
                               const Tensor& pairs) {
  return MessageWeight::apply(gradient, features, pairs);
}

Tensor message_feature_autograd(const Tensor& gradient, const Tensor& weights, const Tensor& pairs,
                                std::int64_t n_neighbors) {
  return MessageFeature::apply(gradient, weights, pairs, n_neighbors);
}

}  // namespace
}  // namespace ekd

TORCH_LIBRARY_FRAGMENT(ekd, m) {
  m.def("message(Tensor weights, Tensor features, Tensor pairs, int n_centers) -> Tensor");
  m.def("message_weight(Tensor gradient, Tensor features, Tensor pairs) -> Tensor");
  m.def(
      "message_feature(Tensor gradient, Tensor weights, Tensor pairs, int n_neighbors) -> Tensor");
}

TORCH_LIBRARY_IMPL(ekd, CPU, m) {
  m.impl("message", &ekd::message_cpu);
  m.impl("message_weight", &ekd::message_weight_cpu);
  m.impl("message_feature", &ekd::message_feature_cpu);
}

TORCH_LIBRARY_IMPL(ekd, CUDA, m) {
  m.impl("message", &ekd::message_cuda);
  m.impl("message_weight", &ekd::message_weight_cuda);
  m.impl("message_feature", &ekd::message_feature_cuda);
}

TORCH_LIBRARY_IMPL(ekd, CompositeExplicitAutograd, m) {
  m.impl("message", &ekd::message_generic);
  m.impl("message_weight", &ekd::message_weight_generic);
  m.impl("message_feature", &ekd::message_feature_generic);
}

TORCH_LIBRARY_IMPL(ekd, Autograd, m) {
  m.impl("message", &ekd::message_autograd);
  m.impl("message_weight", &ekd::message_weight_autograd);
  m.impl("message_feature", &ekd::message_feature_autograd);
}
