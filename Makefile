# `make quickstart` and `make test` need nothing but a Python >= 3.12 and make.
# PYTHON=/path/to/python3.12 overrides the search.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/quickstart
# Workers take groups of files, the longest first (tests/conftest.py).
DEFAULT_SUITE := -m "not slow" -n 2 --dist loadfile
FOLDERS := simulate networks selection forward inference experiments

FIND_PYTHON = for candidate in "$(PYTHON)" python3.12 python3.13 python3.14 python3 \
    $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/python3 2>/dev/null); do \
    [ -n "$$candidate" ] || continue; \
    "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1 \
      && { echo "$$candidate"; exit 0; }; done

# Files of tests that need Torch (a dot for the bracket, which make would count).
TORCH_TESTS = $(shell grep -rl --include='test_*.py' 'importorskip."torch"' tests)

.PHONY: quickstart test test-cnn durations test-slow lint docs format lock clean

quickstart: $(VENV)/.installed
	$(BIN)/starcensus quickstart --out $(OUT)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(DEFAULT_SUITE)

# Installs Torch, several GB, into an environment of its own.
test-cnn: $(VENV)-cnn/.installed
	$(VENV)-cnn/bin/python -m pytest -m "not slow" -n 2 --dist loadfile $(TORCH_TESTS)

# Records how long each test takes, for the docs and for the order of the next `make test`.
durations: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(DEFAULT_SUITE) -o junit_family=xunit1 --junitxml=out/suite.xml
	$(BIN)/python benchmarks/durations.py out/suite.xml > docs/reference/durations.md

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# Every link, name and example's page of the documentation, into out/docs.
docs: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir out/docs

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Rewrites the pinned versions that the targets above install.
lock: $(VENV)/.uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.12 --upgrade \
	  --extra test --extra docs --extra images --extra dask --extra parquet --extra cnn --extra nested \
	  --no-emit-package starcensus --no-header --no-annotate --output-file constraints.txt

clean:
	rm -rf $(VENV) $(VENV)-cnn out

$(BIN)/python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
	  echo "starcensus needs Python 3.12 or newer; none was found as python3.12, python3.13," >&2; \
	  echo "python3 or among pyenv's versions. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "making $(VENV) with $$python"; "$$python" -m venv $(VENV)

$(VENV)/.uv: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/.installed: $(VENV)/.uv pyproject.toml constraints.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --constraints constraints.txt --editable .
	@# Where Python writes no bytecode, it would compile the library at every start.
	$(BIN)/python -m compileall -q src/starcensus $(FOLDERS)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --constraints constraints.txt --editable '.[test,docs]'
	@# Only the weights in it are read; its dependencies (Torch among them) are not needed.
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --no-deps cluster-completeness-pipeline==0.1.0
	@touch $@

$(VENV)-cnn/.installed: $(VENV)/.uv pyproject.toml constraints.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-cnn
	VIRTUAL_ENV=$(VENV)-cnn $(BIN)/uv pip install --quiet --constraints constraints.txt --editable '.[test,cnn]'
	@touch $@
