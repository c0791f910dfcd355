"""The errors siamkit raises for what a user can put right.

Every one derives from `SiamkitError`; the command line prints its message as one sentence and exits
with code 2. Whatever is not a `SiamkitError` is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SiamkitError(Exception):
    """The root of all errors that name a user's mistake."""


class ComponentError(SiamkitError, ValueError):
    """An unknown component, a parameter it does not have, or components that do not fit together."""


class UnknownComponentError(ComponentError, KeyError):
    """A name that no installed component has."""

    __str__ = Exception.__str__  # KeyError's would put the sentence in quotes


class PluginError(SiamkitError):
    """A plugin that cannot be used, named with its distribution and the cause."""


class DataError(SiamkitError, ValueError):
    """Data that cannot be read or do not suit what is asked of them."""


class ModelError(SiamkitError, ValueError):
    """A model that is asked for what it cannot do, or a model file that cannot be loaded."""


class BackendError(SiamkitError):
    """A Keras backend that is not installed, or not the one already running."""


class StudyError(SiamkitError):
    """A study that cannot go on: another space, other data, other versions, or already running."""


class StudyFileError(StudyError):
    """What is wrong in a study file: all problems at once, one a line.

    Args:
        problems: sentences that name the place (file and line) and what would be right.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names with commas, the first of them if they are many."""
    names = list(names)
    more = len(names) - most
    return ", ".join(names) if more <= 1 else ", ".join(names[:most]) + f" or {more} others"


def nearest(name: object, valid: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest valid ones, or the first of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    if not names:
        return "there are none."
    return f"choose from {listed(names)}."
