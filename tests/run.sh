#!/bin/sh
# Every check, on the environment's Python and on the newest one found.
set -eu
unset PYTHONDONTWRITEBYTECODE  # every worker is a process that imports the package
BIN=.venv/bin
OWN=$($BIN/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# The browser tests need a browser: Debian and its like have one. Whoever may not install it goes without.
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

$BIN/ruff check .
$BIN/ruff format --check .
$BIN/mypy
$BIN/python -m pytest

echo "with vLLM and torch, in an environment of their own"
if "${MAKE:-make}" --silent .venv-vllm/.ready; then
    .venv-vllm/bin/python -m pytest -q tests/notebook/test_saved.py -k "runs_and_is_a_page and (llm_serving or disagg)"
    .venv-vllm/bin/python -m pytest -q $(grep -lE 'importorskip\("(vllm|torch)"' tests/*/test_*.py)
elif [ -n "${CI:-}" ]; then
    exit 1
else
    echo "vLLM cannot be installed here: its tests are skipped"
fi

newest=
for candidate in python3.14 "$HOME"/.pyenv/versions/3.14.*/bin/python python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python \
    python3.12 "$HOME"/.pyenv/versions/3.12.*/bin/python; do
    if "$candidate" -c '' 2>/dev/null; then
        newest=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        break
    fi
done
if [ -z "$newest" ] || [ "${newest#3.}" -le "${OWN#3.}" ]; then
    echo "Python $OWN is the newest one here"
    exit
fi
echo "once more on Python $newest"
$BIN/uv venv --quiet --allow-existing --python "$candidate" .venv-newest
$BIN/uv pip install --quiet --compile-bytecode --python .venv-newest/bin/python --editable . --group dev
.venv-newest/bin/python -m pytest -q
