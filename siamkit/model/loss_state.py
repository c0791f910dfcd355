"""The place in a model for the weights of its loss."""

from __future__ import annotations

from typing import Any

import keras


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
