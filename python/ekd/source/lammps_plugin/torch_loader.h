// torch, for the files and devices that nothing else can evaluate.
#pragma once

#include "ekd/script_opener.hpp"

namespace ekd {

// Loads the torch that this build of ekd was made for, and the library of ekd that needs it. Both
// stay in the process.
// Throws Error: there is no torch, it is of another version, or it does not load; or this build has
// nothing to do with torch.
OpenScript load_torch();

}  // namespace ekd
