# `make quickstart` and `make test` do all the set-up, in the virtual environment .venv; they need Python >= 3.10 only.
# Both can be run again; they install anew when pyproject.toml has changed.

PYTHON ?= python3
VENV := .venv
V100_VENV := .venv-v100
# What is never imported need not be compiled: installing is a minute shorter.
PIP_INSTALL := -m pip install --no-compile
# The tests run in so many processes, one thread each.
JOBS ?= 2
PYTEST_FLAGS ?=

BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-for-tests
V100_STAMP := $(V100_VENV)/.installed-for-tests
# The reference of the conformance tests. Its pins exclude a current stack, and the tests read two of its files only.
LAVIS := salesforce-lavis==1.0.2
# What these test does not depend on torch's version; one stack is enough for them.
NOT_OF_TORCH := tests/browser tests/commands tests/data tests/demo tests/docs tests/doctor tests/evaluation tests/prediction tests/report \
	tests/serving tests/study
PYTEST := -m pytest -q -n $(JOBS) --dist loadfile $(PYTEST_FLAGS)

.PHONY: help quickstart test test-slow test-v100-stack docs install lint format clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:
	@echo "make quickstart        install, then both fine-tuning steps on the embedded default (minutes)"
	@echo "make test              install, then every check and test"
	@echo "make test-slow         the tests that take minutes: runs that are killed, processes that train together"
	@echo "make test-v100-stack   the fast tests on the last torch with kernels for V100s"
	@echo "make docs              the documentation as a site, in site/"
	@echo "make lint | format     the checks alone | tidy the code"
	@echo "make clean             remove both environments and what tools left behind"

quickstart: $(RUN_STAMP)
	$(BIN)/skingpt4 quickstart

test: lint
	$(call run_tests,$(BIN)/python,-m "not very_slow")

test-slow: $(TEST_STAMP)
	$(call run_tests,$(BIN)/python,-m very_slow)

test-v100-stack: $(V100_STAMP)
	$(call run_tests,$(V100_VENV)/bin/python,-m "not slow and not very_slow" $(NOT_OF_TORCH:%=--ignore=%))

docs: $(TEST_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "Open site/index.html"

install: $(TEST_STAMP)

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TEST_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(V100_VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find skingpt4 tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Browsers, sockets and processes on a machine that others use too: what failed beside the others is tried once more, one
# after the other. A fault fails again; what does not is shown as failed above, and is a test to mend.
define run_tests
OMP_NUM_THREADS=1 $(1) $(PYTEST) $(2) || { echo "Once more, by itself, what failed:" && \
	OMP_NUM_THREADS=1 $(1) -m pytest -q --last-failed --last-failed-no-failures none $(2); }
endef

# An environment that was left half made is made again.
define make_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	{ echo "$(PYTHON) is missing or older than 3.10; name another: make PYTHON=python3.12 ..." >&2; exit 1; }
@$(1)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(1) || \
	{ echo "No virtual environment could be made. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
endef

$(RUN_STAMP): pyproject.toml
	@echo "Installing into $(VENV): about 6 GB, several minutes the first time."
	$(call make_venv,$(VENV))
	$(BIN)/python $(PIP_INSTALL) --editable .
	@touch $@

$(TEST_STAMP): pyproject.toml
	@echo "Installing into $(VENV): about 6 GB, several minutes the first time."
	$(call make_venv,$(VENV))
	$(BIN)/python $(PIP_INSTALL) --editable '.[test,llamacpp]'
	$(BIN)/python $(PIP_INSTALL) --no-deps '$(LAVIS)'
	@touch $@ $(RUN_STAMP)

$(V100_STAMP): pyproject.toml
	@echo "Installing into $(V100_VENV): about 8 GB, several minutes the first time."
	$(call make_venv,$(V100_VENV))
	$(V100_VENV)/bin/python $(PIP_INSTALL) --editable '.[v100,test]'
	$(V100_VENV)/bin/python $(PIP_INSTALL) --no-deps '$(LAVIS)'
	@touch $@
