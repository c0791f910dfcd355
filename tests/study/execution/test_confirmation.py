"""The size of the confirmation: as large as the share of the search's training time allows."""

import pytest

from siamkit.runs.results import TrialResult
from siamkit.study.config.schema import Confirm
from siamkit.study.execution.confirmation import ConfirmationSize, confirmation_size

FACTORS = {"encoder": "mlp", "metric": "cosine", "loss": "triplet", "embedding_dim": 8}


def trial(number: int, seconds: float, repeats: int = 1) -> TrialResult:
    return TrialResult.model_validate(
        {
            "trial": number,
            "outcome": "complete",
            "seconds": seconds,
            "factors": FACTORS,
            "figures": {},
            "repeats": [{}] * repeats,
        }
    )


@pytest.mark.parametrize(
    ("confirm", "count", "size"),
    [
        ({}, 40, (3, 3)),
        ({}, 18, (3, 3)),  # 9 of 18 trainings
        ({}, 12, (2, 3)),  # 6 of 12: 3x2 is as large, but has fewer seeds
        ({}, 8, (2, 2)),
        ({}, 4, (1, 2)),
        ({}, 1, (1, 1)),  # never less, whatever the share
        ({"top": 3}, 4, (3, 3)),  # the file's own numbers have no limit
        ({"top": 2, "seeds": 3, "share": 1.0}, 4, (2, 2)),
        ({"share": 0.25}, 36, (3, 3)),
    ],
)
def test_equal_trials(confirm: dict, count: int, size: tuple[int, int]) -> None:
    trials = [trial(number, 10.0) for number in range(count)]
    found = confirmation_size(Confirm(**confirm), trials, 10.0 * count)
    assert found == ConfirmationSize(*size)


def test_a_slow_finalist_is_left_out() -> None:
    trials = [trial(0, 10.0), trial(1, 100.0), trial(2, 10.0)]
    # 60 s: 10, 10 and 10 for three seeds of the best trial; the second alone takes 100 s.
    assert confirmation_size(Confirm(), trials, 120.0) == ConfirmationSize(1, 3)


def test_a_trial_of_several_seeds_counts_as_several_trainings() -> None:
    trials = [trial(number, 30.0, repeats=3) for number in range(4)]
    assert confirmation_size(Confirm(), trials, 120.0) == ConfirmationSize(2, 3)


def test_no_confirmation() -> None:
    assert confirmation_size(None, [trial(0, 1.0)], 1.0) is None
