"""Study files checked whole: every problem at once, each on its line, each one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from siamkit.errors import StudyFileError
from siamkit.registry.registry import components
from siamkit.study.config.load import ResolvedStudy, load_study
from siamkit.study.config.schema import Data, StudyConfig, json_schema

ROOT = Path(__file__).parents[3]
SHIPPED = sorted([*ROOT.glob("docs/examples/*.yaml"), *ROOT.glob("docs/studies/*.yaml")])

GOOD = """\
version: 1
name: tiny
seed: 3
data: {source: digits, split: {by: class, train: 0.5, valid: 0.2, test: 0.3}, limit: {train: 200}}
fixed: {batch_size: 32, epochs: 2}
search:
  encoder: {mlp: {depth: 1, width: 16}}
  metric: [euclidean, cosine]
  loss: [contrastive, {triplet: {mining: all}}]
  embedding_dim: {low: 4, high: 16}
budget: {trials: 3}
confirm: {top: 2, seeds: 2}
"""

Load = Callable[..., ResolvedStudy]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads the good file with parts of it replaced."""

    def loader(*changes: tuple[str, str]) -> ResolvedStudy:
        text = GOOD
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (tmp_path / "study.yaml").write_text(text)
        return load_study(tmp_path / "study.yaml")

    return loader


def problems(load: Load, *changes: tuple[str, str]) -> list[str]:
    with pytest.raises(StudyFileError) as caught:
        load(*changes)
    found = [problem.partition("study.yaml:")[2] for problem in caught.value.problems]
    for problem in found:
        assert "\n" not in problem
        for jargon in ("pydantic", "literal[", "dict[", "function-", "constrained", "Input should", "extra_"):
            assert jargon not in problem, problem
    return found


def test_a_right_file_is_read_with_its_defaults(load: Load, tmp_path: Path) -> None:
    study = load()
    assert (study.config.name, study.config.seed, study.config.seeds, study.config.fixed.epochs) == (
        "tiny",
        3,
        1,
        2,
    )
    assert study.folder == (tmp_path / "runs" / "tiny").resolve()
    assert study.source.entry.qualified == "siamkit/digits"
    assert study.objectives(study.load_data()) == {"map_at_r": "maximize"}


def test_durations_and_sizes_are_read(load: Load) -> None:
    budget = load(
        ("budget: {trials: 3}", "budget: {trials: 3, time: 1h30m, trial_time: 90s, trial_memory: 1.5GB}")
    ).config.budget
    assert (budget.time, budget.trial_time, budget.trial_memory) == (5400, 90, 1_500_000_000)


