/* Energy and forces of a water molecule: water student.pt */
#include <ekd.h>
#include <stdio.h>

int main(int argc, char** argv) {
  const int32_t atomic_numbers[3] = {8, 1, 1};
  const double positions[9] = {0.0, 0.0, 0.12, 0.0, 0.76, -0.48, 0.0, -0.76, -0.48};
  double energy, forces[9];
  ekd_options options = {0};
  ekd_results results = {0};
  ekd_model* model;

  options.size = sizeof options;
  options.precision = EKD_PRECISION_DOUBLE;
  results.size = sizeof results;
  results.energy = &energy;
  results.forces = forces;

  if (argc != 2) {
    fprintf(stderr, "usage: water student.pt\n");
    return 2;
  }
  if (ekd_open(argv[1], &options, &model) != EKD_OK ||
      ekd_evaluate(model, 3, positions, atomic_numbers, NULL, NULL, &results) != EKD_OK) {
    fprintf(stderr, "%s\n", ekd_last_error());
    ekd_close(model);
    return 1;
  }
  printf("energy %.17g eV\n", energy);
  for (int i = 0; i < 3; ++i)
    printf("force on atom %d: %.17g %.17g %.17g eV/Å\n", i, forces[3 * i], forces[3 * i + 1],
           forces[3 * i + 2]);
  ekd_close(model);
  return 0;
}
