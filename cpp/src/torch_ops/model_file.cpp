// torch.ops.ekd.read_model_file: Python reads exported models through the same code as LAMMPS.
#include "ekd/model_file.hpp"

#include <torch/library.h>

TORCH_LIBRARY_FRAGMENT(ekd, m) {
  // The JSON metadata of an exported model, checked. Raises RuntimeError with the reason.
  m.def("read_model_file(str path) -> str",
        [](const std::string& path) { return ekd::read_model_file(path).json; });
}
