#!/bin/sh
# Lints and type-checks the JavaScript of the graph view. Without node it checks nothing and says so: its bundle is
# committed, so nothing else needs node.
set -eu
if ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || ! command -v npm >/dev/null; then
    echo "node 20 is not installed here: the JavaScript is not checked"
elif ! "${MAKE:-make}" --silent node_modules/.ready; then
    echo "the tools of package-lock.json cannot be installed here: the JavaScript is not checked"
else
    npm run --silent lint
fi
