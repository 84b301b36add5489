PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow faults lint app bench clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "guided-refine needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(INSTALL) -e '.[test,lint]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/guided-refine run experiments/demo.yaml --out runs/demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest

test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow

faults: $(VENV)/installed-test
	PYTHONPATH=tests $(BIN)/python -m faults

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy

app: $(VENV)/installed
	$(BIN)/guided-refine app runs/demo

bench: $(VENV)/installed
	$(INSTALL) -e '.[bench]'
	$(BIN)/guided-refine bench scoring

clean: # keeps every run but the demo's: others may have taken hours
	rm -rf $(VENV) runs/demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
