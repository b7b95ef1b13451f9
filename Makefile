# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
# Test files run side by side, each worker with servers of its own; most of their time is waiting.
TEST_WORKERS ?= 3
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
.PHONY: setup demo down test fuzz chaos lock audit

setup: $(VENV)/.ready  ## create .venv with everything

$(VENV)/.ready: requirements.lock pyproject.toml
	@sh tools/setup/check.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## the main job, from empty servers to the verified table; any number of times
	$(VENV)/bin/pmflow demo

down:  ## stop the demo and all that it started; the data stays
	@test ! -x $(VENV)/bin/pmflow || $(VENV)/bin/pmflow dev down

check: setup  ## style, types and unit tests: no servers, about a minute
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest -q tests/unit

test: setup  ## style, types, unit, contract, integration and end-to-end tests, against the real servers
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/pmflow dev download
	$(VENV)/bin/pytest --numprocesses $(TEST_WORKERS) --dist loadfile

fuzz: setup  ## fuzz the parser for ten minutes; findings are written to .pmflow/fuzz
	mkdir -p .pmflow/fuzz
	$(VENV)/bin/python -m tests.fuzz -max_total_time=600 -artifact_prefix=.pmflow/fuzz/ .pmflow/fuzz

SEED ?= 1
SECONDS ?= 120
chaos: setup  ## run everything under faults, then compare every value with the truth: SEED=1 SECONDS=120
	$(VENV)/bin/pmflow dev download
	$(VENV)/bin/python -m tests.chaos --seed $(SEED) --seconds $(SECONDS)

lock:  ## update the lock files after a change of dependencies; requires uv
	$(COMPILE) pyproject.toml --group pyproject.toml:dev services/*/pyproject.toml tools/pyproject.toml -o requirements.lock
	$(COMPILE) tools/setup/uv.in -o tools/setup/uv.lock
	$(COMPILE) tools/setup/audit.in -o tools/setup/audit.lock

audit:  ## ask OSV for known vulnerabilities of the locked packages; requires the internet
	@sh tools/setup/audit.sh $(PYTHON)

.PHONY: check help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
