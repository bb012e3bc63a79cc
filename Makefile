# make hello    sets everything up and runs notebooks/hello_world.ipynb
# make test     sets everything up and runs every check
# make check    the quick ones
# make widget   bundles the JavaScript of the graph view, after a change of it
# make llm      sets vLLM up in .venv-vllm, and runs notebooks/llm_serving.ipynb
# make docs     builds the documentation in build/docs, with warnings as errors
# make bench    measures against the peers and the goals; ARGS="--only calls --rounds 3" for a part

PYTHON ?= python3
VENV := .venv
# uv reads the system's certificates, which a proxy may have added to; older versions know the second name.
export UV_SYSTEM_CERTS ?= true
export UV_NATIVE_TLS ?= true
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: hello test check lint widget docs llm bench clean

hello: $(READY)
	mkdir -p build
	$(BIN)/papermill --cwd build --log-output --no-progress-bar notebooks/hello_world.ipynb build/hello_world.ipynb
	@echo
	@echo "It ran: the executed notebook is build/hello_world.ipynb, the bundle that it exported build/hello_bundle."
	@echo "Open it: $(BIN)/jupyter lab notebooks/hello_world.ipynb"

test: $(READY)
	PYTHON=$(PYTHON) sh tests/run.sh

check: $(READY) lint
	$(BIN)/python -m pytest -q -n 3 -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	sh tests/javascript.sh

widget: node_modules/.ready
	npm run --silent build

# Only a change of the JavaScript needs node and these tools: the bundle is committed.
node_modules/.ready: package-lock.json
	npm ci --no-audit --no-fund --ignore-scripts --loglevel error --fetch-retries 1
	touch $@

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "built: build/docs/index.html"

# uv is some ten times faster than pip, and compiles what it installs, so that first starts are not slow.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --quiet --target build/virtualenv virtualenv && \
		PYTHONPATH=build/virtualenv $(PYTHON) -m virtualenv --quiet --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable . --group dev
	touch $(READY)

# vLLM has an environment of its own: it is large, and only its own tests, benchmarks and notebooks need it.
VLLM := .venv-vllm

llm: $(VLLM)/.ready
	mkdir -p build
	$(VLLM)/bin/papermill --cwd build --log-output --no-progress-bar notebooks/llm_serving.ipynb build/llm_serving.ipynb
	@echo
	@echo "It ran: the executed notebook is build/llm_serving.ipynb."
	@echo "Open it: $(VLLM)/bin/jupyter lab notebooks/llm_serving.ipynb"

$(VLLM)/.ready: pyproject.toml tests/vllm.sh $(READY)
	sh tests/vllm.sh $(BIN) $(VLLM)
	touch $@

# The peers have an environment of their own: ray is large, and no test needs it.
BENCH := .venv-bench
BENCH_INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BENCH)/bin/python
TORCH := torch==2.13.0+cpu

bench: $(BENCH)/.ready
	$(MAKE) --silent $(VLLM)/.ready || echo "vLLM cannot be installed here: measured without it"
	$(BENCH)/bin/python tests/benchmarks/run.py $(ARGS)

$(BENCH)/.ready: pyproject.toml $(READY)
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(BENCH)
	$(BENCH_INSTALL) --editable . --group bench
	$(BENCH_INSTALL) --group bench-ray || echo "ray cannot be installed here: measured without it"
	links=$$($(BIN)/python -m pip config get global.find-links 2>/dev/null) && \
		$(BENCH_INSTALL) --find-links "$$links" "$(TORCH)" || echo "$(TORCH) cannot be installed here: measured without it"
	touch $@

clean:
	rm -rf $(VENV) .venv-* build dist .mypy_cache .pytest_cache .ruff_cache node_modules
