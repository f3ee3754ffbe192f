#!/usr/bin/env bash
# Harvests the public catalogue of a node with 200 varied datasets and holds it against the official shapes of DCAT-AP with
# pySHACL; an independent reader must find the same triples in all three forms.
set -u
cd "$(dirname "$0")/../.." || exit 1
shapes=${DCAT_AP_SHAPES:-../shared/specs/dcat-ap}
[ -d "$shapes" ] || { echo "no shapes in $shapes (DCAT_AP_SHAPES names another folder)"; exit 1; }
work=$(mktemp -d)
. tests/nodes.sh
environment=target/dcat-ap/venv
if ! "$environment/bin/python" -c 'import pyshacl' 2>/dev/null; then
    python3 -m venv "$environment" && "$environment/bin/pip" install -q -r tests/dcat/requirements.txt || exit 1
fi
cargo build --quiet --workspace --bin concordat --example tck-operator || exit 1
public=$(free_port) management=$(free_port)
create city "$public" "$management"
start city
"$environment/bin/python" tests/dcat/harvest.py "$work/city" "https://localhost:$public" "http://127.0.0.1:$management" \
    "$work/authority/authority.pem" "$shapes"
