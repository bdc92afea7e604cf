# make setup   an environment in .venv with the `twinlake` command
# make demo    a synthetic twin of the bundled Adult table
# make test    lint, types and all tests
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types test-unit test-spark test-cluster test-connect test-ray test-browser test-faults clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# the first Python that is new enough and can make environments; `make setup PYTHON=...` names another
PYTHONS := python3.11 python3.12 python3.13 python3
PYTHON ?= $(shell for p in $(PYTHONS); do \
  $$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
JAVA := $(if $(JAVA_HOME),$(JAVA_HOME)/bin/java,java)
PYTEST := $(BIN)/pytest -q
export PYTHONHASHSEED := 0
export RAY_USAGE_STATS_ENABLED := 0

help:
	@sed -n 's/^# make /make /p' Makefile

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { \
	  echo "error: Python 3.11 or newer (with venv) is needed and not on the PATH; see also: make setup PYTHON=..." >&2; exit 2; }
	@version="$$($(JAVA) -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -1 || true)"; \
	  [ -n "$$version" ] || { echo "error: Java 17 or newer is needed (Spark runs on it); install a JRE or set JAVA_HOME" >&2; exit 2; }; \
	  [ "$$version" -ge 17 ] || { echo "error: Java 17 or newer is needed, found $$version; set JAVA_HOME to a newer one" >&2; exit 2; }
	@[ -x $(BIN)/python ] || { echo "setup: environment in $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "setup: PyTorch (CPU), then twinlake with Spark, Ray and the tools of its tests; some minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)
	@echo "setup: done; the command is $(BIN)/twinlake"

demo: setup
	@echo "demo: a twin of data/adult/adult.parquet, settings in conf/quickstart.yaml"
	@$(BIN)/twinlake run --config conf/quickstart.yaml

# two groups at a time: the quick ones, then the longest first; what a group prints comes in one piece when it ends
GROUPS := lint types test-spark test-cluster test-unit test-ray test-connect test-browser
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=recurse)

test: setup
	@echo "test: $(GROUPS); minutes each, two at a time"
	@$(MAKE) --no-print-directory -j2 $(SYNC) $(GROUPS:%=timed-%); echo "test: all passed in $$SECONDS s"

timed-%:
	@echo "== $*"; $(MAKE) --no-print-directory $* || { echo "== $* failed" >&2; exit 1; }; echo "== $* passed in $$SECONDS s"

lint: setup
	@$(BIN)/ruff check engine jobs tests bench && $(BIN)/ruff format --check --quiet engine jobs tests bench

types: setup
	@$(BIN)/mypy --strict engine/twinlake

# Groups are processes of their own: a process has one kind of Spark session (local, local-cluster, Connect) or none.
NOT_REPEATED := not faults_repeat
ALONE := --ignore=tests/cluster --ignore=tests/connect

test-unit: setup
	@$(PYTEST) tests $(ALONE) -m "$(NOT_REPEATED) and not spark and not ray and not browser"

test-spark: setup
	@$(PYTEST) tests $(ALONE) -m "$(NOT_REPEATED) and spark and not ray and not browser"

test-ray: setup
	@$(PYTEST) tests $(ALONE) -m "$(NOT_REPEATED) and ray and not browser"

test-browser: setup
	@$(PYTEST) tests $(ALONE) -m "$(NOT_REPEATED) and browser"

test-cluster: setup
	@$(PYTEST) tests/cluster -m "$(NOT_REPEATED)"

test-connect: setup
	@$(PYTEST) tests/connect -m "$(NOT_REPEATED)"

# each fault many times; nightly and before a release
test-faults: setup
	@$(PYTEST) tests/cluster -m faults_repeat
	@$(PYTEST) tests $(ALONE) -m faults_repeat

clean:
	rm -rf runs build dist spark-warehouse metastore_db derby.log .mypy_cache .ruff_cache .pytest_cache .hypothesis
