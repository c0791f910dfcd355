"""Checks of how far the results of a study can be trusted, from its stored results. No Keras here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import stdev

from siamkit.errors import listed
from siamkit.evaluation.baselines import CHANCE
from siamkit.evaluation.measures import broken, measure_of
from siamkit.report.load import FinalistSummary, StoredStudy
from siamkit.report.model import Check
from siamkit.runs.outcome import which_broke
from siamkit.runs.results import Overlap, SharedItems, Snapshot, TrialResult, Versions
from siamkit.stats.resampling import MIN_CLASSES
from siamkit.stats.results import Difference, Interval

MIN_REPEATS = 3
"""The minimum number of repeats to estimate their spread."""

MIN_TEST_ITEMS = 200
"""The minimum number of test items: with 100 of 200 items right, a 95 % interval is ±7 points."""

MAX_GROUP = 0.6
"""The largest fraction of items that one group may have in a split by groups that is proposed."""

HELD_SIDES = ("left side", "right side")
"""The rules of splits that keep the items of one side of pairs apart."""

MAX_SHARE_ERROR = 0.05
"""The difference between the fraction of a split and its `shares` that is reported."""

MAX_SHARED = 0.01
"""The fraction of test items in the training split at which test scores become unreliable."""

COMPARED_FACTORS = ("loss", "metric", "encoder")

MAX_BUDGET_RATIO = 1.5
"""The largest ratio between the numbers of trials of two levels at which their budgets count as equal."""

MIN_FAILURES = 3
"""The minimum number of failures to name a level as their reason."""

LEVEL_SHARE = 0.8
"""The smallest fraction of all failures at which they are attributed to one level."""

ORDER = ("error", "warning", "ok")


def check_reliability(stored: StoredStudy) -> list[Check]:
    """Return checks of how far the results of a study can be trusted: errors first, then warnings.

    Args:
        stored: the results; the study may still be running.

    Example:
        >>> from siamkit.report import check_reliability, load_study_results
        >>> for check in check_reliability(load_study_results(folder)):  # doctest: +SKIP
        ...     print(check.status, check.sentence)
    """
    checks = [*check_baseline(stored), *check_constraints(stored)]
    checks += [*_choice(stored), *check_splits(stored.snapshot), *_search(stored)]
    return sorted(checks, key=lambda check: ORDER.index(check.status))


def verdict(checks: Sequence[Check]) -> str:
    """Return all checks in one line.

    Example:
        >>> from siamkit.report import Check, verdict
        >>> verdict([Check("warning", "seeds", "The winner has 2 repeats."), Check("ok", "split", "…")])
        '1 warning: The winner has 2 repeats.'
    """
    failed = failed_checks(checks)
    if not failed:
        return "All checks passed."
    counts = Counter(check.status for check in failed)
    parts = [_counted(counts[status], status) for status in ("error", "warning") if counts[status]]
    return f"{' and '.join(parts)}: {failed[0].sentence}"


def failed_checks(checks: Sequence[Check]) -> list[Check]:
    """Return the errors and the warnings, errors first."""
    failed = [check for check in checks if check.status != "ok"]
    return sorted(failed, key=lambda check: ORDER.index(check.status))


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


# ------------------------------------------------------------------ the winner and doing nothing


def check_baseline(stored: StoredStudy) -> Iterator[Check]:
    """Check whether the winner is better than the best baseline, which needs no training."""
    baseline, name = stored.baseline, stored.objective.name
    if not (stored.finalists or stored.completed):
        return
    if baseline is None:
        has_none = stored.snapshot.setting("baselines", []) is None
        yield Check(
            "warning",
            "baseline",
            "The study has no baselines (baselines: null): its scores may be no better than those of "
            "untrained embeddings."
            if has_none
            else f"No baseline has a value of {name}, so nothing says whether training was worth it.",
        )
        return
    yield from _check_chance(stored)
    called = f"the best baseline ({baseline.description})"
    lead = stored.lead_over(baseline)
    if lead is not None:
        gain = stored.objective.worth(lead.b) - stored.objective.worth(lead.a)
        size = (
            f"on the test split {name} differs by {_with_interval(lead.difference, lead, '+')}, over "
            f"{lead.scope}"
        )
        if lead.excludes_zero and gain > 0:
            yield Check("ok", "baseline", f"The winner is better than {called}: {size}.")
        elif lead.excludes_zero:
            yield Check("error", "baseline", f"The winner is worse than {called}: {size}.")
        else:
            yield Check("error", "baseline", f"The winner is not shown to be better than {called}: {size}.")
        return
    value, best = baseline.value("valid"), _value_on_validation(stored)
    if stored.objective.better(best, value):
        yield Check(
            "ok" if stored.finalists else "warning",
            "baseline",
            f"On the validation split the winner has {name} {best:.4f} and {called} {value:.4f}; whether "
            "this is more than chance is not tested.",
        )
    else:
        yield Check(
            "error",
            "baseline",
            f"The winner is not better than {called}: on the validation split {name} is {best:.4f} against "
            f"{value:.4f}.",
        )


def _check_chance(stored: StoredStudy) -> Iterator[Check]:
    """Check whether the winner is better than random vectors; nothing is said if it is."""
    chance = next((each for each in stored.baselines if each.result.name == CHANCE), None)
    if chance is None:
        return
    name, lead = stored.objective.name, stored.lead_over(chance)
    if lead is not None:
        is_better = lead.excludes_zero and stored.objective.better(lead.b, lead.a)
        value, by_chance, split = lead.b, lead.a, "test"
    else:
        # 0 is a value too: `baselines` holds only those that have one.
        value, by_chance = _value_on_validation(stored), chance.result.valid[name]
        is_better, split = stored.objective.better(value, by_chance), "validation"
    if not is_better:
        yield Check(
            "error",
            "chance",
            f"The winner is not shown to be better than chance: on the {split} split its {name} is "
            f"{value:.4f}, and that of random vectors {by_chance:.4f}.",
        )


def check_constraints(stored: StoredStudy) -> Iterator[Check]:
    """Check whether the winner and the other trials keep the constraints of the study, if it has any."""
    names = {name for trial in stored.trials for name in trial.excesses}
    if not names or not (stored.finalists or stored.completed):
        return
    if stored.finalists and (failed := broken(stored.finalists[0].finalist.excesses)):
        best = stored.finalists[0]
        which = (
            f"the constraint {failed[0]}" if len(names) == 1 else f"all constraints ({listed(sorted(names))})"
        )
        values = ", ".join(f"{name} {best.mean('valid', name):.4g}" for name in map(measure_of, failed))
        yield Check(
            "error",
            "constraints",
            f"No finalist keeps {which} when it is trained again; the winner is the closest: {values}.",
        )
    number, total = len(stored.infeasible), len(stored.infeasible) + len(stored.completed)
    if not number:
        yield Check("ok", "constraints", f"{_counted(total, 'completed trial')} kept all constraints.")
        return
    which = which_broke({trial.trial: trial.broken for trial in stored.infeasible})
    yield Check(
        "ok",
        "constraints",
        f"{number:,} of {_counted(total, 'completed trial')} broke a constraint and cannot win: {which}.",
    )


def _value_on_validation(stored: StoredStudy) -> float:
    """Return the winner's objective on the validation split."""
    mean = stored.finalists[0].mean("valid") if stored.finalists else None
    return stored.completed[0].measures[stored.objective.name] if mean is None else mean


