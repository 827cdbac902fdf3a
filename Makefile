# What the hub can do for somebody who has just cloned it. `make` alone lists it.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
HASHED := --require-hashes --only-binary :all: -r
# What each lock file answers; setuptools is in both, so that installing the hub itself downloads nothing unlocked.
LOCK = echo 'setuptools>=80' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --upgrade

.PHONY: help run test bench drill lint format lock clean

help:    ## list these commands
	@sed -n 's/^\([a-z]*\): .*## /  make \1	/p' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp    ## start the hub with demo data, its API and its pages
	$(BIN)/python -m hub demo --serve

test: $(VENV)/dev.stamp    ## run every test, in random order
	$(BIN)/python -m pytest -n 3 $(ARGS)

bench: $(VENV)/dev.stamp    ## measure what the README claims
	$(BIN)/python -m bench $(ARGS)

drill: $(VENV)/dev.stamp    ## take a running hub apart and put it together again
	$(BIN)/python -m pytest -m drill --capture=no $(ARGS)

lint: $(VENV)/dev.stamp    ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp    ## put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:    ## choose the newest versions and lock them (needs uv)
	$(LOCK) requirements.in - -o requirements.txt
	$(LOCK) requirements.in requirements-dev.in - -c requirements.txt -o requirements-dev.txt

clean:    ## remove what the commands above made, except the data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The stamps say what the environment holds; it is brought up to date only when the lists change.
$(VENV)/run.stamp: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(INSTALL) $(HASHED) requirements.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt pyproject.toml | $(VENV)/bin/python
	$(INSTALL) $(HASHED) requirements-dev.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/run.stamp

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || command -v python3 >/dev/null || { \
		echo "The hub needs Python 3.11 or newer: apt-get install python3 python3-venv"; exit 1; }
	@test -n "$(PYTHON)" || { \
		echo "The hub needs Python 3.11 or newer, this is `python3 --version`; name one with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) once; this takes a minute."
	@$(PYTHON) -m venv --clear $(VENV)
