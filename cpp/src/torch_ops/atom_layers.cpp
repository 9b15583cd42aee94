// torch.ops.ekd.atom_layers: schema, implementation with first and second derivatives for CPUs and
// GPUs, and the formula in torch operations for every other device.
//
//     p_k = softplus(a_k)      x_(k+1) = x_k + B_k p_k + b_k      a_(k+1) = A_(k+1) x_(k+1) +
//     c_(k+1)
//
// with a_0 = inner, x_0 = base; the weights are B_0, b_0, A_1, c_1, B_1, b_1, A_2, ...
#include <torch/library.h>

#include "device_ops.hpp"
#include "ekd/atom_kernels.hpp"
#include "gradients.hpp"

namespace ekd {
namespace {

struct Weights {
  explicit Weights(at::TensorList list) : list(list) {}
  std::int64_t n_layers() const { return static_cast<std::int64_t>(list.size() + 2) / 4; }
  const Tensor& inner(std::int64_t k) const { return list[4 * k - 2]; }
  const Tensor& inner_bias(std::int64_t k) const { return list[4 * k - 1]; }
  const Tensor& outer(std::int64_t k) const { return list[4 * k]; }
  const Tensor& outer_bias(std::int64_t k) const { return list[4 * k + 1]; }
  at::TensorList list;
};

void check(const Tensor& inner, const Tensor& base, at::TensorList weights) {
  TORCH_CHECK(inner.dim() == 2 && inner.sizes() == base.sizes(),
              "ekd::atom_layers: inner and base must have one shape (n, n_features), found ",
              inner.sizes(), " and ", base.sizes());
  TORCH_CHECK(weights.size() % 4 == 2,
              "ekd::atom_layers: weights must hold 2, 6, 10, ... tensors, found ", weights.size());
  const std::int64_t width = inner.size(1);
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const bool fits = k % 2 == 0 ? weights[k].dim() == 2 && weights[k].size(0) == width &&
                                       weights[k].size(1) == width
                                 : weights[k].dim() == 1 && weights[k].size(0) == width;
    TORCH_CHECK(fits && weights[k].scalar_type() == inner.scalar_type(),
                "ekd::atom_layers: weights must be matrices and biases in turn, of width ", width,
                " and dtype ", inner.scalar_type(), "; found ", weights[k].scalar_type(),
                " of shape ", weights[k].sizes(), " at ", k);
  }
}

constexpr std::int64_t kNumbersPerTask = 1 << 14;

void softplus_of(const Tensor& x, Tensor& value, Tensor& slope) {
  if (has_device_kernels(x)) {
    value = at::softplus(x);
    slope = at::where(x > 20, at::ones_like(x), at::sigmoid(x));  // same threshold as softplus
    return;
  }
  value = at::empty_like(x);
  slope = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "ekd::atom_layers", [&] {
    at::parallel_for(0, x.numel(), kNumbersPerTask, [&](std::int64_t begin, std::int64_t end) {
      softplus<scalar_t>(end - begin, x.const_data_ptr<scalar_t>() + begin,
                         value.mutable_data_ptr<scalar_t>() + begin,
                         slope.mutable_data_ptr<scalar_t>() + begin);
    });
  });
}

// Intermediate results for the derivatives.
struct Tape {
  variable_list x, p, slope;  // x_k, p_k, dp_k/da_k
};

Tensor evaluate(const Tensor& inner, const Tensor& base, const Weights& w, Tape& tape) {
  Tensor x = base;
  for (std::int64_t k = 0; k < w.n_layers(); ++k) {
    const Tensor a = k == 0 ? inner.contiguous() : at::linear(x, w.inner(k), w.inner_bias(k));
    Tensor p, slope;
    softplus_of(a, p, slope);
    tape.x.push_back(x);
    tape.p.push_back(p);
    tape.slope.push_back(slope);
    x = at::linear(p, w.outer(k), w.outer_bias(k)).add_(x);
  }
  return x;
}

Tensor atom_layers_cpu(const Tensor& inner, const Tensor& base, at::TensorList weights) {
  check(inner, base, weights);
  Tape tape;
  return evaluate(inner, base, Weights(weights), tape);
}

// Sums and products where undefined tensors mean zero, which is common for changes.
Tensor plus(const Tensor& a, const Tensor& b) {
  if (!a.defined()) return b;
  return b.defined() ? a + b : a;
}

Tensor product(const Tensor& a, const Tensor& b) {
  return a.defined() && b.defined() ? at::mm(a, b) : Tensor();
}

Tensor outer_product(const Tensor& a, const Tensor& b) {
  return a.defined() && b.defined() ? at::mm(a.t(), b) : Tensor();
}

Tensor column_sums(const Tensor& a) { return a.defined() ? a.sum(0) : a; }