# ------------------------------------------------------------------ the choice of the winner


def _choice(stored: StoredStudy) -> Iterator[Check]:
    """Check how the winner was chosen, and how sure the choice is."""
    if not stored.finalists:
        if stored.completed:
            yield Check(
                "error",
                "confirmed",
                f"The best of {_counted(len(stored.completed), 'trial')} is not confirmed: its score is "
                "reported on the data used for selection, so it is optimistic. The test split was never "
                "scored.",
            )
        return
    best = stored.finalists[0]
    yield from _confirmed(stored, best)
    yield from _seeds(stored, best)
    yield from _test_split(stored)
    if (interval := best.interval) is not None:
        yield Check(
            "ok",
            "interval",
            f"On the test split {interval.measure} is {_with_interval(interval.value, interval)}, over "
            f"{interval.scope}.",
        )
    if len(stored.finalists) > 1:
        yield _lead(stored)


def _confirmed(stored: StoredStudy, best: FinalistSummary) -> Iterator[Check]:
    yield Check(
        "ok",
        "confirmed",
        f"The winner was chosen on the validation split among {_counted(len(stored.finalists), 'finalist')}, "
        "each trained again with new seeds.",
    )
    trial = next((trial for trial in stored.completed if trial.trial == best.trial), None)
    again = best.mean("valid")
    if trial is None or again is None:
        return
    name = stored.objective.name
    before = trial.measures[name]
    loss = stored.objective.worth(before) - stored.objective.worth(again)
    yield Check(
        "warning" if loss > max(2 * _deviation(trial, best), 1e-6) else "ok",
        "luck",
        f"In the search the winner had {name} {before:.4f}; trained again it has {again:.4f} on the same "
        f"validation split, {abs(loss):.4f} {'worse. Quote the second value.' if loss > 0 else 'better.'}",
    )


