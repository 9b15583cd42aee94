// Energy and forces of a water molecule: water student.pt
#include <ekd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: water student.pt\n");
    return 2;
  }
  const std::array<std::int32_t, 3> atomic_numbers{8, 1, 1};
  const std::array<double, 9> positions{0.0, 0.0, 0.12, 0.0, 0.76, -0.48, 0.0, -0.76, -0.48};
  std::array<double, 9> forces{};
  double energy = 0.0;

  ekd_options options{};
  options.size = sizeof options;
  options.precision = EKD_PRECISION_DOUBLE;
  ekd_model* opened = nullptr;
  int code = ekd_open(argv[1], &options, &opened);
  const std::unique_ptr<ekd_model, decltype(&ekd_close)> model(opened, ekd_close);

  ekd_results results{};
  results.size = sizeof results;
  results.energy = &energy;
  results.forces = forces.data();
  if (code == EKD_OK)
    code = ekd_evaluate(model.get(), 3, positions.data(), atomic_numbers.data(), nullptr, nullptr,
                        &results);
  if (code != EKD_OK) {
    std::fprintf(stderr, "%s\n", ekd_last_error());
    return 1;
  }

  std::printf("energy %.17g eV\n", energy);
  for (std::size_t i = 0; i < 3; ++i)
    std::printf("force on atom %zu: %.17g %.17g %.17g eV/Å\n", i, forces[3 * i], forces[3 * i + 1],
                forces[3 * i + 2]);
}
