# make demo: sets up and runs the main job.  make test: sets up and passes the fast tests.  make test TIERS=all: every tier.
# JOBS=4: that many test processes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TIERS ?= fast
JOBS ?= 2
MARKS := $(if $(filter all,$(TIERS)),,-m "not slow and not reference")

.PHONY: demo test check clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

demo: $(READY)
	$(BIN)/equipoise run experiments=001_synthetic/run

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
ifeq ($(TIERS),all)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,reference]"
endif
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(MARKS)

clean:
	rm -rf $(VENV) build dist runs cohorts .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
