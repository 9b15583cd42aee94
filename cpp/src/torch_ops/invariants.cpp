// torch.ops.ekd.invariants: schema, CPU and GPU kernels with first and second derivatives, and the
// formula in torch operations for all other devices.
#include <torch/library.h>

#include "device_ops.hpp"
#include "ekd/atom_kernels.hpp"
#include "gradients.hpp"

namespace ekd {
namespace {

constexpr std::int64_t kAtomsPerTask = 512;

void check(const Tensor& mixed, const Tensor& scales, const Tensor& base) {
  TORCH_CHECK(mixed.dim() == 3 && (mixed.size(1) == 1 || mixed.size(1) == 4 || mixed.size(1) == 9),
              "ekd::invariants: mixed must have shape (n, 1 or 4 or 9, n_features), found ",
              mixed.sizes());
  const std::int64_t l_max = mixed.size(1) == 9 ? 2 : mixed.size(1) == 4 ? 1 : 0;
  TORCH_CHECK(scales.dim() == 2 && scales.size(0) == l_max && scales.size(1) == mixed.size(2),
              "ekd::invariants: scales must have shape (", l_max, ", ", mixed.size(2), "), found ",
              scales.sizes());
  TORCH_CHECK(base.dim() == 2 && base.size(0) == mixed.size(0) && base.size(1) == mixed.size(2),
              "ekd::invariants: base must have shape (", mixed.size(0), ", ", mixed.size(2),
              "), found ", base.sizes());
  TORCH_CHECK(
      mixed.scalar_type() == scales.scalar_type() && mixed.scalar_type() == base.scalar_type(),
      "ekd::invariants: mixed, scales and base must have one dtype, found ", mixed.scalar_type(),
      ", ", scales.scalar_type(), " and ", base.scalar_type());
}

Invariants form_of(const Tensor& mixed, double cusp) {
  return {mixed.size(1), mixed.size(2), cusp};
}

Tensor invariants_generic(const Tensor& mixed, const Tensor& scales, const Tensor& base,
                          double cusp) {
  check(mixed, scales, base);
  Tensor out = base + mixed.select(1, 0);
  if (mixed.size(1) >= 4)
    out = out + scales[0] * (mixed.narrow(1, 1, 3).square().sum(1) + cusp).sqrt();
  if (mixed.size(1) >= 9) {
    const Tensor t = mixed.narrow(1, 4, 5);
    const Tensor square = 2 * (t.square().sum(1) + t.select(1, 0) * t.select(1, 3));
    out = out + scales[1] * (square + cusp).sqrt();
  }
  return out;
}

Tensor invariants_native(const Tensor& mixed_in, const Tensor& scales_in, const Tensor& base_in,
                         double cusp) {
  if (!mixed_in.is_cpu() && !has_device_kernels(mixed_in))
    return invariants_generic(mixed_in, scales_in, base_in, cusp);
  check(mixed_in, scales_in, base_in);
  const Tensor mixed = mixed_in.contiguous();
  const Tensor scales = scales_in.contiguous();
  const Tensor base = base_in.contiguous();
  if (has_device_kernels(mixed)) return device_invariants(mixed, scales, base, cusp);
  const Invariants form = form_of(mixed, cusp);
  Tensor out = at::empty_like(base);
  AT_DISPATCH_FLOATING_TYPES(mixed.scalar_type(), "ekd::invariants", [&] {
    at::parallel_for(0, mixed.size(0), kAtomsPerTask, [&](std::int64_t begin, std::int64_t end) {
      invariants<scalar_t>(form, mixed.const_data_ptr<scalar_t>(),
                           scales.const_data_ptr<scalar_t>(), base.const_data_ptr<scalar_t>(),
                           begin, end, out.mutable_data_ptr<scalar_t>());
    });
  });
  return out;
}

// Gradients with respect to gradient, mixed and scales, along changes of the latter two.
variable_list second_gradient(const Tensor& gradient, const Tensor& mixed, const Tensor& scales,
                              double cusp, const Tensor& t_mixed, const Tensor& t_scales) {
  if (has_device_kernels(mixed))
    return device_invariants_second_gradient(gradient, mixed, scales, cusp, {t_mixed, t_scales});
  const Invariants form = form_of(mixed, cusp);
  Tensor d_gradient = at::empty_like(gradient);
  Tensor d_mixed = at::empty_like(mixed);
  Tensor d_scales;
  AT_DISPATCH_FLOATING_TYPES(mixed.scalar_type(), "ekd::invariants", [&] {
    d_scales =
        sum_of_chunks(mixed.size(0), kAtomsPerTask, scales.sizes(), scales.options(),
                      [&](std::int64_t begin, std::int64_t end, const Tensor& row) {
                        invariants_second_gradient<scalar_t>(
                            form, gradient.const_data_ptr<scalar_t>(),
                            mixed.const_data_ptr<scalar_t>(), scales.const_data_ptr<scalar_t>(),
                            t_mixed.const_data_ptr<scalar_t>(), t_scales.const_data_ptr<scalar_t>(),
                            begin, end, d_gradient.mutable_data_ptr<scalar_t>(),
                            d_mixed.mutable_data_ptr<scalar_t>(), row.mutable_data_ptr<scalar_t>());
                      });
  });
  return {d_gradient, d_mixed, d_scales};
}

struct InvariantsGradient : torch::autograd::Function<InvariantsGradient> {
  // Gradients with respect to mixed and scales.
  static variable_list forward(AutogradContext* context, const Tensor& gradient_in,
                               const Tensor& mixed_in, const Tensor& scales_in, double cusp) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->set_materialize_grads(false);
    context->save_for_backward({gradient_in, mixed_in, scales_in});
    context->saved_data["cusp"] = cusp;
    const Tensor gradient = gradient_in.contiguous();
    const Tensor mixed = mixed_in.contiguous();
    const Tensor scales = scales_in.contiguous();
    if (has_device_kernels(mixed)) return device_invariants_gradient(gradient, mixed, scales, cusp);
    const Invariants form = form_of(mixed, cusp);
    Tensor d_mixed = at::empty_like(mixed);
    Tensor d_scales;
    AT_DISPATCH_FLOATING_TYPES(mixed.scalar_type(), "ekd::invariants", [&] {
      d_scales = sum_of_chunks(
          mixed.size(0), kAtomsPerTask, scales.sizes(), scales.options(),
          [&](std::int64_t begin, std::int64_t end, const Tensor& row) {
            invariants_gradient<scalar_t>(
                form, gradient.const_data_ptr<scalar_t>(), mixed.const_data_ptr<scalar_t>(),
                scales.const_data_ptr<scalar_t>(), begin, end, d_mixed.mutable_data_ptr<scalar_t>(),
                row.mutable_data_ptr<scalar_t>());
          });
    });
    return {d_mixed, d_scales};
  }
  static variable_list backward(AutogradContext* context, const variable_list& changes) {
    const auto saved = context->get_saved_variables();
    variable_list out;
    {
      at::AutoDispatchBelowADInplaceOrView guard;
      const Tensor mixed = saved[1].contiguous();
      const Tensor scales = saved[2].contiguous();
      out = second_gradient(saved[0].contiguous(), mixed, scales,
                            context->saved_data["cusp"].toDouble(), dense(changes[0], mixed),
                            dense(changes[1], scales));
    }
    out.resize(4);
    return end_of_derivatives("invariants", std::move(out), saved, changes);
  }
};

struct InvariantsFunction : torch::autograd::Function<InvariantsFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& mixed, const Tensor& scales,
                        const Tensor& base, double cusp) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({mixed, scales});
    context->saved_data["cusp"] = cusp;
    return invariants_native(mixed, scales, base, cusp);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto out = InvariantsGradient::apply(gradients[0], saved[0], saved[1],
                                               context->saved_data["cusp"].toDouble());
    return {out[0], out[1], gradients[0], Tensor()};
  }
};

Tensor invariants_autograd(const Tensor& mixed, const Tensor& scales, const Tensor& base,
                           double cusp) {
  if (!mixed.is_cpu() && !has_device_kernels(mixed))
    return invariants_generic(mixed, scales, base, cusp);
  return InvariantsFunction::apply(mixed, scales, base, cusp);
}

}  // namespace
}  // namespace ekd

TORCH_LIBRARY_FRAGMENT(ekd, m) {
  m.def("invariants(Tensor mixed, Tensor scales, Tensor base, float cusp) -> Tensor");
}

TORCH_LIBRARY_IMPL(ekd, CPU, m) { m.impl("invariants", &ekd::invariants_native); }

TORCH_LIBRARY_IMPL(ekd, CUDA, m) { m.impl("invariants", &ekd::invariants_native); }

TORCH_LIBRARY_IMPL(ekd, CompositeExplicitAutograd, m) {
  m.impl("invariants", &ekd::invariants_generic);
}

TORCH_LIBRARY_IMPL(ekd, Autograd, m) { m.impl("invariants", &ekd::invariants_autograd); }
