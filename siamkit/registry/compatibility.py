"""Which components are compatible, according to their specs, before anything is built.

The functions named `…_misfit` return the end of a sentence that begins with the component ("the loss
'triplet' …"), or None if the two are compatible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from siamkit.errors import ComponentError, listed
from siamkit.registry.registry import components, spec_of
from siamkit.registry.specs import EncoderSpec, LossSpec, MetricSpec, Spec, Supervision

FEEDS: Mapping[Supervision, tuple[Supervision, ...]] = {
    "labels": ("labels", "pairs", "triplets", "views"),
    "pairs": ("pairs",),
    "scores": ("scores",),
    "triplets": ("triplets",),
    "views": ("views",),
}
"""The supervisions that each kind of data can feed.

Labelled data can be sampled as any other supervision except scores: labels say nothing about graded
similarity.
"""

OF_LABELS = ("num_classes", "training_labels")
"""The needs of components that only data with labels have."""


# ------------------------------------------------------------------ data


def supervision_for(data: Supervision, loss: LossSpec) -> Supervision | None:
    """Return the supervision under which data of one kind feed a loss; None if they cannot.

    It is the first that the spec lists and the data can feed. Nearly all losses list labels before views.
    """
    return next((kind for kind in loss.supervision if kind in FEEDS[data]), None)


def data_misfit(loss: LossSpec, data: Supervision) -> str | None:
    """Return why data of one kind cannot feed a loss, and which losses they can feed."""
    if supervision_for(data, loss) is not None:
        return None
    fitting = [name for name, entry in components().losses.items() if supervision_for(data, entry.spec)]
    return (
        f"learns from {' or '.join(loss.supervision)}, but the data give {data} (which feed "
        f"{', '.join(FEEDS[data])}); {listed(fitting)} would fit"
    )


def input_misfit(encoder: EncoderSpec, kind: str) -> str | None:
    """Return why an encoder cannot take a kind of input, and which encoders can."""
    if kind in encoder.inputs:
        return None
    fitting = [name for name, entry in components().encoders.items() if kind in entry.spec.inputs]
    return (
        f"takes {' or '.join(encoder.inputs)}, but the data are {kind}; "
        f"{listed(fitting) or 'no installed encoder'} would fit"
    )


def labels_misfit(spec: Spec, data: Supervision) -> str | None:
    """Return why an encoder or a metric needs labels, if the data give something else."""
    needs = [need for need in spec.needs if need in OF_LABELS]
    if data == "labels" or not needs:
        return None
    return f"needs {' and '.join(needs)}, but the data give {data}, not labels"


# ------------------------------------------------------------------ loss and metric


def metric_misfit(loss: LossSpec, metric: MetricSpec) -> str | None:
    """Return why a loss cannot compare through a metric."""
    if loss.orientation not in ("any", *metric.orientations):
        return f"needs a {loss.orientation}, but the metric {metric.name!r} is a {metric.orientation}"
    if loss.metrics and metric.name not in loss.metrics:
        return f"compares through {' or '.join(loss.metrics)} only, not through {metric.name!r}"
    low, high = loss.range
    if metric.range[0] < low or metric.range[1] > high:
        return (
            f"needs values from {low:g} to {high:g}, but those of the metric {metric.name!r} run "
            f"from {metric.range[0]:g} to {metric.range[1]:g}"
        )
    if not loss.uses_metric and metric.trainable:
        return f"does not compare through the metric, so {metric.name!r} would never learn its weights"
    for wrapped in loss.wrapped:
        reason = metric_misfit(wrapped, metric)
        if reason is not None:
            return f"wraps {wrapped.name!r}, which {reason}"
    return None


def fitting_metrics(loss: LossSpec, metrics: Mapping[str, MetricSpec]) -> list[str]:
    """Return the names of those metrics through which a loss can compare."""
    return [name for name, metric in metrics.items() if metric_misfit(loss, metric) is None]


def check_metric(loss: object, metric: object) -> None:
    """Check that a loss can compare through a metric; both are objects, not specs.

    Objects made without the registry have no spec and pass.

    Raises:
        ComponentError: the loss cannot compare through the metric; the message names metrics that fit.
    """
    for wrapped in getattr(loss, "wrapped", ()):
        check_metric(wrapped, metric)
    loss_spec, metric_spec = spec_of("loss", loss), spec_of("metric", metric)
    if loss_spec is None or metric_spec is None:
        return
    reason = metric_misfit(loss_spec, metric_spec)
    if reason is not None:
        installed = {name: entry.spec for name, entry in components().metrics.items()}
        fitting = listed(fitting_metrics(loss_spec, installed))
        raise ComponentError(f"the loss {loss_spec.name!r} {reason}; {fitting} would fit")


# ------------------------------------------------------------------ losses around losses


def wrapping(loss: LossSpec, wrapped: Sequence[LossSpec]) -> LossSpec:
    """Return the spec of a loss around other losses.

    Its supervisions are those that all of the losses have in common, and its needs are all of their needs.

    Raises:
        ComponentError: the losses have no supervision in common.
    """
    common = tuple(
        supervision
        for supervision in wrapped[0].supervision
        if all(supervision in spec.supervision for spec in (loss, *wrapped))
    )
    if not common:
        sources = "; ".join(f"{spec.name!r} learns from {' or '.join(spec.supervision)}" for spec in wrapped)
        raise ComponentError(f"{loss.name} cannot wrap these losses, which need different data: {sources}")
    return replace(
        loss,
        supervision=common,
        normalized=any(spec.normalized for spec in (loss, *wrapped)),
        needs=tuple(dict.fromkeys(need for spec in (loss, *wrapped) for need in spec.needs)),
        wrapped=tuple(wrapped),
    )
