# make hello    sets everything up and runs notebooks/hello_world.ipynb
# make test     sets everything up and runs every check
# make check    the quick ones
# make bench    measures against the peers and the goals; ARGS="--only calls --rounds 3" for a part

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: hello test check lint bench clean

hello: $(READY)
	mkdir -p build
	$(BIN)/papermill --cwd build --log-output --no-progress-bar notebooks/hello_world.ipynb build/hello_world.ipynb
	@echo
	@echo "It ran: the executed notebook is build/hello_world.ipynb, the bundle that it exported build/hello_bundle."
	@echo "Open it: $(BIN)/jupyter lab notebooks/hello_world.ipynb"

test: $(READY)
	PYTHON=$(PYTHON) sh tests/run.sh

check: $(READY) lint
	$(BIN)/python -m pytest -q -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# uv is some ten times faster than pip, and compiles what it installs, so that first starts are not slow.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --quiet --target build/virtualenv virtualenv && \
		PYTHONPATH=build/virtualenv $(PYTHON) -m virtualenv --quiet --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable . --group dev
	touch $(READY)

# The peers have an environment of their own: ray is large, and no test needs it.
BENCH := .venv-bench
BENCH_INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BENCH)/bin/python
TORCH := torch==2.13.0+cpu

bench: $(BENCH)/.ready
	$(BENCH)/bin/python tests/benchmarks/run.py $(ARGS)

$(BENCH)/.ready: pyproject.toml $(READY)
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(BENCH)
	$(BENCH_INSTALL) --editable . --group bench
	$(BENCH_INSTALL) --group bench-ray || echo "ray cannot be installed here: measured without it"
	links=$$($(BIN)/python -m pip config get global.find-links 2>/dev/null) && \
		$(BENCH_INSTALL) --find-links "$$links" "$(TORCH)" || echo "$(TORCH) cannot be installed here: measured without it"
	touch $@

clean:
	rm -rf $(VENV) .venv-* build dist .mypy_cache .pytest_cache .ruff_cache
