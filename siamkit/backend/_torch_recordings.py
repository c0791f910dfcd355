"""Functions that are called often on PyTorch, recorded with their gradients and replayed.

An operation through Keras takes about 20 µs on torch, one of torch itself 2 to 5. So a function that is
called often with the same shapes is recorded, together with its gradient, as a list of torch's operations,
and replayed from then on. No compiler is needed.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.fx.experimental.proxy_tensor import make_fx

RECORD_AFTER = 100  # calls; a recording takes as long as 40 to 150, and saves as much in about 120
MOST_RECORDINGS = 8  # of one owner
_recordings: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()


def run_recorded(
    owner: Any,
    key: Hashable,
    function: Callable[..., Any],
    pure: Callable[..., Any],
    inputs: Sequence[Any],
    variables: Sequence[Any],
) -> Any:
    leaves = [*inputs, *(variable.value for variable in variables)]
    wanted = tuple(i for i, leaf in enumerate(leaves) if leaf.requires_grad)
    if (
        not wanted
        or not torch.is_grad_enabled()
        or torch.is_autocast_enabled()
        or torch.compiler.is_compiling()
        or any(map(is_transformed, leaves))
    ):
        return function()
    own = _recordings.setdefault(owner, {})
    key = (key, wanted, tuple((leaf.shape, leaf.dtype, leaf.device) for leaf in leaves))
    recording = own.get(key, 0)
    if isinstance(recording, int):  # the number of calls so far
        if recording < RECORD_AFTER:
            if recording or len(own) < MOST_RECORDINGS:
                own[key] = recording + 1
            return function()
        recording = own[key] = _recorded(pure, leaves, wanted, len(inputs))
    if recording is None:
        return function()
    value, *state = _Replay.apply(recording, pure, leaves, *(leaves[i] for i in wanted))
    for i, new in zip(recording.changed, state, strict=True):
        variables[i - len(inputs)].assign(new)
    return value


def is_transformed(tensor: Any) -> bool:
    """Return whether a tensor belongs to torch.func: it has no memory, and takes no gradient by autograd."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return True
    return False


@dataclass(frozen=True)
class _Recording:
    """A recorded function.

    Args:
        run: function of the leaves that gives the scalar, the new values of variables, and the gradients.
        wanted: the numbers of the leaves with a gradient.
        changed: the numbers of the leaves with a new value; a second derivative needs a copy of the old one.
    """

    # The function itself is not kept: it refers to its owner, whose recordings are deleted with it.
    run: Callable[..., Any]
    wanted: tuple[int, ...]
    changed: tuple[int, ...]


def _recorded(
    pure: Callable[..., Any], leaves: Sequence[Any], wanted: tuple[int, ...], inputs: int
) -> _Recording | None:
    """Return the recording of a function and its gradients; None if it cannot be recorded."""
    changed: tuple[int, ...] = ()

    def all_results(*leaves: Any) -> tuple[Any, ...]:
        nonlocal changed
        value, state = pure(*leaves)
        new = {i: each.detach() for i, each in enumerate(state, inputs) if each is not None}
        changed = tuple(new)
        gradients = torch.autograd.grad(value, [leaves[i] for i in wanted], materialize_grads=True)
        return value, *new.values(), *gradients

    leaves = [leaf.detach().requires_grad_(i in wanted) for i, leaf in enumerate(leaves)]
    try:
        graph = make_fx(all_results)(*leaves)
    except Exception:  # the values of tensors decide what it does
        return None
    _return_what_is_written(graph)
    if not any(_changes_arguments(node) for node in graph.graph.nodes):
        with torch.no_grad():
            _simplify(graph)
            _reuse_memory(graph)
    run = _scripted(graph, leaves) or graph.forward
    return _Recording(run, wanted, changed)


def _changes_arguments(node: Any) -> bool:
    """Return whether an operation writes into its arguments, so that the order of all matters."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _return_what_is_written(module: Any) -> None:
    """Let operations that write into a copy made for them return the result instead."""
    for node in module.graph.nodes:
        if node.target is _aten.index_put_.default and _is_call(node.args[0], _aten.clone.default):
            copy = node.args[0]
            if list(copy.users) == [node]:
                node.target = _aten.index_put.default
                node.replace_input_with(copy, copy.args[0])
                module.graph.erase_node(copy)
    module.recompile()


def _scripted(graph: Any, leaves: Sequence[Any]) -> Any:
    """Return the recording as a TorchScript program, which runs without Python; None if torch has none."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecated, but from Python each operation takes twice as long
        try:
            program = torch.jit.trace(graph, tuple(leaves), check_trace=False)
            program = torch.jit.freeze(program.eval())
        except Exception:
            return None

    def run(*inputs: Any) -> Any:
        with torch.jit.optimized_execution(False):  # as recorded: no fusion, which would compile
            return program(*inputs)

    return run


