"""A memory of the last embeddings and their labels, kept as weights that are not trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from siamkit.losses.batch import positions
from siamkit.metrics.base import Tensor


@dataclass(frozen=True)
class State:
    """What a memory holds.

    Args:
        embeddings: `(size, dim)`.
        labels: `(size,)` int32.
        held: `(size,)` float32, 1 where something has been put.
        next: `()` int32, the place of the next embedding.
        places: `(batch,)` int32, where the last batch went.
    """

    embeddings: Tensor
    labels: Tensor
    held: Tensor
    next: Tensor
    places: Tensor


@keras.saving.register_keras_serializable("siamkit")
class Memory(keras.layers.Layer):
    """A ring of the last embeddings.

    Args:
        size: how many.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.size = size

    def build(self, input_shape: tuple[int, ...]) -> None:
        def weight(name: str, shape: tuple[int, ...], dtype: str) -> Any:
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False)

        self.embeddings = weight("embeddings", (self.size, input_shape[-1]), "float32")
        self.labels = weight("labels", (self.size,), "int32")
        self.held = weight("held", (self.size,), "float32")
        self.next = weight("next", (), "int32")

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.embeddings)

    def after(self, embeddings: Tensor, labels: Tensor) -> State:
        """What the memory holds with this batch in it; the memory itself is left as it is."""
        start = ops.convert_to_tensor(self.next)
        steps = positions(embeddings)
        places = (start + steps - 1) % self.size
        here = places[:, None]
        return State(
            ops.scatter_update(ops.convert_to_tensor(self.embeddings), here, embeddings),
            ops.scatter_update(ops.convert_to_tensor(self.labels), here, labels),
            ops.scatter_update(
                ops.convert_to_tensor(self.held), here, ops.cast(ops.ones_like(labels), "float32")
            ),
            (start + steps[-1]) % self.size,
            places,
        )

    def keep(self, state: State) -> None:
        """Makes this what the memory holds."""
        self.embeddings.assign(state.embeddings)
        self.labels.assign(state.labels)
        self.held.assign(state.held)
        self.next.assign(state.next)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
