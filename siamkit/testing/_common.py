"""Checks of every kind of component (spec, config, determinism, a training step), and those of datasets."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from siamkit.data.dataset import Dataset
from siamkit.model.siamese import Siamese
from siamkit.registry.lookup import ENCODER_ARGUMENTS
from siamkit.registry.specs import Component
from siamkit.testing._numbers import close, finite, numpy, require, while_doing, worst
from siamkit.testing._subject import BATCH, DIM, VIEWS, Subject, target

Outputs = Callable[[Any], np.ndarray]  # what a made component gives for fixed inputs


def spec_matches_factory(subject: Subject) -> None:
    """Check that the factory takes what the spec says, with the same defaults, over the whole range."""
    spec = subject.entry.spec
    require(spec.summary.strip(), f"{subject} should have a summary, a line on what it is, got ''")
    factory = subject.entry.factory()
    taken = inspect.signature(factory).parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values())
    arguments = ENCODER_ARGUMENTS if subject.kind == "encoder" else ()
    for name in (*arguments, *spec.needs, *spec.params):
        require(
            takes_any or name in taken,
            f"{subject} should have a factory that takes {name!r}, got one of ({', '.join(taken)})",
        )
    for name, param in spec.params.items():
        default = taken[name].default if name in taken else inspect.Parameter.empty
        # A default of None leaves the choice to the factory.
        if default is not inspect.Parameter.empty and param.default is not None:
            same = isinstance(param, Component) or default == param.default
            require(
                same,
                f"{name} of {subject} should have one default, got {param.default!r} in its spec "
                f"and {default!r} in its factory",
            )
    if subject.kind == "dataset":
        return  # other values may name files that do not exist
    small = subject.smallest if subject.kind == "encoder" else {}
    made = None
    for variant in ({}, *_corners(subject)):
        shown = ", ".join(f"{key}={value!r}" for key, value in variant.items()) or "its defaults"
        with while_doing(f"making {subject} with {shown}"):
            made = subject.make(**{**small, **variant}) if variant else subject.make()
    if subject.kind == "metric":
        for name in ("orientation", "range"):
            stated, true = getattr(spec, name), getattr(made, name)
            require(stated == true, f"{subject} should have the {name} of its spec, {stated}, got {true}")
        weights = bool(subject.ready().trainable_variables)
        require(
            weights == spec.trainable,
            f"{subject} should have weights where its spec says trainable, {spec.trainable}, got {weights}",
        )


def _corners(subject: Subject) -> list[dict[str, Any]]:
    """Return parameters to try the ranges: one at a time, but all high ends at once for an encoder."""
    if subject.kind != "encoder":
        return subject.variants()
    ranged = subject.smallest
    high = {name: subject.spec.params[name].high for name in ranged}
    rest = [each for each in subject.variants() if not set(each) & set(ranged)]
    return [each for each in (ranged, high) if each] + rest


def require_whole_config(subject: Subject) -> None:
    """Check that the config is plain JSON, has every parameter, and makes an equal component."""
    made = subject.make()
    _again(subject, made)
    default = _parameters(subject, made)
    for variant in subject.variants():
        ((name, value),) = variant.items()
        other = subject.make(**variant)
        require(
            _parameters(subject, other) != default,
            f"the config of {subject} should have {name}, got the same for {name}={value!r} and its default",
        )
        _again(subject, other)


def _again(subject: Subject, made: Any) -> Any:
    plain = _plain(subject, made)
    with while_doing(f"from_config of {subject}"):
        again = type(made).from_config(json.loads(plain))
    other = _plain(subject, again)
    require(other == plain, f"from_config of {subject} should make an equal one of {plain}, got {other}")
    return again


def _parameters(subject: Subject, made: Any) -> dict[str, Any]:
    """Return the config without the name, in which Keras puts a number."""
    config: dict[str, Any] = json.loads(_plain(subject, made))
    config.pop("name", None)
    return config


def _plain(subject: Subject, made: Any) -> str:
    config = made.get_config()
    try:
        return json.dumps(config, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"the config of {subject} should be plain JSON, got {config!r}: {error}"
        ) from error


def require_repeatable(subject: Subject, outputs: Outputs, **more: Any) -> None:
    """Check that two components with the same seed give the same result, and so does one called twice."""
    first, second = subject.ready(7, **more), subject.ready(7, **more)
    with while_doing(f"calling {subject}"):
        a, b, again = outputs(first), outputs(second), outputs(first)
    require(close(a, again), f"{subject} should give the same twice, got {worst(a, again)}")
    require(close(a, b), f"{subject} should give the same from the same seed, got {worst(a, b)}")


# ------------------------------------------------------------------- in a model


def small_encoder(unit: bool) -> keras.Model:
    """Return an encoder of one layer, to train metrics and losses with."""
    inputs = keras.Input((5,))
    x = keras.layers.Dense(DIM)(inputs)
    return keras.Model(inputs, keras.layers.UnitNormalization()(x) if unit else x)


def data(subject: Subject, n: int = 2 * BATCH) -> tuple[Any, np.ndarray]:
    """Return `x` and `y` as a feed gives them to `fit`, for a model with this component."""
    count = VIEWS[subject.supervision]
    if subject.kind == "encoder":
        views = tuple(subject.sample(subject.inputs[0], seed, n) for seed in range(count))
    else:
        rng = np.random.default_rng(3)
        views = tuple(rng.normal(size=(n, 5)).astype("float32") for _ in range(count))
    y = np.concatenate([target(subject.supervision, 3)] * (n // BATCH))
    return (views if count > 1 else views[0]), y


def model_with(subject: Subject) -> Siamese:
    """Return a small compiled model with this component in its place."""
    keras.utils.set_random_seed(5)
    if subject.kind == "encoder":
        encoder, metric, loss = subject.make(**subject.smallest), "cosine", "contrastive"
    elif subject.kind == "metric":
        encoder, metric, loss = small_encoder(unit=False), subject.make(), "triplet"
    else:
        encoder, metric, loss = small_encoder(subject.spec.normalized), subject.bound_metric(), subject.make()
    model = Siamese(encoder, metric)
    # TensorFlow takes longer to compile a step than to run two; what compiling does is seen by `jit`.
    model.compile(keras.optimizers.Adam(0.01), loss, run_eagerly=keras.backend.backend() == "tensorflow")
    return model


def training(subject: Subject) -> None:
    """Check that two steps of training give a finite loss and change the encoder's weights."""
    x, y = data(subject)
    with while_doing(f"training with {subject}"):
        model = model_with(subject)
        before = [numpy(weight.value) for weight in model.trainable_variables]
        history = model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    loss = history.history["loss"][0]
    require(np.isfinite(loss), f"training with {subject} should give a finite loss, got {loss}")
    after = {id(weight): numpy(weight.value) for weight in model.trainable_variables}
    require(
        all(finite(value) for value in after.values()),
        f"training with {subject} should leave weights finite, got NaN or infinity",
    )
    old = {id(weight): value for weight, value in zip(model.trainable_variables, before, strict=True)}
    parts = {"the encoder's": model.encoder.trainable_variables}
    if subject.kind == "metric":
        parts["its own"] = model.metric.trainable_variables
    elif subject.kind == "loss" and model.loss_state_holder.state is not None:
        parts["its own"] = model.loss_state_holder.state.trainable_variables
    for whose, weights in parts.items():
        moved = not weights or any(np.any(old[id(w)] != after[id(w)]) for w in weights)
        require(moved, f"training with {subject} should move {whose} weights, got none moved")


