#!/usr/bin/env bash
# What reading a database with ASE does to the file.
#
# Packages: ase 3.29.0, numpy 2.3.5 of PyPI.
# Guess: reading changes no file. A SQLite database of another program is refused with an error, and
#   an absent file is an error.
# Seen: connecting and counting rows creates the six tables of ASE in the other program's database,
#   whose SHA-256 changes, and then says that it has no rows. ase.io.read does the same before it
#   raises StopIteration. For an absent file a new database is created, and it has no rows either. So a wrong path
#   in a script that only reads leaves a file, and the only sign is a length of zero.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ase==3.29.0" "numpy==2.3.5"
venv/bin/python - > seen.txt <<'EOF'
import hashlib
import sqlite3
from pathlib import Path

from ase.db import connect
from ase.io import read


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def tables(path):
    with sqlite3.connect(path) as file:
        return sorted(
            name
            for (name,) in file.execute("select name from sqlite_master where type = 'table'")
            if not name.startswith("sqlite_")
        )


for name in ("counted", "read"):
    path = f"{name}.db"
    with sqlite3.connect(path) as file:
        file.execute("create table molecules (formula text, energy real)")
        file.execute("insert into molecules values ('H2O', -76.4)")
    file.close()
    before = digest(path)
    if name == "counted":
        print(name, "rows:", len(connect(path)))
    else:
        try:
            read(path)
            print(name, "no error")
        except Exception as error:
            print(name, type(error).__name__)
    print(name, "the same file:", digest(path) == before, "tables:", len(tables(path)))
print("absent: rows:", len(connect("absent.db")), "file:", Path("absent.db").exists())
EOF
cat seen.txt
diff seen.txt - <<'EOF'
counted rows: 0
counted the same file: False tables: 7
read StopIteration
read the same file: False tables: 7
absent: rows: 0 file: True
EOF
