"""Tanimoto similarity for siamkit. This module is what siamkit imports to learn of it: no Keras here."""

from __future__ import annotations

import siamkit


@siamkit.hookimpl
def siamkit_metrics() -> list[siamkit.MetricSpec]:
    return [
        siamkit.MetricSpec(
            name="tanimoto",
            factory="siamkit_tanimoto.metric:Tanimoto",
            orientation="similarity",
            range=(-1 / 3, 1.0),
            summary="a·b / (|a|² + |b|² - a·b)",
            reference="Rogers and Tanimoto 1960",
        ),
    ]
