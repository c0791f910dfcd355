"""The weights of a model's loss: the layer that holds them, and their own learning rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("siamkit")
class LossStateHolder(keras.layers.Layer):
    """Holds the head of the compiled loss: Keras takes no new layer into a model that is built."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head: keras.layers.Layer | None = None
        self.built = True  # it has no weights of its own; its state stays open

    def adopt(self, head: keras.layers.Layer | None, embedding_dim: int | None) -> None:
        """Puts a head in the place of the one before, and builds it once the dimension is known."""
        if self.head is not head:
            # Assigning over a layer, or deleting it, leaves its weights among the trainable ones.
            self._tracker.untrack(self.head)
            del self.head
            self.head = head
        if head is not None and not head.built and embedding_dim is not None:
            head(keras.KerasTensor((1, embedding_dim)))


def multiply_steps(optimizer: Any, head: Callable[[], keras.layers.Layer | None]) -> None:
    """Makes each step of the head's weights its `learning_rate_multiplier` times as long.

    A Keras optimizer has no groups, and scaling gradients does nothing to Adam. So the step is taken as
    it comes and then lengthened: w ← w_old + m (w_new - w_old), which is what a learning rate m times
    as high would have done under SGD, momentum and Adam alike.

    Args:
        optimizer: a compiled model's; changed in place, its config stays as it was.
        head: gives the head at the time of a step.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # a LossScaleOptimizer steps through it
    step = type(optimizer).apply

    def apply(grads: Any, trainable_variables: Any = None) -> None:
        # Copies: torch steps in place.
        before = [(weight, factor, ops.copy(weight.value)) for weight, factor in multiplied(head())]
        step(optimizer, grads, trainable_variables)
        for weight, factor, old in before:
            weight.assign(old + factor * (weight.value - old))

    optimizer.apply = apply


def multiplied(head: keras.layers.Layer | None) -> list[tuple[Any, float]]:
    """The trained weights of a head, or of its parts, with their multipliers where these are not 1."""
    found: dict[
        int, tuple[Any, float]
    ] = {}  # by weight: a loss that is inside twice has its head there twice
    for layer in _leaves(head):
        factor = float(getattr(layer, "learning_rate_multiplier", 1.0))
        if factor != 1.0:
            found |= {id(weight): (weight, factor) for weight in layer.trainable_variables}
    return list(found.values())


def _leaves(head: keras.layers.Layer | None) -> list[keras.layers.Layer]:
    """The heads that a head is made of, however deep: itself if of none."""
    parts = getattr(head, "parts", None)
    return [head] if parts is None else [leaf for part in parts for leaf in _leaves(part)]


def portable(config: Any) -> Any:
    """An optimizer's config as every backend reads it: on torch, Keras names torch's own classes."""
    if not isinstance(config, dict):
        return config
    config = {key: portable(value) for key, value in config.items()}
    if str(config.get("module")).startswith("keras.src.backend."):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config
