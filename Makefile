# Every target sets up what it needs. `make run` and `make test` are the two that a new user wants.
TRACE ?=
ARGS ?=
WORKERS ?= 2
BIN = .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup run live test test-oldest test-newest check docs lock fresh bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup:  ## make .venv with the mozart command, and install what is missing
	@scripts/setup

run:  ## replay a synthetic backbone minute (or TRACE=file) over B4: table, pictures, placement
	@scripts/setup run
	@scripts/run "$(TRACE)" $(ARGS)

live:  ## as root: B4 with real packets for 30 s, on Open vSwitch and Mininet (installs what is missing)
	@scripts/live $(ARGS)

test: setup  ## all tests, those without a network on two workers (ARGS="-k loss" for some, WORKERS=0 for one process)
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-oldest: export VENV = .cache/oldest
test-oldest: export VERSIONS = oldest
test-oldest:  ## the tests with the lowest versions that setup.cfg allows, in an environment of their own
	@scripts/setup
	@$(VENV)/bin/python -m pytest -n $(WORKERS) $(ARGS)

test-newest: export VENV = .cache/newest
test-newest: export VERSIONS = newest
test-newest:  ## the tests with the newest versions of the day, in an environment of their own
	@scripts/setup
	@$(VENV)/bin/python -m pytest -n $(WORKERS) $(ARGS)

check: setup  ## ruff (lint and format), mypy, and that imports between rooms go down only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@mkdir -p .cache/typing && ln -sfn "$(CURDIR)" .cache/typing/mozart
	@MYPYPATH=.cache/typing $(BIN)/mypy --config-file setup.cfg -p mozart
	@$(BIN)/python tests/rooms.py

docs: setup  ## write anew what docs/ has from the code: keys, events, measures, columns
	@$(BIN)/python -m mozart.commands.reference

lock:  ## renew requirements/*.txt, the versions that setup installs (ARGS=--keep: only what setup.cfg now asks for)
	@scripts/lock $(ARGS)

fresh:  ## as root, with debootstrap: both commands in an empty Debian 12 and 13 (slow)
	@scripts/fresh

bench: setup  ## speed and quality, each against a named peer on the same input (ARGS=--list: what there is)
	@scripts/bench $(ARGS)

clean:  ## remove what make made here (.venv, caches, build); run folders stay
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
