"""Samplers: what each refuses, and that a new object a trial, in any process, does no harm."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from sampling_study import CONDITIONAL, NUMBERS, make, search

from siamkit.study.config.search_space import SearchSpace
from siamkit.study.config.yaml import Document, Problems
from siamkit.study.sampling._enumerate import suggested_parameters
from siamkit.study.sampling._stateless import SobolSampler, distribution, from_unit, inherit, to_unit
from siamkit.study.sampling.samplers import check_sampler

optuna.logging.set_verbosity(optuna.logging.ERROR)

FINITE = {**NUMBERS, "loss": {"triplet": {"margin": [0.1, 0.2]}}, "learning_rate": None}


def problems(study: Any) -> list[str]:
    found = Problems(Document("study.yaml", {}, {}))
    check_sampler(study.config, study.space, found)
    return [sentence.partition("sampler: ")[2] for sentence in found.sentences()]


def near(params: dict[str, Any]) -> float:
    """Best at dim 64, margin 0.7, learning rate 1e-3."""
    return -(
        (np.log2(params["embedding_dim"] / 64) / 5) ** 2
        + ((params["loss.triplet.margin"] - 0.7) / 0.8) ** 2
        + (np.log10(params["learning_rate"] / 1e-3) / 2) ** 2
    )


# ---------------------------------------------------------------- what each refuses


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "qmc", "random"])
def test_what_suits_any_space_refuses_none(sampler: str) -> None:
    for space in (NUMBERS, CONDITIONAL, FINITE):
        assert problems(make(space, sampler=sampler)) == []


def test_cmaes_refuses_choices_conditions_and_several_objectives() -> None:
    assert problems(make(sampler="cmaes")) == []
    (told,) = problems(make(CONDITIONAL, sampler="cmaes"))
    assert told.startswith(
        "sampler cmaes supports numeric parameters only; categorical here: loss, loss.contrastive.mining, "
    )
    assert told.endswith("or use tpe")
    two = {"objectives": {"map_at_r": "maximize", "eer": "minimize"}}
    assert problems(make(sampler="cmaes", **two)) == [
        "sampler cmaes supports one objective, got 2; tpe, nsgaii and gp support several"
    ]


def test_gp_refuses_conditions_and_long_studies() -> None:
    flat = {**NUMBERS, "metric": ["euclidean", "cosine"]}
    assert problems(make(flat, sampler="gp")) == []
    (told,) = problems(make(CONDITIONAL, sampler="gp"))
    assert "loss.triplet.margin" in told
    assert "needs the same parameters in every trial; conditional here: " in told
    (told,) = problems(make(flat, sampler="gp", budget={"trials": 501}))
    assert "supports up to 500 trials" in told
    assert "the budget is 501" in told


def test_grid_refuses_real_numbers_even_those_that_a_component_brings() -> None:
    assert problems(make(FINITE, sampler="grid")) == []
    (told,) = problems(make({**FINITE, "loss": "triplet"}, sampler="grid"))
    assert "these parameters are real numbers: loss.triplet.margin" in told


@pytest.mark.parametrize(("sampler", "package"), [("cmaes", "cmaes"), ("gp", "torch")])
def test_a_missing_package_is_named_with_the_command(
    sampler: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest)
    )
    assert problems(make(sampler=sampler)) == [
        f"sampler {sampler} needs the package {package}; pip install 'siamkit[{sampler}]'"
    ]
    assert problems(make(sampler="tpe")) == []


def test_the_extras_that_messages_name_exist() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert {"cmaes", "gp"} <= set(project["optional-dependencies"])


def test_a_study_file_tells_it_on_its_line(tmp_path: Path) -> None:
    from siamkit.errors import StudyFileError
    from siamkit.study.config.load import load_study

    (tmp_path / "study.yaml").write_text(
        "version: 1\nname: s\ndata: {source: digits}\n"
        "search: {encoder: mlp, metric: cosine, loss: triplet}\nsampler: grid\n"
    )
    with pytest.raises(StudyFileError, match=r"study\.yaml:5: sampler: sampler grid tries every value"):
        load_study(tmp_path / "study.yaml", checks=[check_sampler])


# ---------------------------------------------------------------- what they draw


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii"])
def test_samplers_that_learn_beat_chance(sampler: str) -> None:
    # gp draws at random up to the tenth, and takes its time then; nsgaii wants generations
    trials = {"gp": 20, "nsgaii": 200}.get(sampler, 60)

    def last(name: str) -> float:
        # The mean over the last ones: where the sampler has got to, not what luck has found.
        study = make(sampler=name, budget={"trials": trials})
        return float(np.mean([trial.value for trial in search(study, near, trials).get_trials()[-8:]]))

    assert last(sampler) > last("random") / 2  # values are negative: less than half as far off


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "qmc", "random"])
def test_a_conditional_space_is_drawn_in_peace_with_one_objective_and_with_two(sampler: str) -> None:
    study = make(CONDITIONAL, sampler=sampler, budget={"trials": 40})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = search(study, lambda params: float(params["embedding_dim"]), 40)
        two = search(
            study,
            lambda params: [float(params["embedding_dim"]), params["learning_rate"]],
            40,
            optuna.create_study(directions=["maximize", "minimize"]),
        )
    for storage in (one, two):
        assert len({tuple(sorted(trial.params.items())) for trial in storage.get_trials()}) > 30


def test_the_same_seed_draws_the_same_whatever_the_process_remembers() -> None:
    for sampler in ("tpe", "gp", "cmaes", "nsgaii", "qmc", "random"):
        study = make(sampler=sampler, budget={"trials": 30})
        whole = [trial.params for trial in search(study, near, 14).get_trials()]
        first = search(study, near, 9)
        resumed = optuna.create_study(direction="maximize")
        resumed.add_trials(first.get_trials())  # another process: new objects, the same history
        for before, after in zip(first.get_trials(), resumed.get_trials(), strict=True):
            assert before.params == after.params
        assert [trial.params for trial in search(study, near, 5, resumed).get_trials()] == whole, sampler


WORKER = """
import sys
sys.path.insert(0, {here!r})
import optuna
from sampling_study import CONDITIONAL, NUMBERS, make, search
for sampler in ("qmc", "nsgaii", "cmaes"):
    storage = optuna.load_study(study_name=sampler, storage={url!r})
    study = make(NUMBERS if sampler == "cmaes" else CONDITIONAL, sampler=sampler, budget={{"trials": 40}})
    search(study, lambda params: params["embedding_dim"], 12, storage)
