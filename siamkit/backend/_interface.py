"""What siamkit asks of a backend; the modules `_jax`, `_torch` and `_tensorflow` implement it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

Function = Callable[..., Any]


class Backend(Protocol):
    """A module for one backend: imported only if that backend runs, so it imports the backend at its top."""

    @property
    def EAGER_COMPILES(self) -> bool:
        """Whether the backend compiles each operation again for each shape, even in eager calls."""

    @property
    def FULL_FLOAT32(self) -> Any:
        """The `precision()` at which float32 is computed in full."""

    def version_and_devices(self) -> tuple[str, list[str]]:
        """Return the backend's version and the names of its devices."""

    def gradient(self, function: Function) -> Function:
        """Return a function that gives a scalar function's value and its gradient by each argument."""

    def compiled(self, function: Function) -> Function:
        """Return the function compiled, if Keras also compiles on this backend."""

    def is_concrete(self, tensor: Any) -> bool:
        """Return whether the values of a tensor are known now, and not only when traced code runs."""

    def release_memory(self) -> None:
        """Return an accelerator's cached memory to other processes, if the backend can."""

    def precision(self) -> Any:
        """Return the process-wide setting of float32 products and convolutions."""

    def set_precision(self, precision: Any) -> None:
        """Set that precision to a value that `precision()` returned, or to `FULL_FLOAT32`."""

    def float32_scope(self) -> AbstractContextManager[Any]:
        """Return a context in which products are in full float32, if the backend has one."""


def backend_module(name: str | None = None) -> Backend:
    """Return the module of a backend, by default of the backend that Keras runs on."""
    if name is None:
        import keras

        name = keras.backend.backend()
    if name == "jax":
        from siamkit.backend import _jax

        return _jax
    if name == "tensorflow":
        from siamkit.backend import _tensorflow

        return _tensorflow
    from siamkit.backend import _torch

    return _torch
