"""Every code of the catalogue is triggered by a test, except a few that cannot be."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ekd.error_catalogue import catalogue

HERE = Path(__file__).parent
TESTS = HERE.parents[1]

ELSEWHERE = {
    "EKD-API-007": "integration/c_interface/test_errors.py",
    "EKD-HIPPYNN-001": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-002": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-003": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-004": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-005": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-006": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-007": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-008": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-009": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-010": "unit/interop/test_hippynn.py",
    "EKD-DATA-062": "unit/pipeline/test_evaluation.py",
    "EKD-DATA-071": "odd_files/extended_xyz_values.py",
    "EKD-DATA-072": "odd_files/extended_xyz_values.py",
    "EKD-DATA-073": "odd_files/extended_xyz.py",
    "EKD-DATA-074": "odd_files/extended_xyz.py",
    "EKD-DATA-075": "odd_files/extended_xyz.py",
    "EKD-DATA-076": "unit/test_data_frames.py",
    "EKD-DATA-077": "odd_files/extended_xyz_values.py",
    "EKD-DATA-078": "odd_files/extended_xyz_values.py",
    "EKD-DATA-079": "odd_files/hdf5_storage.py",
    "EKD-DATA-080": "odd_files/extended_xyz_values.py",
    "EKD-DATA-081": "unit/test_data_doubts.py",
    "EKD-DATA-082": "odd_files/npz.py",
    "EKD-DATA-083": "odd_files/extended_xyz_values.py",
    "EKD-DATA-084": "odd_files/extended_xyz_values.py",
    "EKD-DATA-085": "unit/preparation/test_prepare.py",
    "EKD-DATA-086": "odd_files/npz.py",
    "EKD-DATA-087": "odd_files/extended_xyz.py",
    "EKD-DATA-088": "odd_files/hdf5_storage.py",
    "EKD-DATA-089": "odd_files/extended_xyz_values.py",
    "EKD-DEVICE-018": "unit/inference/test_memory.py",
    "EKD-PAIR-022": "integration/lammps/test_force_max.py",
    "EKD-PAIR-027": "integration/lammps/test_force_max.py",
    "EKD-PAIR-028": "integration/lammps/test_force_max.py",
    "EKD-RUN-012": "unit/test_locks.py",
    "EKD-RUN-014": "unit/pipeline/test_manifest.py",
    "EKD-RUN-015": "unit/pipeline/test_manifest.py",
    "EKD-RUN-016": "integration/test_pipeline.py",
    "EKD-RUN-017": "integration/test_pipeline.py",
    "EKD-RUN-018": "integration/test_pipeline.py",
    "EKD-RUN-019": "integration/test_pipeline.py",
    "EKD-RUN-020": "integration/test_pipeline.py",
    "EKD-RUN-021": "integration/test_pipeline.py",
    "EKD-STRUCTURE-016": "unit/pool/test_build.py",
    "EKD-TRAINING-004": "integration/faults/test_shared_training.py",
}
"""Code -> other file with a test that triggers the error and compares its code."""

NOT_TRIGGERED = {
    "EKD-DEVICE-012": "needs a system of 2^31 atoms",
    "EKD-DEVICE-017": "needs a GPU, and a system that has no page-locked memory left",
    "EKD-PAIR-023": "needs a LAMMPS with a backend of KOKKOS for other GPUs",
    "EKD-PAIR-024": "needs a package that sorts neighbor lists in another way",
}


def compared_codes(path: Path) -> set[str]:
    """Codes in the strings of a file, not those in comments and docstrings."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    bare = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            found.update(re.findall(r"EKD-[A-Z]+-\d{3}", node.value))
    return found


def test_every_code_is_triggered() -> None:
    paths = [path for path in HERE.glob("test_*.py") if path != Path(__file__)]
    here = set().union(*map(compared_codes, paths))
    there = {code for code, file in ELSEWHERE.items() if code in compared_codes(TESTS / file)}
    assert there == set(ELSEWHERE), "named here, and not in the file"
    missing = set(catalogue()) - here - there - set(NOT_TRIGGERED)
    assert not missing, "write a test in this folder that triggers these"
    assert here | there <= set(catalogue()), "there is no such code"
    assert not (here | there) & set(NOT_TRIGGERED)
    assert len(NOT_TRIGGERED) < 10