LAST = "confirm: {top: 2, seeds: 2}"
ENCODER = "{mlp: {depth: 1, width: 16}}"
LOSSES = "[contrastive, {triplet: {mining: all}}]"
DIM = "{low: 4, high: 16}"
DIM_LINE = f"embedding_dim: {DIM}"


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        # unknown keys, at every level
        ("name: tiny", "nmae: tiny", 2, "nmae: unknown key 'nmae'; did you mean 'name'?"),
        ("source: digits", "sorce: digits", 4, "data.sorce: unknown key 'sorce'; did you mean 'source'?"),
        ("train: 0.5", "trian: 0.5", 4, "data.split.trian: unknown key 'trian'; did you mean 'train'?"),
        ("limit: {train", "limit: {tarin", 4, "data.limit.tarin: unknown key 'tarin'; did you mean 'train'?"),
        ("epochs: 2", "epoch: 2", 5, "fixed.epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        ("  metric:", "  metrics:", 8, "search.metrics: unknown key 'metrics'; did you mean 'metric'?"),
        (
            "embedding_dim",
            '"a:b"',
            10,
            "search.a:b: unknown key 'a:b'; choose from augment, batch_size, clip_norm, data",
        ),
        (
            "budget: {trials",
            "budget: {trails",
            11,
            "budget.trails: unknown key 'trails'; did you mean 'trials'?",
        ),
        ("confirm: {top", "confirm: {tpo", 12, "confirm.tpo: unknown key 'tpo'; did you mean 'top'?"),
        # missing keys stand on the line of their parent
        ("version: 1\n", "", 1, "version: 'version' is missing"),
        ("search:\n", "searhc:\n", 1, "search: 'search' is missing"),
        # wrong types and values
        ("version: 1", "version: 2", 1, "version: should be 1, got 2"),
        ("version: 1", "version: true", 1, "version: should be 1, got"),
        ("name: tiny", "name: 5", 2, "name: should be a text, got 5"),
        ("name: tiny", "name: ../up", 2, "name: should be made of letters, digits"),
        ("seed: 3", "seed: true", 3, "seed: should be a whole number, got True"),
        ("seed: 3", "seed: yes", 3, "seed: should be a whole number, got 'yes'"),
        ("seed: 3", "seed: 1.5", 3, "seed: should be a whole number, got 1.5"),
        ("seed: 3", "seed: -1", 3, "seed: should be at least 0, got -1"),
        ("source: digits", "source: 5", 4, "data.source: should be the name of a dataset"),
        ("source: digits", "source: {a: 1, b: 2}", 4, "data.source: should be the name of a dataset"),
        (
            "source: digits",
            "source: {digits: {x: 1}}",
            4,
            "data.source.digits.x: the dataset 'digits' has no parameter 'x'",
        ),
        ("source: digits, ", "", 4, "data: should name a source (a dataset) or a path (a file or folder)"),
        (
            "source: digits",
            "path: nowhere",
            4,
            "data.path: 'nowhere' does not exist",
        ),
        (
            "train: 0.5",
            "train: 2",
            4,
            "data.split.train: should be a fraction above 0 and at most 1, or a list",
        ),
        (
            "train: 0.5",
            "train: yes",
            4,
            "data.split.train: should be a fraction above 0 and at most 1, or a list",
        ),
        (
            "by: class",
            "by: {side: middle}",
            4,
            "data.split.by: should be item, class, components, {side: left}, {side: right} or a column's "
            "name, got {'side': 'middle'}",
        ),
        ("by: class", "by: 3", 4, "data.split.by: should be item, class, components, {side: left}"),
        (
            "source: digits, ",
            "source: digits, min_items_per_class: 1, ",
            4,
            "data.min_items_per_class: should be at least 2, got 1",
        ),
        (
            "source: digits, ",
            "source: digits, text: {dropout: 1.5}, ",
            4,
            "data.text.dropout: should be below 1",
        ),
        (
            "source: digits, ",
            "source: digits, text: {lenght: 5}, ",
            4,
            "data.text.lenght: unknown key 'lenght'; did you mean 'max_length'?",
        ),
        ("train: 200", "train: 0", 4, "data.limit.train: should be at least 1, got 0"),
        ("epochs: 2", "learning_rate: .inf", 5, "fixed.learning_rate: should be a finite number, got inf"),
        ("epochs: 2", "optimizer: adma", 5, "fixed.optimizer: should be 'adam',"),
        (
            "budget: {trials: 3}",
            "budget: {time: 1:30}",
            11,
            "budget.time: should be a duration such as 90s, 20m, 2h or 1h30m, got '1:30'",
        ),
        ("budget: {trials: 3}", "budget: {time: 90}", 11, "budget.time: should be a duration"),
        (
            "budget: {trials: 3}",
            "budget: {trial_memory: 8}",
            11,
            "budget.trial_memory: should be a size such as 500MB or 8GB, got 8",
        ),
        ("budget: {trials: 3}", "budget: 3", 11, "budget: should be a mapping, got 3"),
        (LAST, "workers: true", 12, "workers: should be auto or a whole number from 1 to 10000, got True"),
        (LAST, "backend: mxnet", 12, "backend: should be 'tensorflow', 'torch' or 'jax', got 'mxnet'"),
        (LAST, "plugins: one", 12, "plugins: should be a list, got 'one'"),
        # the search space
        ("{mlp:", "{mpl:", 7, "search.encoder.mpl: unknown encoder 'mpl'; did you mean 'mlp'?"),
        (
            "source: digits",
            "source: digit",
            4,
            "data.source: unknown dataset 'digit'; did you mean 'digits'?",
        ),
        (
            "depth: 1",
            "dept: 1",
            7,
            "search.encoder.mlp.dept: encoder 'mlp' has no parameter 'dept'; did you mean 'depth'?",
        ),
        ("depth: 1", "depth: true", 7, "search.encoder.mlp.depth: should be a whole number, got True"),
        (
            "depth: 1",
            "depth: {low: 3, high: 1}",
            7,
            "search.encoder.mlp.depth: low should be below high, got 3 and 1",
        ),
        (
            "depth: 1",
            "depth: {low: 0, high: 3, log: true}",
            7,
            "search.encoder.mlp.depth.low: a log range starts above 0, got 0",
        ),
        ("depth: 1", "depth: {low: 1}", 7, "search.encoder.mlp.depth: a range needs both low and high"),
        (
            "depth: 1",
            "depth: {low: 1, hihg: 2}",
            7,
            "search.encoder.mlp.depth.hihg: a range has low, high and log; did you mean 'high'?",
        ),
        ("depth: 1", "depth: []", 7, "search.encoder.mlp.depth: should list at least one value"),
        ("depth: 1", "depth: [1, 1]", 7, "search.encoder.mlp.depth: lists a value twice"),
        ("mining: all", "mining: {low: 1, high: 2}", 9, "search.loss.1.triplet.mining: cannot be a range"),
        (
            "mining: all",
            "mining: [all, easy]",
            9,
            "search.loss.1.triplet.mining.1: should be one of all, hard, semihard, easy_positive",
        ),
        (
            "mining: all",
            "margin: 1:30",
            9,
            "search.loss.1.triplet.margin: should be a finite number, got '1:30'",
        ),
        (
            DIM,
            "{low: 4, high: 16, log: yes}",
            10,
            "search.embedding_dim.log: should be true or false, got 'yes'",
        ),
        (
            "embedding_dim: " + DIM,
            "normalize: yes",
            10,
            "search.normalize: should be true or false, got 'yes'",
        ),
        (
            "[euclidean, cosine]",
            "[euclidean, siamkit/euclidean]",
            8,
            "search.metric.1: 'siamkit/euclidean' is listed twice",
        ),
        ("[euclidean, cosine]", "[]", 8, "search.metric: should name at least one metric, got an empty list"),
        ("[euclidean, cosine]", "[euclidean, 5]", 8, "search.metric.1: should be the name of a metric"),
        (ENCODER, "null", 7, "search.encoder: should be the name of an encoder"),
        ("epochs: 2", "embedding_dim: 3", 10, "search.embedding_dim: is both fixed and searched"),
        # the data as a factor
        (DIM_LINE, "data: 3", 10, "search.data: should be a mapping, got 3"),
        (
            DIM_LINE,
            "data: {label_nose: 0.2}",
            10,
            "search.data.label_nose: unknown key 'label_nose'; did you mean 'label_noise'?",
        ),
        (
            DIM_LINE,
            "data: {label_noise: [0, 1.5]}",
            10,
            "search.data.label_noise.1: should be from 0 to 1, got 1.5",
        ),
        (DIM_LINE, "data: {label_noise: []}", 10, "search.data.label_noise: should list at least one value"),
        (
            DIM_LINE,
            "data: {items_per_class: {low: 1, high: 9}}",
            10,
            "search.data.items_per_class.low: should be at least 2, got 1",
        ),
        (
            DIM_LINE,
            "data: {items_per_class: {low: null, high: 9}}",
            10,
            "search.data.items_per_class.low: should be a number, got None",
        ),
        (
            DIM_LINE,
            "data: {items_per_class: 2.5}",
            10,
            "search.data.items_per_class: should be a whole number",
        ),
        (DIM_LINE, "data: {num_classes: 1}", 10, "search.data.num_classes: should be at least 2, got 1"),
        (DIM_LINE, "data: {imbalance: 0.5}", 10, "search.data.imbalance: should be at least 1, got 0.5"),
        (
            DIM_LINE,
            "data: {corruption: [none, noise]}",
            10,
            "search.data.corruption.1: should be none, or a kind with its severity from 1 to 5 such as "
            "noise_3 (kinds: noise, impulse, blur, contrast, occlusion), got 'noise'",
        ),
        (
            DIM_LINE,
            "data: {corruption: {low: 1, high: 2}}",
            10,
            "search.data.corruption: cannot be a range; give a value or a list of values",
        ),
        # what does not fit together
        (
            LOSSES,
            "cosine_mse",
            8,
            "search.metric: the metric 'euclidean' fits none of the listed losses (cosine_mse)",
        ),
        # objectives and plugins
        (
            LAST,
            "objectives: {map_at: maximize}",
            12,
            "objectives.map_at: unknown measure 'map_at'; did you mean 'map_at_r'",
        ),
        (
            LAST,
            "objectives: {eer: maximize}",
            12,
            "objectives.eer: lower values of eer are better; write minimize",
        ),
        (
            LAST,
            "objectives: {map_at_r: minimize}",
            12,
            "objectives.map_at_r: higher values of map_at_r are better; write maximize",
        ),
        (LAST, "objectives: {eer: up}", 12, "objectives.eer: should be 'maximize' or 'minimize', got 'up'"),
        (
            LAST,
            "plugins: [no_such_module]",
            12,
            "plugins.0: the plugin module 'no_such_module' cannot be imported: ModuleNotFoundError",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(
    load: Load, old: str, new: str, line: int, sentence: str
) -> None:
    found = problems(load, (old, new))
    assert any(problem.startswith(f"{line}: {sentence}") for problem in found), found


def test_a_loss_that_fits_no_metric_is_refused_on_both_lines(load: Load) -> None:
    assert problems(load, (LOSSES, "cosine_mse"), ("[euclidean, cosine]", "euclidean")) == [
        "8: search.metric: the metric 'euclidean' fits none of the listed losses (cosine_mse)",
        "9: search.loss: the loss 'cosine_mse' fits none of the metrics (euclidean): it needs a similarity, "
        "but the metric 'euclidean' is a distance",
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "trials: 3",
            "trials: 99999999999999999999",
            "budget.trials: should be at most 10000000",
        ),
        ("trials: 3", "trials: 3, time: 0s", "budget.time: should be longer than 0s and at most 3650d"),
        ("trials: 3", "trials: 3, trial_time: 99999999999h", "budget.trial_time: should be longer than 0s"),
        ("trials: 3", "trials: 3, trial_memory: 0GB", "budget.trial_memory: should be more than 0"),
        (
            LAST,
            "resources: {gpus: 1.5}",
            "resources.gpus: should be a fraction of one accelerator",
        ),
        (LAST, "resources: {gpus: .inf}", "resources.gpus: "),
        (LAST, "resources: {cpus: 99999999999}", "resources.cpus: should be at most 10000"),
        (LAST, "seeds: 100000000000", "seeds: should be at most 10000"),
        (LAST, 'artifacts: ""', "artifacts: "),
        (LAST, f"artifacts: {'y' * 256}", "artifacts: has the name of a folder longer than 255 bytes"),
    ],
)
def test_a_value_that_can_never_work_is_refused(load: Load, old: str, new: str, sentence: str) -> None:
    (problem,) = problems(load, (old, new))
    assert sentence in problem


