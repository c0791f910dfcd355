"""What the columns of a table look like: the label, the sides of pairs, numbers of rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siamkit.data.sources.tables import Table
from siamkit.data.splits import PARTS

_LABELS = (
    "label", "labels", "class", "classes", "target", "y", "category", "species", "kind", "type", "brand",
    "product", "identity", "person", "entity", "cluster", "group", "topic", "intent", "variety",
)  # fmt: skip
_TARGETS = (
    "target", "label", "score", "similarity", "sim", "is_duplicate", "duplicate", "match", "is_match", "same",
    "y", "gold_label", "relatedness", "relatedness_score",
)  # fmt: skip
_MARKERS = (("left", "right"), ("first", "second"), ("query", "document"), ("anchor", "positive"))
_TEXT_MARKERS = (("1", "2"), ("a", "b"))  # of numbers, x1 and x2 are rather two features
GROUPS = (
    "person",
    "subject",
    "patient",
    "user",
    "user_id",
    "customer",
    "session",
    "author",
    "speaker",
    "group",
)
_MANY = frozenset({"", "many"})  # in place of values that are too many to keep
_ROWS_PER_VALUE = 2  # at least, of a column that names groups


@dataclass(frozen=True)
class ColumnFacts:
    """What the rows of a column hold; `values` are the distinct ones if they are few."""

    distinct: int
    rows: int
    is_numeric: bool
    is_whole: bool
    is_nested: bool
    words: float
    values: frozenset[str]

    @classmethod
    def of(cls, table: Table, name: str) -> ColumnFacts:
        rows = len(table.arrow)
        if table.is_nested(name):
            return cls(rows, rows, False, False, True, 0.0, _MANY)
        texts = [str(text) for text in table.optional_texts(name) if text != ""]
        values = set(texts)
        is_numeric = table.is_numeric(name)
        is_whole = is_numeric and all(re.fullmatch(r"-?\d+", text) for text in values)
        words = float(np.mean([_words(text) for text in texts[:1000]])) if texts else 0.0
        few = frozenset(values) if len(values) <= 100 else _MANY
        return cls(len(values), rows, is_numeric, is_whole, False, words, few)

    @property
    def repeats(self) -> bool:
        """Whether the values name groups of rows."""
        return 2 <= self.distinct <= self.rows / _ROWS_PER_VALUE

    def is_id(self, name: str) -> bool:
        """Whether the values only number or name the rows."""
        if self.is_nested or self.distinct < self.rows or self.rows < 3:
            return False
        if not self.is_numeric:
            return self.words <= 1
        return self.is_whole and is_id_name(name)

    @property
    def is_free_text(self) -> bool:
        return (
            not self.is_numeric and not self.is_nested and self.words >= 2 and self.distinct > self.rows / 4
        )


def is_id_name(name: str) -> bool:
    """Return whether a column is called as one that numbers the rows."""
    pattern = r"(^|_|\b)(id|ids|uuid|guid|index|idx|no|nr|row|number)$|^unnamed|^$"
    return name.lower() in GROUPS or re.search(pattern, name.lower()) is not None


def _words(text: str) -> int:
    """Return the number of words with letters, so that a date and a time are none."""
    return sum(re.search(r"[^\W\d_]", word) is not None for word in text.split())


def pair_columns(facts: Mapping[str, ColumnFacts]) -> dict[str, str]:
    """Return the columns of pairs, by their role; nothing if the rows do not look like pairs."""
    targets = [name for name in facts if name.lower() in _TARGETS and facts[name].is_numeric]
    for markers in (*_MARKERS, *_TEXT_MARKERS):
        left = [name for name in facts if _marked(name, markers) in facts]
        if markers in _TEXT_MARKERS and any(facts[name].is_numeric for name in left):
            continue
        right = [_marked(name, markers) for name in left]
        others = [name for name in targets if name not in (*left, *right)]
        # A third, such as text_3, makes it a list of features.
        if left and others and not any(_marked(name, (markers[1], "3")) in facts for name in right):
            return {"left": ", ".join(left), "right": ", ".join(right), "target": others[0]}
    return {}


def _marked(name: str, markers: tuple[str, str]) -> str:
    """Return the name with its last first marker replaced by the second; empty if it has none."""
    before, after = markers
    if len(before) > 1:
        found = re.search(rf"(.*)(?<![a-z]){before}(?![a-z])(.*)", name, re.I)
    else:
        found = re.search(
            rf"(.*[a-z_\W]){before}()$" if before.isdigit() else rf"(.*[_\W]|){before}()$", name, re.I
        )
    return "" if found is None else found[1] + after + found[2]


def label_column(facts: Mapping[str, ColumnFacts], ids: Sequence[str]) -> str | None:
    """Return the column that is called a label, else the only one, or the last, whose values name groups."""
    by_name = {name.lower().strip(): name for name in facts if name not in ids}
    named = [by_name[label] for label in _LABELS if label in by_name]
    fitting = [name for name in named if facts[name].distinct > 1 and not facts[name].is_nested]
    if fitting:
        return fitting[0]
    groups = [
        name for name, fact in facts.items()
        if fact.repeats and not (fact.is_nested or name in ids or fact.values <= set(PARTS))
        and (not fact.is_numeric or fact.is_whole)
    ]  # fmt: skip
    texts = [name for name in groups if not facts[name].is_numeric]
    return (texts or groups or [None])[-1]  # type: ignore[list-item]
