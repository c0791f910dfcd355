"""Engine ray: workers as actors of a cluster whose nodes come and go, with a formula for training."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest
from ray_cluster import STAND_IN, TRAINER, Nodes, StandIn, actors, meanwhile
from tiny_study import HEAD, Run, changing, write_items

from siamkit.errors import StudyError
from siamkit.study import tune
from siamkit.study.results.results import Results

ray = pytest.importorskip("ray", reason="the package ray is not installed")

STUDY = f"""\
{HEAD}confirm: null
pruner: none
engine: ray
workers: 1
"""

# A process of its own is started for each node; that JAX runs beside is no matter to it.
pytestmark = [pytest.mark.waits, pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")]

beside = contextmanager(meanwhile)


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    before = dict(os.environ)
    found = Nodes()
    ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
    yield found
    ray.shutdown()
    found.close()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    folder = tmp_path / "stand-in"
    folder.mkdir()
    monkeypatch.setenv("SIAMKIT_STAND_IN", str(folder))
    monkeypatch.syspath_prepend(str(STAND_IN))  # where engine local's workers look
    monkeypatch.setattr("siamkit.study.execution.session.TRAINER", TRAINER)
    return StandIn(folder)


@pytest.fixture
def run(tmp_path: Path, stand_in: StandIn) -> Run:
    """Runs the study with parts of its file replaced, for good."""
    return changing(tmp_path, STUDY)


def numbers(results: Results) -> list[Any]:
    return [(each.configuration, each.repeats) for each in by_number(results)]


def by_number(results: Results) -> list[dict[str, Any]]:
    return sorted(results.trials, key=lambda each: each.trial)


def gone(pid: int) -> None:
    """Waits for the end of a process."""
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
    assert not psutil.pid_exists(pid)


def events(results: Results) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results.folder / "log.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------- a study


def test_the_same_trials_on_ray_on_local_and_inline(
    nodes: Nodes, run: Run, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_ray = run(("confirm: null", "confirm: {top: 1, seeds: 2}"))
    there = stand_in.done()
    assert len(by_number(on_ray)) == 4
    assert [each.outcome for each in on_ray.trials] == ["complete"] * 4
    assert set(on_ray.measures) == {"valid", "test"}
    assert len({each["pid"] for each in there}) == 1
    assert os.getpid() not in {each["pid"] for each in there}
    assert not any(each["copied"] or each["keras"] for each in there)
    assert there[0]["environment"]["KERAS_BACKEND"] == os.environ["KERAS_BACKEND"]
    assert there[0]["environment"]["OMP_NUM_THREADS"] == "1"
    assert not list(on_ray.folder.glob(".sign-*"))
    assert actors() == []

    on_local = run(("engine: ray", "engine: local\nartifacts: runs/local"))
    assert numbers(on_local) == numbers(on_ray)
    inline = run(("engine: local", "engine: inline"), ("runs/local", "runs/inline"))
    assert numbers(inline) == numbers(on_ray)
    assert inline.measures == on_local.measures == on_ray.measures


def test_two_actors_at_once_with_a_share_of_an_accelerator_each(
    nodes: Nodes, run: Run, stand_in: StandIn
) -> None:
    stand_in.order(wait=2)  # until both have begun

    def both() -> None:
        first = stand_in.until(lambda line: True)["pid"]
        stand_in.until(lambda line: line["pid"] != first)
        stand_in.go()

    with beside(both):
        results = run(("workers: 1", "workers: auto\nresources: {cpus: 1, gpus: 0.5}"))
    assert len(results.trials) == 4
    done = stand_in.done()
    assert len({each["pid"] for each in done}) == 2
    assert {(each["resources"]["CPU"], each["resources"]["GPU"]) for each in done} == {(1.0, 0.5)}
    assert {each["environment"]["CUDA_VISIBLE_DEVICES"] for each in done} == {"0"}
    assert {each["environment"]["XLA_PYTHON_CLIENT_MEM_FRACTION"] for each in done} == {"0.450"}
    began = [each["time"] for each in events(results) if each["event"] == "trial started"]
    ended = [each["time"] for each in events(results) if each["event"] == "trial ended"]
    assert began[1] < ended[0]


@pytest.mark.engines
def test_a_worker_has_an_accelerator_of_its_own_where_there_are_any(
    nodes: Nodes, run: Run, stand_in: StandIn
) -> None:
    # Two CPUs but one accelerator: of two workers the second waits, and the study does not wait for it.
    results = run(("workers: 1", "workers: 2"), ("trials: 4", "trials: 2"))
    assert len(results.trials) == 2
    done = stand_in.done()
    assert len({each["pid"] for each in done}) == 1
    assert {each["resources"]["GPU"] for each in done} == {1.0}


# ---------------------------------------------------------------- what is refused


def refused(run: Run, tmp_path: Path, *changes: tuple[str, str]) -> str:
    """The sentence by which a study is refused, before anything is written."""
    with pytest.raises(StudyError) as caught:
        run(*changes)
    assert not (tmp_path / "runs").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nodes_that_differ_are_refused(
    nodes: Nodes, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamkit.runs.results import Versions, versions
    from siamkit.study.execution import session

    def other(backend: str, plugins: dict[str, str]) -> Versions:
        real = versions(backend, plugins)
        return real.model_copy(update={"packages": {**real.packages, "keras": "2.0"}})

    with monkeypatch.context() as patch:
        patch.setattr(session, "versions", other)
        sentence = refused(run, tmp_path)
    there = versions("jax", {}).packages["keras"]
    assert sentence == (
        f"the node {socket.gethostname()!r} of the Ray cluster cannot take part: keras 2.0 here, {there} "
        "there; install the same versions on all nodes"
    )
    # A module that only this process has.
    monkeypatch.setitem(sys.modules, "only_here", ModuleType("only_here"))
    sentence = refused(run, tmp_path, ("workers: 1", "workers: 1\nplugins: [only_here]"))
    assert sentence.endswith(
        "cannot take part: the plugin module 'only_here' cannot be imported: ModuleNotFoundError: No module "
        "named 'only_here'"
    )


def test_a_run_folder_that_a_node_does_not_see_is_refused(
    nodes: Nodes, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "siamkit.study.engines.ray_engine.FolderMarker.path", lambda self: "/elsewhere/runs/.sign"
    )
    with pytest.raises(StudyError, match=r"it does not see the run folder '/elsewhere/runs'; set artifacts"):
        run()


def test_what_no_node_has_room_for_is_refused(nodes: Nodes, run: Run, tmp_path: Path) -> None:
    assert refused(run, tmp_path, ("workers: 1", "workers: 1\nresources: {cpus: 9, gpus: 0}")).startswith(
        "no node of the Ray cluster has room for a worker of 9 CPUs, 0 GPUs: its largest node has 2 CPUs, "
        "1 GPUs and"
    )
    assert "or a whole number of them, got 1.5" in refused(run, tmp_path, ("gpus: 0}", "gpus: 1.5}"))


def test_without_the_package_it_is_a_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ray_engine", "_ray"):
        monkeypatch.delitem(sys.modules, f"siamkit.study.engines.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    sentence = refused(run, tmp_path)
    assert sentence == "the engine ray needs the package ray; pip install 'siamkit[ray]'"


def test_a_cluster_that_does_not_answer_is_a_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert refused(run, tmp_path).startswith(
        "the Ray cluster '127.0.0.1:9' (RAY_ADDRESS) cannot be joined: [Errno"
    )


# ---------------------------------------------------------------- deaths


def test_a_node_that_is_lost_has_its_trials_tried_again_where_they_were(
    nodes: Nodes, run: Run, stand_in: StandIn
) -> None:
    node = nodes.add(cpus=1)
    stand_in.order(wait=3)

    def lose() -> None:
        at = stand_in.until(lambda line: line["node"] == node.node_id and line["epoch"] == 3)
        nodes.remove(node)
        gone(at["pid"])
        stand_in.go()

    with beside(lose):
        results = run(
            ("workers: 1", "workers: auto\nresources: {cpus: 1, gpus: 0}"), ("trials: 4", "trials: 6")
        )
    assert len(results.trials) == 6
    assert len({str(each.configuration) for each in results.trials}) == 6
    [died] = [each for each in events(results) if each["event"] == "trial died"]
    assert died["cause"] == "its process ended with its node"
    [again] = [each for each in results.trials if each.attempt == 2]
    dim = again.configuration["embedding_dim"]
    epochs = [line["epoch"] for line in stand_in.done() if line["dim"] == dim]
    assert epochs == [1, 2, 3, 3]  # it went on from its checkpoint, elsewhere
    assert len({line["node"] for line in stand_in.done() if line["dim"] == dim}) == 2
    assert again.measures["map_at_r"] == pytest.approx(again.repeats[0]["map_at_r"])


@pytest.mark.engines
def test_an_actor_that_is_killed_is_replaced(nodes: Nodes, run: Run, stand_in: StandIn) -> None:
    stand_in.order(wait=2)

    def kill() -> None:
        os.kill(stand_in.until(lambda line: line["epoch"] == 2)["pid"], signal.SIGKILL)
        stand_in.go()

    with beside(kill):
        results = run()
    assert len(results.trials) == 4
    assert sorted(each.attempt for each in results.trials) == [1, 1, 1, 2]
    assert [each["cause"] for each in events(results) if each["event"] == "trial died"] == [
        "its process ended unexpectedly, by a crash or a signal"
    ]
    first = [line["epoch"] for line in stand_in.done() if line["dim"] == stand_in.done()[0]["dim"]]
    assert first == [1, 2, 2, 3]


@pytest.mark.engines
def test_a_configuration_that_crashes_each_time_has_failed(nodes: Nodes, run: Run, stand_in: StandIn) -> None:
    stand_in.order(crash=2)
    results = run(("trials: 4", "trials: 1"))
    [only] = results.trials
    assert (only.outcome, only.attempt) == ("failed", 4)
    assert only.cause == "its process ended unexpectedly, by a crash or a signal, 4 times"


@pytest.mark.engines
def test_a_job_that_raises_fails_and_its_worker_goes_on(nodes: Nodes, run: Run, stand_in: StandIn) -> None:
    stand_in.order(**{"raise": 2})
    results = run(("trials: 4", "trials: 2"))
    assert [each.cause for each in results.trials] == ["ValueError: no good"] * 2
    assert all("in obey" in each.traceback for each in results.trials)
    assert len({line["pid"] for line in stand_in.done()}) == 1


@pytest.mark.engines
@pytest.mark.parametrize(
    ("order", "limit", "cause"),
    [
        ("hang", "trial_time: 1s", "took longer than the trial_time of 1 s"),
        ("fill", "trial_memory: 600MB", "took more memory than the trial_memory of 0.6 GB"),
    ],
)
def test_limits(nodes: Nodes, run: Run, stand_in: StandIn, order: str, limit: str, cause: str) -> None:
    stand_in.order(**{order: 2})
    results = run(("trials: 4", f"trials: 1, {limit}"))
    assert [(each.outcome, each.cause) for each in results.trials] == [("failed", cause)]
    assert actors() == []


@pytest.mark.engines
def test_a_stopped_worker_is_given_up_for_another(
    nodes: Nodes, run: Run, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamkit.study.engines.ray_engine.SUSPENDED_SECONDS", 2.5)
    stand_in.order(wait=2)

    def stop() -> None:
        os.kill(stand_in.until(lambda line: line["epoch"] == 2)["pid"], signal.SIGSTOP)
        stand_in.go()

    with beside(stop):
        results = run(("trials: 4", "trials: 1"), ("engine: ray", "engine: ray\nlease: 1s"))
    assert [(each.outcome, each.attempt) for each in results.trials] == [("complete", 2)]
    [died] = [each for each in events(results) if each["event"] == "trial died"]
    assert died["cause"] == "its process was suspended for more than 1 s"


def test_ctrl_c_leaves_no_actor_and_the_study_goes_on(nodes: Nodes, run: Run, stand_in: StandIn) -> None:
    stand_in.order(wait=2)

    def interrupt() -> None:
        pid = stand_in.until(lambda line: line["epoch"] == 2)["pid"]
        assert actors() == [pid]
        os.kill(os.getpid(), signal.SIGINT)

    with beside(interrupt):
        results = run()
    assert results.interrupted
    end = time.monotonic() + 5
    while actors() and time.monotonic() < end:
        time.sleep(0.05)
    assert actors() == []
    stand_in.go()
    results = run()
    assert len(results.trials) == 4
    assert {each.attempt for each in results.trials} == {1}


# ---------------------------------------------------------------- parts of it, without a cluster


def test_data_cross_as_they_are_and_texts_with_their_tokenizer(tmp_path: Path) -> None:
    import pickle

    from siamkit.data import Dataset, fit_preprocessor
    from siamkit.study.worker.prepared_data import PreparedData, _prepared
    from siamkit.study.worker.shared_arrays import pack, unpack, write_data

    texts = np.array([f"the {word} number {n}" for n in range(40) for word in ("odd", "even")], dtype=object)
    raw = Dataset((texts,), np.tile(["a", "b"], 40), "labels", "text")
    tokenizer = fit_preprocessor(raw)
    session = _prepared(raw, tokenizer)
    task = PreparedData(
        session, session, session, tokenizer, {"map_at_r": "maximize"}, dict(tokenizer.facts), {}
    )
    write_data(task, tmp_path / "task")

    parcel = pack(tmp_path / "task")
    assert parcel.nbytes >= 3 * session.views[0].nbytes
    beside: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(parcel, protocol=5, buffer_callback=beside.append)
    assert sum(each.raw().nbytes for each in beside) == parcel.nbytes
    # What is in the stream does not grow with the items; the tokenizer is most of it.
    assert len(stream) < 4000 + sum(len(each) for each in parcel.preprocessor.values())
    there = unpack(pickle.loads(stream, buffers=[bytes(each.raw()) for each in beside]))
    assert np.array_equal(there.train.views[0], session.views[0])
    assert not there.train.views[0].flags.writeable
    assert np.array_equal(there.preprocessor(texts[:3]), session.views[0][:3])
    assert there.needs == task.needs


def test_what_got_lost_on_the_way_is_told_again_and_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from siamkit.study.engines import _ray as ray_worker
    from siamkit.study.worker.messages import Cause, Ended, Epoch, FeedsJob, Job

    heard: list[Any] = []

    def do(job: Job, tell: Any) -> Ended:
        heard.extend([job, tell(Epoch(0, 1, {})), tell(Epoch(0, 2, {}))])
        return Ended("complete")

    for name, stub in {"version_mismatch": None, "plugin_mismatch": None, "unpack": None}.items():
        monkeypatch.setattr(ray_worker, name, lambda *_, stub=stub: stub)
    monkeypatch.setattr(ray_worker, "prepare", lambda _: None)
    monkeypatch.setattr(ray_worker, "make_runner", lambda *_: SimpleNamespace(run=do))
    one = ray_worker.Actor(None, None)  # type: ignore[arg-type]

    def said(heard: int, many: int = 1) -> list[str]:
        end = time.monotonic() + 5
        while len(news := one.listen(heard, 0.1).messages) < many and time.monotonic() < end:
            pass
        return [type(each).__name__ for each in news]

    assert said(0) == ["Ready"]
    job, enough = FeedsJob((), (5,)), Cause("worse", "enough")
    errand = ray_worker.JobRequest(job, None)
    one.receive(1, errand)
    one.receive(1, errand)
    assert said(0, 2) == ["Ready", "Epoch"]  # the first answer may have got lost
    assert said(1) == ["Epoch"]
    one.receive(2, None)
    one.receive(2, None)
    assert said(2) == ["Epoch"]
    assert said(1) == ["Epoch"]  # a late caller takes nothing from the others
    one.receive(3, enough)
    assert said(3) == ["Ended"]
    assert heard == [job, None, enough]


def test_how_many_workers_there_is_room_for() -> None:
    from siamkit.study.engines._ray import _room_on

    node = {"CPU": 8.0, "GPU": 2.0, "memory": 16e9}
    assert _room_on(node, 1, 0, None) == 8
    assert _room_on(node, 3, 0, None) == 2
    assert _room_on(node, 1, 1, None) == 2
    assert _room_on(node, 1, 0.3, None) == 6
    assert _room_on(node, 1, 0.6, None) == 2  # a fraction is one of one accelerator
    assert _room_on(node, 1, 2, None) == 1
    assert _room_on(node, 1, 0, 5e9) == 3
    assert _room_on({"CPU": 8.0}, 1, 0.5, None) == 0


# ---------------------------------------------------------------- with a process of its own


SCRIPT = """\
import json, os, sys
import psutil, ray
from siamkit.study.engines import _ray as cluster
assert cluster.connect(1000)
nodes = [node["NodeManagerAddress"] for node in ray.nodes()]
ours = psutil.Process().children(recursive=True)
heard = sorted({each.laddr.ip for process in ours for each in process.net_connections("tcp")
                if each.status == psutil.CONN_LISTEN})
cluster.disconnect()
gone, left = psutil.wait_procs(ours, timeout=20)
print(json.dumps([nodes, heard, len(left)]))
"""


@pytest.mark.engines
def test_a_cluster_of_its_own_is_open_to_this_machine_alone_and_ends() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**environment, "RAY_TMPDIR": folder, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    nodes, heard, left = json.loads(done.stdout.splitlines()[-1])
    assert nodes == ["127.0.0.1"]
    assert {each.removeprefix("::ffff:") for each in heard} == {"127.0.0.1"}
    assert left == 0


@pytest.mark.keras
@pytest.mark.one_backend
def test_training_itself_on_a_cluster(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.delenv("SIAMKIT_STAND_IN", raising=False)
    trainer = "siamkit.study.worker.train:KerasTrainer"
    monkeypatch.setattr("siamkit.study.execution.session.TRAINER", trainer)
    write_items(tmp_path / "items.npz")
    (tmp_path / "study.yaml").write_text(STUDY.replace("trials: 4", "trials: 2"))
    on_ray = tune(tmp_path / "study.yaml", progress="none")
    assert [each.outcome for each in on_ray.trials] == ["complete"] * 2
    assert on_ray.load_model().embed(np.zeros((2, 5), "float32")).shape[0] == 2
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