"""


def test_several_processes_draw_together(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    script = WORKER.format(here=str(Path(__file__).parents[2] / "support"), url=url)
    studies = [
        optuna.create_study(study_name=sampler, storage=url, direction="maximize")
        for sampler in ("qmc", "nsgaii", "cmaes")
    ]
    workers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    for storage in studies:
        drawn = [trial.params for trial in storage.get_trials()]
        # As good as none comes twice, as with a seed or a counter that two processes have read alike;
        # in nsgaii two of a generation may be born alike.
        assert len(drawn) == 24
        different = len({tuple(sorted(params.items())) for params in drawn})
        assert different >= (21 if storage.study_name == "nsgaii" else 24)


# ---------------------------------------------------------------- each on its own


def test_qmc_spreads_each_loss_and_its_own_parameters_evenly() -> None:
    # 64 points of a Sobol sequence: 32 in each half, and of these 16 in each half of every other parameter.
    study = make({**CONDITIONAL, "loss": [{"contrastive": {"mining": "all"}}, "triplet"]}, sampler="qmc")
    drawn = [trial.params for trial in search(study, near_or_nothing, 64).get_trials()]
    triplets = [params for params in drawn if params["loss"] == "triplet"]
    assert len(triplets) == 32
    middle = np.mean([study.space.loss.alternatives["triplet"].params["margin"].low, 1.0])
    assert sum(params["loss.triplet.margin"] < middle for params in triplets) == 16
    assert sum(params["metric"] == "cosine" for params in triplets) == 16
    assert sum(params["learning_rate"] < 1e-3 for params in triplets) == 16


def near_or_nothing(params: dict[str, Any]) -> float:
    return 0.0


def test_nsgaii_inherits_conditional_parameters() -> None:
    def parent(values: list[float], **params: Any) -> Any:
        return SimpleNamespace(values=values, params=params, constraints={})

    parents = [parent([1.0], loss="a", margin=0.31, dim=8), parent([0.0], loss="b", power=2, dim=9)]
    rng = np.random.default_rng(0)
    names = ["loss", "margin", "power", "dim"]
    children = [inherit(parents, names, ["maximize"], rng) for _ in range(2000)]
    for name, values in {"margin": {0.31}, "power": {2}, "dim": {8, 9}, "loss": {"a", "b"}}.items():
        assert {child[name] for child in children if name in child} == values
    # The better parent is the better of two draws: 3 in 4 of the pairs hold it.
    share = np.mean([child["dim"] == 8 for child in children if "dim" in child])
    assert 0.70 < share < 0.80
    left = np.mean([4 - len(child) for child in children])
    assert 0.9 < left < 2.3  # one left to chance, and what neither parent has


def test_nothing_in_the_storage_is_a_pickle(tmp_path: Path) -> None:
    study = make(sampler="cmaes")
    storage = search(study, near, 30)
    assert all(trial.system_attrs == {} for trial in storage.get_trials())


def test_the_unit_interval_gives_whole_numbers_and_choices_equal_shares() -> None:
    space: SearchSpace = make(CONDITIONAL).space
    places = (np.arange(6000) + 0.5) / 6000
    for values in suggested_parameters(space).values.values():
        kind = distribution(values)
        drawn = [from_unit(kind, place) for place in places]
        if values.options:
            counts = [drawn.count(option) for option in values.options]
            assert max(counts) - min(counts) <= 1
        else:
            assert min(drawn) >= values.low
            assert max(drawn) <= values.high
        for value in drawn[::500]:
            assert from_unit(kind, to_unit(kind, value)) == pytest.approx(value)
    sizes = make({**NUMBERS, "batch_size": {"low": 2, "high": 4}}).space
    whole = distribution(suggested_parameters(sizes).values["batch_size"])
    drawn = [from_unit(whole, place) for place in places]
    assert [drawn.count(value) for value in (2, 3, 4)] == [2000, 2000, 2000]


def test_all_that_may_be_asked_is_found_and_what_is_conditional() -> None:
    found = suggested_parameters(make(CONDITIONAL).space)
    assert {"loss", "metric", "embedding_dim", "learning_rate"} <= set(found.values) - found.conditional
    assert {"loss.triplet.margin", "loss.triplet.mining", "loss.contrastive.neg_margin"} <= found.conditional
    assert suggested_parameters(make(NUMBERS).space).conditional == set()


def test_sobol_asks_for_no_state_of_its_own() -> None:
    kinds = {"x": optuna.distributions.FloatDistribution(0, 1)}
    trial = SimpleNamespace(number=5)
    one, other = (SobolSampler(kinds, 7, seed) for seed in (0, 1))
    assert one.sample_relative(None, trial, kinds) == other.sample_relative(None, trial, kinds)  # type: ignore[arg-type]
