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
# Tests start hundreds of processes, which would each compile every module of siamkit again.
unexport PYTHONDONTWRITEBYTECODE

PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: help demo test nightly packages lint check engines study learning faults storage-scale soak scaling coverage bench naive pruners recipe reach components clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

demo: $(VENV)/.demo  ## which embedding suits handwritten digits? a few minutes
	$(BIN)/siamkit tune docs/examples/digits.yaml --backend jax

# One part that waits and two that compute at a time, the longest first; one thread each, so that they do not
# slow each other.
PARTS := test-tensorflow test-waits test-jax test-plain test-torch test-studies test-examples
STUDIES := tests/study tests/cli tests/docs
# Collecting the other files takes as long as importing all backends; a mark is named in the file that sets it.
WAITING := $(shell grep -rlw waits tests --include='test_*.py')
# Nor are files collected of which no test can run: those without the mark, and those that set it for all their tests.
KERAS := $(sort $(shell grep -rl 'mark\.keras' tests plugins --include='test_*.py'))
PLAIN := $(sort $(shell grep -rLE '^pytestmark = .*mark\.keras' tests plugins --include='test_*.py'))
MARKS_plain := not keras and not waits and not engines
MARKS_waits := waits and not engines
MARKS_backend := keras and not waits

test: $(VENV)/.test packages  ## the suite in parts, three at a time (docs/testing.md); under 12 minutes on two cores
	@echo "three parts at a time; each prints when it ends"
	OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -j3 --output-sync=target $(PARTS)

packages:  ## install PostgreSQL, MariaDB and Chromium for the tests, where missing (root)
	@sh .ci/packages

test-plain: $(VENV)/.test  ## what needs no backend
	$(BIN)/python -m pytest -q -m "$(MARKS_plain)" $(PLAIN)

test-waits: $(VENV)/.test  ## what mostly waits: Ray, databases, Chromium, killed studies
	KERAS_BACKEND=torch $(BIN)/python -m pytest -q -m "$(MARKS_waits)" $(WAITING)

test-torch: $(VENV)/.test  ## all components on PyTorch, and models
	KERAS_BACKEND=torch $(BIN)/python -m pytest -q -m "$(MARKS_backend)" $(filter-out $(STUDIES:%=%/%),$(KERAS))

test-studies: $(VENV)/.test  ## studies that train, the command line and the documentation, on PyTorch
	KERAS_BACKEND=torch $(BIN)/python -m pytest -q -m "$(MARKS_backend)" $(STUDIES)

test-examples: $(VENV)/.test  ## the examples in docstrings
	KERAS_BACKEND=torch $(BIN)/python -m pytest -q --doctest-modules siamkit

test-%: $(VENV)/.test
	KERAS_BACKEND=$* $(BIN)/python -m pytest -q -m "$(MARKS_backend)" $(KERAS)

# Everything, before a release: each part has its own output in $(NIGHTLY) and at most an hour; `make nightly-jax`
# and the like run one of them. What is missing on the machine is an error.
NIGHTLY := build/nightly
NIGHTLY_PARTS := $(BACKENDS:%=nightly-%) $(BACKENDS:%=nightly-conformance-%) nightly-plain nightly-engines \
	nightly-examples nightly-coverage nightly-soak nightly-faults

nightly: $(VENV)/.test packages  ## all tests on all backends, faults, soak and coverage; hours; logs in build/nightly
	$(MAKE) --no-print-directory --keep-going $(NIGHTLY_PARTS)

HOUR := CI=1 SIAMKIT_TESTS=all OMP_NUM_THREADS=1 timeout 60m $(BIN)/python
KIT := tests/testing/test_builtin.py
# $(call logged,NAME,COMMAND) prints the last line of the log, and adds it to the table of all parts.
logged = @mkdir -p $(NIGHTLY); echo "== $(1)"; start=$$(date +%s); \
	$(2) > $(NIGHTLY)/$(1).log 2>&1; status=$$?; last=$$(grep -v '^$$' $(NIGHTLY)/$(1).log | tail -n 1); echo "$$last"; \
	printf '| %s | %s | %s | %s | %s |\n' "$(1)" "$$(git rev-parse --short HEAD)" $$status \
		$$(($$(date +%s) - start)) "$$last" >> $(NIGHTLY)/parts.md; exit $$status

