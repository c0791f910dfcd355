"""The arguments of `fit`, `evaluate` and the like, with targets that were checked on the host.

Keras moves targets to the device in the backend's own types, where two ids of 64 bits may become equal.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import GeneratorType
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from siamkit.backend.beyond_keras import checked_tf_dataset
from siamkit.errors import DataError, SiamkitError
from siamkit.io.targets import TargetRule, graded_targets
from siamkit.io.values import as_array, native


@contextmanager
def prepared_arguments(
    method: Callable[..., Any],
    rule: TargetRule | None,
    check_items: Callable[[Any], None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    whole: bool = True,
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of a method of a model by name, with targets that the loss can use.

    The targets of arrays are prepared; the batches of a loader are checked when they are loaded. Items are
    checked in the same way, but not those of a tf.data.Dataset.

    Args:
        method: the method of a model, which takes `x`, `y`, and perhaps `validation_data`.
        rule: the rule of the loss; None leaves all targets as they are, and all items unchecked.
        check_items: function of one or several views; it raises a SiamkitError for items that must not get
            to a device.
        args, kwargs: the arguments.
        whole: whether arrays are all of the data, and not one batch.
    """
    arguments = inspect.signature(method).bind(*args, **kwargs).arguments
    arguments |= arguments.pop("kwargs", {})
    if rule is None:
        yield arguments
        return
    door = _Door(rule, check_items, whole)
    given = arguments.get("y")
    arguments["x"], arguments["y"] = door.checked(arguments.get("x"), given)
    if given is not None:
        check_class_weight(arguments.get("class_weight"), given, arguments["y"])
        door.check_tail(
            arguments["y"], arguments.get("validation_split") or 0.0, _count_views(arguments["x"])
        )
    check_weight(arguments.get("sample_weight"))
    validation = arguments.get("validation_data")
    if isinstance(validation, (tuple, list)) and len(validation) > 1:
        check_weight(validation[2] if len(validation) > 2 else None)
        arguments["validation_data"] = (*door.checked(validation[0], validation[1]), *validation[2:])
    elif validation is not None:
        arguments["validation_data"], _ = door.checked(validation, None)
    try:
        yield arguments
    except Exception:
        if door.error is not None:  # TensorFlow and Keras's threads wrap the error in one of their own
            raise door.error from None
        raise


