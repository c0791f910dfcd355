"""Losses around other losses: a memory of earlier batches, nested dimensions, a weighted sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError, ModelError
from siamkit.losses._batch import (
    BatchLoss,
    Pairs,
    check_count,
    check_not_negative,
    count_up,
    labels_and_items,
)
from siamkit.losses.base import Loss
from siamkit.metrics.base import Tensor, both, safe_sqrt, unit
from siamkit.registry.registry import family


@keras.saving.register_keras_serializable("siamkit")
class LossStates(keras.layers.Layer):
    """The states of several losses as one layer, each with its own `learning_rate_multiplier`.

    Args:
        states: the layers with the states.
    """

    def __init__(self, states: Sequence[keras.layers.Layer], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.states = list(states)

    def call(self, embeddings: Tensor) -> Tensor:
        for state in self.states:
            state(embeddings)
        return embeddings

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


class WrapperLoss(BatchLoss):
    """A base for losses made of other losses: it has their states, and takes references if all of them do.

    A subclass stores the losses as attributes under their names in `params`.

    Args:
        wrapped: the losses.
        state: a layer with the wrapper's own weights.
    """

    def __init__(
        self, wrapped: Sequence[Loss], state: keras.layers.Layer | None = None, **kwargs: Any
    ) -> None:
        for loss in wrapped:
            if not isinstance(loss, Loss):
                raise ComponentError(f"{type(self).__name__} wraps siamkit losses, got {loss!r:.80}")
        super().__init__(**kwargs)
        self.wrapped = tuple(wrapped)
        states = [layer for layer in (state, *(loss.state for loss in wrapped)) if layer is not None]
        self.state = states[0] if len(states) == 1 else LossStates(states) if states else None
        self.takes_references = all(takes_references(loss) for loss in wrapped)
        self.batch_coupled = any(loss.batch_coupled for loss in wrapped)

    def get_config(self) -> dict[str, Any]:
        return {
            key: keras.saving.serialize_keras_object(value) if isinstance(value, Loss) else value
            for key, value in super().get_config().items()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WrapperLoss:
        deserialize = keras.saving.deserialize_keras_object
        return cls(
            **{key: deserialize(value) if isinstance(value, dict) else value for key, value in config.items()}
        )


def takes_references(loss: Loss) -> bool:
    """Return whether a loss can compare a batch with references other than the batch itself."""
    return isinstance(loss, BatchLoss) and loss.takes_references


def is_stateful(loss: Loss) -> bool:
    """Return whether a loss, or a loss that it wraps, stores embeddings of earlier batches."""
    return any(member.stateful for member in family(loss))


# ------------------------------------------------------------------ memory


@dataclass(frozen=True)
class MemoryContents:
    """The contents of a memory.

    Args:
        embeddings: `(size, dim)`.
        labels: `(size,)` int32.
        filled: `(size,)` float32, 1 at the rows that hold an embedding.
        next_row: `()` int32, the row of the next embedding.
        batch_rows: `(batch,)` int32, the rows of the last batch.
    """

    embeddings: Tensor
    labels: Tensor
    filled: Tensor
    next_row: Tensor
    batch_rows: Tensor


@keras.saving.register_keras_serializable("siamkit")
class Memory(keras.layers.Layer):
    """A ring buffer of the last embeddings.

    Args:
        size: number of embeddings.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.size = size

    def build(self, input_shape: tuple[int, ...]) -> None:
        def weight(name: str, shape: tuple[int, ...], dtype: str) -> Any:
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False)

        self.embeddings = weight("embeddings", (self.size, input_shape[-1]), "float32")
        self.labels = weight("labels", (self.size,), "int32")
        self.filled = weight("filled", (self.size,), "float32")
        self.next_row = weight("next_row", (), "int32")

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.embeddings)

    def with_batch(self, embeddings: Tensor, labels: Tensor) -> MemoryContents:
        """Return the contents with this batch in place of the oldest rows; the memory does not change."""
        start = ops.convert_to_tensor(self.next_row)
        steps = count_up(embeddings)
        rows = (start + steps - 1) % self.size
        indices = rows[:, None]
        ones = ops.cast(ops.ones_like(labels), "float32")
        return MemoryContents(
            ops.scatter_update(ops.convert_to_tensor(self.embeddings), indices, embeddings),
            ops.scatter_update(ops.convert_to_tensor(self.labels), indices, labels),
            ops.scatter_update(ops.convert_to_tensor(self.filled), indices, ones),
            (start + steps[-1]) % self.size,
            rows,
        )

    def store(self, contents: MemoryContents) -> None:
        """Replace the contents of the memory."""
        self.embeddings.assign(contents.embeddings)
        self.labels.assign(contents.labels)
        self.filled.assign(contents.filled)
        self.next_row.assign(contents.next_row)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("siamkit")
