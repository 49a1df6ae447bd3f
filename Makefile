# Everything a checkout needs: `make compare`, `make test`, `make lint`. Each sets up .venv first.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= experiments/compare_shapes.py
ARGS ?=

.PHONY: compare test lint format clean

compare: .venv/ready
	$(BIN)/lossbench compare --config=$(CONFIG) $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal $(ARGS)

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lossbench needs Python 3.11 or later (make PYTHON=python3.11)")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
