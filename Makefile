# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs; a second run reuses it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
UV     := 0.13.9
# Containers often set it. Every command, kernel and test would then compile whatever it imports anew (0.3 to 0.5 s each).
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint lab bench docs lock clean

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python: found %d.%d; expected 3.11 or newer; nothing was installed. Next: make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	@echo "setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV) 2>&1 | grep -v WARNING || true
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(READY)

demo: $(READY)            ## move the sample monolith to three services, live, and prove that nothing was lost
	@$(BIN)/runbook demo $(ARGS)

test: $(READY)            ## every check there is: lint, types, tests
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lab: $(READY)             ## the same estate, with JupyterLab in front of it
	@$(BIN)/runbook lab $(ARGS)

bench: $(READY)           ## each promise of speed, measured beside its peer; minutes
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY)            ## docs/cli.md from the commands, the plan's keys, the list of decisions, prose within 120 characters
	@$(BIN)/python tests/make_cli_docs.py
	@$(BIN)/python tests/make_plan_docs.py
	@$(BIN)/python tests/make_decisions_index.py
	@$(BIN)/python tests/wrap_prose.py

lock: $(READY)            ## pin every package by hash, without naming an index
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --extra lab --extra mysql --extra notify --group dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) .runbook