# ------------------------------------------------------------------ shorter recordings
#
# A recording holds what Keras and torch's gradients do step by step: the same mask in forward and backward
# pass, views, constants. Without them it is a third shorter, with the same results.

_aten = torch.ops.aten
_SECRET_VIEWS = {_aten._unsafe_view.default, _aten._reshape_alias.default}  # their schema does not say so
_SAME = {_aten.detach.default, _aten.alias.default, _aten.lift_fresh_copy.default}
_OF_SHAPES = {_aten.ones_like.default, _aten.zeros_like.default, _aten.new_zeros.default}
_BROADCAST = {_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor, _aten.where.self}
_TWICE = {_aten.neg.default, _aten.logical_not.default, _aten.permute.default}  # of a matrix
_BY_ONE = {_aten.mul.Tensor, _aten.mul.Scalar, _aten.div.Tensor, _aten.pow.Tensor_Scalar}
MOST_BYTES = 2**22  # of a constant that a recording keeps


def _simplify(module: torch.fx.GraphModule) -> None:
    """Remove the operations from a recording that it can do without."""
    graph = module.graph
    constants: dict[Any, Any] = {}
    earlier: dict[Hashable, Any] = {}
    for node in list(graph.nodes):
        if node.op == "get_attr":
            constants[node] = node.meta["val"] = getattr(module, node.target)
        if node.op != "call_function" or not hasattr(node.target, "tags"):
            continue  # a function of Python, which takes one of several results
        if not isinstance(node.meta.get("val"), torch.Tensor):
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags:
            continue  # each draws its own random numbers
        _shorten(node, constants)
        key: Hashable = (node.target, repr(node.args), repr(node.kwargs))
        other = _equal(node, constants) or earlier.get(key)
        if other is None and _is_constant(node, constants):
            value = node.target(*_values(node.args, constants), **_values(node.kwargs, constants))
            key = (value.dtype, value.device, value.item()) if value.dim() == 0 else key
            other = earlier.get(key)
            if other is None:
                name = f"constant_{len(constants)}"
                module.register_buffer(name, value)
                with graph.inserting_before(node):
                    other = earlier[key] = graph.get_attr(name)
                constants[other] = other.meta["val"] = value
        if other is None:
            earlier[key] = _flush(node) if node.target is _aten.exp.default else node
        else:
            node.replace_all_uses_with(other)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    module.recompile()


def _is_constant(node: Any, constants: Mapping[Any, Any]) -> bool:
    """Return whether an operation gives the same small result in each call."""
    value = node.meta["val"]
    fixed = node.target in _OF_SHAPES or all(each in constants for each in node.all_input_nodes)
    return fixed and value.numel() * value.element_size() <= MOST_BYTES


def _values(arguments: Any, constants: Mapping[Any, Any]) -> Any:
    """Return arguments with constants for nodes, and for other nodes a tensor of their shape."""

    def value(node: Any) -> Any:
        known = constants.get(node)
        like = node.meta["val"]
        return torch.empty(like.shape, dtype=like.dtype, device=like.device) if known is None else known

    return torch.fx.map_arg(arguments, value)


def _shorten(node: Any, constants: Mapping[Any, Any]) -> None:
    """Let an operation take its arguments from further back, where the result is the same."""
    if node.target is _aten.t.default:
        node.target, node.args = _aten.permute.default, (node.args[0], [1, 0])
    arguments = list(node.args)
    if node.target is _aten.where.self:  # of a choice by the same mask
        mask = arguments[0]
        for i in (1, 2):
            if _is_call(arguments[i], _aten.where.self) and arguments[i].args[0] is mask:
                arguments[i] = arguments[i].args[i]
    if node.target in _BROADCAST:  # does itself what an expanded argument was made for
        for i, argument in enumerate(node.args):
            if _is_call(argument, _aten.expand.default):
                arguments[i] = argument.args[0]
        shapes = [each.meta["val"].shape for each in arguments if isinstance(each, torch.fx.Node)]
        if torch.broadcast_shapes(*shapes) == node.meta["val"].shape:
            node.args = tuple(arguments)


