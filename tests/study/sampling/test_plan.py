"""What is tried before the sampler or in its place: entries, designs, grids, and an earlier study."""

from __future__ import annotations

import itertools
import json
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from selection import EVERYTHING

from siamkit.errors import StudyError, StudyFileError
from siamkit.runs.configuration import factors_of, key_of
from siamkit.study.config.load import ResolvedStudy, load_study
from siamkit.study.config.search_space import Values
from siamkit.study.sampling._enumerate import enumerate_space
from siamkit.study.sampling.plan import check_plan, is_fully_planned, planned_trials, retrace, warm_start
from siamkit.study.sampling.samplers import check_sampler, make_sampler

optuna.logging.set_verbosity(optuna.logging.ERROR)

STUDY = """\
version: 1
name: tiny
data: {source: digits}
search:
  encoder: [mlp, cnn]
  metric: [cosine, euclidean, manhattan]
  loss: [contrastive, {triplet: {margin: {low: 0.1, high: 0.9}, mining: [hard, all]}}, cosine_mse]
  embedding_dim: {low: 8, high: 32}
budget: {trials: 12}
"""
FINITE = """\
  encoder: {mlp: {depth: [1, 2], width: 8, dropout: 0.0}}
  metric: [cosine, euclidean]
  loss: [{triplet: {margin: [0.1, 0.2], mining: all}}, cosine_mse]
  embedding_dim: {low: 4, high: 6}
"""
SEARCH = STUDY[STUDY.index("  encoder") : STUDY.index("budget")]

Load = Callable[..., ResolvedStudy]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loader(*more: str, search: str = SEARCH, trials: int = 12) -> ResolvedStudy:
        text = STUDY.replace(SEARCH, search).replace("trials: 12", f"trials: {trials}")
        (tmp_path / "study.yaml").write_text(text + "".join(f"{line}\n" for line in more))
        return load_study(tmp_path / "study.yaml", checks=[check_plan, check_sampler])

    return loader


def refused(load: Load, *more: str, **options: Any) -> list[str]:
    with pytest.raises(StudyFileError) as caught:
        load(*more, **options)
    return [problem.partition("study.yaml:")[2] for problem in caught.value.problems]


def facts(study: ResolvedStudy) -> list[dict[str, Any]]:
    return [factors_of(each.configuration) for each in planned_trials(study)]


# ---------------------------------------------------------------- walking a space


def test_every_point_of_a_conditional_space_comes_once_and_in_order(load: Load) -> None:
    # By hand: 2 depths; triplet has 2 margins and 2 metrics, cosine_mse fits cosine alone; 3 dims.
    study = load("sampler: grid", search=FINITE, trials=100)
    found = facts(study)
    assert len(found) == study.space.count() == 2 * (2 * 2 + 1) * 3
    assert len({key_of(each) for each in found}) == len(found)
    assert [each["embedding_dim"] for each in found[:4]] == [4, 5, 6, 4]
    assert {(each["loss"], each["metric"]) for each in found} == {
        ("triplet", "cosine"),
        ("triplet", "euclidean"),
        ("cosine_mse", "cosine"),
    }
    assert len(list(planned_trials(load("sampler: grid", search=FINITE, trials=7)))) == 7
    assert facts(load("sampler: grid", search=FINITE, trials=7)) == found[:7]


def test_a_vast_space_is_walked_lazily(load: Load) -> None:
    wide = SEARCH.replace("high: 32", "high: 1000000")
    space = load(search=wide).space
    walk = enumerate_space(
        space, lambda name, values: values.options or range(int(values.low), int(values.high) + 1)
    )
    assert len(list(itertools.islice(walk, 5))) == 5


# ---------------------------------------------------------------- what is enqueued


