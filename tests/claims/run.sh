#!/usr/bin/env bash
# Claims: the statements of DCP and of what it rests on (docs/dcp.md) by their tests, hostile status lists and tokens, and two public
# libraries that read what nodes sign and write what they read.
set -u
cd "$(dirname "$0")/../.." || exit 1
libraries=$PWD/target/claims
mkdir -p "$libraries"
cp tests/claims/package.json tests/claims/foreign.mjs "$libraries" || exit 1
if ! cmp -s "$libraries/package.json" "$libraries/installed.json"; then
    (cd "$libraries" && npm install --no-audit --no-fund --silent) || exit 1
    cp "$libraries/package.json" "$libraries/installed.json"
fi
# As the other parts build.
cargo test --workspace --lib -- credential presentation:: status:: token:: did:: jose:: dcp access:: \
    && CONCORDAT_CLAIMS=$libraries cargo test --workspace --test nodes -- claims:: verifier:: membership::
