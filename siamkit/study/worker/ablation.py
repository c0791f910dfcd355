"""The training data of a trial: the training part, made worse where the study varies its data. No Keras here.

Validation and test data stay as they are, and so does what is fitted on the whole training part and shared by
all trials: the preprocessor, the needs of components, and the metric's typical distance. That one is a unit:
were it measured on two items a class, one margin would mean another thing in each trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from siamkit.data.ablation import ablate
from siamkit.data.dataset import Dataset
from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.search_space import Configuration, Values

if TYPE_CHECKING:
    from siamkit.study.worker.prepared_data import PreparedData


def training_data(task: PreparedData, configuration: Configuration, seed: int) -> Dataset:
    """What a trial trains on.

    Args:
        task: the data of all trials.
        configuration: what was drawn; its `data` says what is made worse.
        seed: another repeat has other items, and other errors in them.
    """
    varied: dict[str, Any] = dict(configuration.get("data", {}))
    return ablate(task.train, **varied, seed=derive_seed(seed, "data")) if varied else task.train


def scarcest(varied: Mapping[str, Values]) -> list[dict[str, Any]]:
    """The scarcest data that may be drawn, with each noise that may go with it; plain data.

    Images are not corrupted, which makes no feed harder.

    Args:
        varied: the factors of the data, as the space has them.

    Example:
        >>> from siamkit.study.config import Values
        >>> scarcest({"items_per_class": Values((8, 2, None)), "label_noise": Values(low=0.0, high=0.3)})
        [{'items_per_class': 2}, {'items_per_class': 2, 'label_noise': 0.3}]
    """
    ends = {name: _ends(values) for name, values in varied.items() if name != "corruption"}
    noise = ends.pop("label_noise", [])
    few = {name: max(each) if name == "imbalance" else min(each) for name, each in ends.items() if each}
    return [each for each in (few, *({**few, "label_noise": share} for share in noise if share)) if each]


def scarcest_data(task: PreparedData) -> dict[str, Dataset]:
    """The training data that feeds are tried on before the first trial, beside the training part itself.

    Returns:
        Datasets by the beginning of a sentence about them; none where the study varies no data.
    """
    return {
        "with " + ", ".join(f"{name} {value:g}" for name, value in asked.items()) + ": ": ablate(
            task.train, **asked, seed=0
        )
        for asked in task.record.get("scarcest", [])
    }


def _ends(values: Values) -> list[Any]:
    """The values that are listed, or both ends of a range; null, which is all that there is, is left out."""
    return [value for value in values.options or (values.low, values.high) if value is not None]
