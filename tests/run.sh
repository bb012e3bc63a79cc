#!/bin/sh
# Every check, on the environment's Python and on the newest one found.
set -eu
BIN=.venv/bin

$BIN/ruff check .
$BIN/ruff format --check .
$BIN/mypy
$BIN/python -m pytest

for version in 3.14 3.13 3.12; do
    newest=$(command -v "python$version" || ls "$HOME"/.pyenv/versions/"$version".*/bin/python3 2>/dev/null | tail -n 1 || true)
    [ -n "$newest" ] && "$newest" -c '' 2>/dev/null && break
    newest=
done
if [ -z "$newest" ]; then
    echo "no Python newer than $($BIN/python -V) here: tested on that one alone"
elif ! "$newest" -c "import sys; sys.exit(sys.version_info[:2] <= tuple(map(int, '$($BIN/python -c 'import sys; print(*sys.version_info[:2])')'.split())))"; then
    echo "$($BIN/python -V) is the newest Python here"
else
    $BIN/uv venv --quiet --allow-existing --python "$newest" .venv-newest
    $BIN/uv pip install --quiet --compile-bytecode --python .venv-newest/bin/python --editable . --group test
    .venv-newest/bin/python -m pytest -q
fi
