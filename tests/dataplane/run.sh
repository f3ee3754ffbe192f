#!/usr/bin/env bash
# The data plane against real servers, none left out; `CONCORDAT_LIVE_SECONDS` sets the length of the live streams.
set -u
cd "$(dirname "$0")/../.." || exit 1
environment=$PWD/target/dataplane/venv
if ! "$environment/bin/python" -c 'import moto, pandas, pyarrow' 2>/dev/null; then
    python3 -m venv "$environment" && "$environment/bin/pip" install -q -r tests/dataplane/requirements.txt || exit 1
fi
CONCORDAT_ALL_SERVERS=1 CONCORDAT_PYTHON="$environment/bin/python" CONCORDAT_LIVE_SECONDS="${CONCORDAT_LIVE_SECONDS:-90}" \
    exec cargo test --workspace --test nodes -- --nocapture dataplane:: live::
