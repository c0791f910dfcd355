"""Checks of an encoder, at the low ends of its parameters' ranges, which run fastest."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from siamkit.backend.beyond_keras import compiled, compiled_if_eager_compiles, stateless
from siamkit.testing import _common as common
from siamkit.testing._numbers import (
    Probe,
    close,
    finite,
    numpy,
    policy,
    require,
    while_doing,
    worst,
)
from siamkit.testing._subject import BATCH, DIM, Subject

_WEIGHTS = np.random.default_rng(9).normal(size=(BATCH, DIM)).astype("float32")


def _make(subject: Subject, kind: str | None = None, **more: Any) -> keras.Model:
    keras.utils.set_random_seed(11)
    with while_doing(f"making {subject}"):
        encoder: keras.Model = subject.make(kind, **{**subject.smallest, **more})
    return encoder


@lru_cache(maxsize=1)
def _small(subject: Subject) -> keras.Model:
    return _make(subject)


@lru_cache(maxsize=1)
def _probe(subject: Subject) -> Probe:
    """Return a probe: a scalar of the embeddings of float items, and its gradient."""
    encoder = _small(subject)
    x = subject.sample(subject.inputs[0])
    names = _names(x)

    def function(*leaves: Any) -> Any:
        items = tree.pack_sequence_as(
            x, [_as(leaf, like) for leaf, like in zip(leaves, tree.flatten(x), strict=True)]
        )
        return ops.sum(encoder(items, training=False) * ops.convert_to_tensor(_WEIGHTS))

    return Probe(str(subject), function, names, encoder.trainable_variables)


def _names(x: Any) -> list[str]:
    """Return input names, with `_` for those not to differentiate by: ids, and the columns of a dict."""
    if isinstance(x, np.ndarray):
        return ["the input" if x.dtype.kind == "f" else "_input"]
    return [f"_{i}" for i in range(len(tree.flatten(x)))]


def _as(leaf: Any, like: np.ndarray) -> Any:
    """Return a probe's inputs, which are all float, as items: ids become integers again."""
    return ops.cast(ops.stop_gradient(leaf), str(like.dtype)) if like.dtype.kind != "f" else leaf


def _leaves(x: Any) -> list[np.ndarray]:
    return [leaf.astype("float32") for leaf in tree.flatten(x)]


def _embed(encoder: keras.Model, x: Any) -> np.ndarray:
    return numpy(encoder(tree.map_structure(ops.convert_to_tensor, x), training=False))


def _embed_quickly(encoder: keras.Model, x: Any) -> np.ndarray:
    """Embed as `_embed` does, for shapes and dtypes that occur once."""
    variables = encoder.variables
    tensors = [ops.convert_to_tensor(leaf) for leaf in tree.flatten(x)]

    def forward(*leaves: Any) -> Any:
        return encoder(tree.pack_sequence_as(x, list(leaves)), training=False)

    run = compiled_if_eager_compiles(stateless(forward, len(tensors), variables))
    return numpy(run(*tensors, *(variable.value for variable in variables)))


def shapes(subject: Subject) -> None:
    """Check that embeddings are `(batch, embedding_dim)`, and unit vectors exactly if `normalize` is set."""
    for kind in subject.inputs:
        what = f"{subject} over {kind}" if kind else str(subject)
        x = subject.sample(kind)
        for normalize in (True, False):
            encoder = _make(subject, kind, normalize=normalize)
            with while_doing(f"calling {what}"):
                embeddings = _embed(encoder, x)
            require(
                embeddings.shape == (BATCH, DIM),
                f"{what} should give {(BATCH, DIM)} for {BATCH} items, got shape {embeddings.shape}",
            )
            unit = close(np.linalg.norm(embeddings, axis=1), np.ones(BATCH), 1e-4)
            require(
                unit == normalize,
                f"{what} should {'' if normalize else 'not '}give unit length with normalize={normalize}, "
                f"got lengths from {np.linalg.norm(embeddings, axis=1).min():.4g}",
            )
        stated = encoder.output_shape
        require(stated == (None, DIM), f"{what} should have output_shape {(None, DIM)}, got {stated}")


def gradients(subject: Subject) -> None:
    """Check that the gradient is finite."""
    _probe(subject).require_finite("", *_leaves(subject.sample(subject.inputs[0])))


