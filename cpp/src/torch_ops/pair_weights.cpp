// torch.ops.ekd.pair_weights: schema, CPU and GPU kernels with first and second derivatives, and
// the formula in torch operations for all other devices.
#include "ekd/pair_weights.hpp"

#include <torch/library.h>

#include "device_ops.hpp"
#include "gradients.hpp"

namespace ekd {
namespace {

constexpr std::int64_t kPairsPerTask = 512;

void check(const Tensor& vectors, const Tensor& mu, const Tensor& sigma, std::int64_t l_max) {
  TORCH_CHECK(vectors.dim() == 2 && vectors.size(1) == 3,
              "ekd::pair_weights: pair_vectors must have shape (n_pairs, 3), found ",
              vectors.sizes());
  TORCH_CHECK(mu.dim() == 1 && mu.sizes() == sigma.sizes(),
              "ekd::pair_weights: mu and sigma must be vectors of one length, found shapes ",
              mu.sizes(), " and ", sigma.sizes());
  TORCH_CHECK(vectors.scalar_type() == mu.scalar_type() && mu.scalar_type() == sigma.scalar_type(),
              "ekd::pair_weights: pair_vectors, mu and sigma must have one dtype, found ",
              vectors.scalar_type(), ", ", mu.scalar_type(), " and ", sigma.scalar_type());
  TORCH_CHECK(l_max >= 0 && l_max <= 2, "ekd::pair_weights: l_max must be 0, 1 or 2, found ",
              l_max);
}

PairWeights form_of(const Tensor& mu, double cutoff, std::int64_t l_max) {
  return {mu.size(0), (l_max + 1) * (l_max + 1), cutoff};
}

// ---- every other device ---------------------------------------------------------------------

Tensor pair_weights_generic(const Tensor& vectors, const Tensor& mu, const Tensor& sigma,
                            double cutoff, std::int64_t l_max) {
  check(vectors, mu, sigma, l_max);
  const Tensor r = vectors.square().sum(1).sqrt().unsqueeze(1);
  const Tensor unit = vectors / r;
  const Tensor bell = (((r.reciprocal() - mu.reciprocal()) * sigma).square() * -0.5).exp();
  const Tensor radial = bell * (r * (0.5 * M_PI / cutoff)).cos().square() * (r < cutoff);
  variable_list tensors{at::ones_like(r)};
  if (l_max >= 1) tensors.push_back(unit);
  if (l_max >= 2) {
    const auto u = unit.unbind(1);
    tensors.push_back(at::stack(
        {u[0] * u[0] - 1.0 / 3, u[0] * u[1], u[0] * u[2], u[1] * u[1] - 1.0 / 3, u[1] * u[2]}, 1));
  }
  return (at::cat(tensors, 1).unsqueeze(2) * radial.unsqueeze(1)).flatten(1);
}

// ---- CPUs and GPUs --------------------------------------------------------------------------

Tensor pair_weights_native(const Tensor& vectors_in, const Tensor& mu_in, const Tensor& sigma_in,
                           double cutoff, std::int64_t l_max) {
  if (!vectors_in.is_cpu() && !has_device_kernels(vectors_in))
    return pair_weights_generic(vectors_in, mu_in, sigma_in, cutoff, l_max);
  check(vectors_in, mu_in, sigma_in, l_max);
  const Tensor vectors = vectors_in.contiguous();
  const Tensor mu = mu_in.contiguous();
  const Tensor sigma = sigma_in.contiguous();
  if (has_device_kernels(vectors)) return device_pair_weights(vectors, mu, sigma, cutoff, l_max);
  const PairWeights form = form_of(mu, cutoff, l_max);
  const std::int64_t n_pairs = vectors.size(0);
  Tensor out = at::empty({n_pairs, form.n_components * form.n_sensitivities}, vectors.options());
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "ekd::pair_weights", [&] {
    at::parallel_for(0, n_pairs, kPairsPerTask, [&](std::int64_t begin, std::int64_t end) {
      pair_weights<scalar_t>(form, vectors.const_data_ptr<scalar_t>(),
                             mu.const_data_ptr<scalar_t>(), sigma.const_data_ptr<scalar_t>(), begin,
                             end, out.mutable_data_ptr<scalar_t>());
    });
  });
  return out;
}

// Gradients with respect to vectors, mu and sigma.
variable_list first_gradient(const Tensor& gradient_in, const Tensor& vectors_in,
                             const Tensor& mu_in, const Tensor& sigma_in, double cutoff,
                             std::int64_t l_max) {
  const Tensor gradient = gradient_in.contiguous();
  const Tensor vectors = vectors_in.contiguous();
  const Tensor mu = mu_in.contiguous();
  const Tensor sigma = sigma_in.contiguous();
  if (has_device_kernels(vectors))
    return device_pair_weights_gradient(gradient, vectors, mu, sigma, cutoff, l_max);
  const PairWeights form = form_of(mu, cutoff, l_max);
  Tensor d_vectors = at::empty_like(vectors);
  Tensor sums;
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "ekd::pair_weights", [&] {
    sums = sum_of_chunks(
        vectors.size(0), kPairsPerTask, {2, form.n_sensitivities}, vectors.options(),
        [&](std::int64_t begin, std::int64_t end, const Tensor& row) {
          scalar_t* const d_mu = row.mutable_data_ptr<scalar_t>();
          pair_weights_gradient<scalar_t>(
              form, gradient.const_data_ptr<scalar_t>(), vectors.const_data_ptr<scalar_t>(),
              mu.const_data_ptr<scalar_t>(), sigma.const_data_ptr<scalar_t>(), begin, end,
              d_vectors.mutable_data_ptr<scalar_t>(), d_mu, d_mu + form.n_sensitivities);
        });
  });
  return {d_vectors, sums[0], sums[1]};
}