def test_all_problems_are_told_at_once_in_the_order_of_lines(load: Load) -> None:
    found = problems(
        load,
        ("seed: 3", "seed: no"),
        ("epochs: 2", "epoch: 2"),
        ("{mlp:", "{mpl:"),
        ("mining: all", "mining: easy"),
        ("budget: {trials: 3}", "budget: {trials: 0}"),
        (LAST, "objectives: {best: maximize}"),
        ("version: 1", "version: 3"),
    )
    assert [int(problem.partition(":")[0]) for problem in found] == [1, 3, 5, 7, 9, 11, 12]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            [(LOSSES, "cosine_mse"), ("[euclidean, cosine]", "cosine")],
            "9: search.loss: the loss 'cosine_mse' learns from scores, but the data give labels "
            "(which feed labels, pairs, triplets, views); ",
        ),
        (
            [(ENCODER, "lstm")],
            "7: search.encoder: the encoder 'lstm' takes tokens or text, but the data are image; linear, ",
        ),
        (
            [
                (ENCODER, "linear_lda"),
                ("source: digits", "source: digits, labelled_share: 0"),
                (LOSSES, "vicreg"),
                ("epochs: 2", "epochs: 2, augment: light"),
            ],
            "7: search.encoder: the encoder 'linear_lda' needs training_labels, but the data give views, not "
            "labels",
        ),
        (
            [(LAST, "objectives: {spearman: maximize}")],
            "12: objectives.spearman: cannot be computed on data with labels; choose from recall_at_1",
        ),
    ],
)
def test_what_does_not_suit_the_data_is_refused(
    load: Load, changes: list[tuple[str, str]], sentence: str
) -> None:
    study = load(*changes)
    with pytest.raises(StudyFileError) as caught:
        study.load_data()
    (problem,) = caught.value.problems
    assert problem.partition("study.yaml:")[2].startswith(sentence)


