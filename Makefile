# Two commands for a fresh machine with Python 3.11+: `make demo` and `make test`.
# Each sets up what it needs in .venv, pinned by constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BACKENDS := jax tensorflow torch
# TensorFlow's build without CUDA; on a machine that lacks it: make TENSORFLOW=tensorflow test
TENSORFLOW ?= tensorflow-cpu

# Keras writes a configuration file into its home; keep the user's out of it.
export KERAS_HOME := $(CURDIR)/$(VENV)/keras
export TF_CPP_MIN_LOG_LEVEL ?= 3

PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: demo test packages test-plain test-examples lint check engines conformance study learning faults storage-scale soak scaling coverage components clean

demo: $(VENV)/.demo  ## which embedding suits handwritten digits? a few minutes
	$(BIN)/siamkit tune docs/examples/digits.yaml --backend jax

# The longest first. One thread each: two at a time with more would be in each other's way.
PARTS := $(BACKENDS:%=test-%) test-plain test-examples

test: $(VENV)/.test packages  ## the whole suite: once without Keras, once on each backend, the docstrings' examples
	@echo "two parts at a time; each prints when it is done"
	OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -j2 --output-sync=target $(PARTS)

packages:  ## PostgreSQL, MariaDB and Chromium for the tests, installed where they are missing and root asks
	@sh .ci/packages

test-plain: $(VENV)/.test  ## what needs no backend
	$(BIN)/python -m pytest -q -m "not keras and not engines"

engines: $(VENV)/.test  ## all ways in which workers on a Ray cluster end; minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/study/engines/test_ray.py -m "not keras"

test-examples: $(VENV)/.test  ## the examples of the docstrings
	KERAS_BACKEND=torch $(BIN)/python -m pytest -q --doctest-modules siamkit

test-%: $(VENV)/.test
	@echo "== $*"
	KERAS_BACKEND=$* $(BIN)/python -m pytest -q -m keras

conformance: $(VENV)/.test  ## the whole conformance kit over every built-in component, on each backend
	OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -j2 --output-sync=target $(BACKENDS:%=conformance-%)

conformance-%: $(VENV)/.test
	@echo "== $*"
	KERAS_BACKEND=$* SIAMKIT_CONFORMANCE=all $(BIN)/python -m pytest -q tests/testing/test_builtin.py

lint: $(VENV)/.test  ## ruff and mypy, as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test lint

study: $(VENV)/.test  ## the Fashion-MNIST study on each backend; DATA=folder of the IDX files
	$(BIN)/python docs/studies/run.py $(DATA)

learning: $(VENV)/.test  ## every loss beside its reference on Fashion-MNIST; DATA=folder of the IDX files
	$(BIN)/python benchmarks/learning.py $(DATA)

faults: $(VENV)/.test  ## studies struck by every fault at seeded moments, and audited; Linux, root, an hour
	$(BIN)/python benchmarks/faults.py

storage-scale: $(VENV)/.test packages  ## what counting costs at the first trial and at the ten-thousandth
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/storage_scale.py

soak: $(VENV)/.test packages  ## 500 short trials on PostgreSQL with a fault every few seconds, and an audit
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/soak.py

scaling: $(VENV)/.test packages  ## what coordination costs at 1 to 64 workers; trials an hour of a real study
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scaling.py --real 30

coverage: $(VENV)/.test  ## how often intervals hold the truth and p-values cry wolf, simulated; minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/coverage.py

components: $(VENV)/.test  ## docs/components.md from the registry
	KERAS_BACKEND=torch $(BIN)/python docs/components.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "siamkit wants Python 3.11 or newer; make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[jax]"
	touch $@

# PyTorch first and by its exact version: a bare "torch" may draw a build with gigabytes of CUDA.
$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt plugins/siamkit-tanimoto/pyproject.toml
	$(PIP) torch==2.13.0
	$(PIP) $(TENSORFLOW) -e ".[jax,test]"
	$(PIP) ./plugins/siamkit-tanimoto
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) runs build *.egg-info
