// Errors that users can cause. Messages state what was found, what was expected and what to do.
#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace ekd {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A structure cannot be evaluated: no atoms, coincident atoms, a degenerate cell.
struct StructureError : Error {
  using Error::Error;
};

// A file is not an exported model, is damaged, or comes from a newer format.
struct ModelFileError : Error {
  using Error::Error;
};

// A valid file that only torch can run, but torch is not available.
struct NeedsTorchError : ModelFileError {
  using ModelFileError::ModelFileError;
};

// Results of a file differ from those at export.
struct SelfTestError : ModelFileError {
  using ModelFileError::ModelFileError;
};

// A device is not available, or does not support the request.
struct DeviceError : Error {
  using Error::Error;
};

// A device has not enough memory for one evaluation.
struct DeviceMemoryError : DeviceError {
  using DeviceError::DeviceError;
};

// There is not enough memory for an evaluation, even with the smallest blocks. Derived from
// std::bad_alloc, so that callers can handle it as such.
class MemoryError : public std::bad_alloc {
 public:
  explicit MemoryError(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

}  // namespace ekd