PAIRS = {"a": np.zeros((4, 2)), "b": np.ones((4, 2)), "y": np.array([0, 1, 1, 0])}
SCORES = {**PAIRS, "y": np.array([0.1, 0.4, 0.3, 0.9])}
VECTORS = {"x": np.zeros((4, 2)), "y": np.array([0, 0, 1, 1])}


@pytest.mark.parametrize(
    ("arrays", "factor", "sentence"),
    [
        (
            PAIRS,
            "items_per_class: 5",
            "search.data.items_per_class: needs classes, but the data give pairs; label_noise can be varied",
        ),
        (PAIRS, "num_classes: [2, 3]", "search.data.num_classes: needs classes, but the data give pairs"),
        (PAIRS, "imbalance: 3", "search.data.imbalance: needs classes, but the data give pairs"),
        (
            SCORES,
            "label_noise: {low: 0, high: 0.5}",
            "search.data.label_noise: needs labels, but the data give scores; no factor of such data can "
            "be varied",
        ),
        (
            VECTORS,
            "corruption: [none, blur_2]",
            "search.data.corruption: applies to images, but the data are vector; label_noise, ",
        ),
    ],
)
def test_a_factor_that_the_data_do_not_have_is_refused_on_its_line(
    load: Load, tmp_path: Path, arrays: dict[str, Any], factor: str, sentence: str
) -> None:
    np.savez(tmp_path / "items.npz", **arrays)
    loss = "cosine_mse" if arrays is SCORES else "contrastive"
    study = load(
        ("source: digits", "path: items.npz"),
        (DIM_LINE, f"data:\n    {factor}"),
        (LOSSES, loss),
        ("[euclidean, cosine]", "cosine"),
    )
    with pytest.raises(StudyFileError) as caught:
        study.load_data()
    (problem,) = caught.value.problems
    assert problem.partition("study.yaml:")[2].startswith(f"11: {sentence}")