def _equal(node: Any, constants: Mapping[Any, Any]) -> Any:
    """Return an argument, or an argument's argument, that equals an operation's result; else None."""
    operation, first = node.target, node.args[0] if node.args else None
    if not isinstance(first, torch.fx.Node):
        return None
    value, source = node.meta["val"], first.meta["val"]
    alike = all(getattr(value, of) == getattr(source, of) for of in ("shape", "dtype", "device"))
    if operation in _SAME:
        return first
    if operation in (_aten.expand.default, _aten.view.default, _aten._to_copy.default) and alike:
        return first
    if operation in _TWICE and _is_call(first, operation) and node.args[1:] == first.args[1:]:
        before = first.args[0].meta["val"]
        if before.dtype == value.dtype and before.shape == value.shape and value.dim() <= 2:
            return first.args[0]
    if operation in _BY_ONE and node.args[1] in (1, 1.0) and alike:
        return first
    if operation is _aten.gt.Scalar and node.args[1] == 0 and _is_float_mask(first):
        return first.args[0]
    if operation is _aten.add.Tensor and alike and _is_itself_less_itself(node.args[1]):
        return first
    if operation is _aten.where.self and _is_call(first, _aten.lt.Scalar):  # an index from the end
        index = node.args[2]
        if first.args == (index, 0) and _lowest_and_end(index)[0] >= 0:
            return index
    if operation is _aten.remainder.Scalar and alike and _lowest_and_end(first)[0] >= 0:
        return first if _lowest_and_end(first)[1] <= node.args[1] else None
    if operation is _aten.mul.Tensor:  # 1 where a number was kept, 0 where it already is 0
        for kept, mask in (node.args, node.args[::-1]):
            if _is_float_mask(mask) and _is_call(kept, _aten.where.self) and kept.args[0] is mask.args[0]:
                other = constants.get(kept.args[2])
                if alike and other is not None and not other.any():
                    return kept
    return None


def _is_call(node: Any, operation: Any) -> bool:
    return isinstance(node, torch.fx.Node) and node.target is operation


def _is_itself_less_itself(node: Any) -> bool:
    """Return whether a node is x - x, which carries a gradient in the recording's first pass."""
    return _is_call(node, _aten.sub.Tensor) and node.args[0] is node.args[1] and not node.kwargs


_KEEP_VALUES = {
    *(_aten._to_copy.default, _aten.view.default, _aten.unsqueeze.default, _aten.squeeze.dim),
    *(_aten.select.int, _aten.slice.Tensor, _aten.expand.default),
}


def _lowest_and_end(node: Any) -> tuple[float, float]:
    """Return numbers between which an index is, the latter excluded."""
    while isinstance(node, torch.fx.Node) and node.target in _KEEP_VALUES:
        node = node.args[0]
    if _is_call(node, _aten.argmax.default) or _is_call(node, _aten.argmin.default):
        shape = node.args[0].meta["val"].shape
        return 0, shape[node.args[1]] if len(node.args) > 1 and node.args[1] is not None else shape.numel()
    if _is_call(node, operator.getitem) and node.args[1] == 1:
        ordered = node.args[0]
        if ordered.target in (_aten.sort.stable, _aten.sort.default, _aten.topk.default):
            return 0, max(ordered.args[0].meta["val"].shape)
    if _is_call(node, _aten.searchsorted.Tensor):
        return 0, node.args[0].meta["val"].shape[-1] + 1
    return -math.inf, math.inf


def _is_float_mask(node: Any) -> bool:
    return _is_call(node, _aten._to_copy.default) and node.args[0].meta["val"].dtype == torch.bool


def _flush(node: Any) -> Any:
    """Return e^x, made 0 where it is below the normal numbers: there a CPU takes ten times as long."""
    if node.meta["val"].device.type != "cpu" or node.meta["val"].dtype != torch.float32:
        return node
    users = list(node.users)
    with node.graph.inserting_before(node):
        lowest = node.graph.call_function(_aten.clamp_min.default, (node.args[0], -87.0))
    with node.graph.inserting_after(node):
        kept = node.graph.call_function(_aten.threshold.default, (node, 1.7e-38, 0.0))  # e^-87 is 1.6e-38
    node.args = (lowest,)
    lowest.meta["val"] = kept.meta["val"] = node.meta["val"]
    for user in users:
        user.replace_input_with(node, kept)
    return kept


# ------------------------------------------------------------------ memory that is used again
#
# The system takes back the memory of large results, and clears it for the next: half the time of a step.
# So a large result is written over one that is no longer needed.

