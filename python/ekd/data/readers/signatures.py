"""Files whose content, identified by the first bytes, does not match their names."""

from __future__ import annotations

from pathlib import Path

from ekd.errors import DataError

_LFS = b"version https://git-lfs"
_SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", (".h5", ".hdf5", ".hdf")),
    (b"\x93NUMPY", "one array of numpy.save", (".npy",)),
    (b"PK\x03\x04", "a zip archive", (".npz",)),
    (b"\x1f\x8b", "compressed with gzip", (".gz",)),
    (b"BZh", "compressed with bzip2", (".bz2",)),
    (b"\xfd7zXZ\x00", "compressed with xz", (".xz",)),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", ()),
    (b"\xff\xfe", "text in UTF-16", ()),
    (b"\xfe\xff", "text in UTF-16", ()),
)
_REMEDIES = {
    "compressed with Zstandard": "unpack it first: zstd -d FILE",
    "text in UTF-16": "convert it first: iconv -f UTF-16 -t UTF-8 FILE",
    "one array of numpy.save": "put positions, atomic numbers and energies together by numpy.savez",
}
_SUFFIXES = (".xyz", ".extxyz", ".npz", ".h5", ".hdf5", ".hdf")
"""Suffixes with known contents; all others are left to ASE."""


def check_signature(path: Path) -> None:
    """Refuse a file whose content cannot match its name.

    Raises:
        DataError: the file is empty, a Git LFS pointer, a web page, or in another format.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise DataError(
            f"'{path}' has no configurations, because it is empty; get the file again",
            code="EKD-DATA-003",
        )
    if start.startswith(_LFS):
        raise DataError(
            f"'{path}' is a Git LFS pointer, not the file itself; fetch it with 'git lfs pull'",
            code="EKD-DATA-087",
        )
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(
            f"'{path}' is a web page, perhaps one that asks for a login, not the file itself; "
            "download it again",
            code="EKD-DATA-087",
        )
    for signature, what, suffixes in _SIGNATURES:
        if not start.startswith(signature) or path.suffix.lower() in suffixes:
            continue
        if path.suffix.lower() in _SUFFIXES or what in _REMEDIES:
            ending = f"rename it so that it ends in {suffixes[0]}" if suffixes else ""
            raise DataError(
                f"'{path}' is {what}, not what its name says; {_REMEDIES.get(what, ending)}",
                code="EKD-DATA-088",
            )
