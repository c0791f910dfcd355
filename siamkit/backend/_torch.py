"""PyTorch; see `select.Backend`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.utils.checkpoint import checkpoint

from siamkit.backend._torch_recordings import is_transformed
from siamkit.backend._torch_recordings import run_recorded as run_recorded

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
            try:
                inputs = [leaf.detach().requires_grad_() for leaf in leaves]
            except RuntimeError:  # inside torch.func, which computes gradients in its own way only
                fixed = [leaf.detach() for leaf in leaves]
                slopes, value = torch.func.grad_and_value(function, tuple(range(len(fixed))))(*fixed)
                return value.detach(), [slope.detach() for slope in slopes]
            value = function(*inputs)
            gradients = torch.autograd.grad(value, inputs, allow_unused=True)
        return value.detach(), [
            torch.zeros_like(leaf) if g is None else g for leaf, g in zip(inputs, gradients, strict=True)
        ]

    return run


def with_gradient_of(other: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*leaves: Any) -> Any:
        value, zero = function(*leaves).detach(), other(*leaves)
        # Plus 0 where it is finite, else NaN, with the gradient; a recording leaves it out.
        return value + (zero - zero.detach())

    return call


def search_rows(ascending: Any, values: Any, right: bool) -> Any:
    return torch.searchsorted(ascending.contiguous(), values.contiguous(), right=right)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return function  # Keras trains eagerly here, and `torch.compile` needs a C++ compiler on the machine


def mapped(function: Callable[..., Any], xs: Any, shared: Any, variables: Any, by_xs: bool) -> Any:
    if get_proxy_mode() is not None:  # a recording would list the operations of every row
        raise NotImplementedError("loops are not recorded")
    if by_xs:
        return _Mapped.apply(function, len(xs), *xs, *shared)
    return torch.stack([checkpoint(function, *row, use_reentrant=False) for row in zip(*xs, strict=True)])


class _Mapped(torch.autograd.Function):
    """Results for the rows of arrays; the gradients are added up in tensors that are made once.

    A checkpoint of each row keeps small objects, for which the allocator divides the space of the large
    tensors that were freed: a loss of 32,768 items took 7.6 GB so.
    """

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], count: int, *inputs: Any) -> Any:
        ctx.function, ctx.count = function, count
        device = inputs[0].device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        ctx.save_for_backward(*inputs)
        xs, shared = inputs[:count], inputs[count:]
        results: Any = None
        for i in range(len(xs[0])):
            result = function(*(x[i] for x in xs), *shared)
            if results is None:
                results = result.new_empty((len(xs[0]), *result.shape))
            results[i] = result
        return results

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        inputs, count = ctx.saved_tensors, ctx.count
        wanted = [i for i in range(len(inputs)) if ctx.needs_input_grad[2 + i]]
        found: list[Any] = [None] * len(inputs)
        with torch.autocast(*ctx.autocast):
            if torch.is_grad_enabled():  # the gradient must be differentiable, so it needs a graph of its own
                rows = zip(*inputs[:count], strict=True)
                results = torch.stack([ctx.function(*row, *inputs[count:]) for row in rows])
                sources = [inputs[i] for i in wanted]
                gradients = torch.autograd.grad(
                    results, sources, slopes[0], create_graph=True, materialize_grads=True
                )
                for i, gradient in zip(wanted, gradients, strict=True):
                    found[i] = gradient
                return (None, None, *found)
            for i in wanted:
                found[i] = torch.zeros_like(inputs[i])
            for row, slope in enumerate(slopes[0]):
                given = [x[row].detach() if i < count else x.detach() for i, x in enumerate(inputs)]
                sources = [given[i].requires_grad_() for i in wanted]
                with torch.enable_grad():
                    result = ctx.function(*given)
                gradients = torch.autograd.grad(result, sources, slope, allow_unused=True)
                for i, gradient in zip(wanted, gradients, strict=True):
                    if gradient is not None:
                        (found[i][row] if i < count else found[i]).add_(gradient)
        return (None, None, *found)


def is_concrete(tensor: Any) -> bool:
    return not torch.compiler.is_compiling() and not is_transformed(tensor)


def release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


_usable_share = 1.0  # of the accelerator's memory


def limit_memory(share: float) -> None:
    """Let this process allocate at most a share of the accelerator's memory; see `select.limit_memory`."""
    global _usable_share
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)
        _usable_share = share


def free_memory(tensor: Any) -> float:
    if tensor.device.type != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info(tensor.device)
    allocated = torch.cuda.memory_allocated(tensor.device)
    cached = torch.cuda.memory_reserved(tensor.device) - allocated
    return float(min(free + cached, _usable_share * total - allocated))


def gather(tensor: Any, rows: Any) -> Any:
    return tensor.index_select(0, torch.as_tensor(rows, device=tensor.device))


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