LARGE = 2**16  # bytes
_INTO = {
    operation: getattr(getattr(_aten, operation.name().split("::")[1].split(".")[0]), overload)
    for overload, operations in {
        "out": (
            *(_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor, _aten.mm.default),
            *(_aten.exp.default, _aten.log.default, _aten.sqrt.default, _aten.rsqrt.default),
            *(_aten.neg.default, _aten.abs.default, _aten.sigmoid.default, _aten.softplus.default),
            *(_aten.clamp_min.default, _aten.threshold.default, _aten.maximum.default),
            *(_aten.logical_and.default, _aten.logical_or.default, _aten.logical_not.default),
        ),
        "self_out": (_aten.where.self,),
        "grad_input": (_aten.threshold_backward.default, _aten.softplus_backward.default),
        "Tensor_Scalar_out": (_aten.pow.Tensor_Scalar,),
        "Scalar_out": (_aten.gt.Scalar, _aten.ge.Scalar, _aten.lt.Scalar, _aten.le.Scalar),
        "Tensor_out": (_aten.gt.Tensor, _aten.lt.Tensor, _aten.le.Tensor, _aten.eq.Tensor),
    }.items()
    for operation in operations
}
"""Operations, and their forms that write into a given tensor."""


def _reuse_memory(module: torch.fx.GraphModule) -> None:
    """Let operations of a recording write large results into memory that is no longer needed."""
    nodes = list(module.graph.nodes)
    source: dict[Any, Any] = {}  # the node whose memory a node's result has
    last: dict[Any, Any] = {}  # the last node that reads that memory
    for node in nodes:
        view = node.op == "call_function" and _is_view(node)
        source[node] = source[node.all_input_nodes[0]] if view else node
        for argument in node.all_input_nodes:
            last[source[argument]] = node
    free: dict[Hashable, list[Any]] = {}
    owned: set[Any] = set()  # the nodes with memory of their own
    for node in nodes:
        ends = {source[each] for each in node.all_input_nodes if last[source[each]] is node} & owned
        if node.target is _aten.mul.Scalar:
            node.target = _aten.mul.Tensor
        if node.target is _aten.relu.default:
            node.target, node.args = _aten.clamp_min.default, (node.args[0], 0.0)
        if node.target in _INTO and node.meta["val"].numel() * node.meta["val"].element_size() >= LARGE:
            kind = _kind(node)
            spare = free.get(kind, [])
            # An operation on numbers one by one may overwrite an argument, unless it also reads it as a view.
            own = [
                each
                for each in node.all_input_nodes
                if node.target is not _aten.mm.default
                and each in ends
                and _kind(each) == kind
                and sum(source[other] is each for other in node.all_input_nodes) == 1
            ]
            memory = own[0] if own else spare.pop() if spare else None
            owned.add(node)
            if memory is not None:
                ends.discard(memory)
                node.target = _INTO[node.target]
                node.kwargs = {**node.kwargs, node.target._schema.arguments[-1].name: memory}
        for each in ends:
            free.setdefault(_kind(each), []).append(each)
    module.recompile()


def _is_view(node: Any) -> bool:
    """Return whether a result may share the memory of the first argument."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or node.target in _SECRET_VIEWS:
        return True
    return any(each.alias_info is not None for each in schema.returns)


def _kind(node: Any) -> Hashable:
    value = node.meta["val"]
    return value.shape, value.stride(), value.dtype, value.device


# ------------------------------------------------------------------ replays


class _Replay(torch.autograd.Function):
    """A recorded scalar, whose gradient is computed with it, and the new values of variables."""

    @staticmethod
    def forward(ctx: Any, recording: _Recording, pure: Any, leaves: Sequence[Any], *sources: Any) -> Any:
        results = recording.run(*leaves)
        count = 1 + len(recording.changed)
        if count > 1:
            ctx.mark_non_differentiable(*results[1:count])
            leaves = [leaf.clone() if i in recording.changed else leaf for i, leaf in enumerate(leaves)]
        ctx.recording, ctx.pure = recording, pure
        ctx.save_for_backward(*leaves, *results[count:])
        return results[:count]

    @staticmethod
    def backward(ctx: Any, slope: Any, *_: Any) -> Any:
        wanted, saved = ctx.recording.wanted, ctx.saved_tensors
        leaves, gradients = saved[: -len(wanted)], saved[-len(wanted) :]
        if torch.is_grad_enabled():  # the gradient must be differentiable, so it needs a graph of its own
            value, _ = ctx.pure(*leaves)
            sources = [leaves[i] for i in wanted]
            gradients = torch.autograd.grad(value, sources, create_graph=True, materialize_grads=True)
        return None, None, None, *(gradient * slope for gradient in gradients)
