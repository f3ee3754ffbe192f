#!/usr/bin/env bash
# A node and Eclipse EDC share data in both roles, live, and a JSON-LD processor compares terms. resolve.sh brings EDC.
set -u
cd "$(dirname "$0")/../.." || exit 1
mkdir -p target
flock target/edc.lock sh -c '[ -s target/edc/version ] || tests/edc/resolve.sh' || exit 1
version=$(cat target/edc/version)
venv=target/edc/venv
if ! "$venv/bin/python" -c 'import pyld' 2>/dev/null; then
    python3 -m venv "$venv" && "$venv/bin/pip" install -q -r tests/edc/requirements.txt || exit 1
fi
echo "EDC's version is $version"
CONCORDAT_EDC=$PWD/target/edc/$version cargo test --workspace --test nodes -- --nocapture edc::
