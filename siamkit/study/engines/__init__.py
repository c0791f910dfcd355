"""Engines: where the workers of a study live. One idea, three homes: here, in processes, on a Ray cluster."""

from __future__ import annotations

import importlib
from pathlib import Path

from siamkit.errors import StudyError
from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines.base import Engine, Worker
from siamkit.study.worker.messages import Setup

__all__ = ["Engine", "Worker", "make_engine"]

HOMES = {"inline": ("inline", "Inline"), "local": ("local", "Local"), "ray": ("ray_engine", "Ray")}


def make_engine(config: StudyConfig, setup: Setup, scratch: Path) -> Engine:
    """The engine that a study file asks for.

    Args:
        config: the study file, parsed.
        setup: what each worker must know.
        scratch: a folder for its temporary files.

    Raises:
        StudyError: it is not installed, or has no room for a single worker.
    """
    try:
        home = importlib.import_module(f"siamkit.study.engines.{HOMES[config.engine][0]}")
    except ModuleNotFoundError as error:
        if error.name != config.engine:
            raise
        raise StudyError(
            f"the engine {config.engine} wants the package {error.name}; pip install 'siamkit[{error.name}]'"
        ) from None
    engine: Engine = getattr(home, HOMES[config.engine][1])(config, setup, scratch)
    return engine
