# Every target works on a machine that has CPython 3.11 with pip and venv, and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked

.DEFAULT_GOAL := help
.PHONY: help setup demo up check test long soak bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## the environment in .venv, from the locks; redone only when they change

# An install that was interrupted leaves no stamp, and a half-made environment is made anew.
$(STAMP): requirements-dev.lock requirements-sdist.lock
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.lock
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r requirements-sdist.lock
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## the whole system on loopback, with attacks to watch; ARGS="--exit --json FILE" ends after them
	@$(BIN)/jackstop demo $(ARGS)

up: setup ## the gates, control and the worker, until Ctrl-C
	@test -e "$${JACKSTOP_HOME:-$$HOME/.jackstop}/jackstop.toml" || $(BIN)/jackstop init
	@$(BIN)/jackstop up $(ARGS)

check: setup ## format, lint, types and the fast tests, in under a minute
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/pytest -q -n auto -m "not slow and not postgres"

# Those that start the whole program mostly wait for processes: two at a time, each file in one, the longest first.
# Compiled before, since where Python may not write bytecode each of those processes would compile everything anew.
test: setup ## the whole suite, in 15 minutes at most
	@$(BIN)/python -m compileall -qq jackstop tests
	@failed=0; \
	$(BIN)/pytest -q -n auto -m "not slow" || failed=1; \
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "slow and not long" || failed=1; \
	exit $$failed

long: setup ## the tests that take minutes each: every detection on a real Spark, a theft past the gate in real time
	@$(BIN)/pytest -q -m long

soak: setup ## the long sizes of the long tests; writes bench/soak.md; ARGS="NAME --seed N" for one section
	@$(BIN)/python -m bench.soak $(ARGS)

bench: setup ## side-by-side measurements with other gateways; writes bench/results.md; ARGS="NAME --quick" for one section
	@$(BIN)/python -m bench.run $(ARGS)

lock: ## resolve the dependencies anew into the two lock files
	@$(PYTHON) -m venv .cache/lock
	@.cache/lock/bin/pip install -qq --disable-pip-version-check uv
	@.cache/lock/bin/python .ci/lock.py

clean: ## remove what the other targets made
	@rm -rf $(VENV) .cache .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