def _deviation(trial: TrialResult, best: FinalistSummary) -> float:
    """Return how much one training of the winner differs from another one on the same fold; 0 if unknown."""
    deviation, name = best.deviation("valid"), best.finalist.objective.name
    if deviation is not None:
        return deviation
    # One seed a fold: two trainings, in the search and in the confirmation, differ by √2 deviations.
    pairs = [
        value - trial.repeats[repeat.fold].get(name, math.nan)
        for repeat in best.finalist.repeats
        if (value := repeat.value(name)) is not None and repeat.fold < len(trial.repeats)
    ]
    return stdev(pairs) / math.sqrt(2) if len(pairs) > 1 else 0.0


def _seeds(stored: StoredStudy, best: FinalistSummary) -> Iterator[Check]:
    if best.repeats == 1:
        yield Check("error", "seeds", "The winner was trained with one seed, so its luck is not known.")
    elif best.repeats < MIN_REPEATS:
        yield Check(
            "warning",
            "seeds",
            f"The winner was trained with {best.trainings}: too few to estimate their spread "
            f"(at least {MIN_REPEATS}).",
        )
    else:
        yield Check("ok", "seeds", f"The winner was trained with {best.trainings}.")
    failed = [repeat for repeat in stored.repeats if not repeat.complete]
    if failed:
        of_winner = sum(repeat.trial == best.trial for repeat in failed)
        whose = f", {of_winner} of them of the winner" if of_winner else ""
        yield Check(
            "warning",
            "failed_repeats",
            f"{len(failed)} of {len(stored.repeats)} repeats of finalists failed{whose}; means are over the "
            "others.",
        )
    elif len({finalist.repeats for finalist in stored.finalists}) > 1:
        counts = ", ".join(str(finalist.repeats) for finalist in stored.finalists)
        yield Check("warning", "repeats", f"Finalists have different numbers of repeats: {counts}.")


def _test_split(stored: StoredStudy) -> Iterator[Check]:
    scored = sum(finalist.repeats for finalist in stored.finalists)
    later = _trials_after_the_test(stored)
    if later:
        yield Check(
            "warning",
            "test_split",
            f"The search continued after the test split was first scored: {_counted(later, 'trial')} started "
            "later, so the test scores may have influenced the budget.",
        )
    else:
        yield Check(
            "ok",
            "test_split",
            "The test split was used only after the search, once for each trained finalist "
            f"({_counted(scored, 'time')}); nothing was chosen by it.",
        )
    for name, count in stored.damaged_logs.items():
        yield Check(
            "warning",
            "log",
            f"{_counted(count, 'line')} of {name} cannot be read, so trials that started after the test may "
            "be missing from this count.",
        )


def _trials_after_the_test(stored: StoredStudy) -> int:
    """Return how many trials started after the first repeat was confirmed, by the log."""
    confirmed, started = [math.inf], []
    for event in stored.events:
        time = event.get("time")
        if not isinstance(time, (int, float)):
            continue
        if event.get("event") == "confirmed" and event.get("outcome") == "complete":
            confirmed.append(time)
        elif event.get("event") == "trial started":
            started.append(time)
    return sum(time > min(confirmed) for time in started)


def _lead(stored: StoredStudy) -> Check:
    lead = stored.lead
    if lead is None:
        return Check(
            "warning",
            "lead",
            "The lead of the winner over the second finalist cannot be tested: each was trained once.",
        )
    size = (
        f"on the test split {lead.measure} differs by {_with_interval(lead.difference, lead, '+')}, over "
        f"{lead.scope}"
    )
    if not lead.significant:
        return Check("warning", "lead", f"The two best finalists do not differ significantly: {size}.")
    if (lead.difference > 0) == stored.objective.maximize:
        return Check("ok", "lead", f"The winner is better than the second finalist: {size}.")
    return Check(
        "warning",
        "lead",
        f"The second finalist is better than the winner on the test split: {size}. The winner was chosen on "
        "the validation split; choosing by the test split now would make its scores optimistic.",
    )


