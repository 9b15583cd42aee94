// Cache of compiled kernels, so that the compiler runs once per GPU and network.
#pragma once

#include <optional>
#include <string>

namespace ekd::device {

// The cached program for this key; empty if there is none, or if it is damaged.
std::optional<std::string> find_kept_program(const std::string& key);

// Stores a program in $EKD_CACHE, or in ekd in $XDG_CACHE_HOME or ~/.cache. Does nothing if the
// folder is not writable.
void keep_program(const std::string& key, const std::string& program);

}  // namespace ekd::device
