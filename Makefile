# Needs only Python 3.11-3.14 and make. Every target first makes the environment it needs in VENV, with
# the Python that tools/find_python.sh finds: `make test VENV=.venv-3.13 PYTHON=python3.13` for another.
VENV ?= .venv
BIN := $(VENV)/bin
NUMERICAL := tests/core tests/estimators tests/flows tests/latent tests/natgrad tests/nets tests/ode \
	tests/explain/test_boxes.py tests/explain/test_compared.py tests/explain/test_measures.py \
	tests/explain/infill/test_gaussian.py

# Of the rooms that test-x64 leaves out.
ONE_FILE_A_ROOM = $(foreach room,$(filter-out $(addsuffix /,$(NUMERICAL)),$(wildcard tests/*/)),$(firstword $(sort $(wildcard $(room)test_*.py))))

.PHONY: demo test test-brief test-x64 test-slow check docs results bench lock clean

demo: $(VENV)/.run
	$(BIN)/backthrough demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --durations=10 -m "not slow"

test-brief: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m "not slow" tests/test_package.py $(ONE_FILE_A_ROOM)

test-x64: $(VENV)/.dev
	JAX_ENABLE_X64=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(NUMERICAL)

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --durations=10 -m slow

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/backthrough reproduce --table-only
	$(BIN)/mkdocs build --strict

results: $(VENV)/.dev
	$(BIN)/backthrough reproduce

bench: $(VENV)/.dev
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# The environment: pip brings uv, and uv installs what is pinned by hash.
$(VENV)/.uv: requirements/uv.txt
	python=$$(sh tools/find_python.sh "$(PYTHON)") && "$$python" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	touch $@

$(VENV)/.run: $(VENV)/.uv requirements/run.txt pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/run.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	touch $@

# Pins anew, after a change of pyproject.toml. No index address may end up in these files.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: $(VENV)/.uv
	$(LOCK) requirements/uv.in -o requirements/uv.txt
	$(LOCK) pyproject.toml requirements/install.in -o requirements/run.txt
	$(LOCK) pyproject.toml requirements/install.in --extra dev --extra docs -c requirements/run.txt -o requirements/dev.txt

clean:
	rm -rf $(VENV) build dist site
