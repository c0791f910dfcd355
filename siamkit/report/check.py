"""What a study says about its own numbers: one finding, a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["good", "caution", "fault"]


@dataclass(frozen=True)
class Check:
    """One thing that speaks for a study's numbers, or against them.

    Args:
        kind: good; caution, by which they say less than one may think; fault, by which they are not to be
            relied on.
        what: it is about, a short name for machines: `split`, `confirmed`, `seeds`, ….
        sentence: for people, with the numbers.
    """

    kind: Kind
    what: str
    sentence: str


def good(what: str, sentence: str) -> Check:
    """Something that speaks for the numbers."""
    return Check("good", what, sentence)


def caution(what: str, sentence: str) -> Check:
    """Something by which they say less than one may think."""
    return Check("caution", what, sentence)


def fault(what: str, sentence: str) -> Check:
    """Something by which they are not to be relied on."""
    return Check("fault", what, sentence)
