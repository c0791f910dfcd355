"""Run folders made by hand, for what is read from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from siamkit.report import write_report

EVIL = "<script>alert(1)</script>"


def frozen(name: str = "tiny", objectives: dict[str, str] | None = None, valid: int = 20) -> dict[str, Any]:
    return {
        "layout": 1,
        "name": name,
        "study": {"seed": 3},
        "objectives": objectives or {"map_at_r": "maximize"},
        "data": {
            "items": 100,
            "input": "image",
            "supervision": "labels",
            "fingerprint": "0123456789abcdef0123",
            "split": {"by": "class", "counts": {"train": 60, "valid": valid, "test": 20}},
        },
        "versions": {
            "backend": "torch",
            "python": "3.11.7",
            "packages": {"siamkit": "0.1.0", "keras": "3.15"},
        },
    }


def result(number: int, value: float | None, outcome: str = "complete", **more: Any) -> dict[str, Any]:
    factors = {"encoder": "mlp", "metric": "cosine", "loss": "triplet", "embedding_dim": 8, "normalize": True}
    measures = {"map_at_r": value, "eer": 0.1, "parameters": 1200.0} if outcome == "complete" else {}
    return {
        "trial": number,
        "token": "t",
        "key": f"key{number}",
        "outcome": outcome,
        "cause": "",
        "seconds": 1.5,
        "factors": factors,
        "figures": measures,
        **more,
    }


class Folder:
    """A run folder made by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def study(self, **changes: Any) -> Folder:
        (self.path / "study.json").write_text(json.dumps(frozen(**changes)))
        return self

    def trial(self, *args: Any, curve: list[float | None] | None = None, **more: Any) -> Folder:
        row = result(*args, **more)
        place = self.path / "trials" / str(row["trial"]) / "t"
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(row))
        if curve is not None:
            pq.write_table(
                pa.table(
                    {
                        "repeat": [0] * len(curve),
                        "epoch": list(range(1, len(curve) + 1)),
                        "map_at_r": pa.array(curve, pa.float64()),
                    }
                ),
                place / "history.parquet",
            )
        return self

    def confirmed(
        self,
        key: str,
        repeat: int,
        valid: float | None,
        test: float | None,
        measures: dict[str, float] | None = None,
        **more: Any,
    ) -> Folder:
        place = self.path / "confirm" / key / str(repeat)
        place.mkdir(parents=True)
        (place / "result.json").write_text(
            json.dumps(
                {
                    "repeat": repeat,
                    "key": key,
                    "trial": int(key[3:]),
                    "factors": result(0, 1)["factors"],
                    "outcome": "complete",
                    "valid": {"map_at_r": valid, "parameters": 1200},
                    "test": {"map_at_r": test, **(measures or {})},
                    **more,
                }
            )
        )
        return self

    def baseline(self, name: str, valid: dict[str, float], test: dict[str, float] | None = None) -> Folder:
        place = self.path / "baselines" / name
        place.mkdir(parents=True)
        row = {"name": name, "metric": "cosine", "dim": 8, "valid": valid, "test": test}
        (place / "result.json").write_text(json.dumps(row))
        return self

    def page(self) -> str:
        return write_report(self.path).read_text(encoding="utf-8")

    def items(self, labels: list[str], images: list[bytes] | None = None, texts: Any = None) -> Folder:
        columns: dict[str, Any] = {"id": [f"item {row}" for row in range(len(labels))], "target": labels}
        columns |= {"image_0": images} if images else {}
        columns |= {"text_0": texts} if texts else {}
        pq.write_table(pa.table(columns), self.path / "items.parquet")
        return self

    def exhibit(self, place: str, **arrays: Any) -> Folder:
        """What there is to see of the trial or repeat in a place."""
        np.savez(self.path / place / "exhibit.npz", **arrays)
        return self
