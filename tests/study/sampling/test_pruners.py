"""Pruners: whom each spares and whom not, and when embeddings are dead."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest

from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.geometry import shape_measures
from siamkit.study.config.schema import StudyConfig
from siamkit.study.sampling.pruners import collapsed, make_pruner, prunes_collapsed

optuna.logging.set_verbosity(optuna.logging.ERROR)
RNG = np.random.default_rng(0)


def make(epochs: int = 9, **given: Any) -> Any:
    search = {"encoder": "mlp", "metric": "cosine", "loss": "triplet"}
    config = StudyConfig.model_validate(
        {
            "version": 1,
            "name": "s",
            "data": {"source": "digits"},
            "search": search,
            "fixed": {"epochs": epochs},
            **given,
        }
    )
    return SimpleNamespace(config=config)


def ended(study: Any, curves: list[list[float]], objectives: int = 1) -> list[int]:
    """After which epoch each trial ended, if its figures are these, epoch by epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of Optuna's warnings reaches a user
        storage = optuna.create_study(
            study_name="s",
            directions=["maximize"] * objectives,
            pruner=make_pruner(study, objectives),
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
    last = []
    for curve in curves:
        trial = storage.ask()
        for epoch, value in enumerate(curve, 1):
            if objectives == 1:
                trial.report(value, epoch)
                if epoch < len(curve) and trial.should_prune():
                    storage.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
        else:
            storage.tell(trial, [curve[-1]] * objectives)
        last.append(epoch)
    return last


GOOD, BAD = [0.5] * 9, [0.1] * 9
RISING = [0.1 + 0.02 * epoch for epoch in range(9)]


def test_the_median_spares_the_first_five_and_the_first_quarter() -> None:
    assert ended(make(pruner="median"), [GOOD] * 5 + [BAD, GOOD]) == [9] * 5 + [2, 9]
    assert ended(make(pruner="median"), [GOOD] * 4 + [BAD]) == [9] * 5


def test_the_best_third_goes_on_after_the_first_five() -> None:
    levels = [[value] * 9 for value in (0.1, 0.2, 0.3, 0.4, 0.5)]  # a third is above 0.5 - 0.33 · 0.4 = 0.368
    for name in ("auto", "percentile"):
        assert ended(make(pruner=name), [*levels, [0.36] * 9]) == [9] * 5 + [1]
        assert ended(make(pruner=name), [*levels, [0.37] * 9]) == [9] * 6
        assert ended(make(pruner=name), [*levels[1:], [0.1] * 9]) == [9] * 5
        late = [0.45] + [0.1] * 8  # its best value so far counts
        assert ended(make(pruner=name), [*levels, late]) == [9] * 6
    long = [[value] * 30 for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert ended(make(epochs=30), [*long, [0.36] * 30]) == [30] * 5 + [3]  # a tenth of the epochs is spared


def test_patient_spares_what_still_gets_better() -> None:
    assert ended(make(pruner="median"), [GOOD] * 5 + [RISING]) == [9] * 5 + [2]
    assert ended(make(pruner="patient"), [GOOD] * 5 + [RISING]) == [9] * 6
    falling = list(reversed(RISING))
    assert ended(make(pruner="patient"), [GOOD] * 5 + [falling])[-1] == 4  # 2 epochs of patience


def test_halving_lets_a_third_go_on() -> None:
    curves = [[value] * 9 for value in np.linspace(0.9, 0.1, 30)]
    (first, *rest) = ended(make(pruner="successive_halving"), curves)
    assert first == 9
    assert set(rest) == {1}  # each is worse than all before it
    rising = ended(make(pruner="successive_halving"), list(reversed(curves)))
    assert rising == [9] * 30  # each is better than all before it


def test_hyperband_keeps_brackets_that_halve_later_and_a_fresh_process_has_them_too() -> None:
    curves = [[value] * 9 for value in np.linspace(0.9, 0.1, 60)]
    last = ended(make(pruner="hyperband"), curves)
    assert {1, 3} <= set(last)  # brackets of 1 and of 3 epochs
    assert 9 in last[1:]  # one bracket halves nothing
    study = make(pruner="hyperband")
    fresh, storage = make_pruner(study, 1), optuna.create_study(study_name="s")
    trial = storage.ask
    brackets = {fresh._get_bracket_id(storage, trial()) for _ in range(60)}  # type: ignore[attr-defined]
    assert brackets == {0, 1, 2}


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii", "qmc", "random"])
def test_hyperband_goes_with_every_sampler(sampler: str) -> None:
    from sampling_study import make as whole

    from siamkit.study.sampling.samplers import make_sampler

    study = whole(sampler=sampler, pruner="hyperband", budget={"trials": 40})
    storage = optuna.create_study(study_name="s", direction="maximize", pruner=make_pruner(study, 1))
    for _ in range(40):
        trial = storage.ask()
        storage.sampler = make_sampler(study, trial.number)
        drawn = study.space.sample(trial)
        trial.report(1.0, 1)
        trial.should_prune()
        storage.tell(trial, float(drawn["embedding_dim"]))
    assert len({tuple(trial.params.values()) for trial in storage.trials}) > 35


def test_nobody_is_compared_under_none_collapse_a_design_or_several_objectives() -> None:
    curves = [GOOD] * 5 + [BAD]
    assert ended(make(pruner="none"), curves) == [9] * 6
    assert ended(make(pruner="collapse"), curves) == [9] * 6
    assert ended(make(design="factorial"), curves) == [9] * 6
    assert ended(make(design="factorial", pruner="median"), curves)[-1] == 2
    assert ended(make(pruner="median"), curves, objectives=2) == [9] * 6
    assert not prunes_collapsed(make(pruner="none"))
    assert all(prunes_collapsed(make(pruner=name)) for name in ("auto", "collapse", "hyperband"))


# ---------------------------------------------------------------- dead or alive


def found(rows: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {**evaluate_labels(rows, labels, "euclidean").measures, **shape_measures(rows)}


TEN = np.repeat(np.arange(10), 30)


def dead(rows: np.ndarray, labels: np.ndarray = TEN, epoch: int = 2) -> str | None:
    return collapsed(found(rows.astype("float32"), labels), rows.shape[1], epoch)


def test_one_point_is_dead() -> None:
    point = np.tile(RNG.normal(size=16), (300, 1))
    assert dead(point) == "collapsed: all embeddings are one point (spread 0) after epoch 2"
    assert dead(point + RNG.normal(0, 1e-3, point.shape)) is not None
    assert dead(point, epoch=1) is None


def test_a_line_is_dead_if_it_tells_nothing() -> None:
    direction = RNG.normal(size=16)
    chance = np.outer(RNG.normal(size=300), direction)
    assert dead(chance) == "collapsed: effective rank 1.0 of 16 dimensions after epoch 2"
    assert dead(chance[:, :3]) is None  # of three dimensions one may do
    assert dead(np.outer(TEN + RNG.normal(0, 0.1, 300), direction)) is None  # classes in order


def test_few_classes_told_apart_are_alive() -> None:
    two = np.repeat(np.arange(2), 50)
    for width in (0.0, 1e-4):
        opposite = np.where(two[:, None], 1.0, -1.0) * np.eye(16)[0] + RNG.normal(0, width, (100, 16))
        assert found(opposite, two)["effective_rank"] < 1.1
        assert dead(opposite, two) is None
    # Ten classes of which five and five fell together know something, and may learn more.
    assert dead(np.where(TEN[:, None] < 5, 1.0, -1.0) * np.eye(16)[0]) is None
    # The same two points, shared out by chance, know nothing.
    assert dead(RNG.choice([-1.0, 1.0], 300)[:, None] * np.eye(16)[0]) is not None


def test_noise_and_a_far_off_cloud_that_tells_classes_are_alive() -> None:
    assert dead(RNG.normal(size=(300, 16))) is None
    tiny = np.eye(16)[TEN] * 1e-3 + 1  # spread under 0.01, and every class in its place
    assert found(tiny, TEN)["spread"] < 0.01
    assert dead(tiny) is None


def test_pairs_and_scores_are_judged_by_their_own_figures() -> None:
    point = {"spread": 1e-4, "effective_rank": 5.0}
    assert collapsed({**point, "roc_auc": float("nan")}, 16, 2) is not None
    assert collapsed({**point, "spearman": 0.02}, 16, 2) is not None
    assert collapsed({**point, "spearman": -0.5}, 16, 2) is None
    assert collapsed(point, 16, 2) is not None
    assert collapsed({"spread": 0.5, "effective_rank": 1.0}, 16, 2) is None
    assert collapsed({"map_at_r": 0.1}, 16, 2) is None  # not measured
