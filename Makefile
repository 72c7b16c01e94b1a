# Everything runs in .venv, which these targets make and keep up to date; all that is needed is Python 3.11 and pip.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
JOBS ?= 2

# The tests run one process a core, so each computes with one thread.
test: export OMP_NUM_THREADS = 1

.PHONY: demo test lint bench docs clean

demo: $(READY)
	$(BIN)/saccade demo

test: lint
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.render

docs: $(READY)
	for script in scripts/figure_*.py; do $(BIN)/python $$script || exit 1; done
	$(BIN)/python -m pytest tests/test_docs.py tests/cli/test_pages.py

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv
