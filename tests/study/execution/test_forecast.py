"""The forecast of a study: by hand from the times of its trainings, and of a real study."""

from pathlib import Path

import pytest

from siamkit.study.api import check_study
from siamkit.study.execution.forecast import WORKER_SECONDS, Forecast
from siamkit.study.worker.trainer import Timing

SLOW = Timing(start=10.0, step=0.1, evaluation=1.0, steps=301, evaluations=11)  # 10 + 300 * 0.1 + 10 * 1
QUICK = Timing(start=4.0, step=0.01, evaluation=0.6, steps=301, evaluations=11)


def test_a_training_is_its_start_and_its_steps_and_its_evaluations() -> None:
    assert SLOW.training == pytest.approx(50.0)
    assert QUICK.training == pytest.approx(13.0)


def test_trials_run_side_by_side_and_the_confirmation_has_its_share() -> None:
    found = Forecast({"cnn": SLOW, "mlp": QUICK}, trials=9, seeds=2, finals=9, share=0.2, workers=4)
    assert found.search == pytest.approx(5 * 31.5)  # 18 trainings, 4 at a time
    assert found.confirmation == pytest.approx(0.2 * 5 * 31.5)  # less than 3 rounds of 31.5 s
    assert found.total == pytest.approx(WORKER_SECONDS + 1.2 * 5 * 31.5)


def test_the_budget_limits_the_search() -> None:
    found = Forecast({"cnn": SLOW}, trials=100, seeds=1, finals=0, share=0.0, workers=1, limit=600.0)
    assert (found.search, found.confirmation) == (600.0, 0.0)
    assert not any(title == "finalists" for title, _ in found.rows())


def test_trials_that_have_ended_take_no_time() -> None:
    found = Forecast({"cnn": SLOW}, trials=4, seeds=1, finals=2, share=0.5, workers=1, tried=4)
    assert (found.search, found.confirmation) == (0.0, 100.0)  # two trainings: half of the whole search
    assert dict(found.rows())["search"].startswith("4 trials, of which 4 have ended: about 0")


STUDY = """
version: 1
name: check
data: {source: digits, limit: {train: 100, valid: 60, test: 60}}
fixed: {batch_size: 16, steps: 20, optimizer: adam}
search:
  encoder: [mlp, linear]
  metric: cosine
  loss: [triplet, contrastive]
  learning_rate: [1e-3, 1e-2]
budget: {trials: 7}
confirm: {top: 1, seeds: 2}
workers: 1
"""


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_check_tells_what_a_study_does_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    rows = dict(check_study(file, progress="none"))
    assert rows["data"] == "1,797 items of kind image: 100 train, 60 valid, 60 test, split by item"
    assert (rows["encoder"], rows["loss"]) == ("mlp, linear", "triplet, contrastive")
    assert rows["also varied"].split(", ")[0] == "learning_rate"
    assert rows["compared with"] == "raw, pca, hog, random, chance"
    assert rows["training"].startswith("20 steps with 10 evaluations; mlp ")
    assert rows["search"].startswith("7 trials: about ")
    assert rows["finalists"].startswith("up to 2 trainings: about ")
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]