def test_a_factor_that_the_data_have_is_taken(load: Load, tmp_path: Path) -> None:
    np.savez(tmp_path / "items.npz", **PAIRS)
    pairs = load(
        ("source: digits", "path: items.npz"),
        (DIM_LINE, "data: {label_noise: [0, 0.3]}"),
        (LOSSES, "contrastive"),
    )
    assert len(pairs.load_data()) == 4
    everything = (
        "data: {label_noise: 0.1, items_per_class: [5, null], num_classes: {low: 2, high: 4}, imbalance: 2, "
        "corruption: occlusion_5}"
    )
    assert len(load((DIM_LINE, everything)).load_data()) == 1797


def test_paths_are_relative_to_the_file(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "items.npz", x=np.eye(6, dtype=np.float32), y=[0, 0, 1, 1, 2, 2])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    study = load(("source: digits", "path: items.npz"), (LAST, "artifacts: out/here"))
    assert len(study.load_data()) == 6
    assert study.folder == (tmp_path / "out" / "here").resolve()


def test_modules_next_to_the_file_are_found_and_the_import_path_stays_as_it_was(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "own_specs.py").write_text(
        "import own_names\nimport siamkit\nsiamkit.register(siamkit.LossSpec(name=own_names.LOSS, "
        "factory='own_factories:make', supervision='labels'))\n"
    )
    (tmp_path / "own_names.py").write_text("LOSS = 'own'\n")
    (tmp_path / "own_factories.py").write_text("def make(): return 'made'\n")
    before = list(sys.path)
    try:
        study = load((LAST, "plugins: [own_specs]"), (LOSSES, "own"))
        assert sys.path == before
        # The factory is in another module, which is imported when the component is first made.
        assert study.space.loss.alternatives["own"].entry.factory()() == "made"
        assert sys.path == before
    finally:
        components().losses._by_qualified.pop("session/own", None)
        for module in ("own_specs", "own_names", "own_factories"):
            sys.modules.pop(module, None)


