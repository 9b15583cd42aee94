# Compiles pair_style ekd into a LAMMPS that is being built:
#
#   cmake -S lammps/cmake -B build -D CMAKE_PROJECT_INCLUDE=<ekd>/lammps_plugin/cmake/IntoLammps.cmake
#
# CMake reads this when the configuration of LAMMPS begins, and calls the function below at the end,
# when the target `lammps` and its list of styles exist. The source of LAMMPS is not changed.

set(EKD_SOURCE_DIR "${CMAKE_CURRENT_LIST_DIR}/../..")
get_filename_component(EKD_SOURCE_DIR "${EKD_SOURCE_DIR}" ABSOLUTE)

# Core and runtime of ekd, as a static library.
function(ekd_add_core)
  set(EKD_BUILD_PYTHON OFF)
  set(EKD_BUILD_TORCH OFF)
  set(EKD_BUILD_LIBRARY OFF)
  file(STRINGS "${EKD_SOURCE_DIR}/pyproject.toml" version_line REGEX "^version = ")
  string(REGEX MATCH "[0-9.]+" EKD_VERSION "${version_line}")
  set(CMAKE_CXX_STANDARD 20)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  add_subdirectory("${EKD_SOURCE_DIR}/cpp" ekd)
  message(STATUS "pair_style ekd ${EKD_VERSION} is compiled into LAMMPS")
endfunction()

function(ekd_compile_into_lammps)
  set(plugin "${EKD_SOURCE_DIR}/lammps_plugin")
  include("${plugin}/cmake/StyleSources.cmake")
  set(sources ${EKD_STYLE_SOURCES})
  set(headers pair_ekd.h)
  if(PKG_KOKKOS)
    list(APPEND sources ${EKD_STYLE_KOKKOS_SOURCES})
    list(APPEND headers pair_ekd_kokkos.h)
  endif()
  list(TRANSFORM sources PREPEND "${plugin}/")
  target_sources(lammps PRIVATE ${sources})
  # LAMMPS may use C++17.
  set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS -std=c++20)
  target_include_directories(lammps PRIVATE "${plugin}")
  target_link_libraries(lammps PRIVATE $<BUILD_INTERFACE:ekd_core> ${CMAKE_DL_LIBS})
  # LAMMPS has already written its lists of styles.
  set(styles "${LAMMPS_STYLE_HEADERS_DIR}/style_pair.h")
  if(NOT EXISTS "${styles}")
    message(FATAL_ERROR "the list of pair styles of LAMMPS is not in '${styles}'; pair_style ekd cannot be compiled into this version: use the plugin, or lmp-ekd")
  endif()
  foreach(header ${headers})
    file(APPEND "${styles}" "#include \"${header}\"\n")
  endforeach()
endfunction()

if(PROJECT_NAME STREQUAL "lammps" AND NOT TARGET ekd_core)
  ekd_add_core()
  cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL ekd_compile_into_lammps)
endif()