class CrossBatchMemory(WrapperLoss):
    """Cross-batch memory: compares each batch with itself and with the embeddings of the last batches.

    The batch replaces the oldest embeddings of the memory and is then compared with all embeddings in it,
    except each item with itself. The memory has no gradient, as in the reference. It is saved with the model,
    and changes in training only.

    Args:
        loss: any loss over all pairs of a batch; its mining also uses the memory.
        memory_size: number of embeddings in the memory, at least one batch.

    Reference: Wang et al. 2020, "Cross-Batch Memory for Embedding Learning"; PML CrossBatchMemory.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("cross_batch_memory", loss={"contrastive": {"power": 1.0}},
        ...                         metric="euclidean", memory_size=4)
        >>> first = float(loss(np.array([0]), np.array([[0.0, 0.0]])))         # nothing to compare with yet
        >>> first, float(loss(np.array([0]), np.array([[0.0, 3.0]])))
        (0.0, 3.0)
    """

    params = ("loss", "memory_size")
    state: keras.layers.Layer
    stateful = True

    def __init__(self, loss: Any, memory_size: int = 1024, **kwargs: Any) -> None:
        check_count(memory_size=memory_size)
        if isinstance(loss, Loss) and (not takes_references(loss) or is_stateful(loss)):
            raise ComponentError(
                f"cross_batch_memory needs a loss over all pairs of a batch, which {loss.name!r} is not; "
                "use contrastive, triplet, multi_similarity or nt_xent, for example"
            )
        self.memory = Memory(memory_size)
        super().__init__([loss], self.memory, **kwargs)
        self.loss = loss
        self.memory_size = memory_size
        self.takes_references = False

    def call(self, y_true: Tensor, y_pred: Tensor, training: bool = True) -> Tensor:
        labels, embeddings = labels_and_items(y_true, y_pred, self.name)
        size = embeddings.shape[0]
        if size is not None and size > self.memory_size:
            raise ModelError(
                f"cross_batch_memory keeps {self.memory_size} embeddings, fewer than a batch of {size}; "
                "raise memory_size"
            )
        self.state(embeddings)  # which builds it
        contents = self.memory.with_batch(ops.stop_gradient(embeddings), labels)
        if training:
            self.memory.store(contents)
        return self.loss.compare(
            Pairs(
                embeddings,
                contents.embeddings,
                labels,
                contents.labels,
                contents.batch_rows,
                count_up(contents.labels) - 1,
                ops.cast(contents.filled, "bool"),
                training,
            )
        )


# ------------------------------------------------------------------ nested dimensions


