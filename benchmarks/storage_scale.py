"""What siamkit's counting costs a trial at the first trial and at the ten-thousandth, on PostgreSQL.

Two studies stand side by side, one empty and one filled with finished trials, and take turns trial by trial,
so that whatever else the machine does strikes both. All that the supervisor does for a trial is timed: looks,
draw and settle, ten reports with pruning, a beat of the lease, the end. The sampler's own time is taken off.
Then TPE (multivariate, grouped) is asked and told on the filled one.

    python benchmarks/storage_scale.py --trials 10000
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.samplers import RandomSampler, TPESampler

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "support")]

from servers import PostgreSQL  # noqa: E402

from siamkit.runs.configuration import factors_of, key_of  # noqa: E402
from siamkit.runs.results import Objective  # noqa: E402
from siamkit.runs.run_folder import RunFolder  # noqa: E402
from siamkit.study.config.load import ResolvedStudy, load_study  # noqa: E402
from siamkit.study.sampling.pruners import make_pruner  # noqa: E402
from siamkit.study.sampling.samplers import make_sampler  # noqa: E402
from siamkit.study.storage.leases import Owner  # noqa: E402
from siamkit.study.storage.open import open_storage  # noqa: E402
from siamkit.study.storage.trial_queue import Claim, TrialQueue  # noqa: E402

EPOCHS = 10
STUDY = """\
version: 1
baselines: null
name: {name}
data: {{path: items.npz}}
fixed: {{epochs: 10}}
search:
  encoder:
    - {{mlp: {{depth: {{low: 1, high: 4}}, width: {{low: 16, high: 256}}, dropout: {{low: 0.0, high: 0.5}}}}}}
  metric: [euclidean, cosine, manhattan]
  loss:
    - {{triplet: {{margin: {{low: 0.05, high: 1.0}}}}}}
    - {{contrastive: {{neg_margin: {{low: 0.1, high: 2.0}}}}}}
  embedding_dim: {{low: 8, high: 256, log: true}}
  normalize: [true, false]
  learning_rate: {{low: 1e-4, high: 1e-2, log: true}}
pruner: median
storage: "{url}"
artifacts: runs/{name}
"""


Times = tuple[float, float]
"""Seconds by the clock, and of this process's processor time, which a busy machine does not change."""


def now() -> Times:
    return time.perf_counter(), time.process_time()


