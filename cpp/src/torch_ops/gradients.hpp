// Common parts of the operations with explicit first and second derivatives.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ekd {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Makes a node of torch's graph with the pointer type of this torch version: shared_ptr up to 2.11.
template <class Node, class... Arguments>
auto make_node(Arguments&&... arguments) {
  using Held = decltype(torch::autograd::Edge::function);
  if constexpr (std::is_same_v<Held, std::shared_ptr<torch::autograd::Node>>)
    return std::make_shared<Node>(std::forward<Arguments>(arguments)...);
  else
    return c10::make_intrusive<Node>(std::forward<Arguments>(arguments)...);
}

// Marks second derivatives as the last ones: differentiating them again raises an error instead of
// returning a wrong result.
inline variable_list end_of_derivatives(const char* name, variable_list results,
                                        const variable_list& arguments,
                                        const variable_list& changes) {
  if (!at::GradMode::is_enabled()) return results;
  const auto error = make_node<torch::autograd::Error>(
      std::string("ekd::") + name + " has derivatives of first and second order only",
      torch::autograd::collect_next_edges(arguments, changes));
  for (Tensor& result : results)
    if (result.defined()) {
      result = result.tensor_data();
      torch::autograd::set_history(result, error);
    }
  return results;
}

// Returns a contiguous tensor; zeros if it is undefined.
inline Tensor dense(const Tensor& tensor, const Tensor& like) {
  return tensor.defined() ? tensor.contiguous() : at::zeros_like(like);
}

// Runs `call(begin, end, row)` for chunks of `n` items, and returns the sum of the rows that the
// calls have accumulated. The chunk size does not depend on the number of threads, so the result is
// bitwise reproducible.
template <class Call>
Tensor sum_of_chunks(std::int64_t n, std::int64_t chunk, at::IntArrayRef sizes,
                     const at::TensorOptions& options, const Call& call) {
  const std::int64_t n_chunks = std::max<std::int64_t>(1, (n + chunk - 1) / chunk);
  std::vector<std::int64_t> shape{n_chunks};
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  const Tensor rows = at::zeros(shape, options);
  at::parallel_for(0, n_chunks, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t k = first; k < last; ++k)
      call(k * chunk, std::min(n, (k + 1) * chunk), rows.select(0, k));
  });
  return n_chunks == 1 ? rows[0] : rows.sum(0);
}

}  // namespace ekd
