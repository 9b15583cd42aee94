// Loads torch for files and devices that need it.
#pragma once

#include "ekd/script_opener.hpp"

namespace ekd {

// Loads the torch version that this build of ekd was made for, and the library of ekd that needs
// it. Both stay in the process.
// Throws Error: there is no torch, it has another version or cannot be loaded; or this build does
// not support torch.
OpenScript load_torch();

}  // namespace ekd