class Timed:
    """Takes the time of parts, less what a sampler itself takes."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Times]] = defaultdict(list)
        self.sampling = (0.0, 0.0)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        sampled, began = self.sampling, now()
        yield
        spent = (now()[i] - began[i] - (self.sampling[i] - sampled[i]) for i in (0, 1))
        self.parts[name].append((next(spent), next(spent)))

    def wrap(self, sampler: optuna.samplers.BaseSampler) -> optuna.samplers.BaseSampler:
        for name in ("infer_relative_search_space", "sample_relative", "sample_independent",
                     "before_trial", "after_trial"):  # fmt: skip
            setattr(sampler, name, self._timed(getattr(sampler, name)))
        return sampler

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **more: Any) -> Any:
            began = now()
            try:
                return call(*args, **more)
            finally:
                ended = now()
                self.sampling = tuple(self.sampling[i] + ended[i] - began[i] for i in (0, 1))  # type: ignore

        return timed

    def trials(self, count: int) -> list[Times]:
        """Seconds of each trial, all parts together."""
        found = []
        for trial in range(count):
            mine = [
                spent
                for values in self.parts.values()
                for spent in values[trial * len(values) // count : (trial + 1) * len(values) // count]
            ]
            found.append((sum(each[0] for each in mine), sum(each[1] for each in mine)))
        return found


def a_study(folder: Path, name: str, url: str) -> ResolvedStudy:
    path = folder / f"{name}.yaml"
    path.write_text(STUDY.format(name=name, url=url))
    return load_study(path)


def a_queue(study: ResolvedStudy) -> TrialQueue:
    folder = RunFolder(study.folder)
    storage = open_storage(
        study.config.name,
        folder,
        study.config.storage,
        ["maximize"],
        {"layout": 1},
        pruner=make_pruner(study, 1),
    )
    return TrialQueue(storage, Objective("map_at_r"), folder, Owner.new("tune"), 60.0)


def fill(server: PostgreSQL, database: str, study: ResolvedStudy, count: int) -> None:
    """Writes finished trials straight into the tables."""
    import psycopg

    rng = random.Random(0)
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for number in range(count):
        if number % 100 == 0:  # a small one each time: Optuna's ask reads all trials
            sampler = RandomSampler(seed=number)
            inside = optuna.create_study(direction="maximize", sampler=sampler)
        trial = inside.ask()
        configuration = study.space.sample(trial)
        frozen = trial._cached_frozen_trial
        quality, trial_id = rng.random(), number + 1
        # One in four was pruned half-way, as it would have been.
        pruned = rng.random() < 0.25
        rows["trials"].append(
            (trial_id, number, 1, "PRUNED" if pruned else "COMPLETE", "2026-01-01", "2026-01-01")
        )
        rows["trial_values"].append((trial_id, trial_id, 0, quality, "FINITE"))
        for step in range(1, EPOCHS // 2 if pruned else EPOCHS + 1):
            value = quality * (1 - math.exp(-step / 3))
            rows["trial_intermediate_values"].append(
                (len(rows["trial_intermediate_values"]) + 1, trial_id, step, value, "FINITE")
            )
        for name, distribution in frozen.distributions.items():
            internal = distribution.to_internal_repr(frozen.params[name])
            rows["trial_params"].append(
                (
                    len(rows["trial_params"]) + 1,
                    trial_id,
                    name,
                    internal,
                    optuna.distributions.distribution_to_json(distribution),
                )
            )
        attrs = {
            "lease": {"owner": str(Owner.new("tune")), "beat": 1}, "configuration": configuration,
            "factors": factors_of(configuration), "token": f"{number:08x}", "key": key_of(configuration),
        }  # fmt: skip
        for key, value in attrs.items():
            rows["trial_user_attributes"].append(
                (len(rows["trial_user_attributes"]) + 1, trial_id, key, json.dumps(value))
            )
    columns = {
        "trials": "trial_id, number, study_id, state, datetime_start, datetime_complete",
        "trial_values": "trial_value_id, trial_id, objective, value, value_type",
        "trial_intermediate_values": "trial_intermediate_value_id, trial_id, step, intermediate_value, "
        "intermediate_value_type",
        "trial_params": "param_id, trial_id, param_name, param_value, distribution_json",
        "trial_user_attributes": "trial_user_attribute_id, trial_id, key, value_json",
    }
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        for table, names in columns.items():
            with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows[table]:
                    copy.write_row(row)
            first = names.partition(",")[0]
            connection.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{first}'), {len(rows[table])})"
            )
        connection.execute("VACUUM ANALYZE")


def one_trial(queue: TrialQueue, study: ResolvedStudy, timed: Timed, rng: random.Random) -> None:
    """All that a supervisor does for a trial, but for the training."""
    with timed.part("look"):
        queue.refresh()
    with timed.part("draw"):
        queue.storage.optuna_study.sampler = timed.wrap(RandomSampler(seed=queue.trials.length))
        claim = queue.claim_next(study.space, math.inf)
    assert isinstance(claim, Claim)
    quality = rng.random()
    for step in range(1, EPOCHS + 1):
        with timed.part("report"):
            claim.trial.report(quality * (1 - math.exp(-step / 3)), step)
        with timed.part("prune"):
            claim.trial.should_prune()
    with timed.part("tick"):
        queue.refresh()
        queue.expire()
        queue.requeue(60.0)
    with timed.part("beat"):
        queue.renew()
    with timed.part("finish"):
        assert queue.finish(claim, "complete", [quality])
    with timed.part("look"):
        queue.refresh()
    queue.trials.ranked(3)


def tpe(
    queue: TrialQueue, study: ResolvedStudy, asks: int, sampler: Callable[[int], optuna.samplers.BaseSampler]
) -> list[Times]:
    """What an ask with all its parameters and a tell take."""
    found = []
    rng = random.Random(1)
    for _ in range(asks):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            began = now()
            trial = queue.storage.optuna_study.ask()
            queue.storage.optuna_study.sampler = sampler(trial.number)
            study.space.sample(trial)
            queue.storage.optuna_study.tell(trial, rng.random())
        ended = now()
        found.append((ended[0] - began[0], ended[1] - began[1]))
    return found


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--asks", type=int, default=40)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "storage_scale.md")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    server = PostgreSQL()
    try:
        studies = {name: a_study(folder, name, server.create(name)) for name in ("empty", "full")}
        queues = {name: a_queue(study) for name, study in studies.items()}
        fill(server, "full", studies["full"], asked.trials)
        print("filled", flush=True)
        began = now()
        queues["full"].refresh()
        ended = now()
        first_look = (ended[0] - began[0], ended[1] - began[1])
        assert queues["full"].trials.length == asked.trials
        times = {name: Timed() for name in studies}
        rng = random.Random(2)
        for turn in range(5 + asked.rounds):
            if turn == 5:  # the first ones warm up
                for timed in times.values():
                    timed.parts.clear()
            for name, study in studies.items():
                one_trial(queues[name], study, times[name], rng)
        print("counted", flush=True)
        full = studies["full"]
        samplers = {
            "siamkit's (the best 100 and the latest 400 trials)": lambda n: make_sampler(full, n),
            "Optuna's (all trials)": lambda n: TPESampler(seed=n, multivariate=True, group=True),
        }
        asks = {
            name: tpe(queues["full"], studies["full"], asked.asks, each) for name, each in samplers.items()
        }
        text = described(asked, times, first_look, asks)
        print(text)
        asked.output.write_text(text)
        for queue in queues.values():
            queue.storage.close()
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def described(
    asked: argparse.Namespace, times: dict[str, Timed], first_look: Times, asks: dict[str, list[Times]]
) -> str:
    lines = []
    for part in times["empty"].parts:
        row = [f"| {part}"]
        for i in (0, 1):
            each = {
                name: sum(spent[i] for spent in timed.parts[part]) / asked.rounds * 1e3
                for name, timed in times.items()
            }
            row.append(f"{each['empty']:.1f} | {each['full']:.1f} | {each['full'] / each['empty']:.2f}")
        lines.append(" | ".join(row) + " |")
    for label, middle in (("all, mean", statistics.fmean), ("**all, median**", statistics.median)):
        row = [f"| {label}"]
        for i in (0, 1):
            each = {
                name: middle(spent[i] for spent in timed.trials(asked.rounds)) * 1e3
                for name, timed in times.items()
            }
            row.append(f"{each['empty']:.1f} | {each['full']:.1f} | **{each['full'] / each['empty']:.2f}**")
        lines.append(" | ".join(row) + " |")
    table = "\n".join(lines)
    rows = []
    for name, each in asks.items():
        row = [f"| {name}"]
        for i in (0, 1):
            some = [spent[i] for spent in each]
            row.append(f"{statistics.median(some):.3f} | {percentile(some, 0.95):.3f}")
        rows.append(" | ".join(row) + " |")
    asking = "\n".join(rows)
    load = psutil.getloadavg()[0]
    return f"""# The storage at {asked.trials:,} trials

