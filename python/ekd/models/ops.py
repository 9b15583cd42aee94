"""Which implementation of the message operations the models call: decided here, once."""

from __future__ import annotations

import warnings


def _load_native() -> bool:
    try:
        import ekd._native  # noqa: F401  (registers torch.ops.ekd.*)
    except ImportError as error:
        warnings.warn(f"slow pure-torch operations are used: {error}", stacklevel=2)
        return False
    return True


native: bool = _load_native()
"""True when ``torch.ops.ekd.*`` is registered."""
