"""Losses around other losses: a memory of earlier batches, nested dimensions, a weighted sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError, ModelError
from siamkit.losses._batch import BatchLoss, Pairs, labelled, positions
from siamkit.losses._inputs import at_least_0
from siamkit.losses.base import Loss
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import safe_sqrt, unit
from siamkit.registry.provenance import family


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


@keras.saving.register_keras_serializable("siamkit")
class LossStates(keras.layers.Layer):
    """Several heads as one, each with a `learning_rate_multiplier` of its own.

    Args:
        heads: the layers.
    """

    def __init__(self, heads: Sequence[keras.layers.Layer], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.parts = list(heads)

    def call(self, embeddings: Tensor) -> Tensor:
        for each in self.parts:
            each(embeddings)
        return embeddings

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


class _Wrapper(BatchLoss):
    """A loss made of other losses: it has their heads, and takes references if all of them do."""

    def __init__(self, inner: Sequence[Any], head: keras.layers.Layer | None = None, **kwargs: Any) -> None:
        for each in inner:
            if not isinstance(each, Loss):
                raise ComponentError(f"{type(self).__name__} goes around a siamkit loss, got {each!r:.80}")
        super().__init__(**kwargs)
        self.wrapped = tuple(inner)
        heads = [each for each in (head, *(loss.head for loss in inner)) if each is not None]
        self.head = heads[0] if len(heads) == 1 else LossStates(heads) if heads else None
        self.takes_references = all(can_compare(each) for each in inner)
        self.couples = any(each.couples for each in inner)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Wrapper:
        made = keras.saving.deserialize_keras_object
        return cls(**{key: made(each) if isinstance(each, dict) else each for key, each in config.items()})


def can_compare(loss: Loss) -> bool:
    """Whether a loss can compare a batch with references other than the batch itself."""
    return isinstance(loss, BatchLoss) and loss.takes_references


def remembers(loss: Loss) -> bool:
    """Whether a loss, or one inside it, keeps a memory of embeddings."""
    return any(each.remembers for each in family(loss))


@keras.saving.register_keras_serializable("siamkit")
class CrossBatchMemory(_Wrapper):
    """Cross-batch memory: compares each batch with the embeddings of the last batches, its own among them.

    The batch is put into the memory, in place of the oldest embeddings, and then compared with all that the
    memory holds, each item but with itself. The memory has no gradient, as in the reference. It is part of
    the model's file. Outside of training it is looked at and left as it is.

    Args:
        loss: any loss over all pairs of a batch; its mining looks at the memory too.
        memory_size: embeddings kept, at least a batch.

    Reference: Wang et al. 2020, "Cross-Batch Memory for Embedding Learning"; PML CrossBatchMemory.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("cross_batch_memory", loss={"contrastive": {"power": 1.0}},
        ...                         metric="euclidean", memory_size=4)
        >>> first = float(loss(np.array([0]), np.array([[0.0, 0.0]])))         # nothing to compare with yet
        >>> first, float(loss(np.array([0]), np.array([[0.0, 3.0]])))
        (0.0, 3.0)
    """

    def __init__(self, loss: Any, memory_size: int = 1024, **kwargs: Any) -> None:
        if not memory_size >= 1:
            raise ComponentError(f"memory_size should be at least 1, got {memory_size!r}")
        if isinstance(loss, Loss) and (not can_compare(loss) or remembers(loss)):
            raise ComponentError(
                f"cross_batch_memory goes around a loss over all pairs of a batch, not around {loss.name!r}; "
                "contrastive, triplet, multi_similarity or nt_xent would do"
            )
        self.remembers = True
        self.memory = Memory(memory_size)
        super().__init__([loss], self.memory, **kwargs)
        self.takes_references = False

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, embeddings = labelled(y_true, y_pred, self.name)
        size = embeddings.shape[0]
        if size is not None and size > self.memory.size:
            raise ModelError(f"a batch of {size} does not fit into a memory_size of {self.memory.size}")
        assert self.head is not None
        assert isinstance(self.wrapped[0], BatchLoss)
        self.head(embeddings)
        state = self.memory.after(ops.stop_gradient(embeddings), labels)
        if self.training:
            self.memory.keep(state)
        same = labels[:, None] == state.labels[None, :]
        itself = state.places[:, None] == (positions(state.labels) - 1)[None, :]
        held = ops.cast(state.held, "bool")[None, :]
        positive = ops.logical_and(ops.logical_and(same, held), ops.logical_not(itself))
        negative = ops.logical_and(ops.logical_not(same), held)
        pairs = Pairs(embeddings, state.embeddings, positive, negative, labels)
        return self.wrapped[0].compare(pairs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "loss": keras.saving.serialize_keras_object(self.wrapped[0]),
            "memory_size": self.memory.size,
        }


@keras.saving.register_keras_serializable("siamkit")
class Matryoshka(_Wrapper):
    """Matryoshka loss: one loss over the first d numbers of each embedding, for several d at once.

    L = Σ over d of  loss(e[:d])

    so that embeddings can be cut short later. Each cut embedding is scaled to the length of the whole one:
    unit vectors stay unit vectors. Class proxies and learned metrics are cut in the same way (MRL-E in the
    paper).

    Args:
        loss: any loss without a memory.
        dims: the sizes d; those above the embedding's own are left out. Unless given, the whole one and its
            halves down to `smallest`.
        smallest: the least d of the halving.

    Reference: Kusupati et al. 2022, "Matryoshka Representation Learning"; sentence-transformers'
    MatryoshkaLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("matryoshka", loss="cosine_mse", metric="cosine", dims=[4, 2])
        >>> pair = np.array([[[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, -1.0, 0.0]]])   # cosines 0 and 1
        >>> float(loss(np.array([1.0]), pair))
        1.0
    """

    def __init__(
        self, loss: Any, dims: Sequence[int] | None = None, smallest: int = 8, **kwargs: Any
    ) -> None:
        if isinstance(loss, Loss) and remembers(loss):
            raise ComponentError(
                "matryoshka cannot go around a cross_batch_memory, which would remember each batch once for "
                "each size; put cross_batch_memory around matryoshka"
            )
        if dims is not None and (not dims or min(dims) < 1):
            raise ComponentError(f"dims should be sizes of at least 1, got {dims!r}")
        if not smallest >= 1:
            raise ComponentError(f"smallest should be at least 1, got {smallest!r}")
        super().__init__([loss], **kwargs)
        self.dims = None if dims is None else sorted(set(dims), reverse=True)
        self.smallest = smallest

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return sum(self.wrapped[0].call(y_true, self._cut(y_pred, dim)) for dim in self._sizes(y_pred))

    def compare(self, pairs: Pairs) -> Tensor:
        (loss,) = self.wrapped
        assert isinstance(loss, BatchLoss)

        def cut(dim: int) -> Pairs:
            queries, references = (self._cut(each, dim) for each in (pairs.queries, pairs.references))
            return Pairs(queries, references, pairs.positive, pairs.negative, pairs.labels)

        return sum(loss.compare(cut(dim)) for dim in self._sizes(pairs.queries))

    def _sizes(self, embeddings: Tensor) -> list[int]:
        """The sizes, longest first."""
        whole = int(embeddings.shape[-1])
        # Built for the whole, whatever is compared first.
        if self.head is not None:
            self.head(embeddings)
        if self.metric is not None and not self.metric.built:
            self.metric(keras.KerasTensor((1, whole)), keras.KerasTensor((1, whole)))
        if self.dims is not None:
            sizes = [dim for dim in self.dims if dim <= whole]
            if not sizes:
                raise ModelError(
                    f"none of the dims {self.dims} of matryoshka is within the embedding's {whole}"
                )
            return sizes
        sizes = [whole]
        while sizes[-1] // 2 >= self.smallest:
            sizes.append(sizes[-1] // 2)
        return sizes

    def _cut(self, embeddings: Tensor, dim: int) -> Tensor:
        if dim == embeddings.shape[-1]:
            return embeddings
        length = safe_sqrt(ops.sum(ops.square(embeddings), axis=-1, keepdims=True))
        return length * unit(embeddings[..., :dim])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "loss": keras.saving.serialize_keras_object(self.wrapped[0]),
            "dims": self.dims,
            "smallest": self.smallest,
        }


@keras.saving.register_keras_serializable("siamkit")
class WeightedSum(_Wrapper):
    """The sum of two losses; nest it for more.

    L = first + weight · second

    Args:
        first, second: any losses that learn from the same supervision.
        weight: of the second, at least 0.

    Reference: PML MultipleLosses, for two.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("weighted_sum", first="triplet", second="triplet", weight=0.5,
        ...                         metric="euclidean")
        >>> round(float(loss(None, np.array([[[0.0], [1.0], [1.0]]]))), 4)          # 1.5 times 0.05
        0.075
    """

    def __init__(self, first: Any, second: Any, weight: float = 1.0, **kwargs: Any) -> None:
        at_least_0(weight=weight)
        if first is second:
            raise ComponentError("weighted_sum wants two losses, got the same object twice")
        super().__init__([first, second], **kwargs)
        self.weight = weight

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        first, second = (each.call(y_true, y_pred) for each in self.wrapped)
        if len(first.shape) != len(second.shape):  # one of them couples the batch, and so does the sum
            first, second = ops.mean(first), ops.mean(second)
        return first + self.weight * second

    def compare(self, pairs: Pairs) -> Tensor:
        first, second = self.wrapped
        assert isinstance(first, BatchLoss)
        assert isinstance(second, BatchLoss)
        return first.compare(pairs) + self.weight * second.compare(pairs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "first": keras.saving.serialize_keras_object(self.wrapped[0]),
            "second": keras.saving.serialize_keras_object(self.wrapped[1]),
            "weight": self.weight,
        }