`python benchmarks/storage_scale.py --trials {asked.trials} --rounds {asked.rounds} --asks {asked.asks}` —
Python {platform.python_version()}, Optuna {optuna.__version__}, PostgreSQL on the same machine, whose
{psutil.cpu_count()} cores had a load of {load:.1f}: the processor time is what to compare where that is more
than 1 or 2.

What the supervisor spends on a trial apart from its sampler, in milliseconds: an empty study and one with
{asked.trials:,} finished trials, trial by trial in turns ({asked.rounds} each, 5 before that to warm up). A
trial is 2 looks, a draw, {EPOCHS} reports each with a question to the median pruner, a tick, a beat, an end.

| part | clock, empty | {asked.trials:,} | ratio | processor, empty | {asked.trials:,} | ratio |
|---|---:|---:|---:|---:|---:|---:|
{table}

Reading {asked.trials:,} trials for the first time takes {first_look[0]:.1f} s, {first_look[1]:.1f} s of it
processor time.

TPE (multivariate, grouped) on {asked.trials:,} trials: seconds to ask, draw all parameters and tell,
{asked.asks} times.

| sampler | clock, median | 95th percentile | processor, median | 95th percentile |
|---|---:|---:|---:|---:|
{asking}
"""


if __name__ == "__main__":
    sys.exit(main())
