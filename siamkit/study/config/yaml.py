"""Reads YAML 1.2 as plain data, with the line of every key, and nothing that could surprise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

from siamkit.errors import StudyFileError

LARGEST = 1_000_000  # bytes; a study file has a few hundred
DEEPEST = 100  # mappings and lists within each other; a study file has six

_OPEN = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data.

    Args:
        name: the file's name, for messages.
        data: dicts, lists, texts, numbers, booleans and None.
        lines: the line of each key and item, by its path.
    """

    name: str
    data: dict[str, Any]
    lines: dict[Path_, int]

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a path, or of its nearest parent that has one."""
        path = tuple(path)
        return next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), 1)

    def at(self, path: Sequence[str | int]) -> str:
        """Where a path stands: `study.yaml:12: search.loss`."""
        where = ".".join(str(part) for part in path)
        return f"{self.name}:{self.line(path)}: {where}" if where else f"{self.name}:{self.line(path)}"


def read_document(path: Path) -> Document:
    """Reads a study file.

    Raises:
        StudyFileError: no such file, no YAML, a key twice, an alias, a tag, or no mapping at the top.
    """
    name = str(path)
    if not path.is_file():
        kind = "is a folder, not a study file" if path.is_dir() else "does not exist"
        raise StudyFileError([f"the study file {name!r} {kind}"])
    try:
        if path.stat().st_size > LARGEST:
            raise StudyFileError([f"{name}: a study file has less than a megabyte"])
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError([f"{name}: cannot be read as UTF-8 text: {error}"]) from None
    try:
        _check_tokens(name, YAML(typ="rt", pure=True).scan(text))
        loaded = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = ", ".join(str(part).split("\n")[0] for part in (error.context, error.problem) if part)
        raise StudyFileError([f"{name}:{line}: {problem}"]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise StudyFileError([f"{name}: cannot be read as YAML: {str(error).splitlines()[0]}"]) from None
    if not isinstance(loaded, CommentedMap):
        what = {type(None): "is empty", CommentedSeq: "is a list"}.get(type(loaded), "is a single value")
        raise StudyFileError([f"{name} {what}; a study file is a mapping that begins with 'version: 1'"])
    document = Document(name, {}, {})
    problems: list[str] = []
    document.data.update(_plain(loaded, (), document, problems))
    if problems:
        raise StudyFileError(problems)
    return document


def _check_tokens(name: str, tokens: Iterable[Token]) -> None:
    """Refuses what YAML has beyond plain data, before anything is composed of it.

    A few lines of aliases can stand for gigabytes, a tag can name any type, and `%YAML 1.1` makes `no` false.
    """
    depth = 0
    for token in tokens:
        depth += isinstance(token, _OPEN) - isinstance(
            token, (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)
        )
        refused = ""
        if isinstance(token, (AliasToken, AnchorToken)):
            refused = "anchors and aliases (&, *) are not allowed in a study file; write the value out"
        elif isinstance(token, TagToken):
            refused = "tags (!) are not allowed in a study file; write the plain value"
        elif isinstance(token, DirectiveToken):
            refused = "directives (%) are not allowed in a study file; it is read as YAML 1.2"
        elif isinstance(token, ScalarToken) and token.plain and token.value == "<<":
            refused = "merge keys (<<) are not allowed in a study file; write the keys out"
        elif depth > DEEPEST:
            refused = f"mappings and lists go deeper than {DEEPEST} levels"
        if refused:
            raise StudyFileError([f"{name}:{token.start_mark.line + 1}: {refused}"])


def _plain(node: Any, path: Path_, document: Document, problems: list[str]) -> Any:
    """The node as plain data; notes the lines of its parts, and what is no plain data."""
    if isinstance(node, CommentedMap):
        plain: dict[str, Any] = {}
        for key, value in node.items():
            here = (*path, str(key))
            document.lines[here] = node.lc.key(key)[0] + 1
            if not isinstance(key, str):
                problems.append(f"{document.at(here)}: a key should be a text, got {key!r}")
            plain[str(key)] = _plain(value, here, document, problems)
        return plain
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            document.lines[(*path, index)] = node.lc.item(index)[0] + 1
        return [_plain(value, (*path, index), document, problems) for index, value in enumerate(node)]
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, str):
        # An escape can make what no file name and no UTF-8 file may hold.
        if "\0" in node or any("\ud800" <= letter <= "\udfff" for letter in node):
            problems.append(f"{document.at(path)}: should be a text of whole characters, got {node!r:.40}")
        return str(node)
    for kind in (int, float):
        if isinstance(node, kind):
            return kind(node)
    problems.append(f"{document.at(path)}: should be a text, a number, true, false or null, got {node!s:.40}")
    return None
