"""Time contenders side by side: they take turns, and what counts is the ratio of their medians."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping

RUNS = 5


def medians(
    contenders: Mapping[str, Callable[[], object]], runs: int = RUNS, settle: float = 0.0
) -> dict[str, float]:
    """Return the median seconds of each contender; all run once before, then take turns.

    Args:
        contenders: functions that do the same work, by name; each waits for its result.
        runs: how often each is timed.
        settle: seconds to wait before each turn, for contenders in several processes: the threads of the one
            before then wait no longer for work on a core. Each also runs once more before it is timed, since
            its own threads and caches are cold.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(runs + 1):
        for name, contender in contenders.items():
            gc.collect()
            if settle:
                time.sleep(settle)
                contender()
            start = time.perf_counter()
            contender()
            if run:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(case: str, seconds: Mapping[str, float], ours: str, target: str = "", **facts: object) -> None:
    """Print a row of the table as JSON, for `benchmarks/bench.py`.

    Args:
        case: what was timed, in a few words.
        seconds: the median seconds of each contender.
        ours: the contender that is siamkit's; its seconds are divided by those of the others.
        target: what the ratio should reach, in words.
        facts: anything else to keep.
    """
    ratios = {name: seconds[ours] / value for name, value in seconds.items() if name != ours}
    row = {"case": case, "seconds": dict(seconds), "ours": ours, "ratios": ratios, "target": target, **facts}
    print(json.dumps(row), flush=True)
