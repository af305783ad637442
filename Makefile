# Needs only Python 3.11-3.14 and make. Every target first makes the environment it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
NUMERICAL := tests/core tests/estimators tests/flows tests/latent tests/nets tests/ode

.PHONY: demo test test-x64 test-slow check docs results bench lock clean

demo: .venv/.run
	$(BIN)/backthrough demo

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --durations=10 -m "not slow"

test-x64: .venv/.dev
	JAX_ENABLE_X64=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(NUMERICAL)

test-slow: .venv/.dev
	$(BIN)/python -m pytest -n 2 --durations=10 -m slow

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

docs: .venv/.dev
	$(BIN)/backthrough reproduce --table-only
	$(BIN)/mkdocs build --strict

results: .venv/.dev
	$(BIN)/backthrough reproduce

bench: .venv/.dev
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# The environment: pip brings uv, and uv installs what is pinned by hash.
.venv/.uv: requirements/uv.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	touch $@

.venv/.run: .venv/.uv requirements/run.txt pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/run.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

.venv/.dev: .venv/.run requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	touch $@

# Pins anew, after a change of pyproject.toml. No index address may end up in these files.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: .venv/.uv
	$(LOCK) requirements/uv.in -o requirements/uv.txt
	$(LOCK) pyproject.toml requirements/install.in -o requirements/run.txt
	$(LOCK) pyproject.toml requirements/install.in --extra dev --extra docs -c requirements/run.txt -o requirements/dev.txt

clean:
	rm -rf .venv build dist site