def _with_interval(value: float, interval: Interval | Difference, sign: str = "") -> str:
    return f"{value:{sign}.4f} [{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]"


# ------------------------------------------------------------------ the data and their splits


def check_splits(snapshot: Snapshot) -> Iterator[Check]:
    """Check which classes and items the splits share, and whether the test split is large enough."""
    count, of_labels = snapshot.data.split.counts.get("test", 0), snapshot.data.supervision == "labels"
    if of_labels:
        yield from _classes(snapshot)
    if 0 < count < MIN_TEST_ITEMS:
        yield Check(
            "warning",
            "test_items",
            f"The test split has only {_counted(count, 'item' if of_labels else 'pair')}: too few to see "
            f"small differences (at least {MIN_TEST_ITEMS}).",
        )
    yield from _groups(snapshot)
    yield from _altered(snapshot)
    yield from _duplicates(snapshot)


def _groups(snapshot: Snapshot) -> Iterator[Check]:
    """Check whether splits of whole groups have about their fractions of the items."""
    split = snapshot.data.split
    total = sum(split.counts.values())
    for name, count in split.counts.items():
        share = split.shares.get(name)
        if split.groups and isinstance(share, float) and abs(count / total - share) > MAX_SHARE_ERROR:
            yield Check(
                "warning",
                "split",
                f"The {name} split has {count / total:.0%} of the items instead of {share:.0%}: groups that "
                f"share items (split by {split.by}) are too large.",
            )


def _altered(snapshot: Snapshot) -> Iterator[Check]:
    """Check how many texts are cut, and how many items have unknown token ids."""
    if sentence := snapshot.data.altered_sentence:
        yield Check("warning", "altered", sentence)


def notes_on_data(snapshot: Snapshot) -> list[str]:
    """Return what a user should know about the data before training: left out, altered and shared items."""
    data = snapshot.data
    notes = [*data.all_left_out, data.altered_sentence, shared_items(snapshot)]
    return [note for note in notes if note]


def shared_items(snapshot: Snapshot) -> str | None:
    """Return which items two splits share, in a sentence; None if none were found."""
    overlap = snapshot.overlap or Overlap()
    sentences = [*(_shared(snapshot, shared) for shared in overlap.between), _among_folds(overlap)]
    found = [sentence for sentence in sentences if sentence]
    if not found:
        return None
    return f"{'; '.join(found)}. Not removed; test scores may be inflated.{_way_out(snapshot)}"