def test_defaults_come_first_each_loss_with_each_encoder(load: Load) -> None:
    found = facts(load(trials=40))
    assert [(each["loss"], each["encoder"]) for each in found] == [
        ("contrastive", "mlp"),
        ("triplet", "cnn"),
        ("cosine_mse", "mlp"),
        ("contrastive", "cnn"),
        ("triplet", "mlp"),
        ("cosine_mse", "cnn"),
    ]
    assert {each["metric"] for each in found} == {"cosine"}
    assert found[1]["loss.triplet.margin"] == 0.1  # triplet's default is 0.05: as near as the range goes
    assert found[1]["loss.triplet.mining"] == "all"  # its default, though listed second
    assert {each["embedding_dim"] for each in found} == {32}  # 64, as near as the range goes
    assert not is_fully_planned(load().config)


def test_defaults_take_a_quarter_of_the_budget_and_at_least_one(load: Load) -> None:
    assert len(facts(load(trials=8))) == 2
    assert len(facts(load(trials=1))) == 1
    assert facts(load("enqueue: []")) == []


def test_an_entry_names_what_it_wants_and_the_rest_is_at_its_default(load: Load) -> None:
    study = load(
        "enqueue:",
        "  - {encoder: cnn, metric: manhattan, loss: {triplet: {margin: 0.3}}, embedding_dim: 16}",
        "  - {metric: euclidean}",
        "  - {loss: {siamkit/triplet: {mining: hard}}}",
        "  - {metric: euclidean}",
    )
    first, second, third = facts(study)
    assert (first["encoder"], first["metric"], first["loss"]) == ("cnn", "manhattan", "triplet")
    assert (first["loss.triplet.margin"], first["loss.triplet.mining"]) == (0.3, "all")
    assert first["embedding_dim"] == 16
    assert (second["metric"], second["loss"]) == ("euclidean", "contrastive")
    assert (third["metric"], third["loss.triplet.mining"]) == ("cosine", "hard")


def test_optuna_takes_what_is_enqueued_and_draws_the_same(load: Load) -> None:
    study = load("enqueue: [defaults, {metric: manhattan, loss: {triplet: {margin: 0.3}}}]")
    storage = optuna.create_study()
    plan = list(planned_trials(study))
    for each in plan:
        storage.enqueue_trial(each.params)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns of a value outside its range
        for each in plan:
            trial = storage.ask()
            storage.sampler = make_sampler(study, trial.number)
            assert study.space.sample(trial) == each.configuration
            assert trial.params == each.params
            assert key_of(each.configuration) == each.key
            storage.tell(trial, 0.0)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("default", "12: enqueue.0: should be 'defaults' or a configuration"),
        ("{encoder: cnm}", "12: enqueue.0.encoder: the encoder 'cnm' is not searched; did you mean 'cnn'?"),
        ("{loss: multi_similarity}", "12: enqueue.0.loss: the loss 'multi_similarity' is not searched"),
        ("{loss: {triplet: {margins: 1}}}", "12: enqueue.0.loss.triplet.margins: loss 'triplet' has no para"),
        (
            "{loss: {triplet: {margin: 2}}}",
            "12: enqueue.0.loss.triplet.margin: should be from 0.1 to 0.9 typical distances, got 2",
        ),
        ("{loss: {triplet: {mining: semihard}}}", "should be one of hard, all, got 'semihard'"),
        ("{embedding_dim: 12.5}", "12: enqueue.0.embedding_dim: should be a whole number, got 12.5"),
        ("{embedding_dim: 64}", "12: enqueue.0.embedding_dim: should be from 8 to 32, got 64"),
        ("{batch_size: 64}", "12: enqueue.0.batch_size: is fixed at 128 in this study, got 64"),
        ("{embeding_dim: 8}", "unknown factor 'embeding_dim'; did you mean 'embedding_dim'?"),
        (
            "{metric: euclidean, loss: cosine_mse}",
            "the metric 'euclidean' does not fit the loss 'cosine_mse'",
        ),
        ("{loss: [triplet]}", "should be the name of one loss, or {name: parameters}, got ['triplet']"),
    ],
)
def test_an_entry_outside_the_space_is_refused_on_its_line(load: Load, entry: str, sentence: str) -> None:
    (told,) = refused(load, "confirm: null", "enqueue:", f"  - {entry}")
    assert sentence in told


