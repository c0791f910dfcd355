"""The three classic networks, trained on data where the right answer is known."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize(
    ("script", "size", "chance", "wanted"),
    [
        # the area under the ROC curve of alike against unlike pairs of fresh images
        ("image_pairs", {"count": 384, "epochs": 5}, 0.5, 0.95),
        # Spearman's correlation with the true similarity of fresh texts
        # (on PyTorch, Keras takes the steps of an LSTM one by one in Python)
        pytest.param(
            "text_pairs", {"count": 1024, "epochs": 6}, 0.0, 0.7, marks=pytest.mark.one_backend("jax")
        ),
        # the share of fresh triplets whose positive is nearer
        ("vector_triplets", {"count": 2048, "epochs": 8}, 0.5, 0.95),
    ],
)
def test_a_classic_network_learns_what_is_there_to_learn(script, size, chance, wanted):
    main = runpy.run_path(str(EXAMPLES / f"{script}.py"))["main"]
    untrained = main(**{**size, "epochs": 0})
    # An untrained network may do better than chance, but not as well as is asked of a trained one.
    assert untrained < wanted
    assert main(**size) >= wanted > chance
