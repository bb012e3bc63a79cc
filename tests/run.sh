#!/bin/sh
# Every check: on the environment's Python, with vLLM and torch in an environment of their own, and on the newest Python
# found what can differ there. Stops at the first part that fails. Prints the ten slowest tests and the time of each part.
set -eu
unset PYTHONDONTWRITEBYTECODE  # every worker is a process that imports the package
BIN=.venv/bin
OWN=$($BIN/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# The browser tests need a browser, which Debian and Ubuntu package. Without permission to install it they are skipped.
browser=
for candidate in "${CHROMIUM:-chromium}" chromium chromium-browser google-chrome; do
    browser=${browser:-$(command -v "$candidate" || true)}
done
if [ -z "$browser" ] && command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then root="env"; else root="sudo -n env"; fi
    echo "installing chromium for the browser tests"
    timeout 300 $root DEBIAN_FRONTEND=noninteractive sh -c '
        apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium' >/dev/null 2>&1 </dev/null || true
fi

# Most tests wait for processes. Three test processes keep two cores busy; a file stays in one process.
SIDE_BY_SIDE="-n ${TEST_PROCESSES:-3}"
began=$(date +%s)
times=

part() {
    name=$1
    shift
    start=$(date +%s)
    echo
    echo "== $name"
    "$@"
    times="$times$(printf '%6d s  %s' $(($(date +%s) - start)) "$name")
"
}

show_times() {
    printf '\n%s%6d s  in all\n' "$times" $(($(date +%s) - began))
}
trap show_times EXIT

lint() {
    $BIN/ruff check .
    $BIN/ruff format --check .
    $BIN/mypy
    sh tests/javascript.sh
}

alone() {
    # Faults stop, starve and cut processes, and count what happens meanwhile.
    $BIN/python -m pytest -q --durations=10 tests/faults
    # shellcheck disable=SC2046 - several files
    $BIN/python -m pytest -q -m alone $(grep -l 'mark.alone' tests/*/test_*.py | grep -v tests/faults)
}

with_vllm() {
    # A model server uses both cores: two processes at most.
    .venv-vllm/bin/python -m pytest -q -n 2 --durations=10 --timeout 300 \
        $(grep -lE 'importorskip\("(vllm|torch)"' tests/*/test_*.py)
    # The oldest transformers that pyproject.toml allows for TorchEngine, before the newer one of vLLM on the path.
    version=$(sed -n 's/^torch = .*"transformers>=\([0-9.]*\)".*/\1/p' pyproject.toml)
    $BIN/uv pip install --quiet --python .venv-vllm/bin/python --target build/oldest "transformers==$version"
    PYTHONPATH=build/oldest .venv-vllm/bin/python -m pytest -q tests/llm/test_torch_batch.py
}

with_oldest() {
    # The oldest versions that pyproject.toml allows for chat templates and tokenizers.
    versions=$(sed -n 's/^llm = //p' pyproject.toml | tr -d '[],"' | sed 's/>=/==/g')
    $BIN/uv venv --quiet --allow-existing --python $BIN/python .venv-oldest
    # shellcheck disable=SC2086 - several words
    $BIN/uv pip install --quiet --python .venv-oldest/bin/python --editable . $versions \
        httpx hypothesis pytest pytest-asyncio pytest-timeout pytest-xdist trustme
    .venv-oldest/bin/python -m pytest -q tests/llm/test_chats.py tests/llm/test_template_options.py \
        tests/llm/test_tokenizer.py tests/llm/test_writer.py tests/llm/test_tiny_model.py
}

on_newest() {
    $BIN/uv venv --quiet --allow-existing --python "$newest" .venv-newest
    $BIN/uv pip install --quiet --compile-bytecode --python .venv-newest/bin/python --editable . --group dev
    # The language and its libraries can differ here: syntax and annotations, asyncio, sockets, IPython. Not repeated:
    # the two tests of the runtime whose time goes into copies of large arrays, and into random bytes, and the notebook
    # that measures routing.
    .venv-newest/bin/python -m pytest -q $SIDE_BY_SIDE --durations=10 -k "not huge and not hundred_thousand and not kv_routing" \
        tests/test_architecture.py tests/source tests/sdk tests/config tests/notebook tests/runtime
}

part "format, lint and types" lint
part "tests on Python $OWN" $BIN/python -m pytest -q $SIDE_BY_SIDE --durations=10 -m "not alone" --ignore=tests/faults
part "tests that run alone" alone
part "oldest transformers" with_oldest

if "${MAKE:-make}" --silent .venv-vllm/.ready; then
    part "vLLM and torch" with_vllm
elif [ -n "${CI:-}" ]; then
    exit 1
else
    echo "vLLM cannot be installed here: its tests are skipped"
fi

for candidate in python3.14 "$HOME"/.pyenv/versions/3.14.*/bin/python python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python \
    python3.12 "$HOME"/.pyenv/versions/3.12.*/bin/python; do
    if version=$("$candidate" -c 'import sys; print(sys.version_info[1])' 2>/dev/null); then
        [ "$version" -gt "${OWN#3.}" ] || break
        newest=$candidate
        part "what can differ on Python 3.$version" on_newest
        exit
    fi
done
echo "Python $OWN is the newest one here"
