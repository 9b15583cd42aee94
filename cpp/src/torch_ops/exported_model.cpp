// torch.classes.ekd.ExportedModel: Python evaluates exported models by the code of LAMMPS.
#include "ekd/exported_model.hpp"

#include <torch/custom_class.h>

#include <tuple>

namespace ekd {
namespace {

struct Handle : torch::CustomClassHolder {
  Handle(const std::string& path, const std::string& device, std::int64_t block)
      : model(path, torch::Device(device), Precision::kModel, block) {}

  // species [n], pairs [2, n_pairs], pair_vectors [n_pairs, 3] -> atomic energies [n] and
  // dE/d(pair vector) [n_pairs, 3], both float64 on the CPU.
  std::tuple<torch::Tensor, torch::Tensor> evaluate(const torch::Tensor& species,
                                                    const torch::Tensor& pairs,
                                                    const torch::Tensor& pair_vectors) {
    NoExchange nothing;
    const std::int64_t n = species.size(0);
    const Evaluation found = model.evaluate({species, pairs, pair_vectors, n, n}, nothing);
    return {found.atomic_energies, found.pair_gradients};
  }

  ExportedModel model;
};

}  // namespace
}  // namespace ekd

TORCH_LIBRARY_FRAGMENT(ekd, m) {
  m.class_<ekd::Handle>("ExportedModel")
      .def(torch::init<std::string, std::string, std::int64_t>())
      .def("evaluate", &ekd::Handle::evaluate);
}
