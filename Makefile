# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
.PHONY: setup demo down test lint lock

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@sh tools/setup/check.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --require-hashes -r requirements.lock
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

lock:  ## after a change of dependencies; needs uv
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  pyproject.toml --group pyproject.toml:dev services/*/pyproject.toml -o requirements.lock
