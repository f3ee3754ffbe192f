#!/usr/bin/env bash
# Two nodes, and EDC's npm client between an operator's program and each of them.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
. tests/nodes.sh
cargo build --quiet --workspace --bin concordat --example tck-operator || exit 1
modules=$PWD/target/management
mkdir -p "$modules" && cp tests/management/package.json tests/management/client.mjs "$modules" || exit 1
(cd "$modules" && npm install --silent --no-audit --no-fund) || exit 1
nodes=""
printf 'a,b\n1,2\n' >"$work/rows.csv"
for name in provider consumer; do
    public=$(free_port) management=$(free_port)
    create "$name" "$public" "$management"
    printf '\n[[sources.allowed]]\npath = "%s"\n' "$work/rows.csv" >>"$work/$name/concordat.toml"
    start "$name"
    nodes+="{\"folder\":\"$work/$name\",\"management\":\"http://127.0.0.1:$management\",\"did\":\"did:web:localhost%3A$public\",\
\"protocol\":\"https://localhost:$public/dsp/2025-1\",\"file\":\"$work/rows.csv\"},"
done
cd "$modules" && NODES="[${nodes%,}]" NODE_EXTRA_CA_CERTS="$work/authority/authority.pem" node --test client.mjs
status=$?
[ $status -eq 0 ] || tail -n 20 "$work"/*.log
exit $status