@keras.saving.register_keras_serializable("siamkit")
class Matryoshka(WrapperLoss):
    """Matryoshka loss: one loss over the first d dimensions of each embedding, for several d at once.

    L = Σ over d of  loss(e[:d])

    so that embeddings can be truncated later. Each truncated embedding is scaled to the length of the whole
    embedding: unit vectors stay unit vectors. Class proxies and learned metrics are truncated in the same way
    (MRL-E in the paper).

    Args:
        loss: any loss without a memory.
        dims: the sizes d; sizes above the embedding's are left out. By default the whole size, divided by 2
            repeatedly down to `smallest`.
        smallest: the smallest default size.

    Reference: Kusupati et al. 2022, "Matryoshka Representation Learning"; sentence-transformers'
    MatryoshkaLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("matryoshka", loss="cosine_mse", metric="cosine", dims=[4, 2])
        >>> pair = np.array([[[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, -1.0, 0.0]]])   # cosines 0 and 1
        >>> float(loss(np.array([1.0]), pair))
        1.0
    """

    params = ("loss", "dims", "smallest")

    def __init__(
        self, loss: Any, dims: Sequence[int] | None = None, smallest: int = 8, **kwargs: Any
    ) -> None:
        if isinstance(loss, Loss) and is_stateful(loss):
            raise ComponentError(
                "matryoshka cannot wrap cross_batch_memory, which would store each batch once per size; "
                "put cross_batch_memory around matryoshka"
            )
        if dims is not None and (not dims or min(dims) < 1):
            raise ComponentError(f"dims should be sizes of at least 1, got {dims!r}")
        check_count(smallest=smallest)
        super().__init__([loss], **kwargs)
        self.loss = loss
        self.dims = None if dims is None else sorted(set(dims), reverse=True)
        self.smallest = smallest

    def call(self, y_true: Tensor, y_pred: Tensor, training: bool = True) -> Tensor:
        return sum(self.loss.apply(y_true, self._cut(y_pred, dim), training) for dim in self._sizes(y_pred))

    def compare(self, pairs: Pairs) -> Tensor:
        def cut(dim: int) -> Pairs:
            return pairs.of(*both(lambda items: self._cut(items, dim), pairs.queries, pairs.references))

        return sum(self.loss.compare(cut(dim)) for dim in self._sizes(pairs.queries))

    def _sizes(self, embeddings: Tensor) -> list[int]:
        """Return the sizes, longest first; state and metric are built for the whole size."""
        whole = int(embeddings.shape[-1])
        if self.state is not None:
            self.state(embeddings)
        self.build_metric(whole)
        if self.dims is not None:
            sizes = [dim for dim in self.dims if dim <= whole]
            if not sizes:
                raise ModelError(
                    f"matryoshka needs a dim of at most {whole}, the size of the embeddings, got {self.dims}"
                )
            return sizes
        sizes = [whole]
        while sizes[-1] // 2 >= self.smallest:
            sizes.append(sizes[-1] // 2)
        return sizes

    def _cut(self, embeddings: Tensor, dim: int) -> Tensor:
        """Return the first dimensions of each embedding, scaled to the embedding's length."""
        if dim == embeddings.shape[-1]:
            return embeddings
        length = safe_sqrt(ops.sum(ops.square(embeddings), axis=-1, keepdims=True))
        return length * unit(embeddings[..., :dim])


# ------------------------------------------------------------------ weighted sum


@keras.saving.register_keras_serializable("siamkit")
class WeightedSum(WrapperLoss):
    """The weighted sum of two losses; nest it for more.

    L = first + weight · second

    Args:
        first, second: any losses that learn from the same supervision.
        weight: weight of the second loss, at least 0.

    Reference: PML MultipleLosses, for two.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("weighted_sum", first="triplet", second="triplet", weight=0.5,
        ...                         metric="euclidean")
        >>> round(float(loss(None, np.array([[[0.0], [1.0], [1.0]]]))), 4)          # 1.5 times 0.05
        0.075
    """

    params = ("first", "second", "weight")

    def __init__(self, first: Any, second: Any, weight: float = 1.0, **kwargs: Any) -> None:
        check_not_negative(weight=weight)
        if first is second:
            raise ComponentError("weighted_sum needs two losses, got the same object twice")
        super().__init__([first, second], **kwargs)
        self.first = first
        self.second = second
        self.weight = weight

    def call(self, y_true: Tensor, y_pred: Tensor, training: bool = True) -> Tensor:
        first, second = (loss.apply(y_true, y_pred, training) for loss in self.wrapped)
        if len(first.shape) != len(second.shape):  # one of them compares the items of the batch
            first, second = ops.mean(first), ops.mean(second)
        return first + self.weight * second

    def compare(self, pairs: Pairs) -> Tensor:
        return self.first.compare(pairs) + self.weight * self.second.compare(pairs)
