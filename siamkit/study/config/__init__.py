"""The study file: load it, check it, and describe its search space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.study.config.load import ResolvedStudy, load_study
    from siamkit.study.config.schema import StudyConfig, json_schema
    from siamkit.study.config.search_space import SearchSpace, Values

__all__ = [
    "ResolvedStudy",
    "SearchSpace",
    "StudyConfig",
    "Values",
    "json_schema",
    "load_study",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ResolvedStudy": "load",
        "SearchSpace": "search_space",
        "StudyConfig": "schema",
        "Values": "search_space",
        "json_schema": "schema",
        "load_study": "load",
    },
)
