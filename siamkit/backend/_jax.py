"""JAX; see `select.Backend`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp

EAGER_COMPILES = True
FULL_FLOAT32 = "highest"


def version_and_devices() -> tuple[str, list[str]]:
    return jax.__version__, [
        f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()
    ]


def is_on_accelerator(tensor: Any) -> bool:
    return any(device.platform != "cpu" for device in tensor.devices())


def gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *leaves: jax.value_and_grad(function, argnums=tuple(range(len(leaves))))(*leaves)


def with_gradient_of(other: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    call = jax.custom_jvp(function)  # not `custom_vjp`, which has no derivatives forward
    call.defjvp(lambda leaves, tangents: (call(*leaves), jax.jvp(other, leaves, tangents)[1]))
    return call  # type: ignore[no-any-return]


def run_recorded(owner: Any, key: Any, function: Callable[[], Any], *_: Any) -> Any:
    return function()  # a training step is compiled as a whole


def search_rows(ascending: Any, values: Any, right: bool) -> Any:
    side = "right" if right else "left"
    return jax.vmap(lambda row, wanted: jnp.searchsorted(row, wanted, side=side))(ascending, values)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function)  # type: ignore[no-any-return]


def mapped(function: Callable[..., Any], xs: Any, shared: Any, variables: Any, by_xs: bool) -> Any:
    # `lax.map` is a loop, across which XLA cannot merge the second computation with the first.
    once_more = jax.checkpoint(function, prevent_cse=False)
    return jax.lax.map(lambda each: once_more(*each, *shared), xs)


def is_concrete(tensor: Any) -> bool:
    return not isinstance(tensor, jax.core.Tracer)


def release_memory() -> None:
    pass  # JAX keeps what it reserved until the process exits


def free_memory(tensor: Any) -> float:
    if not is_on_accelerator(tensor):
        return 0.0
    (device,) = tensor.devices()
    known = device.memory_stats() or {}
    return float(known.get("bytes_limit", 0) - known.get("bytes_in_use", 0))


@jax.jit
def gather(tensor: Any, rows: Any) -> Any:
    return jnp.take(tensor, rows, axis=0, mode="clip")  # the default compares each index with the bounds


def precision() -> Any:
    return jax.config.jax_default_matmul_precision


def set_precision(precision: Any) -> None:
    jax.config.update("jax_default_matmul_precision", precision)


def float32_scope() -> AbstractContextManager[Any]:
    # Read when an operation is traced, and also used by its gradient, which may be traced after the scope.
    return jax.default_matmul_precision("highest")  # type: ignore[no-any-return]
