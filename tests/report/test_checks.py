"""Whether a study's numbers can be trusted, from run folders made by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from siamkit.report.checks import check_reliability, verdict
from siamkit.report.load import load_study_results
from siamkit.report.model import Check

VERSIONS = {"python": "3.11.7", "backend": "jax", "packages": {"keras": "3.15.1"}, "plugins": {}}
FACTORS = {"encoder": "mlp", "metric": "cosine", "loss": "triplet", "embedding_dim": 8}
NOTHING = {
    "looked_at": {"train": 500, "valid": 250, "test": 250},
    "between": [
        {"parts": list(parts), "exact": 0, "near": 0, "examples": []}
        for parts in (("train", "valid"), ("train", "test"), ("valid", "test"))
    ],
    "classes": {"train": 50, "valid": 25, "test": 25},
    "seen": {"train": 50, "valid": 0, "test": 0},
}


class Folder:
    """A run folder made by hand: 25 unseen test classes, nothing in two parts, three good seeds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frozen: dict[str, Any] = {
            "name": "by_hand",
            "objectives": {"map_at_r": "maximize"},
            "study": {"seed": 7},
            "data": {
                "supervision": "labels",
                "items": 1000,
                "split": {
                    "by": "class",
                    "counts": {"train": 500, "valid": 250, "test": 250},
                    "values": {"test": [str(n) for n in range(25)]},
                },
            },
            "versions": VERSIONS,
            "overlap": json.loads(json.dumps(NOTHING)),
        }

    def trial(
        self, number: int, value: float | None, loss: str = "triplet", cause: str = "", **more: Any
    ) -> Folder:
        outcome = "complete" if value is not None else "failed"
        factors = {**FACTORS, "loss": loss}
        row = {"trial": number, "key": f"k{number}", "outcome": outcome, "factors": factors, "cause": cause}
        measures = {"figures": {"map_at_r": value} if value is not None else {}}
        self._write(f"trials/{number}/t", {**row, **measures, "versions": VERSIONS, **more})
        return self

    def confirmed(self, number: int, valid: Sequence[float], test: Sequence[Any], **more: Any) -> Folder:
        """One repeat a number; `test` holds scores by query, or figures."""
        for repeat, (before, after) in enumerate(zip(valid, test, strict=True)):
            place = f"confirm/k{number}/{repeat}"
            row = {"trial": number, "key": f"k{number}", "repeat": repeat, "outcome": "complete"}
            row |= {"factors": FACTORS, "versions": VERSIONS, "valid": {"map_at_r": before}}
            self._write(place, {**row, "test": {"map_at_r": float(np.mean(after))}, **more})
            if np.ndim(after):
                _write_queries(self.path / place, after)
        return self

    def baseline(self, name: str, worth: float, test: Any = None, **more: Any) -> Folder:
        """A baseline; `test` holds scores by query, or a value."""
        row = {"name": name, "metric": "cosine", "dim": 64, "valid": {"map_at_r": worth}} | more
        row |= {} if test is None else {"test": {"map_at_r": float(np.mean(test))}}
        self._write(f"baselines/{name}", row)
        if np.ndim(test):
            _write_queries(self.path / "baselines" / name, test)
        return self

    def log(self, *events: tuple[str, float]) -> Folder:
        lines = [{"event": event, "time": time, "outcome": "complete"} for event, time in events]
        (self.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{half")
        return self

    def found(self) -> dict[str, Check]:
        (self.path / "study.json").write_text(json.dumps(self.frozen))
        return {check.name: check for check in check_reliability(load_study_results(self.path))}

    def _write(self, place: str, row: dict[str, Any]) -> None:
        (self.path / place).mkdir(parents=True)
        (self.path / place / "result.json").write_text(json.dumps(row))


def _write_queries(place: Path, scores: np.ndarray) -> None:
    ids = [f"i{n}" for n in range(len(scores))]
    target = [str(n % 25) for n in range(len(scores))]
    pq.write_table(
        pa.table({"id": ids, "target": target, "map_at_r": scores}), place / "test_queries.parquet"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def queries(worth: float, seed: int) -> np.ndarray:
    """Scores of 250 queries: some are hard for all, and each seed has its luck."""
    hard = np.random.default_rng(0).uniform(-0.2, 0.2, 250)
    luck = np.random.default_rng(seed).normal(0, 0.01, 251)
    return worth + hard + luck[0] + luck[1:]


def sound(folder: Folder, second: float = 0.5) -> Folder:
    """Two losses tried four times each, two finalists of three seeds."""
    for number in range(8):
        folder.trial(number, 0.6 + number / 1000, ("triplet", "contrastive")[number % 2])
    folder.confirmed(7, [0.61, 0.60, 0.605], [queries(0.6, seed) for seed in range(3)])
    folder.confirmed(6, [0.59, 0.58, 0.585], [queries(second, seed) for seed in range(3, 6)])
    return folder.baseline("raw", 0.4, queries(0.4, 6))


def test_a_study_done_as_it_should_be_has_nothing_against_it(folder: Folder) -> None:
    found = sound(folder).found()
    assert {each.status for each in found.values()} == {"ok"}, found
    assert set(found) >= {"split", "test_classes", "duplicates", "confirmed", "luck", "seeds", "test_split"}
    assert "25 classes of the test split are in no other split" in found["split"].sentence
    assert "once for each trained finalist (6 times)" in found["test_split"].sentence
    assert "All 14 results are of the same software versions" in found["versions"].sentence
    assert "derived from 7" in found["versions"].sentence
    assert verdict(list(found.values())) == "All checks passed."


# ------------------------------------------------------------------ baselines


@pytest.mark.parametrize(
    ("worth", "status", "words"),
    [
        (0.4, "ok", r"The winner is better than the best baseline \(raw · cosine · 64-d\): .* \+0\.\d+ \["),
        (0.6, "error", r"The winner is not shown to be better than the best baseline \(raw"),
        (0.8, "error", r"The winner is worse than the best baseline \(raw · cosine · 64-d\): .* -0\.\d+ \["),
    ],
)
def test_the_winner_is_compared_with_the_baseline_that_is_best_on_validation(
    folder: Folder, worth: float, status: str, words: str
) -> None:
    folder.confirmed(0, [0.7, 0.7, 0.7], [queries(0.6, seed) for seed in range(3)])
    folder.baseline("raw", 0.5, queries(worth, 1)).baseline("pca", 0.3, queries(0.9, 7))
    found = folder.found()["baseline"]
    assert found.status == status
    assert re.match(words, found.sentence)


def test_fewer_errors_are_better_than_a_baseline_with_more(folder: Folder) -> None:
    folder.frozen["objectives"] = {"map_at_r": "minimize"}
    folder.confirmed(0, [0.2, 0.2, 0.2], [queries(0.3, seed) for seed in range(3)])
    folder.baseline("raw", 0.5, queries(0.5, 6)).baseline("pca", 0.9, queries(0.1, 7))
    found = folder.found()["baseline"]
    assert found.status == "ok"
    assert "The winner is better than the best baseline (raw" in found.sentence


def test_before_the_confirmation_only_the_values_are_compared(folder: Folder) -> None:
    folder.trial(0, 0.5).baseline("raw", 0.4)
    found = folder.found()["baseline"]
    assert found.status == "warning"
    assert "map_at_r 0.5000 and the best baseline (raw · cosine · 64-d) 0.4000" in found.sentence
    folder.baseline("pca", 0.5)
    found = folder.found()["baseline"]
    assert found.status == "error"
    assert "not better than the best baseline (pca · cosine · 64-d): on the validation" in found.sentence


@pytest.mark.parametrize(("worth", "is_better"), [(0.6, False), (0.4, True)])
def test_a_winner_no_better_than_chance_is_an_error(folder: Folder, worth: float, is_better: bool) -> None:
    folder.trial(0, 0.6).confirmed(0, [0.6, 0.6, 0.6], [queries(0.6, seed) for seed in range(3)])
    folder.baseline("chance", worth, queries(worth, 1))
    found = folder.found()
    assert ("chance" not in found) == is_better
    if not is_better:
        assert (
            "not shown to be better than chance: on the test split its map_at_r" in found["chance"].sentence
        )


def test_a_study_without_baselines_says_so(folder: Folder) -> None:
    folder.frozen["settings"] = {"baselines": None}
    assert "has no baselines (baselines: null)" in folder.trial(0, 0.5).found()["baseline"].sentence
    folder.frozen["settings"] = {}
    folder.baseline("lda", 0.0, valid={}, cause="LinAlgError: singular")
    assert "No baseline has a value of map_at_r" in folder.found()["baseline"].sentence


# ------------------------------------------------------------------ choice


def test_a_winner_that_is_not_confirmed_is_a_fault(folder: Folder) -> None:
    found = folder.trial(0, 0.5).trial(1, 0.6).found()
    assert found["confirmed"].status == "error"
    assert "The best of 2 trials is not confirmed" in found["confirmed"].sentence
    assert "never scored" in found["confirmed"].sentence
    assert not {"seeds", "luck", "lead", "interval"} & set(found)
    assert "No baseline has a value of map_at_r" in found["baseline"].sentence
    assert verdict(list(found.values())).startswith("1 error and 1 warning: The best of 2 trials is not")


def test_a_study_that_has_only_begun_says_little_and_breaks_nothing(folder: Folder) -> None:
    assert set(folder.found()) == {"split", "test_classes", "duplicates"}
    assert set(folder.trial(0, None).found()) >= {"split", "failed"}


def test_luck_in_the_search_is_told_in_numbers(folder: Folder) -> None:
    folder.trial(0, 0.80).confirmed(0, [0.70, 0.71, 0.72], [0.6, 0.6, 0.61])
    luck = folder.found()["luck"]
    assert luck.status == "warning"
    # By hand: 0.80 less the mean of the three.
    assert "had map_at_r 0.8000; trained again it has 0.7100" in luck.sentence
    assert "0.0900 worse" in luck.sentence


@pytest.mark.parametrize(("direction", "kind"), [("maximize", "ok"), ("minimize", "warning")])
def test_luck_goes_by_the_objectives_direction(folder: Folder, direction: str, kind: str) -> None:
    folder.frozen["objectives"] = {"map_at_r": direction}
    folder.trial(0, 0.60).confirmed(0, [0.70, 0.71, 0.72], [0.6, 0.6, 0.61])
    assert folder.found()["luck"].status == kind


@pytest.mark.parametrize(("seeds", "kind"), [(1, "error"), (2, "warning"), (3, "ok")])
def test_seeds_are_counted(folder: Folder, seeds: int, kind: str) -> None:
    folder.trial(0, 0.7).confirmed(0, [0.7, 0.71, 0.72][:seeds], [0.6, 0.61, 0.62][:seeds])
    assert folder.found()["seeds"].status == kind


def test_repeats_that_failed_are_told(folder: Folder) -> None:
    folder.trial(0, 0.7).confirmed(0, [0.7, 0.71], [0.6, 0.61])
    folder._write("confirm/k0/2", {"trial": 0, "key": "k0", "repeat": 2, "outcome": "failed"})
    found = folder.found()
    assert "1 of 3 repeats of finalists failed, 1 of them of the winner" in found["failed_repeats"].sentence


def test_the_lead_over_the_second_is_shown_or_not(folder: Folder, tmp_path: Path) -> None:
    shown = sound(folder).found()["lead"]
    assert shown.status == "ok"
    assert "The winner is better than the second finalist" in shown.sentence
    assert "over 25 classes and over seeds" in shown.sentence
    (tmp_path / "other").mkdir()
    hidden = sound(Folder(tmp_path / "other"), second=0.601).found()["lead"]
    assert hidden.status == "warning"
    assert "The two best finalists do not differ significantly" in hidden.sentence
    (tmp_path / "third").mkdir()
    better = sound(Folder(tmp_path / "third"), second=0.7).found()
    assert better["lead"].status == "warning"
    assert "choosing by the test split now would make its scores optimistic" in better["lead"].sentence
    assert "map_at_r is 0.6" in better["interval"].sentence  # of the winner still


def test_one_seed_each_leaves_the_lead_untold_where_there_are_no_queries(folder: Folder) -> None:
    folder.trial(0, 0.7).trial(1, 0.6).confirmed(0, [0.7], [0.6]).confirmed(1, [0.6], [0.5])
    assert "cannot be tested: each was trained once" in folder.found()["lead"].sentence


def test_a_search_that_goes_on_after_the_test_part_was_scored_is_told(folder: Folder) -> None:
    sound(folder).log(("trial started", 1), ("confirmed", 2), ("trial started", 3), ("trial started", 4))
    found = folder.found()["test_split"]
    assert found.status == "warning"
    assert "2 trials started later" in found.sentence
    folder.log(("trial started", 1), ("confirmed", 2), ("confirmed", 3))
    assert folder.found()["test_split"].status == "ok"


# -------------------------------------------------------------------- data


def test_classes_that_were_seen_say_nothing_about_new_ones(folder: Folder) -> None:
    folder.frozen["data"]["split"] = {"by": "item", "counts": {"train": 500, "valid": 250, "test": 250}}
    folder.frozen["overlap"]["seen"]["test"] = 25
    found = folder.found()
    assert (found["split"].status, found["test_classes"].status) == ("warning", "ok")
    assert "All classes of the test split are also in training" in found["split"].sentence
    folder.frozen["data"]["split"]["by"] = "camera"
    folder.frozen["overlap"]["seen"]["test"] = 4
    assert "4 of the 25 classes of the test split are also in training" in folder.found()["split"].sentence
    folder.frozen["overlap"]["seen"]["test"] = 0
    assert folder.found()["split"].status == "ok"
    del folder.frozen["overlap"]
    assert "is not recorded" in folder.found()["split"].sentence


def test_few_test_classes_and_items_are_told(folder: Folder) -> None:
    folder.frozen["overlap"]["classes"]["test"] = 19
    folder.frozen["data"]["split"]["counts"]["test"] = 199
    found = folder.found()
    assert "has 19 classes: too few" in found["test_classes"].sentence
    assert "has only 199 items" in found["test_items"].sentence


def test_items_in_two_parts_are_a_fault_where_they_are_many(folder: Folder) -> None:
    between = folder.frozen["overlap"]["between"][1]
    between |= {"exact": 1, "near": 1, "examples": [["a", "b", "exact"], ["c", "d", "near"]]}
    few = folder.found()["duplicates"]
    assert few.status == "warning"
    assert few.sentence == (
        "1 of 250 test items are also in train, 1 more of 250 test items are nearly in train "
        "(such as a and b, c and d)."
    )
    between["near"] = 2  # 3 of 250 are more than 1 in 100
    assert folder.found()["duplicates"].status == "error"
    between |= {"whole": 0}
    folder.frozen["data"]["supervision"] = "pairs"
    pairs = folder.found()
    assert pairs["duplicates"].status == "warning"
    assert "1 of 250 test pairs have an item that is also in train" in pairs["duplicates"].sentence
    assert "split" not in pairs  # pairs have no classes
    assert "split: {by:" not in pairs["duplicates"].sentence  # an older study does not say what would help


def shared_pairs(folder: Folder, by: str = "item", **between: Any) -> Check:
    """Let 20 of 250 test pairs have an item that is in training."""
    folder.frozen["data"] |= {"supervision": "pairs"}
    folder.frozen["data"]["split"] = {"by": by, "counts": {"train": 600, "valid": 250, "test": 250}}
    folder.frozen["overlap"]["largest"] = {"components": 0.1, "left": 0.02, "right": 0.7}
    folder.frozen["overlap"]["between"][1] |= {
        "exact": 20,
        "whole": 0,
        "crossed": 3,
        "examples": [["17", "203", "exact"]],
        "items": ["'running shoes'"],
        **between,
    }
    return folder.found()["duplicates"]


def test_shared_items_are_shown_with_the_way_out(folder: Folder) -> None:
    check = shared_pairs(folder)
    assert check.sentence == (
        "20 of 250 test pairs have an item that is also in train (such as 'running shoes'). To keep every "
        "item in one split, write split: {by: components}."
    )
    assert check.status == "warning"
    assert shared_pairs(folder, whole=20).status == "error"


def test_where_most_pairs_are_linked_the_sides_are_the_way_out(folder: Folder) -> None:
    shared_pairs(folder)
    folder.frozen["overlap"]["largest"]["components"] = 0.93
    sentence = folder.found()["duplicates"].sentence
    assert "93% of the pairs are linked by shared items" in sentence
    assert sentence.endswith("to keep the items of one side in one split, write split: {by: {side: left}}.")


def test_a_side_that_was_kept_apart_is_no_fault_if_the_sides_are_of_two_kinds(folder: Folder) -> None:
    check = shared_pairs(folder, "left side", crossed=0)
    assert check.status == "ok"
    assert check.sentence.endswith("The left side shares none.")
    assert shared_pairs(folder, "left side", crossed=3).status == "warning"


def test_one_choice_of_few_training_classes_is_told(folder: Folder) -> None:
    split = folder.frozen["data"]["split"]
    split["values"] = {"train": list("abcdef"), "valid": list("gh"), "test": list("ij")}
    found = folder.found()["folds"]
    assert (found.status, "one choice of 6 classes" in found.sentence) == ("warning", True)
    split["folds"] = [list("gh"), list("ab"), list("cd"), list("e")]
    found = folder.found()["folds"]
    assert (found.status, found.sentence) == (
        "ok",
        "Each trial was trained on 4 choices of classes, and validated on the other 1 or 2.",
    )
    del split["folds"]
    split["values"]["train"] = [str(number) for number in range(20)]
    assert "folds" not in folder.found()


def test_groups_too_large_for_their_split_and_altered_items_are_told(folder: Folder) -> None:
    folder.frozen["data"]["split"] |= {
        "by": "components",
        "counts": {"train": 900, "valid": 50, "test": 50},
        "shares": {"train": 0.6, "valid": 0.2, "test": 0.2},
        "groups": {"train": 1, "valid": 5, "test": 5},
    }
    folder.frozen["data"]["altered"] = {
        "train": {"items": 900, "cut": 0, "unknown": 0, "max_length": 24, "longest": 20},
        "test": {"items": 50, "cut": 12, "unknown": 0, "max_length": 24, "longest": 31},
    }
    found = folder.found()
    assert found["altered"].sentence == (
        "12 of 950 texts were cut: the longest has 31 pieces, and the model takes 24. To keep them "
        "whole, set data: {text: {max_length: 31}}."
    )
    assert any(
        "The train split has 90% of the items instead of 60%" in check.sentence
        for check in check_reliability(load_study_results(folder.path))
    )


def test_what_was_not_looked_for_or_only_in_part_is_told(folder: Folder) -> None:
    folder.frozen["overlap"]["looked_at"]["train"] = 400
    assert "among 400 of train" in folder.found()["duplicates"].sentence
    del folder.frozen["overlap"]
    assert "were not searched for shared items" in folder.found()["duplicates"].sentence


# -------------------------------------------------------------------- runs


def test_unequal_budgets_of_losses_are_told_with_their_numbers(folder: Folder) -> None:
    for number in range(7):
        folder.trial(number, 0.5, "triplet" if number < 5 else "contrastive")
    found = folder.found()["budget_loss"]
    assert found.status == "warning"
    assert "(triplet 5, contrastive 2)" in found.sentence
    assert "budget_metric" not in folder.found()  # there is one only


def test_failures_that_lie_in_one_loss_are_told(folder: Folder) -> None:
    for number in range(10):
        folder.trial(
            number, 0.5 if number > 3 else None, "triplet" if number % 2 or number < 3 else "contrastive"
        )
    found = folder.found()["failed"]
    assert "4 of 10 trials failed, 4 of them with the loss triplet" in found.sentence


def test_a_loss_of_which_no_trial_completed_was_not_judged(folder: Folder) -> None:
    folder.trial(0, 0.5, "triplet").trial(1, None, "contrastive", outcome="pruned").trial(
        2, None, "contrastive"
    )
    found = folder.found()["not_judged"]
    assert "No trial of the loss contrastive completed (1 failed, 1 pruned)" in found.sentence


def test_trials_that_were_ended_by_their_limit_are_told(folder: Folder) -> None:
    folder.trial(0, 0.5).trial(1, None, cause="took longer than the trial_time of 60 s", cause_kind="timeout")
    assert "1 of 2 trials were stopped by trial_time" in folder.found()["trial_time"].sentence


def test_results_of_other_versions_are_a_fault(folder: Folder) -> None:
    other = {**VERSIONS, "packages": {"keras": "3.12.0"}}
    folder.trial(0, 0.5).trial(1, 0.6, versions=other)
    found = folder.found()["versions"]
    assert (found.status, found.sentence) == (
        "error",
        "The results are of different software versions: keras 3.12.0 and 3.15.1.",
    )
    folder.trial(2, 0.6, versions=None)
    assert "1 of 3 results do not record their versions" in folder.found()["versions"].sentence


# ----------------------------------------------------------------- in short


def test_the_verdict_names_the_worst_first(folder: Folder) -> None:
    sound(folder).frozen["overlap"]["classes"]["test"] = 4
    told = verdict(list(folder.found().values()))
    assert told.startswith("1 warning: The test split has 4 classes")
    kinds = [each.status for each in folder.trial(9, 0.9, versions={}).found().values()]
    assert kinds == sorted(kinds, key=["error", "warning", "ok"].index)
    assert verdict([]) == "All checks passed."


def test_findings_need_no_backend(folder: Folder) -> None:
    sound(folder).found()
    code = (
        "import sys; from pathlib import Path; from siamkit.report.load import load_study_results\n"
        "from siamkit.report.checks import check_reliability\n"
        f"assert check_reliability(load_study_results(Path({str(folder.path)!r})))\n"
        "print([m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