nightly-%: $(VENV)/.test
	$(call logged,$*,KERAS_BACKEND=$* $(HOUR) -m pytest -q -m keras --ignore=$(KIT))
nightly-conformance-%: $(VENV)/.test
	$(call logged,conformance-$*,KERAS_BACKEND=$* $(HOUR) -m pytest -q $(KIT))
nightly-plain: $(VENV)/.test
	$(call logged,plain,$(HOUR) -m pytest -q -m "not keras and not engines")
nightly-engines: $(VENV)/.test
	$(call logged,engines,$(HOUR) -m pytest -q -m engines)
nightly-examples: $(VENV)/.test
	$(call logged,examples,KERAS_BACKEND=torch $(HOUR) -m pytest -q --doctest-modules siamkit)
nightly-coverage: $(VENV)/.test
	$(call logged,coverage,$(HOUR) benchmarks/coverage.py 1000 2 $(NIGHTLY)/coverage.md)
nightly-soak: $(VENV)/.test packages
	$(call logged,soak,$(HOUR) benchmarks/soak.py --output $(NIGHTLY)/soak.md)
nightly-faults: $(VENV)/.test
	rm -f $(NIGHTLY)/faults.jsonl
	$(call logged,faults,$(HOUR) benchmarks/faults.py --times 6 --real 1 --output $(NIGHTLY))

engines: $(VENV)/.test  ## how workers on a Ray cluster end, in every way; minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m engines

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

bench: $(VENV)/.bench  ## how quick siamkit is, side by side; ONLY=knn,losses runs some
	$(BIN)/python benchmarks/bench.py --only "$(ONLY)"

naive: $(VENV)/torch/.ready  ## how much sooner a study reaches the best of a naive search; DATA=folder of the IDX files
	$(VENV)/torch/bin/python benchmarks/naive.py $(DATA)

pruners: $(VENV)/torch/.ready  ## which pruner trains the fewest epochs and keeps the best; DATA=folder of the data sets
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(VENV)/torch/bin/python benchmarks/pruners.py $(DATA)

recipe: $(VENV)/torch/.ready  ## what each ingredient of a training brings, a fractional design; DATA=folder of the data sets
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(VENV)/torch/bin/python benchmarks/recipe.py $(DATA)

reach: $(VENV)/torch/.ready  ## what init and tune reach on six data sets; DATA=their folder, ROW=one of them; an hour
	KERAS_BACKEND=torch $(VENV)/torch/bin/python benchmarks/reach.py $(DATA) $(ROW)

components: $(VENV)/.test  ## docs/components.md from the registry
	KERAS_BACKEND=torch $(BIN)/python docs/components.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "siamkit wants Python 3.11 or newer; make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[jax]"
	touch $@

# PyTorch first and by its exact version: a bare "torch" may draw a build with gigabytes of CUDA.
$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml plugins/*/src/*/*.py)
	$(PIP) torch==2.13.0
	$(PIP) $(TENSORFLOW) -e ".[jax,test]"
	$(PIP) ./plugins/siamkit-tanimoto
	touch $@ $(VENV)/.demo

# What siamkit is compared with.
$(VENV)/.bench: $(VENV)/.test
	$(PIP) faiss-cpu keras-tuner
	touch $@

# With one backend, as users have it: Keras imports TensorFlow and JAX in every process, if they are installed.
$(VENV)/torch/.ready: $(VENV)/bin/python pyproject.toml constraints.txt
	$(VENV)/bin/python -m venv $(VENV)/torch
	$(VENV)/torch/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	$(VENV)/torch/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt -e .
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
