"""Network architectures. Importing them registers ``torch.ops.ekd``, which they use.

Raises:
    BuildError: ekd was not built, or was built for another torch.
"""

from ekd import _native
from ekd.models.committee import Committee
from ekd.models.hipnn import HIPNN
from ekd.models.uncertainty_head import UncertaintyHead

_native.load_ops()

__all__ = ["HIPNN", "Committee", "UncertaintyHead"]
