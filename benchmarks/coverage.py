"""Do the intervals hold the truth as often as they say? Simulated comparisons whose true difference is known.

    python benchmarks/coverage.py [SIMULATIONS] [PROCESSES] [FILE]

writes benchmarks/results/coverage.md, or FILE. Of every setting a thousand samples are drawn, each is
compared as a user would, and it is counted how often the 95 % interval holds the true difference, and, once
more without a difference, how often the p-value is at most 5 %. For the means, other kinds of interval are
counted too.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from siamkit.stats.bootstrap import Sample, compare_queries
from siamkit.stats.pair_bootstrap import compare_pairs
from siamkit.stats.resampling import bootstrap_weights
from siamkit.stats.results import Difference
from siamkit.stats.seeds import Repeats

RESULTS = Path(__file__).parent / "results" / "coverage.md"
LEVEL = 0.95
RESAMPLES = 1000
PAIR_RESAMPLES = 500
Drawn = tuple[Difference, dict[str, tuple[float, float]]]


@dataclass(frozen=True)
class Setting:
    """One way to draw samples: `draw(rng, null)` compares a fresh one, `truth` is its true difference."""

    group: str
    name: str
    draw: Callable[[np.random.Generator, bool], Drawn]
    truth: Callable[[], float]


# ---------------------------------------------------------------- scores of queries


def recall(rng, n, null, share=0.8, gain=0.05, differ=0.2):
    """Both find it or neither does, but for a few queries, of which B wins more."""
    gain = 0.0 if null else gain
    u = rng.random(n)
    only_b, only_a = (differ + gain) / 2, (differ - gain) / 2
    both = u > 1 - (share - only_a)
    return ((u >= only_b) & (u < only_b + only_a)) | both, (u < only_b) | both


def map_at_r(rng, n, null):
    """Heaped at 0 and 1; three queries in ten are drawn afresh for each contender, those of B better."""
    shared, fresh = rng.beta(0.4, 0.6, n), rng.random(n) < 0.3
    a = np.where(fresh, rng.beta(0.4, 0.6, n), shared)
    b = np.where(fresh, rng.beta(*((0.4, 0.6) if null else (0.5, 0.5)), n), shared)
    return a, b


def over_queries(name, n, sample, truth):
    def draw(rng, null):
        return means(*sample(rng, n, null), None, "queries", "queries", rng)

    return Setting("queries", f"{name}, {n} queries", draw, lambda: truth)


def classes_drawn(rng, count):
    """Classes: their sizes (2 to 150, most small), how hard they are, and what B gains on them.

    Large classes gain the most, every second class loses a little, and hard and easy ones hit the bounds.
    """
    sizes = np.minimum(150, (rng.pareto(1.5, count) * 5 + 2).astype(int))
    easy = rng.beta(1, 1.5, count)
    gain = rng.gamma(1, 0.06, count) * rng.choice([1.0, -0.3], count) + 0.05 * (sizes > 12)
    return sizes, easy, np.clip(easy + gain, 0, 1)


def of_classes(rng, count, null, kind):
    sizes, easy, gained = classes_drawn(rng, count)
    if null:
        swapped = rng.random(count) < 0.5
        easy, gained = np.where(swapped, gained, easy), np.where(swapped, easy, gained)
    ids = np.repeat(np.arange(count), sizes)
    if kind == "recall":
        u = rng.random(len(ids))
        v = np.where(rng.random(len(ids)) < 0.5, u, rng.random(len(ids)))
        return u < easy[ids], v < gained[ids], ids
    return *(rng.beta(*bounded(p)) for p in (easy[ids], gained[ids])), ids


def bounded(p):
    return 3 * p + 0.01, 3 * (1 - p) + 0.01


def over_classes(kind, count, mean):
    def truth():
        sizes, easy, gained = classes_drawn(np.random.default_rng(1), 2_000_000)
        gain = gained - easy if kind == "recall" else 3 / 3.02 * (gained - easy)  # what a Beta's mean is
        return float(gain.mean() if mean == "classes" else (gain * sizes).sum() / sizes.sum())

    def draw(rng, null):
        a, b, ids = of_classes(rng, count, null, kind)
        return means(a, b, ids, mean, "classes", rng)

    return Setting("classes", f"{kind}, {count} classes, mean over {mean}", draw, truth)


def within_classes(kind, count):
    """Queries drawn anew, the classes as they are: the mean of the classes' means."""
    sizes, easy, gained = classes_drawn(np.random.default_rng(3), count)
    ids = np.repeat(np.arange(count), sizes)

    def draw(rng, null):
        a, b = (
            rng.random(len(ids)) < (easy if null and each is gained else each)[ids] for each in (easy, gained)
        )
        return means(a, b, ids, "classes", "queries", rng)

    name = f"{kind}, {len(ids)} queries of {count} classes, mean over classes"
    return Setting("queries", name, draw, lambda: float((gained - easy).mean()))


