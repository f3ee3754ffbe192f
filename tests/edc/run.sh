#!/usr/bin/env bash
# A node and Eclipse EDC share data in both roles, live. resolve.sh brings EDC.
set -u
cd "$(dirname "$0")/../.." || exit 1
mkdir -p target
flock target/edc.lock sh -c '[ -s target/edc/version ] || tests/edc/resolve.sh' || exit 1
version=$(cat target/edc/version)
echo "EDC's version is $version"
CONCORDAT_EDC=$PWD/target/edc/$version cargo test --workspace --test nodes -- --nocapture edc::
