"""PyTorch; see `select.Backend`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

EAGER_COMPILES = False
FULL_FLOAT32 = ("highest", False)


def version_and_devices() -> tuple[str, list[str]]:
    cuda = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return torch.__version__, [*cuda, *mps, "cpu"]


def is_on_accelerator(tensor: Any) -> bool:
    return bool(tensor.device.type != "cpu")


def gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*leaves: Any) -> tuple[Any, list[Any]]:
        with torch.enable_grad():
            inputs = [leaf.detach().clone().requires_grad_() for leaf in leaves]
            value = function(*inputs)
            gradients = torch.autograd.grad(value, inputs, allow_unused=True)
        return value.detach(), [
            torch.zeros_like(leaf) if g is None else g for leaf, g in zip(inputs, gradients, strict=True)
        ]

    return run


def search_rows(ascending: Any, values: Any, right: bool) -> Any:
    return torch.searchsorted(ascending.contiguous(), values.contiguous(), right=right)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return function  # Keras trains eagerly here, and `torch.compile` needs a C++ compiler on the machine


def mapped(function: Callable[..., Any], xs: list[Any], variables: list[Any]) -> Any:
    return torch.stack([checkpoint(function, *each, use_reentrant=False) for each in zip(*xs, strict=True)])


def is_concrete(tensor: Any) -> bool:
    return not torch.compiler.is_compiling()


def release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def precision() -> Any:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def set_precision(precision: Any) -> None:
    products, torch.backends.cudnn.allow_tf32 = precision  # the latter is for convolutions and recurrences
    torch.set_float32_matmul_precision(products)


def float32_scope() -> AbstractContextManager[Any]:
    return nullcontext()  # products are in full float32 unless the user asks for less


def write_onnx(encoder: Any, path: str, items: Any) -> None:
    """Write an encoder as ONNX; see `beyond_keras.write_torch_onnx`."""
    names = sorted(items) if isinstance(items, dict) else ["items"]

    class Positional(torch.nn.Module):
        """The encoder with a positional argument for each field, as the exporter needs it."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, *leaves: Any) -> Any:
            fields = dict(zip(names, leaves, strict=True)) if isinstance(items, dict) else leaves[0]
            return self.encoder(fields, training=False)

    leaves = tuple(torch.tensor(items[name] if isinstance(items, dict) else items) for name in names)
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        Positional().eval(),
        leaves,
        dynamo=True,
        dynamic_shapes=(tuple({0: batch} for _ in leaves),),
        input_names=names,
        verbose=False,
    )
    program.save(path)