def test_a_module_next_to_the_file_never_hides_an_installed_one(load: Load, tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("raise AssertionError('imported')\n")
    load((LAST, "plugins: [colorsys]"))


# ------------------------------------------------------------------ the JSON Schema


def fits(schema: Any, value: Any, root: Any) -> bool:
    """Whether a value fits a schema: the little of JSON Schema that ours uses."""
    if "$ref" in schema:
        return fits(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in schema:
        return any(fits(each, value, root) for each in schema["anyOf"])
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "integer": int,
        "number": (int, float),
    }
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else wanted
    if names and not any(
        isinstance(value, kinds[n]) and (n == "boolean" or not isinstance(value, bool))  # type: ignore[arg-type]
        for n in names
    ):
        return False
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not set(schema.get("required", ())) <= set(value):
            return False
        for key, each in value.items():
            inner = known.get(key, rest)
            if inner is False or (isinstance(inner, dict) and not fits(inner, each, root)):
                return False
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list) and len(value) < schema.get("minItems", 0):
        return False
    if isinstance(value, list) and schema.get("uniqueItems") and len(set(map(repr, value))) < len(value):
        return False
    if isinstance(value, list) and "items" in schema:
        return all(fits(schema["items"], each, root) for each in value)
    return True


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_studies_are_right_and_fit_the_schema(path: Path) -> None:
    schema = json_schema()
    data = YAML(typ="safe", pure=True).load(path.read_text())
    assert fits(schema, data, schema)
    assert load_study(path).config.name == data["name"]


def test_the_schema_refuses_what_the_study_file_refuses() -> None:
    schema = json_schema()
    data = YAML(typ="safe", pure=True).load(GOOD)
    assert fits(schema, data, schema)
    for wrong in (
        {"unknown": 1},
        {"seed": "yes"},
        {"version": 2},
        {"budget": 3},
        {"backend": "mxnet"},
        {"budget": {"time": 90}},
        {"search": {}},
        {"workers": "many"},
    ):
        assert not fits(schema, {**data, **wrong}, schema), wrong


@pytest.mark.parametrize(
    ("factor", "right"),
    [
        ("label_noise: 0.2", True),
        ("label_noise: [0, 0.5, 1]", True),
        ("label_noise: {low: 0, high: 1}", True),
        ("label_noise: null", True),
        ("label_noise: 1.1", False),
        ("label_noise: [null]", False),
        ("label_noise: [0.1, 0.1]", False),
        ("label_noise: []", False),
        ("label_noise: true", False),
        ("label_noise: {low: -0.1, high: 1}", False),
        ("label_noise: {low: 0, high: 1, step: 0.1}", False),
        ("items_per_class: [2, null]", True),
        ("items_per_class: {low: 2, high: 64, log: true}", True),
        ("items_per_class: {low: 2.5, high: 64}", False),
        ("items_per_class: {low: null, high: 64}", False),
        ("items_per_class: 1", False),
        ("num_classes: 2", True),
        ("num_classes: many", False),
        ("imbalance: [1, 10, 100]", True),
        ("imbalance: 0", False),
        ("imbalance: {low: 1}", False),
        ("corruption: none", True),
        ("corruption: [none, noise_1, occlusion_5]", True),
        ("corruption: noise_0", False),
        ("corruption: {noise: 3}", False),
        ("corruption: {low: 1, high: 3}", False),
        ("fog: 1", False),
    ],
)
def test_the_schema_takes_of_the_data_what_the_study_file_takes(load: Load, factor: str, right: bool) -> None:
    change = (DIM_LINE, f"data: {{{factor}}}")
    schema = json_schema()
    assert fits(schema, YAML(typ="safe", pure=True).load(GOOD.replace(*change)), schema) == right
    if right:
        load(change)
    else:
        assert problems(load, change)


@pytest.mark.parametrize(
    ("augment", "right"),
    [
        ("light", True),
        ("null", True),
        ("[none, light, strong]", True),
        ("flip", True),
        ("{crop: {padding: {low: 0.05, high: 0.2}}, flip: null}", True),
        ("[none, {crop: {padding: [0.1, 0.2]}, rotate: {}}]", True),
        ("[]", False),
        ("3", False),
        ("{crop: 3}", False),
        ("[[light]]", False),
    ],
)
def test_the_schema_takes_the_augmentations_that_the_study_file_takes(
    load: Load, augment: str, right: bool
) -> None:
    change = (DIM_LINE, f"augment: {augment}")
    schema = json_schema()
    assert fits(schema, YAML(typ="safe", pure=True).load(GOOD.replace(*change)), schema) == right
    if right:
        load(change)
    else:
        assert problems(load, change)


