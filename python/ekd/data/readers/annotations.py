"""Labels of configurations in a file: charge, spin, method, type.

A model sees only atoms and positions. Configurations with another charge, spin or method have
different energies for the same positions, so they are not mixed unless requested.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data.readers.observed import Observed
from ekd.data.readers.source import Request
from ekd.errors import DataError

STATES = {
    "charge": (
        *("charge", "total_charge", "tot_charge", "net_charge", "molecular_charge"),
        *("system_charge", "mol_charge"),
    ),
    "multiplicity": ("multiplicity", "mult", "spin_multiplicity", "total_multiplicity"),
    "spin": ("spin", "total_spin"),
    "unpaired": ("uhf", "n_unpaired", "num_unpaired", "unpaired_electrons"),
    "electrons": ("nelec", "nelectron", "nelectrons", "n_electrons", "num_electrons"),
}
"""Keys with one number per configuration, in lower case, by quantity."""

METHODS = (
    *("method", "methods", "qm_method", "level", "level_of_theory", "theory", "functional"),
    *("dft_functional", "xc", "basis", "basis_set", "program", "software"),
)
"""Keys that distinguish levels of theory, in lower case."""

TYPES = ("config_type", "subset", "dataset", "source")
"""Keys that are counted for information only, in lower case."""

MAX_METHODS = 20
"""With more values than this, they are taken as names of calculations, not of methods."""

_KIND_OF = {name: kind for kind, names in STATES.items() for name in names}
_NOBLE_GASES = np.array([2, 10, 18, 36, 54, 86])
_ORDINARY = {"charge": 0.0, "multiplicity": 1.0, "unpaired": 0.0}
_WORDS = {"neutral": "0", "singlet": "1", "doublet": "2", "triplet": "3"}
_CONFIG_TYPE = "config_type"

Column = Sequence[Any] | NDArray[Any]


def is_wanted(key: str, request: Request) -> bool:
    """Whether the values of a key are needed by :func:`choose`."""
    name = key.casefold()
    return name in _KIND_OF or name in METHODS or name in TYPES or key in (request.where or {})


def check_request(request: Request) -> None:
    """Refuse an invalid selection.

    Raises:
        DataError: ``where`` is not a dictionary of values, or ``states`` is unknown.
    """
    if request.states not in (None, "neutral", "all"):
        raise DataError(
            f"states is {request.states!r}; expected 'neutral', which leaves out charged and "
            "open-shell configurations, or 'all', which keeps them",
            code="EKD-DATA-081",
        )
    where = request.where
    example = "e.g. where={'config_type': 'liquid'}"
    if where is not None and not isinstance(where, Mapping):
        raise DataError(
            f"where is {where!r}; expected a dictionary, {example}", code="EKD-DATA-081"
        )
    for key, values in (where or {}).items():
        kinds = (str, int, float, np.generic)
        listed = [values] if isinstance(values, kinds) else values
        if (
            not isinstance(listed, (list, tuple))
            or not listed
            or not all(isinstance(value, kinds) for value in listed)
        ):
            raise DataError(
                f"where has {values!r} for '{key}'; expected a value or a list of them",
                code="EKD-DATA-081",
            )


def written(value: Any) -> str | None:
    """Format a value as text, equal for equal numbers in any notation; None if missing."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, str):
        try:
            value = float(text := value.strip())
        except ValueError:
            return text
    if isinstance(value, (int, float, np.integer, np.floating)):
        return None if np.isnan(value) else f"{float(value):.10g}"
    return None


def choose(
    request: Request,
    columns: Mapping[str, Column],
    sizes: NDArray[np.int64],
    numbers: NDArray[np.int64],
    isolated: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], Observed]:
    """Select configurations of a block, and count the labels of all of them.

    Args:
        request: what to read.
        columns: values of keys, one per configuration.
        sizes: [n_configs] number of atoms of each configuration.
        numbers: [n_atoms] atomic numbers.
        isolated: [n_configs] whether it is an isolated atom, whose spin does not matter.

    Returns:
        [n_configs] mask of the configurations that are kept; counts of labels.
    """
    n_configs = len(sizes)
    seen = Observed()
    single = np.zeros(n_configs, dtype=bool) if isolated is None else isolated
    kept = np.ones(n_configs, dtype=bool)
    for key, wanted in (request.where or {}).items():
        texts = [written(value) for value in columns.get(key, [None] * n_configs)]
        seen.count("where", key, texts)
        listed = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        accepted = {written(value) for value in listed}
        chosen = np.array([text in accepted for text in texts], dtype=bool)
        kept &= chosen | (single & (key.casefold() == _CONFIG_TYPE))
    seen.n_unselected = int((~kept).sum())
    states = _states(request, columns, sizes, numbers)
    if states is not None:
        if request.states == "neutral":
            charged = kept & ~single & np.array([_is_other(state) for state in states])
            seen.n_other_states = int(charged.sum())
            kept &= ~charged
        for state in (states[k] for k in np.flatnonzero(kept & ~single)):
            seen.states[json.dumps(state)] += 1
    for key, values in columns.items():
        if key not in (request.where or {}):
            for kind, names in (("methods", METHODS), ("types", TYPES)):
                if key.casefold() in names:
                    texts = [written(value) for value in values]
                    rows = kept if kind == "types" else kept & ~single
                    seen.count(kind, key, [texts[k] for k in np.flatnonzero(rows)])
    seen.n_kept = int((kept & ~single).sum())
    return kept, seen


