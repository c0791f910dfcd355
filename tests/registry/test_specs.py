"""Specs: what they accept, what they refuse and in which words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from siamkit.registry.compatibility import metric_misfit, supervision_for
from siamkit.registry.specs import (
    Bool,
    Choice,
    Component,
    DatasetSpec,
    EncoderSpec,
    Float,
    Int,
    LossSpec,
    MetricSpec,
    Text,
)


def loss(**changes):
    return LossSpec(**{"name": "one", "factory": "a:B", "supervision": "labels"} | changes)


def metric(**changes):
    return MetricSpec(**{"name": "one", "factory": "a:B", "orientation": "distance"} | changes)


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize("value", [True, math.nan, math.inf, -math.inf, "1", None, [1.0], 1j])
def test_a_float_refuses_what_is_no_finite_number(value):
    with pytest.raises(ValueError, match="should be a finite number, got"):
        Float(0.5).validate(value)


@pytest.mark.parametrize("value", [True, 1.0, math.nan, "1", None, np.float32(1.0), np.True_])
def test_an_int_refuses_what_is_no_whole_number(value):
    with pytest.raises(ValueError, match="should be a whole number, got"):
        Int(1).validate(value)


@pytest.mark.parametrize(
    ("given", "kept"), [(2, 2.0), (0.25, 0.25), (np.float32(0.25), 0.25), (np.int64(2), 2.0)]
)
def test_a_float_takes_numbers_of_python_and_numpy_as_a_python_float(given, kept):
    value = Float(0.5).validate(given)
    assert value == kept
    assert type(value) is float


@pytest.mark.parametrize("given", [3, np.int64(3), np.uint8(3)])
def test_an_int_takes_whole_numbers_of_python_and_numpy_as_a_python_int(given):
    value = Int(1).validate(given)
    assert value == 3
    assert type(value) is int


@pytest.mark.parametrize(
    ("bounds", "wrong", "words"),
    [
        ({"minimum": 0.0}, -0.1, "should be at least 0, got -0.1"),
        ({"maximum": 2.0}, 2.1, "should be at most 2, got 2.1"),
        ({"minimum": 0.0, "maximum": 2.0}, 3, "should be from 0 to 2, got 3"),
    ],
)
def test_a_number_out_of_bounds_is_told_its_bounds(bounds, wrong, words):
    with pytest.raises(ValueError, match=words):
        Float(1.0, **bounds).validate(wrong)


def test_bounds_themselves_are_valid_and_the_search_range_does_not_bound():
    param = Float(1.0, low=0.5, high=1.5, minimum=0.0, maximum=2.0)
    assert [param.validate(v) for v in (0.0, 2.0, 1.9)] == [0.0, 2.0, 1.9]


def test_a_number_is_none_only_where_its_default_is():
    assert Int(None).validate(None) is None
    with pytest.raises(ValueError, match="whole number"):
        Int(2).validate(None)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Float(0.5, low=0.1),
        lambda: Float(0.5, high=0.1),
        lambda: Float(0.5, low=1.0, high=0.1),
        lambda: Float(0.5, low=-1.0, high=1.0, minimum=0.0),
        lambda: Float(0.5, low=0.1, high=3.0, maximum=2.0),
        lambda: Float(0.5, low=0.0, high=1.0, log=True),
        lambda: Float(0.5, low=math.nan, high=1.0),
        lambda: Float(0.5, low=0.0, high=math.inf),
        lambda: Int(1, low=0.5, high=2.5),
        lambda: Float(-1.0, minimum=0.0),
        lambda: Float(0.5, unit="metres"),
        lambda: Int(1.5),
        lambda: Choice("c", options=("a", "b")),
        lambda: Choice("a", options=()),
        lambda: Bool(1),
        lambda: Text(1),
        lambda: Component(None),
    ],
)
def test_a_parameter_with_an_impossible_range_or_default_is_refused(made):
    with pytest.raises(ValueError, match=r"should be|should name|not a range|give both|starts above"):
        made()


def test_a_choice_takes_its_options_and_does_not_confuse_1_with_true():
    param = Choice(1, options=(1, "two", None))
    assert [param.validate(v) for v in (1, "two", None)] == [1, "two", None]
    for wrong in (True, 1.0, "three", "1"):
        with pytest.raises(ValueError, match="should be one of 1, two, None, got"):
            param.validate(wrong)


@pytest.mark.parametrize("value", [1, 0, "true", None, np.True_])
def test_a_bool_refuses_what_is_not_true_or_false(value):
    with pytest.raises(ValueError, match="should be true or false, got"):
        Bool(True).validate(value)


def test_a_text_takes_a_text_and_none_only_by_default():
    assert Text().validate("column") == "column"
    assert Text().validate(None) is None
    for wrong in (None, 3, b"column"):
        with pytest.raises(ValueError, match="should be a text"):
            Text("column").validate(wrong)


@pytest.mark.parametrize("value", [None, True, 1, 0.5])
def test_a_component_parameter_refuses_what_names_none(value):
    with pytest.raises(ValueError, match="should name a loss, got"):
        Component("triplet").validate(value)


# --------------------------------------------------------------------- specs


@pytest.mark.parametrize("name", ["", "Triplet", "2d", "a-b", "a b", "a/b", "ärmel", "a.b", 3, None])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ValueError, match="name should be lower case letters, digits and underscores, got"):
        loss(name=name)


@pytest.mark.parametrize("factory", ["", "module", "module:", ":attribute", "a:b:c", "a b:c", 3, None])
def test_a_bad_factory_is_refused(factory):
    with pytest.raises(ValueError, match='factory should be "module:attribute" or a callable, got'):
        loss(factory=factory)


@pytest.mark.parametrize(
    "made",
    [
        lambda: loss(supervision="lables"),
        lambda: loss(supervision=()),
        lambda: loss(supervision=("labels", 3)),
        lambda: loss(orientation="up"),
        lambda: loss(needs=(1,)),
        lambda: loss(params={"margin": 0.2}),
        lambda: loss(params=[Float(0.2)]),
        lambda: metric(orientation="any"),
        lambda: metric(range=(1.0, -1.0)),
        lambda: metric(range=(0.0, math.nan)),
        lambda: metric(range=3.0),
        lambda: EncoderSpec(name="one", factory="a:B", inputs=("picture",)),
        lambda: DatasetSpec(name="one", factory="a:B", supervision="none"),
        lambda: DatasetSpec(name="one", factory="a:B", suffixes=(1,)),
    ],
)
def test_a_spec_refuses_what_it_does_not_know(made):
    with pytest.raises(ValueError, match=r"should be|got"):
        made()


def test_one_text_stands_for_a_tuple_of_one():
    assert loss(supervision="pairs", needs="num_classes").needs == ("num_classes",)
    assert loss(supervision="pairs").supervision == ("pairs",)


def test_a_spec_cannot_be_changed_and_tells_its_defaults():
    spec = loss(params={"margin": Float(0.2), "mining": Choice("all", options=("all", "hard"))})
    assert spec.defaults() == {"margin": 0.2, "mining": "all"}
    with pytest.raises(AttributeError):
        spec.name = "other"


# ------------------------------------------------------------ what fits what

DISTANCE = metric(range=(0.0, math.inf))
BOUNDED = metric(orientation="similarity", range=(-1.0, 1.0))
UNBOUNDED = metric(orientation="similarity")


@pytest.mark.parametrize(
    ("wanted", "fitting"),
    [
        ("any", [DISTANCE, BOUNDED, UNBOUNDED]),
        ("distance", [DISTANCE, BOUNDED]),  # 1 - s is a distance where s is bounded by 1
        ("similarity", [BOUNDED, UNBOUNDED]),
    ],
)
def test_a_loss_fits_the_metrics_that_can_be_read_as_it_wants(wanted, fitting):
    spec = loss(orientation=wanted)
    assert [m for m in (DISTANCE, BOUNDED, UNBOUNDED) if metric_misfit(spec, m) is None] == fitting


@pytest.mark.parametrize(
    ("data", "supervision", "expected"),
    [
        ("labels", ("labels", "pairs"), "labels"),
        ("labels", ("pairs", "labels"), "pairs"),  # the loss's own order decides
        ("labels", ("triplets",), "triplets"),
        ("labels", ("views",), "views"),
        ("labels", ("scores",), None),
        ("pairs", ("labels", "pairs"), "pairs"),
        ("pairs", ("labels", "scores"), None),
        ("scores", ("scores",), "scores"),
        ("triplets", ("labels", "triplets"), "triplets"),
        ("views", ("labels", "views"), "views"),
        ("views", ("triplets",), None),
    ],
)
def test_data_feed_the_first_supervision_of_the_loss_that_they_can(data, supervision, expected):
    assert supervision_for(data, loss(supervision=supervision)) == expected