def test_the_published_schema_and_the_parser_agree_on_entries(load: Load) -> None:
    from siamkit.study.config.schema import json_schema

    items = json_schema()["properties"]["enqueue"]["items"]["anyOf"]
    assert items[0] == {"const": "defaults"}
    assert set(items[1]["properties"]) == {"encoder", "metric", "loss"}


def test_a_narrowed_choice_is_found_under_its_own_name(load: Load) -> None:
    search = """\
  encoder: mlp
  metric: [euclidean, cosine, tanimoto]
  loss: [triplet, circle]
"""
    study = load("enqueue: [{metric: tanimoto, loss: circle}, {loss: circle}]", search=search)
    first, second = planned_trials(study)
    assert first.params["metric[cosine,tanimoto]"] == "tanimoto"
    assert second.params["metric[cosine,tanimoto]"] == "cosine"
    found = retrace(study.space, first.configuration)
    assert found is not None
    assert found[0].params == first.params
    cells = facts(load("design: factorial", search=search, trials=9))
    assert len(cells) == 5  # 3 metrics, and the 2 that circle fits


# ---------------------------------------------------------------- designs


def test_levels_of_a_range_are_its_ends_and_its_middle_on_its_own_scale() -> None:
    assert Values(low=0.1, high=0.5).levels() == pytest.approx((0.1, 0.3, 0.5))
    assert Values(low=1e-4, high=1e-2, log=True).levels() == pytest.approx((1e-4, 1e-3, 1e-2))
    assert Values(low=8, high=128, log=True, integer=True).levels() == (8, 32, 128)
    assert Values(low=1, high=2, integer=True).levels() == (1, 2)
    assert Values((3, 1)).levels() == (3, 1)
    assert Values(low=1e-4, high=1e-2, log=True).default_value() == pytest.approx(1e-3)
    assert Values((False, True), default=True).default_value() is True


def test_a_design_that_fits_the_budget_is_tried_whole_by_chance(load: Load) -> None:
    # mlp and cnn stay at their defaults; 3 dims; triplet: 3 margins x 2 minings x 3 metrics;
    # contrastive: 3 metrics; cosine_mse: 1.
    count = 2 * 3 * (3 * 2 * 3 + 3 + 1)
    study = load("design: factorial", trials=1000)
    found = facts(study)
    assert len(found) == len({key_of(each) for each in found}) == count
    assert {each["embedding_dim"] for each in found} == {8, 20, 32}
    assert {each.get("loss.triplet.margin") for each in found} == {None, 0.1, 0.5, 0.9}
    assert len({each["encoder.mlp.depth"] for each in found if each["encoder"] == "mlp"}) == 1
    assert len({each["loss.contrastive.mining"] for each in found if each["loss"] == "contrastive"}) == 1
    in_order = sorted(found, key=key_of)
    assert found != in_order
    assert is_fully_planned(study.config)
    assert facts(load("design: factorial", "seed: 1", trials=1000)) != found
    assert facts(load("design: factorial", trials=1000)) == found


@pytest.mark.parametrize("trials", [12, 18, 60])
def test_a_design_cut_short_has_each_level_equally_often(load: Load, trials: int) -> None:
    found = facts(load("design: factorial", trials=trials))
    assert len(found) == trials
    # cosine_mse has 6 cells in all, contrastive 18.
    for factor in ("encoder", "embedding_dim", *(["loss"] if trials <= 18 else [])):
        counts = Counter(each[factor] for each in found).values()
        assert max(counts) - min(counts) <= 2, factor
    triplets = [each for each in found if each["loss"] == "triplet"]
    for factor in ("metric", "loss.triplet.margin", "loss.triplet.mining"):
        counts = Counter(each[factor] for each in triplets).values()
        # Ties are broken by chance; in 60 trials of 8 seeds, two had a level 3 times more often than another.
        assert max(counts) - min(counts) <= (2 if trials <= 18 else 3), factor
    # And in pairs: each loss with each encoder.
    pairs = Counter((each["encoder"], each["loss"]) for each in found)
    assert len(pairs) == 6
    assert trials > 18 or max(pairs.values()) - min(pairs.values()) <= 2


