// Errors a user can cause. Each message says what was found, what was expected and what to do.
#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace ekd {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A structure cannot be evaluated: no atoms, atoms on top of each other, a degenerate cell.
struct StructureError : Error {
  using Error::Error;
};

// A file is not an exported model, is damaged, or comes from a newer format.
struct ModelFileError : Error {
  using Error::Error;
};

// A sound file that torch alone can run, where torch is not.
struct NeedsTorchError : ModelFileError {
  using ModelFileError::ModelFileError;
};

// A file gives other results than it did where it was written.
struct SelfTestError : ModelFileError {
  using ModelFileError::ModelFileError;
};

// A device is not here, or cannot do what is asked.
struct DeviceError : Error {
  using Error::Error;
};

// A device has no room for what is to be evaluated at a time.
struct DeviceMemoryError : DeviceError {
  using DeviceError::DeviceError;
};

// There is no memory for an evaluation, in however small blocks. To others it is what it is
// everywhere: std::bad_alloc.
class MemoryError : public std::bad_alloc {
 public:
  explicit MemoryError(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

}  // namespace ekd