class _Door:
    """The check of all targets and items of one call.

    Attributes:
        error: the error that a loader's batch caused.
    """

    def __init__(self, rule: TargetRule, check_items: Callable[[Any], None], whole: bool) -> None:
        self._rule, self._check_items, self._whole = rule, check_items, whole
        self.error: SiamkitError | None = None

    def checked(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return arrays with their target prepared, or a loader that checks its batches."""
        if not is_loader(x):
            x = checked_items(x, self._check_items)
        if y is not None:
            target = self._rule.prepare(y, _count_views(x), renumber=self._whole)
            if not len(target):
                raise DataError("the data have no items")
            if self._whole and _count_views(x) == 1:
                self._rule.check_classes(target)
            return x, target
        if isinstance(x, keras.utils.PyDataset):
            # With several processes each batch is made in another one, and checked when it arrives here.
            return CheckedDataset(x, self.check_batch), None
        if isinstance(x, GeneratorType):
            return (self.check_batch(batch) for batch in x), None
        if _is_torch_loader(x):
            return _checked_torch_loader(x, self._seen), None
        if _is_tf_dataset(x):
            return checked_tf_dataset(x, self.check_target), None
        return x, None

    def check_tail(self, target: np.ndarray, validation_split: float, views: int) -> None:
        """Check the classes of the last items, which Keras takes for validation."""
        if validation_split and views == 1:
            tail = target[int(len(target) * (1 - validation_split)) :]
            self._rule.check_classes(tail, "items of the validation split (the last ones; shuffle first)")

    def check_batch(self, batch: Any) -> Any:
        """Return a batch `(x, y, …)` after a check of its items and its target."""
        if isinstance(batch, (tuple, list)) and len(batch) > 1:
            try:
                self._check_items(batch[0])
                check_weight(batch[2] if len(batch) > 2 else None)
            except SiamkitError as error:
                self.error = error
                raise
            target = self.check_target(batch[1], _count_views(batch[0]))
            if not ops.is_tensor(batch[1]):
                return (batch[0], target, *batch[2:])
        return batch

    def _seen(self, batch: Any) -> Any:
        """Check a batch and return it as it is: Keras expects tensors of a torch loader."""
        self.check_batch(batch)
        return batch

    def check_target(self, target: Any, views: int) -> np.ndarray:
        """Return the target of a batch as the loss can use it, or raise a SiamkitError."""
        try:
            return self._rule.prepare(target, views, renumber=False)
        except SiamkitError as error:
            self.error = error
            raise


def check_weight(weight: Any, name: str = "sample_weight") -> None:
    """Raise DataError unless weights, if there are any, are finite numbers of at least 0."""
    if weight is not None:
        weights = graded_targets(weight, name=name)
        if (weights < 0).any():
            row = np.flatnonzero(weights < 0)[0]
            raise DataError(f"{name} should be at least 0, got {weights[row]:g} in row {row}")


def check_class_weight(weight: Any, given: Any, target: np.ndarray) -> None:
    """Raise DataError unless the weights of classes, if there are any, are by the ids of the target."""
    if weight is None:
        return
    if not isinstance(weight, dict):
        raise DataError(f"class_weight should be a dict from class id to weight, got {type(weight).__name__}")
    check_weight(list(weight.values()), "class_weight")
    if not np.array_equal(as_array(given).reshape(-1), target):
        raise DataError(
            "class_weight needs class ids, but these labels are names or numbers of 64 bits; number the "
            "classes first: np.unique(labels, return_inverse=True)[1]"
        )


def checked_items(x: Any, check: Callable[[Any], None]) -> Any:
    """Return one or several views of items, in the machine's byte order, after a check."""
    check(x)
    return tree.map_structure(lambda leaf: native(leaf) if isinstance(leaf, np.ndarray) else leaf, x)


def is_loader(x: Any) -> bool:
    """Return whether an argument loads batches, and does not hold items itself."""
    return isinstance(x, (keras.utils.PyDataset, GeneratorType)) or _is_torch_loader(x) or _is_tf_dataset(x)


def _count_views(x: Any) -> int:
    return len(x) if isinstance(x, (tuple, list)) else 1


class CheckedDataset(keras.utils.PyDataset):  # type: ignore[misc, unused-ignore]
    """A PyDataset whose batches pass through a function.

    Args:
        dataset: the PyDataset.
        check: function of a batch that returns it, or raises an error.
    """

    def __init__(self, dataset: Any, check: Callable[[Any], Any]) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self._dataset, self._check = dataset, check

    @property
    def num_batches(self) -> int | None:
        count: int | None = self._dataset.num_batches
        return count

    def __getitem__(self, index: int) -> Any:
        return self._check(self._dataset[index])

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()


def _is_tf_dataset(x: Any) -> bool:
    return hasattr(x, "element_spec") and hasattr(x, "map")


def _is_torch_loader(x: Any) -> bool:
    return any(
        cls.__name__ == "DataLoader" and cls.__module__.startswith("torch.utils.data")
        for cls in type(x).__mro__
    )


def _checked_torch_loader(loader: Any, check: Callable[[Any], Any]) -> Any:
    """Return a copy of a torch DataLoader that checks each batch in this process, also with workers."""
    kind: Any = type(loader)

    class Checked(kind):
        def __iter__(self) -> Iterator[Any]:
            return map(check, super().__iter__())

    checked = copy.copy(loader)
    checked.__class__ = Checked
    return checked