def _states(
    request: Request,
    columns: Mapping[str, Column],
    sizes: NDArray[np.int64],
    numbers: NDArray[np.int64],
) -> list[dict[str, Any]] | None:
    """Charge and spin stated for each configuration; None if the block states neither."""
    found = {
        key: values
        for key, values in columns.items()
        if key.casefold() in _KIND_OF and key not in (request.where or {})
    }
    if not found:
        return None
    config = np.repeat(np.arange(len(sizes)), sizes)
    n_protons = np.bincount(config, weights=numbers, minlength=len(sizes))
    cores = np.concatenate([[0], _NOBLE_GASES])[np.searchsorted(_NOBLE_GASES, numbers)]
    n_core = np.bincount(config, weights=cores, minlength=len(sizes))
    states: list[dict[str, Any]] = [{} for _ in range(len(sizes))]
    for key, values in found.items():
        kind = _KIND_OF[key.casefold()]
        for row, value in enumerate(values):
            text = written(value)
            if text is None:
                continue
            try:
                number = float(_WORDS.get(text.casefold(), text))
            except ValueError:
                states[row][kind] = text
                continue
            what = kind
            if kind == "electrons":  # number of all electrons or of valence electrons
                charges = n_protons[row] - number, n_protons[row] - n_core[row] - number
                what, number = "charge", float(min(charges, key=abs))
            if number != _ORDINARY.get(what):
                states[row].setdefault(what, number)
    for row, state in enumerate(states):
        if "spin" in state:
            charge = state.get("charge", 0)
            charge = charge if isinstance(charge, float) else 0
            state["even"] = bool((n_protons[row] - charge) % 2 == 0)
    return states


def _is_other(state: Mapping[str, Any]) -> bool:
    """Whether a state differs from a neutral singlet.

    With an even number of electrons, a spin of one is the multiplicity of a singlet, as in OMol25;
    otherwise it is the number of unpaired electrons.
    """
    if state.keys() - {"spin", "even"}:
        return True
    spin = state.get("spin", 0)
    return spin != 0 and not (spin == 1 and state["even"])


def check_seen(request: Request, seen: Observed, path: Path) -> list[str]:
    """Check the labels of all configurations of a file.

    Returns:
        warnings, each with a remedy.

    Raises:
        DataError: charges, spins or methods are mixed, or nothing is selected.
    """
    _check_where(request, seen, path)
    _check_methods(seen, path)
    return _check_states(request, seen, path)


def _check_where(request: Request, seen: Observed, path: Path) -> None:
    for key, wanted in (request.where or {}).items():
        counts = seen.where.get(key, Counter())
        if not counts:
            raise DataError(
                f"no configuration of '{path}' with an energy has a value of '{key}', given in "
                "where; correct the key, or leave it out",
                code="EKD-DATA-082",
            )
        for value in wanted if isinstance(wanted, (list, tuple)) else [wanted]:
            if (text := written(value)) not in counts:
                raise DataError(
                    f"no configuration of '{path}' with an energy has '{key}' = '{text}', given in "
                    f"where; its values are: {listed(counts)}",
                    code="EKD-DATA-082",
                )


def _check_methods(seen: Observed, path: Path) -> None:
    for key, counts in seen.methods.items():
        if 1 < len(counts) <= MAX_METHODS:
            first = min(counts, key=lambda value: (-counts[value], value))
            raise DataError(
                f"'{path}' has {len(counts)} values of '{key}': {listed(counts, quote=True)}; "
                "energies at different levels of theory must not be mixed. Select one with "
                f"where = {{'{key}': '{first}'}} (--where \"{key}={first}\"); if several are names "
                "of the same level, give all of them",
                code="EKD-DATA-083",
            )


def _check_states(request: Request, seen: Observed, path: Path) -> list[str]:
    states = {text: json.loads(text) for text in seen.states}
    if request.states != "all":
        spins = {state.get("spin") for state in states.values() if state.get("even")}
        if {0.0, 1.0} <= spins:
            raise DataError(
                f"'spin' in '{path}' is 0 in some configurations and 1 in others with an even "
                "number of electrons: these may be triplets, or singlets by their multiplicity. "
                "Select with where = {'spin': 0} (--where spin=0), or keep all with states='all'",
                code="EKD-DATA-084",
            )
    others = {text: n for text, n in seen.states.items() if _is_other(states[text])}
    n_others, n_configs = sum(others.values()), seen.n_kept
    if not n_others or request.states == "all":
        return []
    names = {text: _in_words(states[text]) for text in others}
    if n_others == n_configs and len(set(names.values())) == 1:
        return [
            f"all {n_configs} configurations of '{path}' have {next(iter(names.values()))}: models "
            "of these data are valid for this state only, and cannot distinguish it from others. "
            "Confirm with states='all' that this is intended"
        ]
    counts: dict[str, int] = {}
    for text, n in others.items():
        counts[names[text]] = counts.get(names[text], 0) + n
    raise DataError(
        f"{n_others} of {n_configs} configurations of '{path}' are not neutral singlets according "
        f"to the file: {listed(counts)}. Models do not distinguish charges and spins, and would "
        "mix them up. Leave these configurations out with states='neutral', or keep them on "
        "purpose with states='all'",
        code="EKD-DATA-080",
    )


def _in_words(state: Mapping[str, Any]) -> str:
    words = []
    for kind, value in state.items():
        if kind == "even" or (kind == "spin" and value == 0):
            continue
        number = value if isinstance(value, str) else f"{value:{'+g' if kind == 'charge' else 'g'}}"
        words.append(f"{number} unpaired electrons" if kind == "unpaired" else f"{kind} {number}")
    return ", ".join(words)


def listed(counts: Mapping[str, int], quote: bool = False, n_most: int = 10) -> str:
    """Format values with their counts, the most frequent ones first."""
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = [f"{name!r} ({n:,})" if quote else f"{name} ({n:,})" for name, n in ordered[:n_most]]
    more = len(ordered) - n_most
    return ", ".join(shown) + (f" and {more:,} others" if more > 0 else "")
