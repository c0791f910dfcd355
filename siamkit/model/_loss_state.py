"""The state of a model's loss: the layer that holds it, and the learning rates of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from siamkit.losses.wrappers import LossStates


@keras.saving.register_keras_serializable("siamkit")
class LossStateHolder(keras.layers.Layer):
    """A layer that holds the state of the compiled loss: a built Keras model accepts no new layer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.state: keras.layers.Layer | None = None
        self.built = True  # it has no weights of its own

    def hold(self, state: keras.layers.Layer | None, embedding_dim: int | None) -> None:
        """Replace the state, and build it if the embedding dimension is known."""
        if self.state is not state:
            # Assigning over a layer, or deleting it, leaves its weights among the trainable ones.
            self._tracker.untrack(self.state)
            del self.state
            self.state = state
        if state is not None and not state.built and embedding_dim is not None:
            state(keras.KerasTensor((1, embedding_dim)))


def multiply_steps(optimizer: Any, state: Callable[[], keras.layers.Layer | None]) -> None:
    """Multiply each optimizer step of the weights in a loss's state by its `learning_rate_multiplier`.

    A Keras optimizer has no parameter groups, and scaling gradients does not change the steps of Adam. So the
    optimizer steps as usual, and the step is then lengthened: w ← w_old + m (w_new - w_old). A learning rate
    m times as high would do the same under SGD, momentum and Adam.

    Args:
        optimizer: the optimizer of a compiled model; it is changed in place, its config is not.
        state: function that returns the loss's state at the time of a step.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # a LossScaleOptimizer steps through it
    step = type(optimizer).apply

    def apply(grads: Any, trainable_variables: Any = None) -> None:
        # Copies: torch steps in place.
        before = [(weight, factor, ops.copy(weight.value)) for weight, factor in multiplied(state())]
        step(optimizer, grads, trainable_variables)
        for weight, factor, old in before:
            weight.assign(old + factor * (weight.value - old))

    optimizer.apply = apply


def multiplied(state: keras.layers.Layer | None) -> list[tuple[Any, float]]:
    """Return the trained weights of a state with their multipliers, except multipliers of 1."""
    by_id: dict[int, tuple[Any, float]] = {}  # a loss that is wrapped twice has its state there twice
    for layer in _leaves(state):
        factor = float(getattr(layer, "learning_rate_multiplier", 1.0))
        if factor != 1.0:
            by_id |= {id(weight): (weight, factor) for weight in layer.trainable_variables}
    return list(by_id.values())


def _leaves(state: keras.layers.Layer | None) -> list[keras.layers.Layer]:
    """Return the states that a state is made of at any depth, or the state itself."""
    if isinstance(state, LossStates):
        return [leaf for inner in state.states for leaf in _leaves(inner)]
    return [] if state is None else [state]


def portable(config: Any) -> Any:
    """Return an optimizer's config for any backend: on torch, Keras names torch's own classes in it."""
    if not isinstance(config, dict):
        return config
    config = {key: portable(value) for key, value in config.items()}
    if str(config.get("module")).startswith("keras.src.backend."):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config