# ------------------------------------------------------------------- datasets

MIN_ITEMS = 4  # two to learn from, and two to compare


def _read(subject: Subject) -> Dataset:
    with while_doing(f"reading {subject}"):
        made = subject.make()
    require(
        isinstance(made, Dataset),
        f"{subject} should come from a factory that returns a siamkit.Dataset, got {type(made).__name__}",
    )
    dataset: Dataset = made
    return dataset


def kinds(subject: Subject) -> None:
    """Check that supervision and input are those of the spec."""
    dataset, spec = _read(subject), subject.spec
    for name, got, stated in (
        ("supervision", dataset.supervision, spec.supervision),
        ("inputs", dataset.input, spec.inputs),
    ):
        require(
            got in stated,
            f"{subject} should have {name} of its spec, {', '.join(stated) or 'which names none'}, "
            f"got {got!r}; write {name}=({got!r},) into the spec",
        )


def items(subject: Subject) -> None:
    """Check that there are items, with ids of their own, and not all the same."""
    dataset = _read(subject)
    require(len(dataset) >= MIN_ITEMS, f"{subject} should have {MIN_ITEMS} items or more, got {len(dataset)}")
    names, counts = np.unique(dataset.ids, return_counts=True)
    require(
        len(names) == len(dataset),
        f"{subject} should have an id of its own for each item, got {str(names[counts.argmax()])!r} "
        f"{counts.max()} times; leave out ids= to number the items",
    )
    for number, view in enumerate(dataset.views, start=1):
        leaves = view.values() if isinstance(view, dict) else [view]
        differ = any(np.any(leaf[i] != leaf[0]) for leaf in leaves for i in range(1, len(leaf)))
        require(differ, f"view {number} of {subject} should have items that differ, got the same each time")


def targets(subject: Subject) -> None:
    """Check that there is something to learn: classes of two items, pairs of both kinds, different scores."""
    dataset = _read(subject)
    if dataset.supervision == "labels":
        _, counts = np.unique(dataset.codes, return_counts=True)
        require(len(counts) > 1, f"{subject} should have two classes or more, got one")
        require(
            counts.max() > 1,
            f"{subject} should have a class of two items or more, got one item in each of {len(counts)} "
            "classes; labels are the classes, not the ids, of items",
        )
    elif dataset.target is not None:
        require(
            len(np.unique(dataset.target)) > 1,
            f"{subject} should have targets that differ, got {dataset.target[0]!r} for all "
            f"{len(dataset)} items",
        )


def determinism(subject: Subject) -> None:
    """Check that reading twice gives the same, so that a study can be resumed."""
    first, second = _read(subject), _read(subject)
    same = first.fingerprint() == second.fingerprint() and np.array_equal(first.ids, second.ids)
    require(
        same,
        f"{subject} should read the same items in the same order each time, got others; sort what a folder "
        "lists, and seed what is drawn",
    )


DATASET_CHECKS: tuple[Callable[[Subject], None], ...] = (
    spec_matches_factory,
    kinds,
    items,
    targets,
    determinism,
)
