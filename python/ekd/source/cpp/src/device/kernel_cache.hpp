// Compiled kernels of former runs, so that the compiler is called once for a card and a network.
#pragma once

#include <optional>
#include <string>

namespace ekd::device {

// The program that was kept under this key; nothing if there is none, or if it is damaged.
std::optional<std::string> find_kept_program(const std::string& key);

// Keeps a program in $EKD_CACHE, or ekd in $XDG_CACHE_HOME or ~/.cache. Does nothing if that cannot
// be written to.
void keep_program(const std::string& key, const std::string& program);

}  // namespace ekd::device
