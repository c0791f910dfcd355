"""An argument of a command is used or refused, never ignored."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from siamkit.cli import main
from siamkit.cli._terminal import Option
from siamkit.comparison import compare
from siamkit.errors import DataError

ROWS = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
LABELS = np.repeat(np.arange(6), 4)


def commands() -> dict[str, click.Command]:
    context = click.Context(main)
    return {name: main.get_command(context, name) for name in main.list_commands(context)}  # type: ignore[misc]


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def parameters() -> list[Any]:
    return [
        pytest.param(command, option, id=f"{name} {option.opts[-1]}")
        for name, command in commands().items()
        for option in command.params
    ]


@pytest.mark.parametrize(("command", "parameter"), parameters())
def test_every_parameter_is_read(command: click.Command, parameter: click.Parameter) -> None:
    source = inspect.getsource(inspect.unwrap(command.callback))  # type: ignore[arg-type]
    body = source.partition(") -> None:")[2]
    assert "**options" in source or re.search(rf"\b{parameter.name}\b", body)


def dependent() -> list[Any]:
    found = []
    for name, command in commands().items():
        for option in command.params:
            if isinstance(option, Option):
                found += [pytest.param(name, option, other, False, id=f"{name} {option.name} {other}")
                          for other in option.unused_with]  # fmt: skip
                if option.needs:
                    found.append(pytest.param(name, option, option.needs, True, id=f"{name} {option.name}"))
    return found


@pytest.mark.parametrize(("name", "option", "other", "needed"), dependent())
def test_an_option_without_effect_is_refused(name: str, option: Option, other: str, needed: bool) -> None:
    others = {flag: each for each in commands()[name].params for flag in each.opts}
    assert other.split()[0] in others  # a declaration that names no option would never refuse

    def with_value(each: Any) -> list[str]:
        value = each.type.choices[0] if isinstance(each.type, click.Choice) else "x"
        return [each.opts[-1]] if each.is_flag else [each.opts[-1], str(value)]

    given = with_value(option) + ([] if needed else with_value(others[other]))
    result = invoke(name, "anything", *given)
    assert result.exit_code == 2, result.output
    flag = option.opts[-1]
    message = (
        f"{flag} needs {other}" if needed else f"{flag} has no effect with {other}; leave one of them out"
    )
    assert f"Error: {message}" in result.stderr


def test_options_that_depend_on_others_are_declared() -> None:
    assert {param.values[0] for param in dependent()} == {"best", "evaluate"}  # the test above is not empty


# ---------------------------------------------------------------- what MODEL is decides


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    np.savez(tmp_path / "vectors.npz", x=ROWS, y=LABELS)
    return tmp_path / "vectors.npz"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["other.csv"], "the data 'other.csv'"),
        (["--source", "digits"], "the source 'digits'"),
        (["--columns", "a, b"], "the columns 'a, b'"),
        (["--label", "kind"], "the column of labels 'kind'"),
    ],
)
def test_what_only_a_model_uses_is_refused_without_one(
    vectors: Path, tmp_path: Path, arguments: list[str], what: str
) -> None:
    result = invoke("evaluate", vectors, *arguments)
    assert result.exit_code == 2
    assert f"contains embeddings and has its own items, so {what} would be ignored" in result.stderr
    for study in (f"{tmp_path}/study.yaml#best", f"{tmp_path}/study.yaml#14"):
        result = invoke("evaluate", study, *arguments)
        assert result.exit_code == 2
        assert f"{study!r} is a trial and has its own items, so {what} would be ignored" in result.stderr


def test_a_threshold_without_verification_is_refused(vectors: Path) -> None:
    result = invoke("evaluate", vectors, "--group", "geometry", "--threshold", "f1")
    assert result.exit_code == 2
    assert "a threshold belongs to the group verification, and the groups are geometry" in result.stderr


def test_compare_refuses_what_it_would_ignore(vectors: Path) -> None:
    from siamkit.comparison import EmbeddingSet

    own = EmbeddingSet("own", ROWS, LABELS, None, "euclidean")
    other = EmbeddingSet("other", ROWS[:, :2], LABELS, None, "euclidean")
    with pytest.raises(DataError, match=r"own metric, so the metric 'cosine' would be ignored"):
        compare(own, other, metric="cosine")
    with pytest.raises(DataError, match=r"there are 3 names for 2 embeddings"):
        compare(own, other, names=["a", "b", "c"])
    with pytest.raises(DataError, match=r"own items, so the data 'other.csv' would be ignored"):
        compare(own, other, data="other.csv", items=["text"] * 24)
    assert compare(own, vectors, metric="cosine", measures=["recall_at_1"]).names == ("own", "vectors")


def test_the_own_threshold_does_not_outlive_the_own_metric(vectors: Path) -> None:
    from siamkit.comparison import EmbeddingSet

    own = EmbeddingSet("own", ROWS, LABELS, None, "euclidean", threshold=0.25).compared_by("cosine")
    assert own.threshold is None
    assert own.notes == ("own: its threshold 0.25 is of its own metric, so it is left out.",)
