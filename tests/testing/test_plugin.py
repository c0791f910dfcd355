"""The two ways into the kit, what it refuses, and its fresh process."""

from __future__ import annotations

import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import siamkit
from siamkit.errors import ComponentError
from siamkit.testing import cases, conformance
from siamkit.testing._suite import CHECKS

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]


class Answers:
    """A pytest plugin that keeps what was collected and how it went."""

    def __init__(self):
        self.outcomes = {}
        self.said = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.skipped:
            name = report.nodeid.rpartition("::")[2]
            self.outcomes[name] = report.outcome
            self.said[name] = str(report.longrepr)


@pytest.fixture
def run_pytest(tmp_path, monkeypatch):
    """Runs pytest inside this process, in an empty folder."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def run(*arguments):
        answers = Answers()
        plugins = [answers]
        code = pytest.main(
            ["-p", "siamkit.testing.plugin", "-p", "no:cacheprovider", "-q", *arguments], plugins=plugins
        )
        return code, answers

    return run


def test_the_command_line_checks_a_component_without_a_file(run_pytest):
    code, answers = run_pytest("--siamkit", "tanimoto", "-k", "shapes or config")
    assert code == 0
    assert answers.outcomes == {"metric-tanimoto-shapes": "passed", "metric-tanimoto-config": "passed"}


def test_the_command_line_checks_a_distribution(run_pytest):
    code, answers = run_pytest("--siamkit-distribution", "siamkit-tanimoto", "-k", "orientation")
    assert (code, answers.outcomes) == (0, {"metric-tanimoto-orientation": "passed"})


def test_the_command_line_says_what_is_wrong(run_pytest, tmp_path, monkeypatch):
    module = textwrap.dedent(
        """
        import siamkit
        from keras import ops

        class Wrong(siamkit.Metric):
            def paired(self, a, b):
                return ops.sum(a - b)
        """
    )
    (tmp_path / "wrong_metric.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    siamkit.register(
        siamkit.MetricSpec(
            name="wrong", factory="wrong_metric:Wrong", orientation="distance", summary="wrong"
        )
    )
    try:
        code, answers = run_pytest("--siamkit", "wrong", "-k", "shapes")
    finally:
        del siamkit.components().metrics._by_qualified["session/wrong"]
    assert code == 1
    assert answers.said["metric-wrong-shapes"] == (
        "the metric 'wrong' should give (8,) for rows, got shape ()"
    )


@pytest.mark.parametrize("arguments", [("--siamkit", "tanimotto"), ("--siamkit-distribution", "nobody")])
def test_an_unknown_name_on_the_command_line_is_a_usage_error(run_pytest, arguments, capfd):
    code, _ = run_pytest(*arguments)
    assert code == pytest.ExitCode.USAGE_ERROR


def test_a_test_file_gets_a_test_for_each_component_and_check():
    test = conformance("cosine", "tanimoto")
    (mark,) = test.pytestmark
    ids = [each.id for each in mark.args[1]]
    assert "metric-cosine-forms_agree" in ids
    assert len(ids) == 2 * len(CHECKS["metric"])


def test_a_loss_is_checked_under_each_supervision():
    ids = [case.id for case in cases("contrastive")]
    assert {"loss-contrastive-labels-shapes", "loss-contrastive-pairs-shapes"} <= set(ids)


def test_an_excused_check_is_skipped_with_its_reason():
    (case,) = [each for each in cases("cosine", excuse={"nan": "not today"}) if each.check.__name__ == "nan"]
    with pytest.raises(pytest.skip.Exception, match="not today"):
        case.run()


def test_fixed_parameters_are_used():
    subject = cases("contrastive", params={"neg_margin": 0.7})[0].subject
    assert subject.make().neg_margin == 0.7
    assert all("neg_margin" not in variant for variant in subject.variants())


def odd(**changes):
    return siamkit.MetricSpec(name="odd", factory="odd:Odd", orientation="distance", **changes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["cosin"], {}), "unknown encoder or metric or loss or dataset 'cosin'; did you mean 'cosine'"),
        ((["angular"], {}), "'angular' is the name of a metric and a loss; say which with kind="),
        ((["cosine"], {"kind": "loss"}), "unknown loss 'cosine'"),
        (
            (["cosine"], {"excuse": {"nans": "…"}}),
            "unknown check 'nans'; did you mean 'nan'",
        ),
        (
            ([odd(needs="weather")], {}),
            "the metric 'odd' needs weather, which the kit cannot make up; give needs=",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_checked_is_refused_in_a_sentence(arguments, words):
    names, options = arguments
    with pytest.raises(ComponentError, match=words) as caught:
        cases(*names, **options)
    assert "\n" not in str(caught.value)


def fresh(spec_or_name, **options):
    (case,) = [c for c in cases(spec_or_name, **options) if c.check.__name__ == "fresh_process"]
    return case.run


def test_a_component_of_this_session_alone_is_skipped_with_the_reason():
    with pytest.raises(pytest.skip.Exception, match="known to this session alone; give plugins="):
        fresh(odd())()


@pytest.mark.parametrize("registered", [True, False])
def test_a_fresh_process_finds_what_a_module_registers(tmp_path, monkeypatch, registered):
    name = f"kit_module_{'registered' if registered else 'unregistered'}"
    decorator = '@keras.saving.register_keras_serializable("kit")' if registered else ""
    source = f"""
import keras
import siamkit
from keras import ops

{decorator}
class Doubled(siamkit.Metric):
    def paired(self, a, b):
        return 2 * ops.sum(ops.square(a - b), axis=-1)

siamkit.register(siamkit.MetricSpec(
    name="{name}", factory="{name}:Doubled", orientation="distance", summary="doubled"))
"""
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    from siamkit.testing import _fresh_process as server_module

    if server_module._server is not None:
        server_module._server.close()  # one that knows this folder
    siamkit.components().load_module(name)
    try:
        check = fresh(name, plugins=[name])
        if registered:
            check()
        else:  # Keras cannot find the class again in safe mode
            with pytest.raises(AssertionError, match="should load in a fresh process, got ModelError"):
                check()
    finally:
        del siamkit.components().metrics._by_qualified[f"session/{name}"]
        del sys.modules[name]


def test_the_plugin_is_found_by_pytest():
    project = tomllib.loads(
        (Path(siamkit.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert project["project"]["entry-points"]["pytest11"] == {"siamkit": "siamkit.testing.plugin"}
