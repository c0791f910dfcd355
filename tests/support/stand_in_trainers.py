"""Stand-ins for the Keras trainer, in any process: scores by a formula in place of training. No Keras here.

A test names one of them as the trainer of a session (`siamkit.study.execution.session.TRAINER`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.study.worker import checkpoint
from siamkit.study.worker.messages import Row
from siamkit.study.worker.trainer import BestEpoch, EpochEnd, Scores, Start, Trained, TrialFailure

# Tests train for less than the seconds that are worth a checkpoint.
checkpoint.MIN_SECONDS = checkpoint.SECONDS_BETWEEN_KILLS = 0.0

RESOLVED = {"loss": {"margin": 0.2}}


class Model:
    """Stands for a trained model."""

    def __init__(self, text: str, worth: float = 0.0, seed: int = 0) -> None:
        self.text, self.worth, self.seed = text, worth, seed

    def save(self, path: Any) -> None:
        Path(path).write_text(self.text)


class StandIn:
    """A trainer whose values come from a formula; subclasses say which, and what happens meanwhile."""

    def __init__(self, data: Any, fixed: Any) -> None:
        self.data, self.fixed = data, fixed

    @staticmethod
    def prepare() -> None:
        pass

    def check_feeds(self, losses: Any, batch_sizes: Any) -> None:
        pass

    def train(
        self,
        configuration: Any,
        *,
        seed: int,
        data_seed: int,
        limits: Any,
        on_epoch: Any,
        on_checkpoint: Any = None,
        start: Start | None = None,
    ) -> Trained:
        best = BestEpoch(self.data.objective, self.fixed.evaluations, self.fixed.patience)
        name = self.data.objective.name
        for row in start.history if start is not None else []:
            best.add(int(row["epoch"]), row[name])
        done = start.epoch if start is not None else 0
        self.begin(configuration, seed, data_seed, done)
        # From the last epoch on there is nothing to train, only to evaluate.
        for epoch in range(done + 1, self.fixed.evaluations + 1):
            if epoch > 1 and best.ends(epoch - 1):
                break
            measures = self.measures(configuration, seed, epoch)
            row: Row = {"epoch": epoch, "loss": 1.0, **measures}
            self.during(configuration, seed, epoch)
            best.add(epoch, row[name])
            models = [self.model(configuration, seed, number) for number in (epoch, best.number)]
            queries = self.queries(configuration, seed)
            on_checkpoint(EpochEnd(*models, row, queries, RESOLVED, best.number, best.ends(epoch)))
            on_epoch(epoch, row)
        dim, items = configuration["embedding_dim"], len(self.data.valid)
        measures = self.measures(configuration, seed, best.number)
        scores = Scores(measures, self.queries(configuration, seed), np.ones((items, dim)))
        return Trained(self.model(configuration, seed, best.number), scores, RESOLVED, best.number)

    def evaluate(self, model: Any, split: str, groups: Any, threshold: float | None = None) -> Scores:
        return Scores({"map_at_r": 0.4, "eer": 0.5}, {}, np.ones((len(getattr(self.data, split)), 1)))

    def report_data(self, model: Any, valid: Any, test: Any = None) -> dict[str, np.ndarray]:
        return {}

    # ------------------------------------------------------------- what a subclass says

    def begin(self, configuration: Any, seed: int, data_seed: int, done: int) -> None:
        pass

    def during(self, configuration: Any, seed: int, epoch: int) -> None:
        pass

    def measures(self, configuration: Any, seed: int, epoch: int) -> dict[str, float]:
        raise NotImplementedError

    def model(self, configuration: Any, seed: int, epoch: int) -> Model:
        return Model(f"{configuration['embedding_dim']} {seed}")

    def queries(self, configuration: Any, seed: int) -> dict[str, np.ndarray]:
        return {"map_at_r": np.ones(len(self.data.valid))}


# ------------------------------------------------------------------ in the test's own process

CURRENT: list[Callable[[Any, Any], StandIn]] = []


class Current(StandIn):
    """The stand-in of the running test."""

    def __new__(cls, data: Any, fixed: Any) -> Any:
        return CURRENT[-1](data, fixed)


class Hooked(StandIn):
    """By hooks that a test sets; see `training_stand_in.Training`."""

    def __init__(self, hooks: Any, data: Any, fixed: Any) -> None:
        super().__init__(data, fixed)
        self.hooks = hooks

    def begin(self, configuration: Any, seed: int, data_seed: int, done: int) -> None:
        hooks, dim = self.hooks, configuration["embedding_dim"]
        hooks.dims.append(dim)
        hooks.seeds.append(seed)
        hooks.data_seeds.append(data_seed)
        hooks.before(dim, len(hooks.dims))
        hooks.starts.append(done)

    def during(self, configuration: Any, seed: int, epoch: int) -> None:
        self.hooks.during(configuration["embedding_dim"], epoch)

    def measures(self, configuration: Any, seed: int, epoch: int) -> dict[str, float]:
        hooks, dim = self.hooks, configuration["embedding_dim"]
        return {
            "map_at_r": hooks.value(dim, epoch),
            "eer": 0.5,
            "threshold": 0.5,
            "parameters": 10.0 * dim,
            **hooks.more(dim),
        }

    def queries(self, configuration: Any, seed: int) -> dict[str, np.ndarray]:
        return {"map_at_r": self.hooks.scores(configuration["embedding_dim"], len(self.data.valid))}

    def evaluate(self, model: Any, split: str, groups: Any, threshold: float | None = None) -> Scores:
        self.hooks.scored.append(model.text)
        self.hooks.scoring(len(self.hooks.scored))
        return replace(
            super().evaluate(model, split, groups, threshold), measures=dict(self.hooks.test_measures)
        )


class ByLoss(StandIn):
    """By loss, size and seed; see `formula_training.Formula`."""

    def __init__(self, formula: Any, data: Any, fixed: Any) -> None:
        super().__init__(data, fixed)
        self.formula = formula

    def begin(self, configuration: Any, seed: int, data_seed: int, done: int) -> None:
        loss = loss_of(configuration)
        self.formula.before(loss)
        self.formula.trained.append(loss)

    def measures(self, configuration: Any, seed: int, epoch: int) -> dict[str, float]:
        scores = scores_of(self.model(configuration, seed, epoch), len(self.data.valid))
        return {"map_at_r": float(scores.mean()), "eer": 0.5, "threshold": 0.5, "parameters": 10.0}

    def model(self, configuration: Any, seed: int, epoch: int) -> Model:
        worth = self.formula.worth[loss_of(configuration)] + configuration["embedding_dim"] / 10_000
        return Model(f"{worth} {seed}", worth, seed)

    def queries(self, configuration: Any, seed: int) -> dict[str, np.ndarray]:
        return {"map_at_r": scores_of(self.model(configuration, seed, 0), len(self.data.valid))}

    def evaluate(self, model: Any, split: str, groups: Any, threshold: float | None = None) -> Scores:
        self.formula.scored += 1
        scores = scores_of(model, len(getattr(self.data, split)))
        return Scores({"map_at_r": float(scores.mean()), "eer": 0.5}, {"map_at_r": scores}, np.ones((1, 2)))


def loss_of(configuration: Any) -> str:
    return str(configuration["loss"]["name"].rpartition("/")[2])


def scores_of(model: Model, queries: int) -> np.ndarray:
    """By query: some are hard for all, and each seed has luck of its own."""
    hard = np.random.default_rng(0).normal(0, 0.1, queries)
    luck = np.random.default_rng(model.seed).normal(0, 0.01, queries + 1)
    return np.clip(model.worth + hard - hard.mean() + luck[0] + luck[1:], 0, 1)


# ------------------------------------------------------------------ in other processes


class Timed(StandIn):
    """With short sleeps: FAKE_EPOCH is the seconds an epoch takes.

    An embedding's size divisible by 7 fails, one divisible by 5 is worse from epoch to epoch; unless
    FAKE_EVEN says that all take the same time.
    """

    def during(self, configuration: Any, seed: int, epoch: int) -> None:
        time.sleep(float(os.environ.get("FAKE_EPOCH", "0.02")))
        if configuration["embedding_dim"] % 7 == 0 and not os.environ.get("FAKE_EVEN"):
            raise TrialFailure("nan", "the loss of epoch 1 is nan")

    def measures(self, configuration: Any, seed: int, epoch: int) -> dict[str, float]:
        dim = configuration["embedding_dim"]
        value = round(0.4 + (dim * 37 % 101) / 400 + (-0.05 if dim % 5 == 0 else 0.01) * epoch, 6)
        return {"map_at_r": value, "eer": 0.5, "threshold": 0.5, "parameters": 10.0 * dim}


class Ordered(StandIn):
    """By orders.

    The folder that SIAMKIT_STAND_IN names holds what a test orders (`orders.json`), and what was done
    (`done.jsonl`, a line an epoch).
    """

    def __init__(self, data: Any, fixed: Any) -> None:
        super().__init__(data, fixed)
        self.folder = Path(os.environ["SIAMKIT_STAND_IN"])

    def during(self, configuration: Any, seed: int, epoch: int) -> None:
        orders = json.loads((self.folder / "orders.json").read_text())
        self.note(dim=configuration["embedding_dim"], seed=seed, epoch=epoch)
        self.obey(orders, epoch)

    def measures(self, configuration: Any, seed: int, epoch: int) -> dict[str, float]:
        dim = configuration["embedding_dim"]
        value = dim / 100 + epoch / 1000 + seed % 97 / 1e6
        return {"map_at_r": value, "eer": 0.5, "threshold": 0.5, "parameters": 10.0 * dim}

    def model(self, configuration: Any, seed: int, epoch: int) -> Model:
        return Model(f"{configuration['embedding_dim']} {seed} {epoch}")

    def obey(self, orders: dict[str, Any], epoch: int) -> None:
        if "wait" in orders and epoch == orders["wait"]:
            while not (self.folder / "go").exists():
                time.sleep(0.02)
        if epoch == orders.get("die"):
            raise KeyboardInterrupt
        if epoch == orders.get("raise"):
            raise ValueError("no good")
        if epoch == orders.get("crash"):
            os.abort()
        if epoch == orders.get("hang"):
            time.sleep(60)
        if epoch == orders.get("fill"):
            orders["kept"] = bytearray(os.urandom(1) * 700_000_000)
            time.sleep(60)
        time.sleep(orders.get("pause", 0))

    def note(self, **what: Any) -> None:
        view = self.data.train.views[0]
        what |= {
            "pid": os.getpid(),
            "environment": {
                name: os.environ.get(name)
                for name in os.environ
                if name.startswith(("KERAS_", "OMP_", "CUDA_", "XLA_", "TF_FORCE"))
            },
            "copied": view.flags.owndata or view.flags.writeable,
            "shape": self.data.preprocessor.input_shape,
            "keras": "keras" in sys.modules,
        }
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized() and (context := ray.get_runtime_context()).get_actor_id():
            what |= {"node": context.get_node_id(), "resources": context.get_assigned_resources()}
        with (self.folder / "done.jsonl").open("a") as file:
            file.write(json.dumps(what) + "\n")