// Change of A x + b along changes of x, A and b; the latter two are often undefined.
Tensor affine_change(const Tensor& x, const Tensor& matrix, const Tensor& t_x,
                     const Tensor& t_matrix, const Tensor& t_bias) {
  const Tensor by_x = t_x.defined() ? at::mm(t_x, matrix.t()) : Tensor();
  const Tensor by_matrix = t_matrix.defined() ? at::mm(x, t_matrix.t()) : Tensor();
  const Tensor by_bias = t_bias.defined() ? t_bias.expand_as(x) : Tensor();
  return plus(plus(by_x, by_matrix), by_bias);
}

// Intermediate results of the backward pass, for its own derivative.
struct Descent {
  variable_list g, up, d;  // gradients with respect to x_(k+1), p_k, a_k
};

Tensor descend(const Tensor& gradient, const Weights& w, const Tape& tape, Descent& out) {
  const std::int64_t n = w.n_layers();
  out.g.resize(n);
  out.up.resize(n);
  out.d.resize(n);
  Tensor g = gradient;
  for (std::int64_t k = n - 1; k >= 0; --k) {
    out.g[k] = g;
    out.up[k] = at::mm(g, w.outer(k));
    out.d[k] = out.up[k] * tape.slope[k];
    if (k > 0) g = at::addmm(g, out.d[k], w.inner(k));
  }
  return g;
}

// Gradients with respect to B_0, b_0, A_1, c_1, B_1, ...
variable_list weight_gradients(const Tape& tape, const Descent& descent) {
  variable_list out;
  for (std::size_t k = 0; k < tape.x.size(); ++k) {
    if (k > 0) {
      out.push_back(outer_product(descent.d[k], tape.x[k]));
      out.push_back(column_sums(descent.d[k]));
    }
    out.push_back(outer_product(descent.g[k], tape.p[k]));
    out.push_back(column_sums(descent.g[k]));
  }
  return out;
}

void append(variable_list& list, const variable_list& more) {
  list.insert(list.end(), more.begin(), more.end());
}

variable_list slice(const variable_list& list, std::int64_t& at, std::int64_t n) {
  const auto begin = list.begin() + at;
  at += n;
  return {begin, begin + n};
}

struct AtomLayersGradient : torch::autograd::Function<AtomLayersGradient> {
  // Gradients with respect to inner and base, and optionally to every weight. The values of inner
  // and base are not used, because the tape contains all results; they are arguments so that
  // autograd tracks them.
  static variable_list forward(AutogradContext* context, const Tensor& gradient,
                               const Tensor& inner, const Tensor& base, at::TensorList weights,
                               at::TensorList flat_tape, bool with_weights) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->set_materialize_grads(false);
    const Weights w(weights);
    const std::int64_t n = w.n_layers();
    variable_list flat = flat_tape.vec();
    std::int64_t at = 0;
    Tape tape;
    for (variable_list* part : {&tape.x, &tape.p, &tape.slope}) *part = slice(flat, at, n);
    Descent descent;
    const Tensor d_base = descend(gradient.contiguous(), w, tape, descent);
    variable_list out{descent.d[0], d_base};
    if (with_weights) append(out, weight_gradients(tape, descent));
    variable_list saved = weights.vec();
    for (variable_list* part : {&flat, &descent.g, &descent.up, &descent.d}) append(saved, *part);
    append(saved, {gradient, inner, base});
    context->save_for_backward(saved);
    context->saved_data["n_weights"] = static_cast<std::int64_t>(weights.size());
    return out;
  }

  // The derivative D of L = sum(gradient x_n) along changes of inner, base and weights, and the
  // gradient of D with respect to every argument: a forward pass of the changes, then a backward
  // pass of the change of the first backward pass.
  static variable_list backward(AutogradContext* context, variable_list changes) {
    const auto saved = context->get_saved_variables();
    const std::int64_t n_weights = context->saved_data["n_weights"].toInt();
    const variable_list given = changes;
    variable_list out, arguments;
    {
      at::AutoDispatchBelowADInplaceOrView guard;
      changes.resize(2 + n_weights);
      for (Tensor& change : changes)
        if (change.defined()) change = change.contiguous();
      std::int64_t at = 0;
      const variable_list weights = slice(saved, at, n_weights);
      const Weights w(weights);
      const std::int64_t n = w.n_layers();
      Tape tape;
      Descent descent;
      for (variable_list* part :
           {&tape.x, &tape.p, &tape.slope, &descent.g, &descent.up, &descent.d})
        *part = slice(saved, at, n);
      arguments = slice(saved, at, 3);
      append(arguments, weights);
      const variable_list weight_changes(changes.begin() + 2, changes.end());
      const Weights t(weight_changes);

      variable_list t_x(n), t_a(n), t_p(n);
      Tensor x = changes[1];
      for (std::int64_t k = 0; k < n; ++k) {
        t_x[k] = x;
        t_a[k] = k == 0 ? changes[0]
                        : affine_change(tape.x[k], w.inner(k), x, t.inner(k), t.inner_bias(k));
        if (t_a[k].defined()) t_p[k] = tape.slope[k] * t_a[k];
        x = plus(x, affine_change(tape.p[k], w.outer(k), t_p[k], t.outer(k), t.outer_bias(k)));
      }
      out.resize(3);
      out[0] = x;

      variable_list t_weights(n_weights);
      Tensor g;
      for (std::int64_t k = n - 1; k >= 0; --k) {
        t_weights[4 * k] = plus(outer_product(g, tape.p[k]), outer_product(descent.g[k], t_p[k]));
        t_weights[4 * k + 1] = column_sums(g);
        const Tensor up = plus(product(g, w.outer(k)), product(descent.g[k], t.outer(k)));
        const Tensor d = second(tape.slope[k], descent.up[k], up, t_a[k]);
        if (k == 0) {
          out[1] = d;
          break;
        }
        t_weights[4 * k - 2] =
            plus(outer_product(d, tape.x[k]), outer_product(descent.d[k], t_x[k]));
        t_weights[4 * k - 1] = column_sums(d);
        g = plus(g, plus(product(d, w.inner(k)), product(descent.d[k], t.inner(k))));
      }
      out[2] = g;
      append(out, t_weights);
      out.resize(out.size() + 3 * n + 1);
    }
    return end_of_derivatives("atom_layers", std::move(out), arguments, given);
  }

  // Change of `up * slope` along a change of `up` and of the argument of the slope.
  static Tensor second(const Tensor& slope, const Tensor& up, const Tensor& t_up,
                       const Tensor& t_x_in) {
    if (!t_x_in.defined()) return t_up.defined() ? t_up * slope : Tensor();
    const Tensor t_x = t_x_in.contiguous();
    const Tensor rise = dense(t_up, up);
    if (has_device_kernels(up)) return slope * (rise + up * (1 - slope) * t_x);
    Tensor out = at::empty_like(up);
    AT_DISPATCH_FLOATING_TYPES(up.scalar_type(), "ekd::atom_layers", [&] {
      at::parallel_for(0, up.numel(), kNumbersPerTask, [&](std::int64_t begin, std::int64_t end) {
        softplus_second<scalar_t>(
            end - begin, slope.const_data_ptr<scalar_t>() + begin,
            up.const_data_ptr<scalar_t>() + begin, rise.const_data_ptr<scalar_t>() + begin,
            t_x.const_data_ptr<scalar_t>() + begin, out.mutable_data_ptr<scalar_t>() + begin);
      });
    });
    return out;
  }
};