def test_a_larger_budget_goes_on_where_a_smaller_one_ends(load: Load) -> None:
    short, long = (facts(load("design: factorial", trials=trials)) for trials in (12, 60))
    assert long[:12] == short


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (("design: factorial", "sampler: gp"), "replaces the sampler gp; leave one of them out"),
        (
            ("design: factorial", "enqueue: [defaults]"),
            "already lists all configurations to try; leave enqueue out",
        ),
    ],
)
def test_what_goes_with_no_design_is_refused(load: Load, lines: tuple[str, ...], sentence: str) -> None:
    (told,) = refused(load, *lines)
    assert sentence in told


# ---------------------------------------------------------------- an earlier study


def leave(folder: Path, study: ResolvedStudy, values: list[float], **frozen: Any) -> dict[str, Any]:
    """A run folder as a study leaves it, with a trial for each value."""
    now = {
        "data": {"fingerprint": "f"},
        "study": {"fixed": {"epochs": 3}},
        "objectives": {"map_at_r": "maximize"},
    }
    cells = enumerate_space(study.space, lambda name, values: values.levels())
    for number, (value, (_, configuration)) in enumerate(zip(values, cells, strict=False)):
        place = folder / "trials" / str(number) / "token"
        place.mkdir(parents=True)
        result = {
            "trial": number,
            "factors": factors_of(configuration),
            "outcome": "complete" if value >= 0 else "failed",
            "configuration": configuration,
            "figures": {"map_at_r": value, "eer": 1 - value} if value >= 0 else {},
        }
        (place / "result.json").write_text(json.dumps(result))
    (folder / "study.json").write_text(json.dumps({**now, **frozen}))
    return now


VALUES = [0.1, 0.9, -1, 0.5, 0.7, 0.2, 0.8, 0.3]


@pytest.fixture
def old(load: Load, tmp_path: Path) -> tuple[ResolvedStudy, dict[str, Any]]:
    (tmp_path / "old").mkdir()
    now = leave(tmp_path / "old", load(), VALUES)
    return load("warm_start: old"), now


def test_the_same_study_is_learnt_from_and_counts_for_nothing(
    old: tuple[ResolvedStudy, dict[str, Any]],
) -> None:
    study, now = old
    found = warm_start(study, now)
    assert (len(found.known), found.retried, found.left_out) == (7, [], 0)
    assert [trial.value for trial in found.known] == [value for value in VALUES if value >= 0]
    assert {trial.user_attrs["outcome"] for trial in found.known} == {"earlier"}
    storage = optuna.create_study(direction="maximize")
    storage.add_trials(found.known)
    for trial in found.known:
        again = optuna.create_study()
        again.enqueue_trial(trial.params)
        drawn = again.ask()
        assert study.space.sample(drawn) == trial.user_attrs["configuration"]
        # A sampler takes two parameters for one only if their ranges are equal.
        assert drawn.distributions == trial.distributions
        assert trial.user_attrs["key"] == key_of(trial.user_attrs["configuration"])


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"fingerprint": "other"}},
        {"study": {"fixed": {"epochs": 4}}},
        {"objectives": {"eer": "minimize"}},
    ],
)
def test_where_the_values_do_not_compare_the_best_are_tried_afresh(
    old: tuple[ResolvedStudy, dict[str, Any]], change: dict[str, Any]
) -> None:
    study, now = old
    found = warm_start(study, {**now, **change})
    assert found.known == []
    assert {each.reason for each in found.retried} == {"warm_start"}
    cells = [
        drawn
        for _, drawn in itertools.islice(enumerate_space(study.space, lambda n, v: v.levels()), len(VALUES))
    ]
    best = sorted(range(len(VALUES)), key=lambda number: -VALUES[number])[:5]
    # eer is 1 - map_at_r, and the lower the better: the same order.
    assert [each.configuration for each in found.retried] == [cells[number] for number in best]


