// The functions of ekd.h: check arguments and convert exceptions to codes.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "ekd/error.hpp"
#include "model.hpp"

namespace {

// A larger `size` means that it was not set.
constexpr std::size_t kMostSize = 4096;

struct LastError {
  std::string text;
  const char* instead = nullptr;  // used if there was no memory for the text

  void set(const char* message) noexcept {
    instead = nullptr;
    try {
      text = message;
    } catch (...) {
      instead = "there is not enough memory [EKD-API-007]";
    }
  }
};
thread_local LastError last_error;

int failed(int code, const char* message) noexcept {
  last_error.set(message);
  return code;
}

// Runs a function of the interface and converts exceptions, from special to general ones.
template <class Act>
int guarded(const Act& act) noexcept {
  try {
    act();
    return EKD_OK;
  } catch (const ekd::ArgumentError& error) {
    return failed(EKD_ERROR_ARGUMENT, error.what());
  } catch (const ekd::UnsupportedError& error) {
    return failed(EKD_ERROR_UNSUPPORTED, error.what());
  } catch (const ekd::DeviceError& error) {
    return failed(EKD_ERROR_UNSUPPORTED, error.what());
  } catch (const ekd::NeedsTorchError& error) {
    return failed(EKD_ERROR_NEEDS_TORCH, error.what());
  } catch (const ekd::SelfTestError& error) {
    return failed(EKD_ERROR_SELF_TEST, error.what());
  } catch (const ekd::ModelFileError& error) {
    return failed(EKD_ERROR_FILE, error.what());
  } catch (const ekd::StructureError& error) {
    return failed(EKD_ERROR_STRUCTURE, error.what());
  } catch (const std::bad_alloc&) {
    return failed(
        EKD_ERROR_MEMORY,
        "there is not enough memory; set block, or evaluate fewer atoms at a time [EKD-API-007]");
  } catch (const std::exception& error) {
    return failed(EKD_ERROR_INTERNAL, error.what());
  } catch (...) {
    return failed(EKD_ERROR_INTERNAL, "an exception of unknown type");
  }
}

using ekd::require;

// Smallest size of a struct of a caller, whose header may be older or newer than this one. When a
// struct grows, this must be the size of its first version.
template <class Struct>
constexpr std::size_t kLeastSize = sizeof(Struct);
template <>
constexpr std::size_t kLeastSize<ekd_options> = offsetof(ekd_options, device);
template <>
constexpr std::size_t kLeastSize<ekd_description> = offsetof(ekd_description, sha256);

template <class Struct>
void check_size(std::size_t size, const char* name) {
  require(size >= kLeastSize<Struct> && size <= kMostSize, [&] {
    return "the size of the " + std::string(name) + " is " + std::to_string(size) +
           "; set all of it to zero, and its size to sizeof(" + name + ") [EKD-API-002]";
  });
}

template <class Struct>
Struct read(const Struct& given, const char* name) {
  check_size<Struct>(given.size, name);
  Struct known{};
  const std::size_t size = std::min(given.size, sizeof(Struct));
  std::memcpy(&known, &given, size);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&given);
  require(std::all_of(bytes + size, bytes + given.size, [](auto byte) { return byte == 0; }), [&] {
    return "the " + std::string(name) +
           " requests something that ekd " EKD_VERSION
           " does not support; set all of it to zero first, or update ekd [EKD-API-003]";
  });
  return known;
}

template <class Pointer>
void require_given(const Pointer* pointer, const char* name) {
  require(pointer != nullptr, [&] { return std::string(name) + " is NULL [EKD-API-001]"; });
}

}  // namespace

int ekd_open(const char* path, const ekd_options* options, ekd_model** model) {
  return guarded([&] {
    require_given(model, "model");
    *model = nullptr;
    require_given(path, "path");
    const ekd_options known = options != nullptr ? read(*options, "ekd_options") : ekd_options{};
    *model = std::make_unique<ekd_model>(path, known).release();
  });
}

int ekd_describe(const ekd_model* model, ekd_description* description) {
  return guarded([&] {
    require_given(model, "model");
    require_given(description, "description");
    const std::size_t size = description->size;
    check_size<ekd_description>(size, "ekd_description");
    ekd_description found = model->description();
    found.size = size;
    std::memset(description, 0, size);
    std::memcpy(description, &found, std::min(size, sizeof found));
  });
}

int ekd_evaluate(ekd_model* model, int64_t n_atoms, const double* positions,
                 const int32_t* atomic_numbers, const double* cell, const int* pbc,
                 const ekd_results* results) {
  return guarded([&] {
    require_given(model, "model");
    require_given(results, "results");
    model->evaluate(n_atoms, positions, atomic_numbers, cell, pbc, read(*results, "ekd_results"));
  });
}

int ekd_evaluate_rows(ekd_model* model, const ekd_rows* rows, const ekd_results* results) {
  return guarded([&] {
    require_given(model, "model");
    require_given(rows, "rows");
    require_given(results, "results");
    model->evaluate(read(*rows, "ekd_rows"), read(*results, "ekd_results"));
  });
}

void ekd_close(ekd_model* model) { delete model; }

const char* ekd_last_error(void) {
  return last_error.instead != nullptr ? last_error.instead : last_error.text.c_str();
}

const char* ekd_version(void) { return EKD_VERSION; }