struct AtomLayersFunction : torch::autograd::Function<AtomLayersFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& inner, const Tensor& base,
                        at::TensorList weights) {
    at::AutoDispatchBelowADInplaceOrView guard;
    check(inner, base, weights);
    Tape tape;
    Tensor out = evaluate(inner, base, Weights(weights), tape);
    variable_list saved{inner, base};
    append(saved, weights.vec());
    for (const variable_list* part : {&tape.x, &tape.p, &tape.slope}) append(saved, *part);
    context->save_for_backward(saved);
    context->saved_data["n_weights"] = static_cast<std::int64_t>(weights.size());
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const std::int64_t n_weights = context->saved_data["n_weights"].toInt();
    bool with_weights = false;
    for (std::int64_t k = 0; k < n_weights; ++k) with_weights |= context->needs_input_grad(2 + k);
    const at::TensorList all(saved);
    variable_list out =
        AtomLayersGradient::apply(gradients[0], saved[0], saved[1], all.slice(2, n_weights),
                                  all.slice(2 + n_weights), with_weights);
    out.resize(2 + n_weights);
    return out;
  }
};

Tensor atom_layers_generic(const Tensor& inner, const Tensor& base, at::TensorList weights) {
  check(inner, base, weights);
  const Weights w(weights);
  Tensor x = base + at::linear(at::softplus(inner), w.outer(0), w.outer_bias(0));
  for (std::int64_t k = 1; k < w.n_layers(); ++k) {
    const Tensor p = at::softplus(at::linear(x, w.inner(k), w.inner_bias(k)));
    x = x + at::linear(p, w.outer(k), w.outer_bias(k));
  }
  return x;
}

Tensor atom_layers_autograd(const Tensor& inner, const Tensor& base, at::TensorList weights) {
  if (!inner.is_cpu() && !has_device_kernels(inner))
    return atom_layers_generic(inner, base, weights);
  return AtomLayersFunction::apply(inner, base, weights);
}

}  // namespace
}  // namespace ekd

TORCH_LIBRARY_FRAGMENT(ekd, m) {
  m.def("atom_layers(Tensor inner, Tensor base, Tensor[] weights) -> Tensor");
}

TORCH_LIBRARY_IMPL(ekd, CPU, m) { m.impl("atom_layers", &ekd::atom_layers_cpu); }

TORCH_LIBRARY_IMPL(ekd, CompositeExplicitAutograd, m) {
  m.impl("atom_layers", &ekd::atom_layers_generic);
}

TORCH_LIBRARY_IMPL(ekd, Autograd, m) { m.impl("atom_layers", &ekd::atom_layers_autograd); }
