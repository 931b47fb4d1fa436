# Every target sets up what it needs: a virtual environment in .venv, with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test lint types docs browser bench peers stubs hosts oldest-mypy stress clean

demo: $(READY)
	$(BIN)/typedcb demo

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n logical --dist loadfile

lint: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/python -m pytest tests/typing

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The browser that the page of a trace is tested in, on Debian and its like; without one its tests are skipped.
browser:
	command -v chromium > /dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)

bench: $(READY)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.engines

peers: $(READY)
	$(BIN)/python -m benchmarks --peers

stubs: $(READY)
	$(BIN)/python tests/stubs/peers.py

# The adapters, in an environment that has the trainers; stubs/ is not looked at here.
HOSTS := .hosts-venv
hosts:
	test -x $(HOSTS)/bin/python || $(PYTHON) -m venv $(HOSTS)
	$(HOSTS)/bin/python -m pip install --quiet --disable-pip-version-check \
		-r tests/interop/hosts-requirements.txt -c constraints.txt -e '.[checkpoint]' pytest hypothesis attrs mypy
	$(HOSTS)/bin/python -m pytest -q tests/interop/hosting
	$(HOSTS)/bin/python -m pytest -q tests/docs -k docs/hosts/
	test -x $(HOSTS)-fastai/bin/python || $(PYTHON) -m venv $(HOSTS)-fastai
	$(HOSTS)-fastai/bin/python -m pip install --quiet --disable-pip-version-check \
		fastai==2.8.12 -e '.[checkpoint]' pytest hypothesis attrs mypy
	$(HOSTS)-fastai/bin/python -m pytest -q tests/interop/hosting -k fastai
	$(HOSTS)-fastai/bin/python -m pytest -q tests/docs -k docs/hosts/fastai

# The plugin in the oldest mypy that it works with, in an environment of its own.
oldest-mypy: $(READY)
	$(BIN)/python tests/plugin/oldest.py

# What takes longer than `make test` may.
stress: $(READY)
	$(BIN)/python tests/checkpoint/killing.py 200
	$(BIN)/python tests/engines/stressing.py
	$(BIN)/python tests/faults/interrupting.py 200
	EXAMPLES=300 $(BIN)/python -m pytest -q tests/checkpoint/test_exact.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) $(HOSTS) .bench-venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
