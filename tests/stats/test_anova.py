"""The analysis of variance of a crossed design, against statistics worked by hand and by SciPy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from siamkit.stats.effects import Trials
from siamkit.stats.importance import variance_shares


def crossed(repeats: int = 1) -> list[dict[str, object]]:
    levels = product(("cnn", "mlp", "vit"), ("cosine", "dot"), (8, 32))
    return [{"encoder": e, "metric": m, "embedding_dim": d} for e, m, d in levels for _ in range(repeats)]


def test_a_factor_alone_has_the_share_that_a_one_way_analysis_gives_it() -> None:
    rng = np.random.default_rng(0)
    factors = crossed(4)
    values = rng.normal(size=len(factors)) + np.array([each["encoder"] == "cnn" for each in factors])
    shares = {str(each): each.share for each in variance_shares(Trials(factors, values, True, True))}
    groups = [values[[each["encoder"] == name for each in factors]] for name in ("cnn", "mlp", "vit")]
    f = stats.f_oneway(*groups).statistic
    within = len(values) - 3
    assert shares["encoder"] == pytest.approx(2 * f / (2 * f + within))  # η² from F
    assert sum(shares.values()) == pytest.approx(1)


def test_what_two_do_only_together_is_theirs_and_nobodys_alone() -> None:
    factors = crossed()
    values = np.array(
        [1.0 if (each["encoder"] == "cnn") == (each["metric"] == "dot") else 0 for each in factors]
    )
    values += 0.01 * np.array([each["embedding_dim"] == 8 for each in factors])
    shares = {str(each): each.share for each in variance_shares(Trials(factors, values, True, True))}
    # By hand: of cells 1, 0 / 0, 1 / 0, 1 the metric's means are 1/3 and 2/3 and the encoders' all 1/2.
    assert shares["encoder"] == pytest.approx(0)
    assert shares["metric"] == pytest.approx(1 / 9, rel=1e-3)
    assert shares["encoder × metric"] == pytest.approx(8 / 9, rel=1e-3)
    assert shares["the rest"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("spoilt", ["missing", "uneven", "adaptive", "constant"])
def test_there_is_no_answer_where_nothing_adds_up(spoilt: str) -> None:
    factors, balanced = crossed(2), True
    values = np.arange(len(factors), dtype=float)
    if spoilt == "missing":
        rows = [
            row for row, each in enumerate(factors) if (each["encoder"], each["metric"]) != ("cnn", "dot")
        ]
        factors, values = [factors[row] for row in rows], values[rows]
    elif spoilt == "uneven":
        factors, values = factors[:-1], values[:-1]
    elif spoilt == "adaptive":
        balanced = False
    else:
        values = np.ones(len(factors))
    assert variance_shares(Trials(factors, values, True, balanced)) == []
