"""Read YAML 1.2 as plain data with the line of every key, and report problems by line, all together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    DirectiveToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    ScalarToken,
    TagToken,
    Token,
)

from siamkit.errors import StudyFileError, nearest

MAX_BYTES = 1_000_000  # a study file has a few hundred
MAX_DEPTH = 100  # levels of nested mappings and lists; a study file has six

_OPENING = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)
_CLOSING = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)

KeyPath: TypeAlias = tuple[str | int, ...]
"""The keys and list indices from the top of a file down to a value."""

YamlValue: TypeAlias = "str | int | float | bool | list[YamlValue] | dict[str, YamlValue] | None"


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data.

    Args:
        name: the path of the file.
        data: the content of the file.
        lines: the line of each key and list item, by its path; empty if the data were given in Python.
        written_at: function from a path in `data` to its path in the file; they differ if `data` was
            rearranged.
    """

    name: str
    data: dict[str, YamlValue]
    lines: dict[KeyPath, int]
    written_at: Callable[[KeyPath], KeyPath] = lambda path: path

    @property
    def folder(self) -> Path:
        """The folder of the file; relative paths in the file start here."""
        return Path(self.name).parent

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line of a path, or of its nearest parent that has a line."""
        path = self.written_at(tuple(path))
        ancestors = (path[:length] for length in range(len(path), -1, -1))
        return next((self.lines[ancestor] for ancestor in ancestors if ancestor in self.lines), 1)

    def at(self, path: Sequence[str | int]) -> str:
        """Return where a path is written: `study.yaml:12: search.loss`; without a file, no line."""
        keys = ".".join(map(str, self.written_at(tuple(path))))
        file = f"{self.name}:{self.line(path)}" if self.lines else self.name
        return f"{file}: {keys}" if keys else file


def read_document(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        StudyFileError: the file does not exist, is not YAML, repeats a key, uses an alias or a tag, or has
            no mapping at the top.
    """
    name = str(path)
    if not path.is_file():
        problem = "is a folder, not a study file" if path.is_dir() else "does not exist"
        raise StudyFileError([f"the study file {name!r} {problem}"])
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StudyFileError([f"{name}: a study file should be smaller than 1 MB"])
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError([f"{name}: cannot be read as UTF-8 text: {error}"]) from None
    return parse_document(text, name)


def parse_document(text: str, name: str) -> Document:
    """Return the document that a YAML text of this name holds.

    Raises:
        StudyFileError: as `read_document`.
    """
    try:
        _check_tokens(name, YAML(typ="rt", pure=True).scan(text))
        content = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = ", ".join(str(part).split("\n")[0] for part in (error.context, error.problem) if part)
        raise StudyFileError([f"{name}:{line}: {problem}"]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise StudyFileError([f"{name}: cannot be read as YAML: {str(error).splitlines()[0]}"]) from None
    if not isinstance(content, CommentedMap):
        got = {type(None): "is empty", CommentedSeq: "is a list"}.get(type(content), "is a single value")
        raise StudyFileError([f"{name} {got}; a study file is a mapping that begins with 'version: 1'"])
    document = Document(name, {}, {})
    problems: list[str] = []
    document.data.update(_plain_mapping(content, (), document, problems))
    if problems:
        raise StudyFileError(problems)
    return document


def _check_tokens(name: str, tokens: Iterable[Token]) -> None:
    """Raise StudyFileError for YAML beyond plain data, before the parser builds anything from it.

    A few lines of aliases can stand for gigabytes, a tag can name any type, and `%YAML 1.1` makes `no` false.
    """
    depth = 0
    for token in tokens:
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        problem = ""
        if isinstance(token, (AliasToken, AnchorToken)):
            problem = "anchors and aliases (&, *) are not allowed in a study file; write the value out"
        elif isinstance(token, TagToken):
            problem = "tags (!) are not allowed in a study file; write the plain value"
        elif isinstance(token, DirectiveToken):
            problem = "directives (%) are not allowed in a study file; it is read as YAML 1.2"
        elif isinstance(token, ScalarToken) and token.plain and token.value == "<<":
            problem = "merge keys (<<) are not allowed in a study file; write the keys out"
        elif depth > MAX_DEPTH:
            problem = f"mappings and lists are nested more than {MAX_DEPTH} levels deep"
        if problem:
            raise StudyFileError([f"{name}:{token.start_mark.line + 1}: {problem}"])


def _plain_mapping(
    node: CommentedMap, path: KeyPath, document: Document, problems: list[str]
) -> dict[str, YamlValue]:
    plain: dict[str, YamlValue] = {}
    for key, value in node.items():
        key_path = (*path, str(key))
        document.lines[key_path] = node.lc.key(key)[0] + 1
        if not isinstance(key, str):
            problems.append(f"{document.at(key_path)}: a key should be a text, got {key!r}")
        plain[str(key)] = _plain(value, key_path, document, problems)
    return plain


def _plain(node: Any, path: KeyPath, document: Document, problems: list[str]) -> YamlValue:
    """Return a node as plain data; record the lines of its parts, and the values that are not plain."""
    if isinstance(node, CommentedMap):
        return _plain_mapping(node, path, document, problems)
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            document.lines[(*path, index)] = node.lc.item(index)[0] + 1
        return [_plain(value, (*path, index), document, problems) for index, value in enumerate(node)]
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, str):
        # An escape can write characters that no file name and no UTF-8 file can hold.
        if "\0" in node or any("\ud800" <= letter <= "\udfff" for letter in node):
            problems.append(f"{document.at(path)}: should be a text of whole characters, got {node!r:.40}")
        return str(node)
    for number in (int, float):
        if isinstance(node, number):
            return number(node)
    problems.append(f"{document.at(path)}: should be a text, a number, true, false or null, got {node!s:.40}")
    return None


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
            message: text that says what is wrong and what would be right, without the key.
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
    "multiple_of": "a multiple of {multiple_of}",
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
