"""The Keras backend: which one to run, decided before Keras is imported, and in which precision.

The modules `_jax`, `_torch` and `_tensorflow` implement `Backend`; this module imports none of them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from siamkit.errors import BackendError, nearest

BACKENDS = ("jax", "torch", "tensorflow")
"""The backends; by default the first installed one is chosen."""


def installed() -> list[str]:
    """Return the installed backends, found without importing them."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def choose_backend(
    option: str | None = None, study: str | None = None, started_with: str | None = None
) -> tuple[str, str]:
    """Choose the backend to run.

    The first of these that names a backend decides: the option, KERAS_BACKEND, the study file, the run
    folder, Keras's own configuration if that backend is installed; else the first installed one.

    Args:
        option: the backend that the user named by `--backend` or as the argument of `tune`.
        study: the backend in the study file.
        started_with: the backend that the study was started with.

    Returns:
        The backend's name, and the source that named it.

    Raises:
        BackendError: it is unknown or not installed, none is installed, or Keras already runs on another.
    """
    available = installed()
    for name, source, strict in (
        (option, "--backend", True),
        (os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND", False),
        (study, "the study file", True),
        (started_with, "the run folder", False),
    ):
        if name:
            _check(name, source, available)
            return _or_running(name, source, strict)
    if not available:
        raise BackendError("no backend is installed; pip install 'siamkit[jax]', [torch] or [tensorflow]")
    configured = _configured()
    if configured in available:
        return _or_running(configured, "Keras's own configuration")
    return _or_running(available[0], "the first one installed")


def activate(name: str) -> None:
    """Make Keras use this backend; call it before Keras is imported."""
    os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow logs at length otherwise


def prepare() -> None:
    """Choose and activate a backend before Keras does, which takes TensorFlow even if it is not installed."""
    if "keras" not in sys.modules:
        activate(choose_backend()[0])


def _check(name: str, source: str, available: list[str]) -> None:
    if name not in BACKENDS:
        raise BackendError(f"{source} names the unknown backend {name!r}; {nearest(name, BACKENDS)}")
    if name not in available:
        others = f" (installed: {', '.join(available)})" if available else ""
        raise BackendError(
            f"{source} names the backend {name!r}, which is not installed; "
            f"pip install 'siamkit[{name}]'{others}"
        )


def _or_running(name: str, source: str, strict: bool = False) -> tuple[str, str]:
    """Return the backend and its source, or those of the one that Keras already runs on.

    Keras reads its backend once, when it is imported; with `strict`, any other backend is an error.
    """
    keras = sys.modules.get("keras")
    running = keras.backend.backend() if keras is not None else name
    if running == name:
        return name, source
    if strict:
        raise BackendError(
            f"{source} names the backend {name!r}, but Keras already runs on {running!r}; "
            "set KERAS_BACKEND before Python starts"
        )
    return running, "the backend that Keras already runs on"


def _configured() -> str | None:
    home = os.environ.get("KERAS_HOME") or str(Path.home() / ".keras")
    try:
        name = json.loads((Path(home) / "keras.json").read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) else None


# ------------------------------------------------------------------ graphs that are compiled once

MAX_GRAPHS = 10_000  # that are kept; those that were not used for longest are removed


def keep_compiled() -> None:
    """Let JAX keep what it compiles in the user's cache folder, where later processes find it.

    For siamkit's own processes, workers and commands, before JAX is imported. The folder is `siamkit` in
    XDG_CACHE_HOME, else in `~/.cache`; SIAMKIT_CACHE names another one, and if that is empty, nothing is
    kept. A user's own JAX_COMPILATION_CACHE_DIR is used as it is. TensorFlow keeps no graphs, and PyTorch
    has a cache of its own.
    """
    folder = None if os.environ.get("JAX_COMPILATION_CACHE_DIR") else _cache_folder()
    if folder is None:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # By default, graphs that compile within a second are not kept: most of a trial's.
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    # A graph that is damaged, or cannot be written, is compiled; it needs no word.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")


def _cache_folder() -> Path | None:
    """Return the folder for graphs, or None if this user cannot write to it, or others can.

    JAX runs what it finds there.
    """
    named = os.environ.get("SIAMKIT_CACHE")
    if named == "":
        return None
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        root = (Path(named) if named else home / "siamkit").absolute()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and root.stat().st_uid != os.getuid():
            return None
        root.chmod(0o700)
        # A graph for one processor may not run on another one that shares the home folder.
        folder = root / f"jax-{hashlib.sha256(_processor().encode()).hexdigest()[:16]}"
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _remove_unused(folder)
    except (OSError, RuntimeError):  # no home, or a folder that cannot be written
        return None
    return folder


def _processor() -> str:
    """Return what describes the processor: its name and its instructions."""
    lines = [platform.machine(), platform.processor()]
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.strip():
                break  # the first core is like the others
            if line.startswith(("model name", "flags", "Features", "CPU part")):
                lines.append(line)
    return "\n".join(lines)


def _remove_unused(folder: Path) -> None:
    """Remove the graphs that were not used for longest, if there are too many, and empty files."""
    graphs = []
    for file in folder.glob("*-cache"):
        with suppress(FileNotFoundError):  # another process removes them too
            stat = file.stat()
            # A process that was killed leaves an empty file, which JAX never replaces.
            graphs.append((max(stat.st_atime, stat.st_mtime) if stat.st_size else 0.0, file))
    graphs.sort(reverse=True)
    for rank, (used, file) in enumerate(graphs):
        if rank >= MAX_GRAPHS or not used:
            file.unlink(missing_ok=True)


# ------------------------------------------------------------------ processes that share an accelerator

USABLE_SHARE = 0.9  # of an accelerator's memory; each process needs some outside of what its backend manages


def limit_memory(share: float | None) -> None:
    """Limit how much of an accelerator's memory this process takes; call it before a backend is imported.

    By default JAX reserves three quarters of the memory and TensorFlow all of it. TensorFlow knows no
    limit: with a share below 1 it reserves what it needs.

    Args:
        share: the process's share of the memory; 1 for the backend's default, None for what it needs, as it
            needs it.
    """
    if share == 1:
        return
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    if share is None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        return
    limit = USABLE_SHARE * share
    os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{limit:.3f}"
    os.environ.pop("XLA_CLIENT_MEM_FRACTION", None)  # a later name, which JAX refuses together with this one
    if os.environ.get("KERAS_BACKEND") == "torch":
        from siamkit.backend import _torch

        _torch.limit_memory(limit)


# ------------------------------------------------------------------ the backend that runs

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

    def is_on_accelerator(self, tensor: Any) -> bool:
        """Return whether a tensor is in the memory of an accelerator."""

    def gradient(self, function: Function) -> Function:
        """Return a function that gives a scalar function's value and its gradient by each argument."""

    def with_gradient_of(self, other: Function, function: Function) -> Function:
        """Return a function with the gradient of another; see `beyond_keras.with_gradient_of`."""

    def run_recorded(
        self, owner: Any, key: Any, function: Function, pure: Function, inputs: Any, variables: Any
    ) -> Any:
        """Return the result of a function, perhaps by a recording of it; see `beyond_keras.run_recorded`."""

    def search_rows(self, ascending: Any, values: Any, right: bool) -> Any:
        """Return how many numbers of the same row are below each value; see `beyond_keras.search_rows`."""

    def compiled(self, function: Function) -> Function:
        """Return the function compiled, if Keras also compiles on this backend."""

    def mapped(self, function: Function, xs: Any, shared: Any, variables: Any, by_xs: bool) -> Any:
        """Return a function's float32 results for the rows of arrays, stacked; gradients compute them again.

        Args:
            function: function of one row of each array, and of what is shared; none of its intermediate
                values is kept.
            xs: arrays of as many rows.
            shared: tensors that each call gets.
            variables: the Keras variables that the function reads.
            by_xs: whether the gradient is by `xs` and `shared`, instead of by the variables.
        """

    def is_concrete(self, tensor: Any) -> bool:
        """Return whether the values of a tensor are known now, and not only when traced code runs."""

    def release_memory(self) -> None:
        """Return an accelerator's cached memory to other processes, if the backend can."""

    def free_memory(self, tensor: Any) -> float:
        """Return how many bytes this process may still take of the accelerator that a tensor is on.

        0 if the tensor is in the host's memory, if the number is not known, and if Keras copies the tensors
        of a loader to the host.
        """

    def gather(self, tensor: Any, rows: Any) -> Any:
        """Return the rows of a tensor at indices `(n,)` in an array of the host."""

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
    return _module(name)


@cache
def _module(name: str) -> Backend:
    if name == "jax":
        from siamkit.backend import _jax

        return _jax
    if name == "tensorflow":
        from siamkit.backend import _tensorflow

        return _tensorflow
    from siamkit.backend import _torch

    return _torch


def on_accelerator() -> bool:
    """Return whether Keras computes on an accelerator; False if Keras is not imported."""
    if "keras" not in sys.modules:
        return False
    import keras

    return backend_module().is_on_accelerator(keras.ops.zeros(1))


# ------------------------------------------------------------------ the precision
#
# Full float32 in place of TF32, which backends use by default on recent GPUs: TF32 rounds the factors of
# products (JAX, TensorFlow) and convolutions (all three) to 10 bits of mantissa
# (docs/decisions/0008-full-float32.md).


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