FIXED = "fixed: {batch_size: 32, epochs: 2}"


def augmented(fixed: str) -> tuple[str, str]:
    return FIXED, f"fixed: {{batch_size: 32, epochs: 2, augment: {fixed}}}"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            (DIM_LINE, "augment: flop"),
            "10: search.augment: unknown augmentation 'flop'; did you mean 'flip'?",
        ),
        (
            (DIM_LINE, "augment: [none, {crop: {pad: 1}}]"),
            "10: search.augment.1.crop.pad: augmentation 'crop' has no parameter 'pad'; did you mean 'padd",
        ),
        (
            (DIM_LINE, "augment: {crop: {padding: 2}}"),
            "10: search.augment.crop.padding: should be from 0 to 1, got 2",
        ),
        (
            (DIM_LINE, "augment: [flip, {flip: null}]"),
            "10: search.augment.1: 'flip' is listed twice; list it once, with all its parameters",
        ),
        (
            (DIM_LINE, "augment: {light: {}}"),
            "10: search.augment.light: unknown augmentation 'light'; choose from brightness",
        ),
        (
            (DIM_LINE, "augment: [4]"),
            "10: search.augment.0: should be none, light, strong, an augmentation, or {augmentation: ",
        ),
        ((DIM_LINE, "augment: {}"), "10: search.augment: should be none, light, strong, an augmentation, or"),
        (
            augmented("[none, light]"),
            "5: fixed.augment: should be one augmentation; write a list under `search:`, not under `fixed:`",
        ),
        (
            augmented("{crop: {padding: [0.1, 0.2]}}"),
            "5: fixed.augment.crop.padding: should be one value; write what to search under `search:`",
        ),
    ],
)
def test_augmentations_that_do_not_exist_are_refused_on_their_line(
    load: Load, change: tuple[str, str], sentence: str
) -> None:
    (told,) = problems(load, change)
    assert told.startswith(sentence)


def test_augmentation_is_fixed_or_searched_not_both(load: Load) -> None:
    (told,) = problems(load, augmented("light"), (DIM_LINE, "augment: [none, light]"))
    assert told == "10: search.augment: is both fixed and searched; leave one of them out"


@pytest.mark.parametrize(
    ("change", "where"),
    [((DIM_LINE, "augment: [none, noise, window]"), "10: search"), (augmented("window"), "5: fixed")],
)
def test_augmentations_for_other_data_are_refused_when_the_data_are_read(
    load: Load, change: tuple[str, str], where: str
) -> None:
    study = load(change)
    with pytest.raises(StudyFileError) as caught:
        study.load_data()
    (told,) = caught.value.problems
    assert told.partition("study.yaml:")[2] == (
        f"{where}.augment: the augmentation 'window' is for series, but the data are image; crop, "
        "resized_crop, flip, rotate, brightness, color, contrast, erase, randaugment, noise "
        "would fit"
    )


DATA = GOOD.splitlines()[3]


def data_of(section: str) -> tuple[str, str]:
    return DATA, f"data: {section}"


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (
            "{path: photos, image_size: 96, channels: grey}",
            "{path: photos, source: {image_folder: {image_size: 96, channels: grey}}}",
        ),
        (
            "{path: photos, image_size: 96, source: image_folder}",
            "{source: {image_folder: {path: photos, image_size: 96}}}",
        ),
        (
            "{path: photos, channels: grey, source: {image_folder: {image_size: 96}}}",
            "{path: photos, source: {image_folder: {image_size: 96, channels: grey}}}",
        ),
        (
            "{source: {path: photos}, image_size: 96}",
            "{source: {image_folder: {path: photos, image_size: 96}}}",
        ),
        (
            "{path: pairs.csv, left: a, right: b, target: t}",
            "{path: pairs.csv, source: {table: {left: a, right: b, target: t}}}",
        ),
        ("{source: fashion_mnist, part: test}", "{source: {fashion_mnist: {part: test}}}"),
    ],
)
def test_parameters_of_a_source_may_be_next_to_its_path(
    load: Load, tmp_path: Path, short: str, long: str
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "pairs.csv").write_text("a,b,t\nx,y,1\n")
    schema = json_schema()
    found = []
    for section in (short, long):
        study = load(data_of(section))
        found.append((study.source.entry.qualified, study.source.arguments))
        assert fits(schema, YAML(typ="safe", pure=True).load(GOOD.replace(*data_of(section))), schema)
    assert found[0] == found[1]
    assert found[0][1].keys() & {"image_size", "left", "part"}