def test_a_sampler_that_does_not_learn_tries_them_afresh(load: Load, old: Any) -> None:
    found = warm_start(load("warm_start: old", "sampler: random"), old[1])
    assert (len(found.known), len(found.retried)) == (0, 5)


def test_what_this_space_does_not_hold_is_left_out(load: Load, old: Any) -> None:
    narrow = SEARCH.replace("{low: 8, high: 32}", "{low: 8, high: 24}").replace("[mlp, cnn]", "mlp")
    study = load("warm_start: old", search=narrow)
    found = warm_start(study, old[1])
    dims = [trial.user_attrs["configuration"]["embedding_dim"] for trial in found.known]
    assert set(dims) == {8, 20}
    assert len(dims) + found.left_out == 7
    wide = load("warm_start: old", search=SEARCH.replace("high: 32", "high: 64"))
    assert warm_start(wide, old[1]).left_out == 0


def test_retracing_finds_the_way_to_every_configuration_and_to_no_other(load: Load) -> None:
    space = load().space
    every = list(enumerate_space(space, lambda name, values: values.levels()))
    for trial, configuration in every if EVERYTHING else every[::4]:
        found = retrace(space, configuration)
        assert found is not None
        assert found[0].params == trial.params
        assert retrace(space, {**configuration, "embedding_dim": 7}) is None
        assert retrace(space, {**configuration, "data.noise": 7}) is None


AUGMENT = "  augment: [none, {crop: {padding: [0.1, 0.2]}, flip: {probability: {low: 0, high: 0.5}}}]\n"


def test_an_entry_names_an_augmentation_and_its_parameters(load: Load) -> None:
    study = load(
        "enqueue:",
        "  - {augment: {crop: {padding: 0.2}, flip: null}}",
        "  - {loss: contrastive}",
        search=SEARCH + AUGMENT,
    )
    first, second = facts(study)
    assert first["augment.crop+flip.crop.padding"] == 0.2
    assert first["augment.crop+flip.flip.probability"] == 0.5
    assert second["augment"] == "none"
    (told,) = refused(load, "enqueue: [{augment: flip}]", search=SEARCH + AUGMENT)
    assert "the augmentation 'flip' is not searched; did you mean 'crop+flip'" in told


def test_augmentations_are_retraced(load: Load) -> None:
    space = load(search=FINITE + AUGMENT).space
    for trial, configuration in enumerate_space(space, lambda name, values: values.levels()[-2:]):
        found = retrace(space, configuration)
        assert found is not None
        assert found[0].params == trial.params
        without = {name: value for name, value in configuration.items() if name != "augment"}
        assert retrace(space, without) is None
        assert retrace(load(search=FINITE).space, configuration) is None


def test_no_study_to_start_from_is_one_sentence(load: Load, tmp_path: Path) -> None:
    (told,) = refused(load, "warm_start: nowhere")
    assert told.startswith("10: warm_start: '")
    assert told.endswith("nowhere' does not exist")
    (tmp_path / "empty").mkdir()
    (told,) = refused(load, "warm_start: empty")
    assert "is not a run folder of a study: it has no study.json" in told
    (tmp_path / "old").mkdir()
    leave(tmp_path / "old", load(), [-1.0])  # its only trial failed
    (told,) = refused(load, "warm_start: old")
    assert told.endswith("old' has no complete trial to learn from")
    (tmp_path / "damaged").mkdir()
    leave(tmp_path / "damaged", load(), [0.5])
    study = load("warm_start: damaged")
    (tmp_path / "damaged" / "study.json").write_text("{")
    with pytest.raises(StudyError, match=r"damaged/study\.json' is damaged"):
        warm_start(study, {"objectives": {"map_at_r": "maximize"}})