// Gradients with respect to gradient, vectors, mu and sigma, along changes `t` of the latter three.
variable_list second_gradient(const Tensor& gradient_in, const Tensor& vectors_in,
                              const Tensor& mu_in, const Tensor& sigma_in, double cutoff,
                              std::int64_t l_max, const variable_list& t) {
  const Tensor gradient = gradient_in.contiguous();
  const Tensor vectors = vectors_in.contiguous();
  const Tensor mu = mu_in.contiguous();
  const Tensor sigma = sigma_in.contiguous();
  const Tensor t_vectors = dense(t[0], vectors);
  const Tensor t_mu = dense(t[1], mu);
  const Tensor t_sigma = dense(t[2], sigma);
  if (has_device_kernels(vectors))
    return device_pair_weights_second_gradient(gradient, vectors, mu, sigma, cutoff, l_max,
                                               {t_vectors, t_mu, t_sigma});
  const PairWeights form = form_of(mu, cutoff, l_max);
  Tensor d_gradient = at::empty_like(gradient);
  Tensor d_vectors = at::empty_like(vectors);
  Tensor sums;
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "ekd::pair_weights", [&] {
    sums = sum_of_chunks(
        vectors.size(0), kPairsPerTask, {2, form.n_sensitivities}, vectors.options(),
        [&](std::int64_t begin, std::int64_t end, const Tensor& row) {
          scalar_t* const d_mu = row.mutable_data_ptr<scalar_t>();
          pair_weights_second_gradient<scalar_t>(
              form, gradient.const_data_ptr<scalar_t>(), vectors.const_data_ptr<scalar_t>(),
              mu.const_data_ptr<scalar_t>(), sigma.const_data_ptr<scalar_t>(),
              t_vectors.const_data_ptr<scalar_t>(), t_mu.const_data_ptr<scalar_t>(),
              t_sigma.const_data_ptr<scalar_t>(), begin, end,
              d_gradient.mutable_data_ptr<scalar_t>(), d_vectors.mutable_data_ptr<scalar_t>(), d_mu,
              d_mu + form.n_sensitivities);
        });
  });
  return {d_gradient, d_vectors, sums[0], sums[1]};
}

// ---- derivatives ------------------------------------------------------------------------------

struct PairWeightsGradient : torch::autograd::Function<PairWeightsGradient> {
  static variable_list forward(AutogradContext* context, const Tensor& gradient,
                               const Tensor& vectors, const Tensor& mu, const Tensor& sigma,
                               double cutoff, std::int64_t l_max) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->set_materialize_grads(false);
    context->save_for_backward({gradient, vectors, mu, sigma});
    context->saved_data["cutoff"] = cutoff;
    context->saved_data["l_max"] = l_max;
    return first_gradient(gradient, vectors, mu, sigma, cutoff, l_max);
  }
  static variable_list backward(AutogradContext* context, const variable_list& changes) {
    const auto saved = context->get_saved_variables();
    variable_list out;
    {
      at::AutoDispatchBelowADInplaceOrView guard;
      out = second_gradient(saved[0], saved[1], saved[2], saved[3],
                            context->saved_data["cutoff"].toDouble(),
                            context->saved_data["l_max"].toInt(), changes);
    }
    out.resize(6);
    return end_of_derivatives("pair_weights", std::move(out), saved, changes);
  }
};

struct PairWeightsFunction : torch::autograd::Function<PairWeightsFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& vectors, const Tensor& mu,
                        const Tensor& sigma, double cutoff, std::int64_t l_max) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({vectors, mu, sigma});
    context->saved_data["cutoff"] = cutoff;
    context->saved_data["l_max"] = l_max;
    return pair_weights_native(vectors, mu, sigma, cutoff, l_max);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    variable_list out = PairWeightsGradient::apply(gradients[0], saved[0], saved[1], saved[2],
                                                   context->saved_data["cutoff"].toDouble(),
                                                   context->saved_data["l_max"].toInt());
    out.resize(5);
    return out;
  }
};

Tensor pair_weights_autograd(const Tensor& vectors, const Tensor& mu, const Tensor& sigma,
                             double cutoff, std::int64_t l_max) {
  if (!vectors.is_cpu() && !has_device_kernels(vectors))
    return pair_weights_generic(vectors, mu, sigma, cutoff, l_max);
  check(vectors, mu, sigma, l_max);
  return PairWeightsFunction::apply(vectors, mu, sigma, cutoff, l_max);
}

}  // namespace
}  // namespace ekd

TORCH_LIBRARY_FRAGMENT(ekd, m) {
  m.def(
      "pair_weights(Tensor pair_vectors, Tensor mu, Tensor sigma, float cutoff, int l_max) -> "
      "Tensor");
}

TORCH_LIBRARY_IMPL(ekd, CPU, m) { m.impl("pair_weights", &ekd::pair_weights_native); }

TORCH_LIBRARY_IMPL(ekd, CUDA, m) { m.impl("pair_weights", &ekd::pair_weights_native); }

TORCH_LIBRARY_IMPL(ekd, CompositeExplicitAutograd, m) {
  m.impl("pair_weights", &ekd::pair_weights_generic);
}

TORCH_LIBRARY_IMPL(ekd, Autograd, m) { m.impl("pair_weights", &ekd::pair_weights_autograd); }
