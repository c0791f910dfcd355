"""Each test runs where the page on testing says, and all of them with SIAMKIT_TESTS=all."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import selection
from selection import MAIN, TURNS, chosen, components_on, families

OTHERS = sorted(set(TURNS) - {MAIN})


class Item:
    """A collected test, as far as the selection reads one."""

    def __init__(self, nodeid: str, *marks: Any, **params: Any) -> None:
        self.nodeid = nodeid
        self.marks = {mark.name: mark for mark in marks}
        if params:
            self.callspec = SimpleNamespace(params=params)

    def get_closest_marker(self, name: str) -> Any:
        return self.marks.get(name)


KERAS, ONE = pytest.mark.keras.mark, pytest.mark.one_backend.mark


def names(backend: str, items: list[Item]) -> list[str]:
    return [item.nodeid for item in chosen(backend, items)]


def test_each_family_of_components_is_tested_on_each_backend():
    for backend in TURNS:
        assert {families()[name] for name in components_on(backend)} == set(families().values())


def test_the_first_backend_tests_all_components_and_the_others_different_thirds():
    assert components_on(MAIN) == set(families())
    first, second = (components_on(backend) for backend in OTHERS)
    for here in (first, second):
        assert 1 / 4 < len(here) / len(families()) <= 1 / 2
    for name in first & second:  # on one of them it stands for its family
        family = {other for other in families() if families()[other] == families()[name]}
        assert {name} in (first & family, second & family)


def test_what_does_not_depend_on_the_backend_runs_on_one():
    items = [
        Item("plain"),
        Item("each", KERAS),
        Item("one", KERAS, ONE),
        Item("compiled", KERAS, pytest.mark.one_backend("jax", "tensorflow").mark),
    ]
    assert names("torch", items) == ["plain", "each", "one"]
    assert names("jax", items) == names("tensorflow", items) == ["plain", "each", "compiled"]


def test_a_test_whose_components_all_have_their_turn_elsewhere_runs_for_one_of_them():
    for backend in OTHERS:
        absent = sorted(set(families()) - components_on(backend))[:3]
        items = [Item(f"test[{name}]", KERAS, name=name) for name in absent]
        assert len(names(backend, items)) == 1
        here = sorted(components_on(backend))[0]
        assert names(backend, [*items, Item(f"test[{here}]", KERAS, name=here)]) == [f"test[{here}]"]


def test_half_of_the_cases_of_a_test_and_component_run_on_each_other_backend():
    for name in sorted(families()):
        items = [Item(f"test[{name}-{case}]", KERAS, name=name) for case in range(20)]
        alone, one = Item(f"other[{name}]", KERAS, name=name), Item(f"one[{name}]", KERAS, ONE, name=name)
        items += [alone, one]
        here = {
            backend: {*names(backend, items)} - {alone.nodeid, one.nodeid}
            for backend in OTHERS
            if name in components_on(backend)
        }
        assert all(6 <= len(cases) <= 14 for cases in here.values()), name
        assert len(set().union(*here.values())) == sum(map(len, here.values()))  # none on both
        assert all(alone.nodeid in names(backend, items) for backend in here)
        assert len(names(MAIN, items)) == 22


@pytest.mark.keras
@pytest.mark.one_backend
@pytest.mark.parametrize("kind", ["encoder", "metric", "loss"])
def test_edge_cases_and_jit_of_every_component_run_on_the_first_backend_and_on_one_of_the_others(kind):
    from siamkit.registry.registry import components
    from siamkit.testing import cases

    names = [entry.qualified for entry in components().catalog(kind).all()]
    items = [
        Item(f"kit[{case.id}]", KERAS, case=case, of=name)
        for name in names
        for case in cases(name, kind=kind)
    ]
    assert chosen(MAIN, items) == items
    here = {name: {backend: [] for backend in OTHERS} for name in names}
    for backend in OTHERS:
        for item in chosen(backend, items):
            here[item.callspec.params["of"]][backend].append(item.callspec.params["case"].check.__name__)
    for name, checks in here.items():
        assert sorted(checks.values()) == [[], ["edge_cases", "jit"]], name
    for backend in OTHERS:
        assert sum(bool(checks[backend]) for checks in here.values()) >= len(names) / 4


def test_all_run_on_request(monkeypatch):
    items = [Item("one", KERAS, ONE)]
    config = SimpleNamespace(hook=SimpleNamespace(pytest_deselected=lambda items: None))
    monkeypatch.setattr(selection, "BACKEND", "jax")
    monkeypatch.setattr(selection, "EVERYTHING", True)
    selection.select(config, items)
    assert len(items) == 1
    monkeypatch.setattr(selection, "EVERYTHING", False)
    selection.select(config, items)
    assert items == []


@pytest.mark.parametrize("known", [{"--a=1", "--b=2"}, {"--b=2"}, set()])
def test_each_flag_is_set_where_xla_knows_it(monkeypatch, known):
    def probe(command, env, **_options):
        return SimpleNamespace(returncode=int(not {*env["XLA_FLAGS"].split()} <= known))

    monkeypatch.setattr(subprocess, "run", probe)
    assert {*selection.known_xla_flags("--a=1", "--b=2").split()} == known


@pytest.mark.skipif(selection.EVERYTHING, reason="make nightly leaves TensorFlow as it is")
def test_the_process_of_the_tests_hides_tensorflow_as_the_processes_of_tests_do():
    assert "OtherBackend" in {type(finder).__name__ for finder in sys.meta_path}
