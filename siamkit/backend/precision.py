"""Full float32 instead of TF32, which backends use by default on recent GPUs.

TF32 rounds the factors of products (JAX, TensorFlow) and convolutions (all three) to 10 bits of mantissa; see
`docs/decisions/0008-full-float32.md` for the guarantees of siamkit on each backend.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from siamkit.backend.select import backend_module


def float32_scope() -> AbstractContextManager[Any]:
    """Return a context in which products are computed in full float32, gradients included.

    It has an effect on JAX only: torch computes products in full float32 anyway, and TensorFlow can set the
    precision for the whole process only.
    """
    return backend_module().float32_scope()


def require_float32() -> None:
    """Make this process compute products and convolutions in full float32."""
    backend = backend_module()
    backend.set_precision(backend.FULL_FLOAT32)


@contextmanager
def float32_required() -> Iterator[None]:
    """Compute products and convolutions of this process in full float32 inside a `with` block.

    Does nothing if Keras is not imported, because then no backend is running.
    """
    if "keras" not in sys.modules:
        yield
        return
    backend = backend_module()
    before = backend.precision()
    backend.set_precision(backend.FULL_FLOAT32)
    try:
        yield
    finally:
        backend.set_precision(before)


def is_full_float32() -> bool:
    """Return whether this process computes float32 in full."""
    backend = backend_module()
    return bool(backend.precision() == backend.FULL_FLOAT32)
