// torch.classes.ekd.ExportedModel: Python evaluates exported models by the code of LAMMPS.
#include "ekd/exported_model.hpp"

#include <torch/custom_class.h>

#include <tuple>

#include "ekd/forces.hpp"
#include "ekd/row_offsets.hpp"

namespace ekd {
namespace {

struct Handle : torch::CustomClassHolder {
  Handle(const std::string& path, const std::string& device, std::int64_t block)
      : model(path, torch::Device(device), Precision::kModel, block) {}

  // For species [n], pairs [2, n_pairs] sorted by centre and pair_vectors [n_pairs, 3] of one
  // structure, in float64 on the CPU: the means of the members, atomic energies [n], forces [n, 3]
  // and virial [3, 3]; of each member the energy, [n_members]; the standard deviation of a
  // component of the force, [n], zero for a single member; and the uncertainty, [n], empty if the
  // file has none.
  using Results = std::tuple<torch::Tensor, torch::Tensor, torch::Tensor, torch::Tensor,
                             torch::Tensor, torch::Tensor>;
  Results evaluate(const torch::Tensor& species, const torch::Tensor& pairs,
                   const torch::Tensor& pair_vectors) {
    const std::int64_t n = species.size(0);
    const torch::Tensor rows = pairs.contiguous();
    const AtomGraph graph{
        species, row_offsets("ekd::ExportedModel", rows, n, n), rows[1], pair_vectors, n, true};
    const bool several = model.metadata().n_members > 1;
    std::vector<torch::Tensor> energies, member_forces;
    std::function<void(const Evaluation&)> each_member;
    if (several)
      each_member = [&](const Evaluation& found) {
        energies.push_back(found.atomic_energies.sum());
        member_forces.push_back(forces(graph, found.pair_gradients));
      };
    NoExchange nothing;
    const Evaluation mean = model.evaluate(graph, nothing, each_member);
    torch::Tensor spread = torch::zeros({n}, torch::kFloat64);
    if (several)
      spread = torch::stack(member_forces).var(0, /*unbiased=*/false).mean(1).sqrt();
    else
      energies.push_back(mean.atomic_energies.sum());
    return {mean.atomic_energies,
            forces(graph, mean.pair_gradients),
            virial(graph, mean.pair_gradients),
            torch::stack(energies),
            spread,
            mean.uncertainty.defined() ? mean.uncertainty : torch::empty({0}, torch::kFloat64)};
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
