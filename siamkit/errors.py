"""The errors that siamkit raises for mistakes that a user can correct.

All derive from `SiamkitError`; the command line prints the message as one sentence and exits with
code 2. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SiamkitError(Exception):
    """A user's mistake; the base of all errors here."""


class ComponentError(SiamkitError, ValueError):
    """An unknown component, a parameter it does not have, or components that do not fit together."""


class UnknownComponentError(ComponentError, KeyError):
    """No installed component has this name."""

    __str__ = Exception.__str__  # KeyError's would put the sentence in quotes


class PluginError(SiamkitError):
    """A plugin that cannot be used; the message names its distribution and the cause."""


class DataError(SiamkitError, ValueError):
    """Data that cannot be read or that do not fit their use."""


class ModelError(SiamkitError, ValueError):
    """A model used in a way it does not support, or a model file that cannot be loaded."""


class BackendError(SiamkitError):
    """A Keras backend that is not installed, or differs from the one that already runs."""


class StudyError(SiamkitError):
    """A study that cannot continue: its search space, data or versions differ, or it is already running."""


class StudyFileError(StudyError):
    """All problems of a study file at once, one per line.

    Args:
        problems: one sentence for each problem: file and line, what is wrong, and what would be right.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def listed(names: Iterable[str], most: int = 12) -> str:
    """Return the names with commas; of many, the first ones and the number of the others."""
    names = list(names)
    more = len(names) - most
    return ", ".join(names) if more <= 1 else ", ".join(names[:most]) + f" or {more} others"


def nearest(name: object, valid: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest valid names, or the first ones."""
    names = sorted(valid)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    if not names:
        return "there are none."
    return f"choose from {listed(names)}."
