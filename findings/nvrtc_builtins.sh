#!/usr/bin/env bash
# Whether NVRTC of NVIDIA's wheel finds its second library, which lies beside it.
#
# Package: nvidia-cuda-nvrtc 13.0.88, with g++ or nvcc nowhere in use and no GPU.
# Guess: libnvrtc.so.13 that is loaded by its path finds libnvrtc-builtins.so.13.0 in its own folder.
# Seen: it loads, tells its version and makes a program, and then compiles nothing
#   (NVRTC_ERROR_BUILTIN_OPERATION_FAILURE): it opens the second library by its name alone and has no
#   RUNPATH. Once that library has been loaded by its path, compilation succeeds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m pip install --quiet --no-deps --target packages nvidia-cuda-nvrtc==13.0.88
cat > compile.py <<'EOF'
import ctypes
import sys
from pathlib import Path

library = next(Path("packages").rglob("libnvrtc.so.13")).resolve()
if sys.argv[1] == "both":
    ctypes.CDLL(str(next(library.parent.glob("libnvrtc-builtins.so.*"))), ctypes.RTLD_GLOBAL)
nvrtc = ctypes.CDLL(str(library))
nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
source = b'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2.0f; }'
program = ctypes.c_void_p()
made = nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"twice.cu", 0, None, None)
options = (ctypes.c_char_p * 1)(b"--gpu-architecture=sm_90")
done = nvrtc.nvrtcCompileProgram(program, 1, options)
print(f"{sys.argv[1]}: create {nvrtc.nvrtcGetErrorString(made).decode()},",
      f"compile {nvrtc.nvrtcGetErrorString(done).decode()}")
EOF
unset LD_LIBRARY_PATH
{ python3 compile.py alone; python3 compile.py both; } | tee seen.txt
diff seen.txt - <<'EOF'
alone: create NVRTC_SUCCESS, compile NVRTC_ERROR_BUILTIN_OPERATION_FAILURE
both: create NVRTC_SUCCESS, compile NVRTC_SUCCESS
EOF
