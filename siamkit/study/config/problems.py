"""Collect all problems of a study file, each with its line, and raise them together."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from siamkit.errors import StudyFileError, nearest
from siamkit.study.config.yaml import Document, KeyPath


class Problems:
    """The problems of one file.

    Args:
        document: the file, or data made from it.
        earlier: problems of the same file that are already known.

    Example:
        >>> problems = Problems(Document("study.yaml", {"seed": -1}, {("seed",): 3}))
        >>> problems.add(("seed",), "should be at least 0, got -1")
        >>> problems.sentences()
        ['study.yaml:3: seed: should be at least 0, got -1']
    """

    def __init__(self, document: Document, earlier: Problems | None = None) -> None:
        self.document = document
        self._by_line: list[tuple[int, str]] = [] if earlier is None else [*earlier._by_line]

    def __len__(self) -> int:
        return len(self._by_line)

    def add(self, path: KeyPath, message: str) -> None:
        """Add a problem.

        Args:
            path: the key that has the problem.
            message: what is wrong, and what would be right.
        """
        self._by_line.append((self.document.line(path), f"{self.document.at(path)}: {message}"))

    def add_validation(self, error: ValidationError, model: type[BaseModel]) -> None:
        """Add the errors that pydantic found while it validated a model."""
        for detail in error.errors():
            self.add(_key_path(detail), _sentence(detail, model))

    def sentences(self) -> list[str]:
        """Return the distinct problems in the order of their lines."""
        return [sentence for _, sentence in sorted(set(self._by_line))]

    def error(self) -> StudyFileError:
        """Return an error with all problems."""
        return StudyFileError(self.sentences())


# ------------------------------------------------------------------ pydantic's errors in words

_SPLITS = ("train", "valid", "test")

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "dict_type": "a mapping",
    "list_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "string_pattern_mismatch": "made of letters, digits, '.', '_' and '-', and begin with a letter or digit",
    "too_short": "not empty",
    "string_too_short": "not empty",
    "finite_number": "a finite number",
}


def _key_path(detail: ErrorDetails) -> KeyPath:
    """Return the path of the key, without the names that pydantic adds for the branches of a union."""
    path = detail["loc"]
    split = next((key for key in path if key in _SPLITS), None)
    return path if split is None else path[: path.index(split) + 1]


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, path, context = detail["type"], detail["loc"], detail.get("ctx", {})
    key, got = str(path[-1]), f"got {detail['input']!r:.60}"
    if kind == "extra_forbidden":
        return f"unknown key {key!r}; {nearest(key, _known_keys(path, model))}"
    if kind == "missing":
        return f"{key!r} is missing"
    if kind == "literal_error":
        return f"should be {context['expected']}, {got}"
    if kind == "value_error":
        return str(context["error"])
    if "split" in path and any(key in _SPLITS for key in path):
        return f"should be a fraction above 0 and at most 1, or a list of classes or values, {got}"
    if kind in _EXPECTED:
        return f"should be {_EXPECTED[kind].format(**context)}, {got}"
    return f"{detail['msg'].lower()}, {got}"


def _known_keys(path: KeyPath, model: type[BaseModel]) -> list[str]:
    """Return the keys that the schema has in place of an unknown key."""
    for key in path[:-1]:
        field = model.model_fields.get(key) if isinstance(key, str) else None
        if field is None:
            return []
        types = [field.annotation, *getattr(field.annotation, "__args__", ())]
        models = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)
