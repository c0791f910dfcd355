"""PyTorch; see `select.Backend`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

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


# ------------------------------------------------------------------ recorded functions
#
# An operation through Keras takes about 20 µs on torch, one of torch itself 2 to 5. So a function that is
# called often with the same shapes is recorded, together with its gradient, as a list of torch's operations,
# and replayed from then on. No compiler is needed.

RECORD_AFTER = 20  # calls; a recording takes as long as about a hundred calls
MOST_RECORDINGS = 8  # of one owner
_recordings: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()


def run_recorded(
    owner: Any, key: Hashable, function: Callable[..., Any], pure: Callable[..., Any], inputs: Sequence[Any]
) -> Any:
    wanted = tuple(i for i, leaf in enumerate(inputs) if leaf.requires_grad)
    if (
        not wanted
        or not torch.is_grad_enabled()
        or torch.is_autocast_enabled()
        or torch.compiler.is_compiling()
    ):
        return function()
    own = _recordings.setdefault(owner, {})
    key = (key, wanted, tuple((leaf.shape, leaf.dtype, leaf.device) for leaf in inputs))
    graph = own.get(key, 0)
    if isinstance(graph, int):  # the number of calls so far
        if graph < RECORD_AFTER:
            if graph or len(own) < MOST_RECORDINGS:
                own[key] = graph + 1
            return function()
        graph = own[key] = _recorded(pure, inputs, wanted)
    if graph is None:
        return function()
    try:
        return _Replay.apply(graph, pure, wanted, *inputs)
    except RuntimeError:  # inside torch.func, where a function with a gradient of its own cannot be called
        return function()


def _recorded(pure: Callable[..., Any], inputs: Sequence[Any], wanted: Sequence[int]) -> Any:
    """Return a function that gives the scalar and its gradients; None if it cannot be recorded."""
    from torch.fx.experimental.proxy_tensor import make_fx

    def both(*leaves: Any) -> tuple[Any, ...]:
        value = pure(*leaves)
        return value, *torch.autograd.grad(value, [leaves[i] for i in wanted], materialize_grads=True)

    leaves = [leaf.detach().requires_grad_(i in wanted) for i, leaf in enumerate(inputs)]
    try:
        graph = make_fx(both)(*leaves)
    except Exception:  # the values of tensors decide what it does
        return None
    return _scripted(graph, leaves) or graph.forward


def _scripted(graph: Any, leaves: Sequence[Any]) -> Any:
    """Return the recording as a TorchScript program, which runs without Python; None if torch has none."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecated, but nothing else does without a compiler
        try:
            program = torch.jit.trace(graph, tuple(leaves), check_trace=False)
            program = torch.jit.freeze(program.eval())
        except Exception:
            return None

    def run(*inputs: Any) -> Any:
        with torch.jit.optimized_execution(False):  # as recorded: no fusion, which would compile
            return program(*inputs)

    return run


class _Replay(torch.autograd.Function):
    """A recorded scalar, whose gradient is computed with it."""

    @staticmethod
    def forward(ctx: Any, graph: Any, pure: Any, wanted: Any, *inputs: Any) -> Any:
        value, *gradients = graph(*inputs)
        ctx.pure, ctx.wanted = pure, wanted
        ctx.save_for_backward(*inputs, *gradients)
        return value

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        wanted, saved = ctx.wanted, ctx.saved_tensors
        inputs, gradients = saved[: -len(wanted)], saved[-len(wanted) :]
        if torch.is_grad_enabled():  # the gradient must be differentiable, so it needs a graph of its own
            sources = [inputs[i] for i in wanted]
            gradients = torch.autograd.grad(
                ctx.pure(*inputs), sources, create_graph=True, materialize_grads=True
            )
        results: list[Any] = [None] * len(inputs)
        for i, gradient in zip(wanted, gradients, strict=True):
            results[i] = gradient * slopes[0]
        return (None, None, None, *results)


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


def limit_memory(share: float) -> None:
    """Let this process allocate at most a share of the accelerator's memory; see `select.limit_memory`."""
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


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