def means(a, b, ids, mean, over, rng) -> Drawn:
    seed = int(rng.integers(2**31))
    asked = {"classes": ids, "mean": mean, "over": over}
    found = compare_queries("figure", a, b, **asked, resamples=RESAMPLES, level=LEVEL, seed=seed)
    sample = Sample.of({"a": a, "b": b}, ids, mean, over)
    return found, others(*sample.totals(sample.scores[1] - sample.scores[0]), seed, (found.low, found.high))


def others(top, bottom, seed, degenerate):
    """The intervals that were not chosen, for a ratio of two totals."""
    n, alpha = len(top), 1 - LEVEL
    value = top.sum() / bottom.sum()
    rest = top - value * bottom
    if np.ptp(rest) < 1e-12:
        return dict.fromkeys(OTHERS, degenerate)
    columns = np.stack([top, bottom, top * top, top * bottom, bottom * bottom], axis=1)
    drawn = bootstrap_weights(n, RESAMPLES, np.random.default_rng(seed))
    totals = np.concatenate([counts @ columns for counts in drawn])
    found = totals[:, 0] / totals[:, 1]
    ends = np.array([alpha / 2, 1 - alpha / 2])

    left_out = (top.sum() - top) / (bottom.sum() - bottom)
    pull = left_out.mean() - left_out
    bend = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    below = (np.sum(found < value) + np.sum(found == value) / 2) / RESAMPLES
    shift = stats.norm.ppf(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    z = shift + stats.norm.ppf(ends)
    bca = np.quantile(found, stats.norm.cdf(shift + z / (1 - bend * z)))

    spread = totals[:, 2] - 2 * found * totals[:, 3] + found**2 * totals[:, 4]
    error = np.sqrt(np.maximum(spread, 0)) / totals[:, 1]
    off = found - value
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.where(error > 1e-12, off / error, np.where(np.abs(off) < 1e-12, 0, np.sign(off) * 1e9))
    own = math.sqrt((rest**2).sum()) / bottom.sum()
    high, low = np.quantile(ratios, ends[::-1])[::-1] * own
    studentised = (max(-1.0, value - low), min(1.0, value - high))

    half = stats.t.ppf(1 - alpha / 2, n - 1) * own * math.sqrt(n / (n - 1))
    return {
        "percentile": tuple(np.quantile(found, ends)),
        "BCa": tuple(bca),
        "studentised": studentised,
        "t": (value - half, value + half),
    }


OTHERS = ("percentile", "BCa", "studentised", "t")


# ---------------------------------------------------------------- figures of pairs

SPREADS = np.array([0.15, 0.5])  # of the items about their class, which lie about 0 with spread 1
WORSE = 1.4  # as wide do A's items lie


def embedded(rng, ids, centres, spreads, null):
    """Items of classes on a line, as A and B see them: the same but for half of their variance."""
    shared, *own = rng.normal(size=(3, len(ids)))
    factors = (1.0 if null else WORSE, 1.0)
    return [
        centres[ids] + factor * spreads[ids] * (shared + each) / math.sqrt(2)
        for factor, each in zip(factors, own, strict=True)
    ]


def auc_over(units, count, size):
    fixed = np.random.default_rng(2)
    centres = fixed.normal(size=count)
    spreads = np.resize(SPREADS, count)

    def draw(rng, null):
        if units == "items":
            ids = rng.integers(0, count, count * size)
            sides = embedded(rng, ids, centres, spreads, null)
        else:
            ids = np.repeat(np.arange(count), size)
            sides = embedded(rng, ids, rng.normal(size=count), rng.choice(SPREADS, count), null)
        i, j = np.triu_indices(len(ids), 1)
        a, b = (np.abs(x[i] - x[j]) for x in sides)
        asked = {"items": (i, j), "classes": ids, "over": units, "resamples": PAIR_RESAMPLES}
        return compare_pairs("roc_auc", a, b, ids[i] == ids[j], **asked, seed=int(rng.integers(2**31))), {}

    auc = auc_of_new if units == "classes" else lambda factor: auc_of_these(centres, spreads, factor)
    name = f"ROC-AUC over {units}, {count} classes of {size}"
    return Setting("pairs", name, draw, lambda: auc(1.0) - auc(WORSE))


def auc_of_new(factor):
    """P(|N(0, v)| < |N(0, w)|) = 2/π · arctan √(w / v), over the spreads of the classes that meet."""
    own = 2 * (factor * SPREADS) ** 2
    other = 2 + (factor**2) * (SPREADS[:, None] ** 2 + SPREADS**2).ravel()
    return float((2 / math.pi * np.arctan(np.sqrt(other / own[:, None]))).mean())


def auc_of_these(centres, spreads, factor):
    """The same for given classes: P(|d⁺| < |d⁻|) with d⁻ about the distance of two centres, on a grid."""
    i, j = np.triu_indices(len(centres), 1)
    offsets, wide = centres[i] - centres[j], factor * np.hypot(spreads[i], spreads[j])
    grid = np.linspace(0, 12, 6001)
    middle = (grid[1:] + grid[:-1]) / 2
    of_alike = np.mean(
        [2 * stats.norm.cdf(middle / (math.sqrt(2) * factor * s)) - 1 for s in spreads], axis=0
    )
    of_other = np.mean(
        [
            stats.norm.cdf(grid, m, s) - stats.norm.cdf(-grid, m, s)
            for m, s in zip(offsets, wide, strict=True)
        ],
        axis=0,
    )
    return float((of_alike * np.diff(of_other)).sum())


def plain_pairs(measure, count):
    """Pairs that share nothing: alike and other ones a deviation apart, or scores that go with distances."""
    gain_a, gain_b = 0.8, 1.2

    def draw(rng, null):
        gains = (gain_b if null else gain_a, gain_b)
        shared, *own = rng.normal(size=(3, count))
        noise = [(shared + each) / math.sqrt(2) for each in own]
        if measure == "roc_auc":
            targets = np.arange(count) % 2
            a, b = (each - gain * targets for gain, each in zip(gains, noise, strict=True))
        else:
            targets = rng.normal(size=count)
            a, b = (each - gain * targets for gain, each in zip(gains, noise, strict=True))
        asked = {"resamples": PAIR_RESAMPLES, "seed": int(rng.integers(2**31))}
        return compare_pairs(measure, a, b, targets, **asked), {}

    def value(gain):
        if measure == "roc_auc":
            return float(stats.norm.cdf(gain / math.sqrt(2)))
        return 6 / math.pi * math.asin(gain / math.sqrt(1 + gain**2) / 2)

    return Setting("pairs", f"{measure} over pairs, {count}", draw, lambda: value(gain_b) - value(gain_a))


# ---------------------------------------------------------------- models of folds


def over_folds(folds, seeds, effect=0.03, luck=0.01, gain=0.02):
    """Two configurations, each trained on all folds but one in turn; all are scored on the same 30 classes.

    Each training class adds to the models that are trained on it. `effect` is the deviation of such a model
    over choices of classes, `luck` that of its seed.
    """
    test = np.repeat(np.arange(30), 10)

    def trained(rng, worth, hard):
        of_classes = rng.normal(0, effect * math.sqrt(10 * (folds - 1)), (folds, 10))
        models = [worth + np.delete(of_classes, fold, axis=0).mean() for fold in range(folds)] * seeds
        means = np.array(models) + rng.normal(0, luck, len(models))
        scores = means[:, None] + hard + rng.normal(0, 0.1, (len(models), len(test)))
        return Repeats("figure", scores.mean(axis=1), scores, test, [*range(folds)] * seeds)

    def draw(rng, null):
        hard = rng.normal(0, 0.05, 30)[test] + rng.normal(0, 0.1, len(test))
        a, b = (trained(rng, worth, hard) for worth in (0.5, 0.5 if null else 0.5 + gain))
        return a.difference(b, LEVEL), {}

    return Setting("folds", f"{folds} folds, {seeds} seed{'s' * (seeds > 1)}", draw, lambda: gain)


def settings() -> list[Setting]:
    found = []
    for n in (50, 200):
        found.append(over_queries("recall", n, recall, 0.05))
        found.append(over_queries("MAP@R", n, map_at_r, 0.3 * 0.1))
    rare = lambda rng, n, null: recall(rng, n, null, share=0.98, gain=0.01, differ=0.03)  # noqa: E731
    found.append(over_queries("recall near 1", 200, rare, 0.01))
    found.append(within_classes("recall", 20))
    for kind in ("recall", "MAP@R"):
        for mean in ("queries", "classes"):
            found += [over_classes(kind, count, mean) for count in (20, 40, 100)]
    found += [plain_pairs("roc_auc", 200), plain_pairs("spearman", 200)]
    found += [auc_over("items", 20, 4), auc_over("classes", 20, 4), auc_over("classes", 40, 2)]
    found += [over_folds(folds, seeds) for folds in (3, 4, 5) for seeds in (1, 2)]
    return found


def measured(number: int, simulations: int) -> dict[str, float]:
    """Shares of a setting: of intervals that hold the truth, and of p up to 5 % without a difference."""
    setting = settings()[number]
    truth = setting.truth()
    rng = np.random.default_rng([7, number])
    held: dict[str, list[bool]] = {}
    wide, false = [], []
    for _ in range(simulations):
        found, rest = setting.draw(rng, False)
        for kind, (low, high) in {"chosen": (found.low, found.high), **rest}.items():
            held.setdefault(kind, []).append(bool(low <= truth <= high))
        wide.append(found.high - found.low)
        false.append(setting.draw(rng, True)[0].p <= 1 - LEVEL)
    shares = {kind: float(np.mean(each)) for kind, each in held.items()}
    return {**shares, "truth": truth, "wide": float(np.mean(wide)), "false": float(np.mean(false))}


def main() -> None:
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    output = Path(sys.argv[3]) if len(sys.argv) > 3 else RESULTS
    start = time.monotonic()
    rows, outside = [], []
    with ProcessPoolExecutor(processes) as pool:
        asked = [(each, pool.submit(measured, k, simulations)) for k, each in enumerate(settings())]
        for setting, job in asked:
            shares = job.result()
            cells = [setting.name, f"{shares['truth']:.4f}", f"{shares['wide']:.3f}"]
            cells.append(percent(shares["chosen"]))
            cells += [percent(shares[kind]) if kind in shares else "" for kind in OTHERS]
            rows.append("| " + " | ".join([*cells, percent(shares["false"])]) + " |")
            if not 0.9 <= shares["chosen"] <= 0.99:
                outside.append(setting.name)
            print(rows[-1], flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = used.ru_utime + used.ru_stime
    error = 1.96 * math.sqrt(LEVEL * (1 - LEVEL) / simulations)
    head = ["setting", "true B - A", "mean width", "**held**", *OTHERS, "p ≤ 5 % by chance"]
    table = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|", *rows]
    output.write_text(
        "# Intervals and p-values of comparisons: how often they are right\n\n"
        f"{simulations:,} simulated comparisons a setting, whose true difference is known. `held`: how often "
        "the 95 % interval of `siamkit.comparison` (expanded percentile) holds it; behind it, other "
        "intervals from as many resamples. The last column: how often p is at most 5 % where there "
        "is no difference (a permutation test for means, the interval's own p for pairs). A rate of "
        f"95 % or 5 % is measured to ± {100 * error:.1f} %. {RESAMPLES} resamples, {PAIR_RESAMPLES} for "
        f"pairs; {(time.monotonic() - start) / 60:.0f} minutes in {processes} processes, of which "
        f"{worked / 60:.0f} of processor time.\n"
        "Made by `make coverage` (`benchmarks/coverage.py`), which fails if `held` is outside 90 to 99 %.\n\n"
        "Recall is 0 or 1, MAP@R skewed in [0, 1]; classes differ in size (2 to 150), difficulty and gain, "
        "large ones gaining more. Over items, the classes are kept, and their items drawn anew, how many "
        "of each as it comes.\n\n" + "".join(f"{line}\n" for line in table)
    )
    if outside:
        sys.exit(f"outside 90 to 99 %: {', '.join(outside)}")


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