def _classes(snapshot: Snapshot) -> Iterator[Check]:
    split, overlap = snapshot.data.split, snapshot.overlap or Overlap()
    classes = overlap.classes.get("test")
    if split.by == "class":
        classes = classes or len((split.values or {}).get("test", []))
        seen: int | None = 0
    else:
        seen = overlap.seen.get("test", classes if split.by == "item" else None)
    if seen == 0:
        number = f"The {classes} classes" if classes else "The classes"
        yield Check("ok", "split", f"{number} of the test split are in no other split.")
    elif seen is None and split.by != "item":
        yield Check(
            "warning",
            "split",
            f"The data are split by {split.by}; whether training has the test classes is not recorded.",
        )
    else:
        number = "All" if seen == classes else f"{seen} of the {classes}"
        yield Check(
            "warning",
            "split",
            f"{number} classes of the test split are also in training (split by {split.by}): the scores say "
            "nothing about new classes.",
        )
    trained = len((split.values or {}).get("train", []))
    if split.by == "class" and 0 < trained < MIN_CLASSES and not split.folds:
        available = trained + len((split.values or {}).get("valid", []))
        folds = min(4, available // 2)
        advice = (
            f" `split: {{by: class, folds: {folds}}}` trains each on {folds} choices." if folds > 1 else ""
        )
        yield Check(
            "warning",
            "folds",
            f"The study trains on one choice of {trained} classes, and cannot say how its trials compare if "
            f"trained on others.{advice}",
        )
    elif split.folds:
        sizes = [len(fold) for fold in split.folds]
        yield Check(
            "ok",
            "folds",
            f"Each trial was trained on {len(sizes)} choices of classes, and validated on the other "
            f"{min(sizes)}" + (f" or {max(sizes)}." if max(sizes) > min(sizes) else "."),
        )
    if classes and classes < MIN_CLASSES:
        yield Check(
            "warning",
            "test_classes",
            f"The test split has {classes} class{'es' * (classes > 1)}: too few to "
            f"predict the scores on other classes (at least {MIN_CLASSES}).",
        )
    elif classes:
        yield Check("ok", "test_classes", f"The test split has {classes} classes.")


def _duplicates(snapshot: Snapshot) -> Iterator[Check]:
    overlap, counts = snapshot.overlap, snapshot.data.split.counts
    if overlap is None:
        yield Check("warning", "duplicates", "The splits were not searched for shared items.")
        return
    if sentence := _among_folds(overlap):
        yield Check("warning", "duplicates_in_folds", f"{sentence}.")
    between = [shared for shared in overlap.between if shared.exact or shared.near]
    if not between:
        sampled = {split: count for split, count in overlap.looked_at.items() if count < counts[split]}
        note = "".join(
            f"; near-duplicates searched among {count:,} of {split}" for split, count in sampled.items()
        )
        yield Check("ok", "duplicates", f"No item is in two splits, exactly or nearly{note}.")
    has_advice = False  # how to split instead: once is enough
    for shared in sorted(between, key=lambda shared: shared.parts != ("train", "test")):
        first, second = shared.parts
        share = shared.exact / counts[second] + shared.near / overlap.looked_at[second]
        if shared.whole is not None:  # that pairs share single items is normal
            share = shared.whole / counts[second]
        in_training = (first, second) == ("train", "test") and share >= MAX_SHARED
        examples = shared.items or [f"{a} and {b}" for a, b, _ in shared.examples]
        found = f"{_shared(snapshot, shared)} (such as {', '.join(examples[:2])})."
        if snapshot.data.split.by in HELD_SIDES and not (shared.crossed or shared.near):
            # The two sides are of two kinds, as queries and documents, and the user chose which side is new.
            yield Check("ok", "duplicates", f"{found} The {snapshot.data.split.by} shares none.")
            continue
        way_out = "" if has_advice or not shared.exact else _way_out(snapshot)
        has_advice = has_advice or bool(way_out)
        yield Check("error" if in_training else "warning", "duplicates", f"{found}{way_out}")


def _way_out(snapshot: Snapshot) -> str:
    """Return how to split such that splits share no items, as YAML to write; empty if nothing helps."""
    by, largest = snapshot.data.split.by, (snapshot.overlap or Overlap()).largest
    if by == "class" or not largest:
        return ""
    linked = largest["components"]
    if linked <= MAX_GROUP:
        return " To keep every item in one split, write split: {by: components}."
    sides = [side for side in ("left", "right") if largest.get(side, 1) <= MAX_GROUP and by != f"{side} side"]
    if not sides:
        return ""
    rules = " or ".join(f"{{by: {{side: {side}}}}}" for side in sides)
    return (
        f" {linked:.0%} of the pairs are linked by shared items, so they cannot be split by components; to "
        f"keep the items of one side in one split, write split: {rules}."
    )


def _among_folds(overlap: Overlap) -> str:
    """Return how many items are in two folds of the training split; empty if none is."""
    count = overlap.among_folds
    return f"{count:,} items of the training folds are exactly in another of these folds too" if count else ""


def _shared(snapshot: Snapshot, shared: SharedItems) -> str:
    """Return what two splits share; empty if they share nothing."""
    first, second = shared.parts
    if not shared.exact and not shared.near:
        return ""
    assert snapshot.overlap is not None
    count, searched = snapshot.data.split.counts[second], snapshot.overlap.looked_at[second]
    of_pairs = shared.whole is not None
    noun = f"{second} {'pairs have an item that is' if of_pairs else 'items are'}"
    parts = []
    if shared.exact:
        parts.append(f"{shared.exact:,} of {count:,} {noun} also in {first}")
    if shared.near:
        more = " more" if shared.exact else ""
        parts.append(f"{shared.near:,}{more} of {searched:,} {noun} nearly in {first}")
    if shared.whole:
        parts.append(f"{_counted(shared.whole, 'whole pair')} are in both")
    return ", ".join(parts)


# ------------------------------------------------------------------ the search and its runs


def _search(stored: StoredStudy) -> Iterator[Check]:
    """Check whether all levels had the same chance, what failed, and which versions took part."""
    for factor in COMPARED_FACTORS:
        levels = _by_level(stored.trials, factor)
        if len(levels) > 1:
            yield _budget(factor, levels)
            yield from _not_judged(factor, levels)
    yield from _failures(stored)
    slow = sum(trial.cause_kind == "timeout" for trial in stored.trials)
    if slow:
        yield Check(
            "warning",
            "trial_time",
            f"{slow} of {len(stored.trials)} trials were stopped by trial_time: configurations that train "
            "slowly were not judged.",
        )
    yield from _versions(stored)


def _by_level(trials: Sequence[TrialResult], factor: str) -> dict[str, list[TrialResult]]:
    levels: dict[str, list[TrialResult]] = {}
    for trial in trials:
        if factor in trial.factors:
            levels.setdefault(str(trial.factors[factor]), []).append(trial)
    return levels


def _budget(factor: str, levels: Mapping[str, Sequence[TrialResult]]) -> Check:
    counts = Counter({level: len(trials) for level, trials in levels.items()})
    fewest, most = min(counts.values()), max(counts.values())
    numbers = ", ".join(f"{level} {count}" for level, count in counts.most_common())
    if most <= max(fewest + 1, MAX_BUDGET_RATIO * fewest):
        return Check("ok", f"budget_{factor}", f"Each {factor} had about as many trials: {numbers}.")
    remedy = " 'siamkit reality-check' gives each loss the same budget." if factor == "loss" else ""
    return Check(
        "warning",
        f"budget_{factor}",
        f"The number of trials differs by {factor} ({numbers}): an option with more trials has "
        f"more chances of a high score.{remedy}",
    )


def _not_judged(factor: str, levels: Mapping[str, Sequence[TrialResult]]) -> Iterator[Check]:
    for level, trials in levels.items():
        outcomes = Counter(trial.outcome for trial in trials)
        if not outcomes["complete"]:
            counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
            yield Check(
                "warning",
                "not_judged",
                f"No trial of the {factor} {level} completed ({counts}), so it was not judged.",
            )


def _failures(stored: StoredStudy) -> Iterator[Check]:
    failed = [trial for trial in stored.trials if trial.outcome == "failed"]
    if not failed:
        return
    where = ""
    for factor in COMPARED_FACTORS:
        levels = _by_level(failed, factor)
        level, trials = max(levels.items(), key=lambda item: len(item[1]), default=("", []))
        varied = len(_by_level(stored.trials, factor)) > 1
        if varied and len(failed) >= MIN_FAILURES and len(trials) >= LEVEL_SHARE * len(failed):
            where = f", {len(trials)} of them with the {factor} {level}: fewer of its trials were judged"
            break
    if where or len(failed) > len(stored.trials) / 4:
        yield Check("warning", "failed", f"{len(failed)} of {len(stored.trials)} trials failed{where}.")


def _versions(stored: StoredStudy) -> Iterator[Check]:
    results = [*stored.trials, *stored.repeats]
    known = [result.versions for result in results if result.versions is not None]
    if not results:
        return
    if len(known) < len(results):
        yield Check(
            "warning",
            "versions",
            f"{len(results) - len(known)} of {len(results)} results do not record their versions.",
        )
    elif any(versions != stored.snapshot.versions for versions in known):
        yield Check(
            "error", "versions", f"The results are of different software versions: {_differing(known)}."
        )
    else:
        seed = stored.snapshot.study.get("seed")
        yield Check(
            "ok",
            "versions",
            f"All {len(results)} results are of the same software versions, with seeds derived from {seed}.",
        )


def _differing(known: Sequence[Versions]) -> str:
    """Return what has more than one version, with these versions."""
    used: dict[str, set[str]] = {}
    for versions in known:
        flat = {"python": versions.python, "backend": versions.backend}
        for name, version in {**flat, **versions.packages, **versions.plugins}.items():
            used.setdefault(name, set()).add(str(version))
    several = [f"{name} {' and '.join(sorted(names))}" for name, names in used.items() if len(names) > 1]
    return ", ".join(several) or "other ones than those of the study"
