"""The four hooks that a plugin may implement, each returning a list of specs.

A plugin is a module named by an entry point of the group `siamkit`:

    [project.entry-points.siamkit]
    acme = "acme_siamkit"

It must not import a backend or Keras: specs name their factories as text.
"""

from __future__ import annotations

import pluggy

from siamkit.registry.specs import DatasetSpec, EncoderSpec, LossSpec, MetricSpec

PROJECT = "siamkit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def siamkit_encoders() -> list[EncoderSpec]:  # type: ignore[empty-body]
    """Encoders: Keras models that turn one input into one embedding."""


@hookspec
def siamkit_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Metrics: Keras layers that compare two embeddings."""


@hookspec
def siamkit_losses() -> list[LossSpec]:  # type: ignore[empty-body]
    """Losses on `(y_true, embeddings)` that compare through a metric."""


@hookspec
def siamkit_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Sources of data."""
