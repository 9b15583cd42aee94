"""Every code of the catalogue is triggered by a test, but for a few that cannot be."""

from __future__ import annotations

import re
from pathlib import Path

from ekd.error_catalogue import catalogue

HERE = Path(__file__).parent
TESTS = HERE.parents[1]

ELSEWHERE = {
    "EKD-API-007": "integration/test_c_interface.py",
    "EKD-HIPPYNN-001": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-002": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-003": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-004": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-005": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-006": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-007": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-008": "unit/interop/test_hippynn.py",
    "EKD-HIPPYNN-009": "unit/interop/test_hippynn.py",
    "EKD-DATA-062": "unit/pipeline/test_evaluation.py",
    "EKD-STRUCTURE-016": "unit/pool/test_build.py",
}
"""Files whose tests trigger an error and compare its code, because all that it takes is there."""

NOT_TRIGGERED = {
    "EKD-DEVICE-012": "needs a system of 2^31 atoms",
    "EKD-PAIR-022": "needs a network whose energy is not finite, which no file can hold",
    "EKD-PAIR-023": "needs a LAMMPS with a backend of KOKKOS for other GPUs",
    "EKD-PAIR-024": "needs a package that sorts neighbor lists in another way",
}


def test_every_code_is_triggered() -> None:
    texts = [path.read_text() for path in HERE.glob("test_*.py") if path != Path(__file__)]
    here = set(re.findall(r"EKD-[A-Z]+-\d{3}", "\n".join(texts)))
    there = {code for code, file in ELSEWHERE.items() if code in (TESTS / file).read_text()}
    assert there == set(ELSEWHERE), "named here, and not in the file"
    missing = set(catalogue()) - here - there - set(NOT_TRIGGERED)
    assert not missing, "write a test in this folder that triggers these"
    assert here | there <= set(catalogue()), "there is no such code"
    assert not (here | there) & set(NOT_TRIGGERED)
    assert len(NOT_TRIGGERED) < 10
