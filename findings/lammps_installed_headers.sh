#!/usr/bin/env bash
# Whether the headers that LAMMPS installs can be included by others.
#
# Package: liblammps-dev 20260704+dfsg-2 of Debian sid (LAMMPS 4 Jul 2026).
# Guess: all headers that an installed header includes are installed, as with LAMMPS 4 Feb 2025 and
#   22 Jul 2025.
# Seen: citeme.h and variable.h include safe_pointers.h, which is not installed, so a program or plugin
#   that includes one of them does not compile. The list of installed headers in LAMMPS's own
#   CMakeLists.txt lacks it too, so it is not Debian's doing. All other headers are complete.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
name=liblammps-dev_20260704+dfsg-2_amd64.deb
python3 - "$name" <<'EOF'
import sys
import urllib.request

name = sys.argv[1]
address = "http://deb.debian.org/debian/pool/main/l/lammps/" + name.replace("+", "%2b")
urllib.request.urlretrieve(address, name)
EOF
echo "9d28a3c22327507ec1bdc782e0830c8de5316e4e14d6f9b0fe7b61c779d398bc  $name" | sha256sum --check --quiet
dpkg-deb -x "$name" package
python3 - > seen.txt <<'EOF'
import re
from pathlib import Path

folder = Path("package/usr/include/lammps")
there = {str(path.relative_to(folder)) for path in folder.rglob("*.h*")}
print("installed headers:", "some" if there else "none")
for path in sorted(folder.glob("*.h")):
    for name in re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE):
        if name not in there:
            print(path.name, "includes", name, "which is not installed")
EOF
cat seen.txt
diff seen.txt - <<'EOF'
installed headers: some
citeme.h includes safe_pointers.h which is not installed
variable.h includes safe_pointers.h which is not installed
EOF
