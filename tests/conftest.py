"""Set before keras is first imported: the tests leave the user's own Keras configuration alone."""

from __future__ import annotations

import gc
import os
import runpy
import signal
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest
import selection

# What is started in the background hears no Ctrl-C, and some tests send one to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="siamkit-tests-keras-")
os.environ.setdefault("KERAS_BACKEND", selection.MAIN)
# Thousands of tiny graphs: compiling them takes longer than running them.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if os.environ["KERAS_BACKEND"] == "jax" and "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = selection.known_xla_flags(
        "--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"
    )
if not selection.EVERYTHING:
    processes = str(Path(__file__).parent / "support/processes")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (processes, os.environ.get("PYTHONPATH"))))
    sys.path.append(processes)  # a study's workers get this
    # What the processes of tests run at their start, here too; an import might give another sitecustomize.
    runpy.run_path(f"{processes}/sitecustomize.py")
os.environ.setdefault("SIAMKIT_CACHE", "")  # commands and workers keep no compiled graphs
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Whatever plugins this machine happens to have, the tests see the built-ins and the repository's own.
os.environ.setdefault("SIAMKIT_PLUGINS", "siamkit-tanimoto")
# A first example imports what it needs, and the machine may be busy: no property is about time.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def seeded(request):
    """The same initial weights in every run: networks this small now and then start dead."""
    if request.node.get_closest_marker("keras"):
        import keras

        from siamkit.backend.select import require_float32

        keras.utils.set_random_seed(0)
        require_float32()


@pytest.fixture(scope="session", autouse=True)
def plain_graphs():
    """Thousands of tiny graphs here too: TensorFlow optimizes them for longer than they run."""
    if os.environ["KERAS_BACKEND"] == "tensorflow" and not selection.EVERYTHING:
        import tensorflow

        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="module", autouse=True)
def settled():
    """What is there by now, compiled functions by the hundred thousand objects, stays: not to be searched."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    selection.select(config, items)
