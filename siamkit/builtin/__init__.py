"""siamkit's own components, handed over through the same hooks as anybody's."""

from __future__ import annotations

from siamkit import hookspecs, specs
from siamkit.builtin.datasets import DATASETS
from siamkit.builtin.encoders import ENCODERS
from siamkit.builtin.losses import LOSSES
from siamkit.builtin.metrics import METRICS
from siamkit.builtin.tabular import TABULAR


@hookspecs.hookimpl
def siamkit_encoders() -> list[specs.EncoderSpec]:
    return [*ENCODERS, *TABULAR]


@hookspecs.hookimpl
def siamkit_metrics() -> list[specs.MetricSpec]:
    return METRICS


@hookspecs.hookimpl
def siamkit_losses() -> list[specs.LossSpec]:
    return LOSSES


@hookspecs.hookimpl
def siamkit_datasets() -> list[specs.DatasetSpec]:
    return DATASETS
