"""A study file, its frozen study and a configuration, for tests of status."""

from __future__ import annotations

from typing import Any

STUDY = """\
version: 1
name: tiny
data: {source: digits}
fixed: {epochs: 3}
search: {encoder: mlp, metric: euclidean, loss: triplet}
budget: {trials: 8, time: 1h}
confirm: {top: 2, seeds: 2}
storage: journal
"""
FROZEN = {
    "layout": 1,
    "name": "tiny",
    "study": {"fixed": {"epochs": 3}},
    "settings": {"budget": {"trials": 8, "time": 3600.0}, "confirm": {"top": 2, "seeds": 2}, "lease": 60.0},
    "objectives": {"map_at_r": "maximize"},
}


def configuration(dim: int) -> dict[str, Any]:
    return {
        "encoder": {"name": "siamkit/mlp", "params": {}},
        "metric": {"name": "siamkit/cosine", "params": {}},
        "loss": {"name": "siamkit/triplet", "params": {}},
        "embedding_dim": dim,
    }