def test_both_places_of_a_parameter_are_the_same_study(load: Load, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    short = load(data_of("{path: photos, image_size: 96}"))
    long = load(data_of("{path: photos, source: {image_folder: {image_size: 96}}}"))
    assert short.unchangeable() == long.unchangeable()


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            "{path: photos, imagesize: 96}",
            "data.imagesize: unknown key 'imagesize'; did you mean 'image_size'?",
        ),
        ("{path: photos, splitt: 96}", "data.splitt: unknown key 'splitt'; did you mean 'split'?"),
        ("{path: photos, image_size: big}", "data.image_size: should be a whole number, got 'big'"),
        (
            "{path: photos, left: a}",
            "data.left: is a parameter of the source table; the source of these data is image_folder, which "
            "has channels, fit, image_size, skip_unreadable",
        ),
        (
            "{source: digits, image_size: 8}",
            "data.image_size: is a parameter of the source image_folder; the source of these data is digits, "
            "which has no parameters",
        ),
        (
            "{path: photos, image_size: 96, source: {image_folder: {image_size: 64}}}",
            "data.image_size: is given twice, also below `source: image_folder`; remove one of them",
        ),
        (
            "{path: photos, source: {image_folder: {imagesize: 96}}}",
            "data.source.image_folder.imagesize: the dataset 'image_folder' has no parameter 'imagesize'; "
            "did you mean 'image_size'?",
        ),
        ("{source: nothing, image_size: 8}", "data.source: "),
    ],
)
def test_wrong_parameters_of_a_source_are_named_with_the_right_ones(
    load: Load, tmp_path: Path, section: str, sentence: str
) -> None:
    (tmp_path / "photos").mkdir()
    (told,) = problems(load, data_of(section))
    assert told.startswith(f"4: {sentence}")


def test_unknown_keys_are_named_also_if_the_source_is_unknown(load: Load) -> None:
    told = problems(load, data_of("{path: nowhere, imagesize: 9, channels: grey}"))
    assert told == [
        "4: data.imagesize: unknown key 'imagesize'; did you mean 'image_size'?",
        "4: data.path: 'nowhere' does not exist",
    ]


def test_no_parameter_of_a_source_has_the_name_of_a_key() -> None:
    for name, entry in components().datasets.items():
        assert not set(entry.spec.params) & (set(Data.model_fields) - {"path"}), name


def test_the_schema_refuses_parameters_of_no_source() -> None:
    schema = json_schema()
    for section, right in (
        ("{path: photos, image_size: 96}", True),
        ("{path: photos, image_size: big}", False),
        ("{path: photos, imagesize: 96}", False),
        ("{path: photos, channels: gray}", False),
    ):
        data = YAML(typ="safe", pure=True).load(GOOD.replace(*data_of(section)))
        assert fits(schema, data, schema) == right, section


def test_the_schema_names_every_key() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(StudyConfig.model_fields)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["required"] == ["version", "name", "data", "search"]
    json.dumps(schema)


def test_reading_a_study_file_imports_no_backend(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(GOOD)
    code = (
        "import sys; from siamkit.study.config.load import load_study; "
        "load_study('study.yaml').load_data(); "
        "print([m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_who_wants_only_results_needs_no_data(tmp_path: Path) -> None:
    text = GOOD.replace("source: digits", "path: faces")
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(StudyFileError, match="'faces' does not exist"):
        load_study(tmp_path / "study.yaml")
    found = load_study(tmp_path / "study.yaml", data_required=False)
    assert "/" in found.source.entry.spec.suffixes
    with pytest.raises(StudyFileError, match="faces does not exist"):
        found.load_data()
