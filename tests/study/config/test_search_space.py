"""The search space: only fitting combinations are drawn, under names that Optuna can keep apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from selection import examples

from siamkit import LossSpec
from siamkit.registry.registry import Registry, components
from siamkit.registry.specs import Component
from siamkit.runs.configuration import canonical, derive_seed, factors_of, key_of
from siamkit.study.config._parse import parse_space
from siamkit.study.config.search_space import SearchSpace, recipe_of
from siamkit.study.config.yaml import Document, Problems

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402


class Draws:
    """A trial that draws by a given rule, and keeps what it was asked."""

    def __init__(self, pick: Any = None) -> None:
        self.asked: dict[str, Any] = {}
        self.pick = pick or (lambda options: options[0])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.asked[name] = tuple(choices)
        return self.pick(list(choices))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked[name] = (low, high, log)
        return float(self.pick([low, high]))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.asked[name] = (low, high, log)
        return int(self.pick([low, high]))


def make(registry: Registry | None = None, fixed: dict[str, Any] | None = None, **search: Any) -> SearchSpace:
    problems = Problems(Document("study.yaml", {}, {}))
    space = parse_space(
        {"encoder": "mlp", "metric": "euclidean", "loss": "triplet", **search},
        fixed or {},
        registry or components(),
        problems,
    )
    assert not problems.sentences()
    assert space is not None
    return space


EVERYTHING = make(
    encoder=["mlp", "cnn"],
    metric=["euclidean", "squared_euclidean", "cosine", "manhattan", "mahalanobis"],
    loss=["contrastive", "triplet", "cosine_mse", "multi_similarity", "nt_xent", "proxy_anchor"],
    embedding_dim={"low": 8, "high": 64, "log": True},
    normalize=[True, False],
)


@settings(max_examples=examples(200))
@given(st.data())
def test_only_fitting_pairs_are_drawn(data: st.DataObject) -> None:
    drawn = EVERYTHING.sample(Draws(lambda options: data.draw(st.sampled_from(options))))
    loss, metric = (components().find(kind, drawn[kind]["name"]).spec for kind in ("loss", "metric"))
    if loss.name == "cosine_mse":
        assert metric.name == "cosine"
    if loss.orientation == "distance":
        assert metric.orientation == "distance" or metric.range[1] < float("inf")
    assert set(drawn["loss"]["params"]) == set(loss.params)


def test_parameters_have_the_names_of_the_design() -> None:
    trial = Draws(lambda options: options[-1])
    make(
        encoder=["mlp", "cnn"],
        metric=["cosine", "euclidean"],
        loss=["contrastive", "triplet"],
        learning_rate={"low": 1e-4, "high": 1e-2, "log": True},
    ).sample(trial)
    assert trial.asked["encoder"] == ("mlp", "cnn")
    assert trial.asked["loss"] == ("contrastive", "triplet")
    assert trial.asked["metric"] == ("cosine", "euclidean")
    assert trial.asked["encoder.cnn.depth"] == (2, 4, False)
    assert trial.asked["loss.triplet.margin"] == (0.05, 1.0, False)
    assert trial.asked["loss.triplet.mining"] == ("all", "hard", "semihard")
    assert trial.asked["learning_rate"] == (1e-4, 1e-2, True)
    assert not [name for name in trial.asked if name.startswith(("loss.contrastive", "encoder.mlp"))]


def test_a_narrowed_choice_has_a_name_of_its_own_for_each_set() -> None:
    space = make(metric=["euclidean", "cosine", "manhattan"], loss=["triplet", "cosine_mse"])
    wide, narrow = Draws(lambda options: options[0]), Draws(lambda options: options[-1])
    assert space.sample(wide)["metric"]["name"] == "siamkit/euclidean"
    assert space.sample(narrow)["metric"]["name"] == "siamkit/cosine"
    assert wide.asked["metric"] == ("euclidean", "cosine", "manhattan")
    assert "metric" not in narrow.asked  # one is left: nothing to draw

    wants_similarity = LossSpec(name="sim", factory="m:S", supervision="labels", orientation="similarity")
    other = Registry(metadata_of_builtins())
    other.register(wants_similarity)
    from siamkit import MetricSpec

    other.register(MetricSpec(name="near", factory="m:D", orientation="similarity"))
    narrow = Draws(lambda options: options[-1])
    make(other, metric=["euclidean", "cosine", "near"], loss=["triplet", "sim"]).sample(narrow)
    assert narrow.asked["metric[cosine,near]"] == ("cosine", "near")
    assert "metric" not in narrow.asked


def metadata_of_builtins() -> Any:
    from importlib import metadata

    return [point for point in metadata.entry_points(group="siamkit") if point.name == "siamkit"]


def test_optuna_can_draw_the_whole_space_again_and_again() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for number in range(60):
        trial = study.ask()
        seen.add(EVERYTHING.sample(trial)["loss"]["name"])
        study.tell(trial, float(number))  # a changing set of choices would have raised
    assert len(seen) == 6


def test_a_range_on_a_margin_is_in_typical_distances_and_a_value_is_literal() -> None:
    ranged = make(loss={"triplet": {"margin": {"low": 0.1, "high": 0.4}}}).sample(Draws())
    assert ranged["loss"]["params"]["margin"] == {"typical_distance": 0.1}
    literal = make(loss={"triplet": {"margin": 0.3}}).sample(Draws())
    assert literal["loss"]["params"]["margin"] == 0.3
    listed = make(loss={"triplet": {"margin": [0.3, 0.5]}}).sample(Draws())
    assert listed["loss"]["params"]["margin"] == 0.3
    assert make(loss="triplet").sample(Draws())["loss"]["params"]["margin"] == {"typical_distance": 0.05}


def test_labels_are_smoothed_and_searched_only_where_the_file_says_so() -> None:
    assert make(metric="cosine", loss="arcface").sample(Draws())["loss"]["params"]["label_smoothing"] == 0.0
    space, draws = (
        make(metric="cosine", loss={"arcface": {"label_smoothing": {"low": 0, "high": 0.2}}}),
        Draws(),
    )
    space.sample(draws)
    assert draws.asked["loss.arcface.label_smoothing"] == (0.0, 0.2, False)


def test_factors_are_canonical_and_flat() -> None:
    drawn = make(
        loss={"triplet": {"margin": {"low": 0.1, "high": 0.4}, "mining": "hard"}}, fixed={"batch_size": 64}
    ).sample(Draws())
    factors = factors_of(drawn)
    assert factors["loss"] == "triplet"
    assert factors["loss.triplet.margin"] == 0.1
    assert factors["loss.triplet.mining"] == "hard"
    assert (factors["batch_size"], factors["embedding_dim"], factors["normalize"]) == (64, 64, True)


def test_factors_of_the_data_are_drawn_under_names_of_their_own() -> None:
    trial = Draws(lambda options: options[-1])
    drawn = make(
        data={
            "label_noise": {"low": 0, "high": 0.4},
            "items_per_class": {"low": 2, "high": 64, "log": True},
            "num_classes": [3, None],
            "imbalance": 10,
            "corruption": ["none", "noise_3"],
        }
    ).sample(trial)
    assert {name: asked for name, asked in trial.asked.items() if name.startswith("data.")} == {
        "data.label_noise": (0.0, 0.4, False),
        "data.items_per_class": (2, 64, True),
        "data.num_classes": (3, None),
        "data.corruption": ("none", "noise_3"),
    }
    assert drawn["data"] == {
        "label_noise": 0.4,
        "items_per_class": 64,
        "num_classes": None,
        "imbalance": 10.0,
        "corruption": "noise_3",
    }
    factors = factors_of(drawn)
    assert factors["data.label_noise"] == 0.4
    assert factors["data.imbalance"] == 10.0
    assert factors["data.num_classes"] is None
    assert "data" not in factors


def test_a_study_that_varies_no_data_keeps_its_keys_and_seeds() -> None:
    drawn = make(encoder={"mlp": {"depth": 1, "width": 8, "dropout": 0.0}}).sample(Draws())
    for nothing in ({}, {"label_noise": None}):
        again = make(encoder={"mlp": {"depth": 1, "width": 8, "dropout": 0.0}}, data=nothing).sample(Draws())
        assert again == drawn
    # By hand, from the form that configurations had before data could vary.
    before = {
        "encoder": {"name": "siamkit/mlp", "params": {"depth": 1, "width": 8, "dropout": 0.0}},
        "metric": {"name": "siamkit/euclidean", "params": {}},
        "loss": {"name": "siamkit/triplet", "params": drawn["loss"]["params"]},
        "embedding_dim": 64,
        "normalize": True,
        "learning_rate": 1e-3,
        "batch_size": 128,
        "optimizer": "adamw",
        "schedule": "cosine",
        **dict.fromkeys(("warmup", "momentum", "weight_decay", "clip_norm", "ema")),
    }
    assert key_of(drawn) == key_of(before)
    assert derive_seed(0, drawn, 0) == derive_seed(0, before, 0)
    assert not [name for name in factors_of(drawn) if name.startswith("data")]


def test_augmentations_are_drawn_with_their_own_parameters() -> None:
    space = make(
        augment=[
            "none",
            "crop",
            {"crop": {"padding": [0.1, 0.3]}, "erase": {"largest": {"low": 0.2, "high": 0.5}}},
        ]
    )
    trial = Draws(lambda options: options[-1])
    drawn = space.sample(trial)
    asked = {name: values for name, values in trial.asked.items() if name.startswith("augment")}
    assert asked == {
        "augment": ("none", "crop", "crop+erase"),
        "augment.crop+erase.crop.padding": (0.1, 0.3),
        "augment.crop+erase.erase.probability": (0.0, 1.0, False),
        "augment.crop+erase.erase.largest": (0.2, 0.5, False),
    }
    assert recipe_of(drawn) == {"crop": {"padding": 0.3}, "erase": {"probability": 1.0, "largest": 0.5}}
    assert factors_of(drawn)["augment"] == "crop+erase"
    assert factors_of(drawn)["augment.crop+erase.crop.padding"] == 0.3
    one = space.sample(Draws(lambda options: options[1]))
    assert recipe_of(one) == {"crop": {"padding": 0.25}}
    assert factors_of(one)["augment.crop.padding"] == 0.25
    assert recipe_of(space.sample(Draws())) == "none"


def test_what_is_fixed_is_not_searched_and_has_its_defaults() -> None:
    trial = Draws(lambda options: options[-1])
    drawn = make(fixed={"augment": {"crop": {"padding": 0.2}, "flip": None}}).sample(trial)
    assert recipe_of(drawn) == {"crop": {"padding": 0.2}, "flip": {"probability": 0.5}}
    assert not [name for name in trial.asked if name.startswith("augment")]
    assert recipe_of(make(fixed={"augment": "strong"}).sample(Draws())) == "strong"


def test_a_study_without_augmentation_keeps_its_keys() -> None:
    drawn = make().sample(Draws())
    assert "augment" not in drawn
    assert recipe_of(drawn) is None


def test_augmentations_count_as_configurations() -> None:
    finite = {
        "encoder": {"mlp": {"depth": 1, "width": 8, "dropout": 0.0}},
        "loss": {"triplet": {"margin": 1.0}},
    }
    without = make(**finite).count()
    several = make(**finite, augment=["none", {"crop": {"padding": [0.1, 0.2, 0.3]}}, "flip"])
    assert several.count() == without * 5 < float("inf")


def test_a_component_inside_a_component_is_drawn_with_its_own_parameters() -> None:
    registry = Registry(metadata_of_builtins())
    registry.register(
        LossSpec(name="wrap", factory="m:W", supervision="labels", params={"inner": Component("triplet")})
    )
    trial = Draws()
    drawn = make(registry, loss={"wrap": {"inner": ["triplet", "nt_xent"]}}).sample(trial)
    assert drawn["loss"]["params"]["inner"]["name"] == "siamkit/triplet"
    assert trial.asked["loss.wrap.inner"] == ("triplet", "nt_xent")
    assert "loss.wrap.inner.triplet.margin" in trial.asked
    assert factors_of(drawn)["loss.session/wrap.inner.triplet.mining"] == "all"


FIXED_MLP: dict[str, Any] = {"encoder": {"mlp": {"depth": 1, "width": 8, "dropout": 0.0}}}


def test_a_finite_space_knows_its_size() -> None:
    # By hand: 2 depths; triplet has 3 minings and 2 metrics, cosine_mse 1 metric; 5 dims; 2 normalize.
    space = make(
        encoder={"mlp": {"depth": [1, 2], "width": 8, "dropout": 0.0}},
        metric=["euclidean", "cosine"],
        loss=[{"triplet": {"margin": 0.2}}, "cosine_mse"],
        embedding_dim={"low": 4, "high": 8},
        normalize=[True, False],
    )
    assert space.count() == 2 * (3 * 2 + 1) * 5 * 2
    assert make(learning_rate={"low": 1e-4, "high": 1e-2}).count() == float("inf")
    # By hand: 3 minings; 2 noises, 4 sizes, and one corruption.
    data = {"label_noise": [0, 0.2], "items_per_class": {"low": 2, "high": 5}, "corruption": "blur_1"}
    assert make(loss={"triplet": {"margin": 0.2}}, data=data, **FIXED_MLP).count() == 3 * 2 * 4
    assert make(data={"imbalance": {"low": 1, "high": 9}}).count() == float("inf")


def test_the_key_of_a_configuration_does_not_depend_on_order() -> None:
    drawn = EVERYTHING.sample(Draws())
    turned = {
        name: dict(reversed(value.items())) if isinstance(value, dict) else value
        for name, value in reversed(drawn.items())
    }
    assert list(turned) != list(drawn)
    assert key_of(turned) == key_of(drawn)
    assert key_of({**drawn, "embedding_dim": 9}) != key_of(drawn)


def test_seeds_differ_by_every_part() -> None:
    seeds = {
        derive_seed(0, {"a": 1}, 0),
        derive_seed(1, {"a": 1}, 0),
        derive_seed(0, {"a": 2}, 0),
        derive_seed(0, {"a": 1}, 1),
        derive_seed(0, {"a": 1}, "confirm", 0),
    }
    assert len(seeds) == 5
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert derive_seed(0, {"a": 1, "b": 2}) == derive_seed(0, {"b": 2, "a": 1})
    assert canonical({"b": 1.5, "a": "é"}) == '{"a":"é","b":1.5}'
