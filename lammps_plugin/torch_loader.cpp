#include "torch_loader.h"

#include <dlfcn.h>

#include "ekd/error.hpp"

#ifdef EKD_TORCH_VERSION
#include <link.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#endif

namespace ekd {

#ifndef EKD_TORCH_VERSION

OpenScript load_torch() {
  throw Error(
      "this pair_style ekd was built without torch, which this model file or device needs; use "
      "device cpu, and convert the file with 'ekd upgrade' [EKD-PAIR-025]");
}

#else

namespace {

std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

std::string own_directory() {
  Dl_info info{};
  dladdr(reinterpret_cast<void*>(&own_directory), &info);
  return parent(info.dli_fname);
}

// Directory of the torch package: already loaded by this process (LAMMPS driven from Python),
// otherwise found by the Python launcher of LAMMPS, otherwise installed in the folder of ekd.
std::string torch_directory() {
  std::string loaded;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        const char* name = std::strrchr(info->dlpi_name, '/');
        if (name == nullptr || std::strcmp(name, "/libtorch_cpu.so") != 0) return 0;
        *static_cast<std::string*>(result) = parent(parent(info->dlpi_name));
        return 1;
      },
      &loaded);
  if (!loaded.empty()) return loaded;
  if (const char* named = std::getenv("EKD_TORCH_DIR")) return named;
  return parent(parent(own_directory())) + "/torch";
}

// "2.13.0" from the line  __version__ = '2.13.0+cpu'  of torch/version.py; empty: no torch.
std::string torch_version(const std::string& directory) {
  std::ifstream file(directory + "/version.py");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("__version__", 0) != 0) continue;
    const auto begin = line.find_first_of("0123456789");
    const auto end = line.find_first_of("+'\"", begin);
    return line.substr(begin, end - begin);
  }
  return {};
}

void* load(const std::string& library, const char* mend) {
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw Error(std::string("torch cannot be loaded: ") + dlerror() + mend);
  return handle;
}

}  // namespace

OpenScript load_torch() {
  const std::string torch = torch_directory();
  const std::string found = torch_version(torch);
  // The library of this build, or one built with `ekd torch build` for another torch.
  const std::string library =
      own_directory() + (found == EKD_TORCH_VERSION ? "" : "/torch-" + found + "-" EKD_SOURCES) +
      "/libekd_torch.so";
  if (found.empty() || !std::ifstream(library).good())
    throw Error(
        "this model file or device needs torch " EKD_TORCH_VERSION ", but " +
        (found.empty() ? "no torch was found at " + torch
                       : "torch " + found + " was found at " + torch) +
        "; use device cpu and a file written by 'ekd upgrade', which need no torch, install "
        "that torch with 'pip install torch==" EKD_TORCH_VERSION
        "', or build what is needed for the torch that is installed with 'ekd torch build' "
        "[EKD-PAIR-025]");
  // Load torch's libraries by path first, so that they are found by name afterwards.
  for (const char* name : {"libc10.so", "libtorch_cpu.so", "libtorch.so"})
    load(torch + "/lib/" + name,
         "; reinstall it with 'pip install --force-reinstall torch==" EKD_TORCH_VERSION
         "' [EKD-PAIR-026]");
  void* const handle = load(library, "; reinstall ekd [EKD-PAIR-026]");
  void* const opener = dlsym(handle, kOpenScript);
  if (opener == nullptr)
    throw Error("'" + library + "' belongs to another ekd; reinstall ekd [EKD-PAIR-026]");
  return reinterpret_cast<OpenScript>(opener);
}

#endif

}  // namespace ekd