def finite_differences(subject: Subject) -> None:
    """Check the gradient against finite differences, by the weights, and by the input if it is float."""
    _probe(subject).require_differences_agree(lambda k: _leaves(subject.sample(subject.inputs[0], k)))


def edge_cases(subject: Subject) -> None:
    """Check that zero (tokens: padding), constant and equal items give finite values and gradients."""
    x = subject.sample(subject.inputs[0])
    cases = {"equal items": tree.map_structure(lambda leaf: np.repeat(leaf[:1], len(leaf), axis=0), x)}
    if isinstance(x, np.ndarray):
        padding = "nothing but padding" if x.dtype.kind == "i" else "zeros"
        cases |= {padding: np.zeros_like(x), "constant items": np.ones_like(x)}
    for name, items in cases.items():
        remedy = "; siamkit.encoders has RealTokens, RealMean and UnitNormalization, which are finite there"
        _probe(subject).require_finite(f" on {name}", *_leaves(items), remedy=remedy)


def independence(subject: Subject) -> None:
    """Check that an embedding does not depend on the other items of the batch, nor on being alone in it."""
    encoder, kind = _small(subject), subject.inputs[0]
    x, others = subject.sample(kind, 0), subject.sample(kind, 1)
    mixed = tree.map_structure(lambda a, b: np.concatenate([a[:1], b[1:]]), x, others)
    alone = tree.map_structure(lambda leaf: leaf[:1], x)
    with while_doing(f"calling {subject}"):
        expected, among_others = _embed(encoder, x)[0], _embed(encoder, mixed)[0]
        by_itself = _embed_quickly(encoder, alone)[0]
    for got, where in ((among_others, "among other items"), (by_itself, "in a batch of 1")):
        require(
            close(got, expected, 1e-4, 1e-4),
            f"{subject} should embed an item alike whatever else is in the batch, "
            f"got {worst(got, expected)} {where}",
        )


def dtypes(subject: Subject) -> None:
    """Check that embeddings under mixed_bfloat16 and mixed_float16 are finite and near those in float32."""
    x = subject.sample(subject.inputs[0])
    full = _small(subject)
    expected = _embed_quickly(full, x)
    for name in ("mixed_bfloat16", "mixed_float16"):
        with policy(name):
            encoder = _make(subject)
            with while_doing(f"calling {subject} under {name}"):
                encoder.set_weights(full.get_weights())
                got = _embed_quickly(encoder, x)
        require(
            finite(got),
            f"{subject} under {name} should give finite embeddings, got {got[~np.isfinite(got)][:1]}",
        )
        require(
            close(got, expected, 0.2, 0.2),
            f"{subject} under {name} should give about what it gives in float32, got {worst(got, expected)}",
        )


def jit(subject: Subject) -> None:
    """Check that compiled and eager results agree."""
    encoder = _small(subject)
    x = tree.map_structure(ops.convert_to_tensor, subject.sample(subject.inputs[0]))
    variables = encoder.variables
    forward = stateless(lambda: encoder(x, training=False), 0, variables)
    with while_doing(f"compiling {subject}"):
        got = numpy(compiled(forward)(*(variable.value for variable in variables)))
    expected = _embed(encoder, x)
    require(
        close(got, expected, 1e-3, 1e-4),
        f"{subject} compiled should give what it gives eagerly, got {worst(got, expected)}",
    )


def determinism(subject: Subject) -> None:
    x = subject.sample(subject.inputs[0])
    common.require_repeatable(subject, lambda encoder: _embed(encoder, x), **subject.smallest)


def config(subject: Subject) -> None:
    """Check that the config is plain JSON, and makes an encoder with the same embeddings."""
    encoder = _small(subject)
    x = subject.sample(subject.inputs[0])
    with while_doing(f"writing the config of {subject} as JSON"):
        plain = json.dumps(keras.saving.serialize_keras_object(encoder))
    with while_doing(f"making {subject} from its config"):
        again = keras.saving.deserialize_keras_object(json.loads(plain))
        again.set_weights(encoder.get_weights())
        a, b = _embed(encoder, x), _embed(again, x)
    require(close(a, b), f"the config of {subject} should make one of the same embeddings, got {worst(b, a)}")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    common.spec_matches_factory,
    shapes,
    gradients,
    finite_differences,
    edge_cases,
    independence,
    dtypes,
    jit,
    determinism,
    config,
    common.training,
)
