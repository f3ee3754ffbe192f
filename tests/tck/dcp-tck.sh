#!/usr/bin/env bash
# Runs the official DCP TCK against `concordat serve` processes: every package of it, each against a node in the role
# that the package is about. The suite plays the other roles itself and speaks plain HTTP, so the nodes are in a closed
# test network; identities are shown by tokens and credentials as everywhere.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
. tests/nodes.sh
. tests/tck/suite.sh
cargo build --quiet --workspace --bin concordat --example tck-operator || exit 1
suite dcp 1.0.2 1.0.0-RC6

suite_port=$(free_port) tokens_port=$(free_port)
callback="http://localhost:$suite_port"
verification=org.eclipse.dataspacetck.dcp.verification

# member NAME: makes a node of the closed network; $plain is its port, $did its DID.
member() {
    local public management folder=$work/$1
    public=$(free_port) management=$(free_port) plain=$(free_port)
    did="did:web:localhost%3A$plain"
    create "$1" "$public" "$management" --key-type p256
    sed -i "s/^did = .*/did = \"$did\"/" "$folder/concordat.toml"
    cat >>"$folder/concordat.toml" <<EOF

[closed_test_network]
listen = "127.0.0.1:$plain"
address = "http://localhost:$plain"
identity = "dcp"
EOF
}

# Release candidates of the suite test release candidates of the protocol.
case "$TCK_CLASSPATH" in *1.0.0-RC*) dialect='dialect = "draft"' ;; *) dialect='dialect = "1.0"' ;; esac

# setting NAME TEXT: adds a section to a node's configuration.
setting() { printf '\n%s\n' "$2" >>"$work/$1/concordat.toml"; }

# The suite's issuer is one whose word counts.
trusted="[[credentials.issuers]]
did = \"did:web:localhost%3A$suite_port:issuer\"
types = [\"MembershipCredential\", \"SensitiveDataCredential\"]"

# properties FILE LINE...: what the suite is told.
properties() {
    local file=$1
    shift
    printf '%s\n' dataspacetck.debug=false dataspacetck.ansi=false \
        dataspacetck.launcher=org.eclipse.dataspacetck.dcp.system.DcpSystemLauncher \
        dataspacetck.host=127.0.0.1 "dataspacetck.port=$suite_port" "dataspacetck.callback.address=$callback" "$@" | sed 's/did:web:/did\\:web\\:/g' >"$file"
}

status=0
# judge WHAT NAME PROPERTIES PACKAGE...
judge() {
    local what=$1 name=$2
    shift 2
    echo "-- $what"
    launch dcp "$@" && return
    status=1
    echo "-- the node's log"; tail -n 20 "$work/$name.log"
    target/debug/concordat --dir "$work/$name" events | tail -n 20
}

member holder
sed -i '/^\[credentials\]/,/^$/d' "$work/holder/concordat.toml"
setting holder "[credentials]
$dialect
$trusted"
start holder
# The suite asks an OAuth server for the holder's tokens, as EDC has one; here the management API makes them.
python3 tests/tck/tokens.py "$tokens_port" "$work/holder" >"$work/tokens.log" 2>&1 &
children+=($!)
properties "$work/holder.properties" "dataspacetck.did.holder=$did" \
    "dataspacetck.sts.url=http://localhost:$tokens_port" dataspacetck.sts.client.id=suite dataspacetck.sts.client.secret=suite
judge "credential service" holder "$work/holder.properties" $verification.presentation.cs $verification.issuance.cs

member issuer
sed -i '/^\[credentials\]/,/^$/d' "$work/issuer/concordat.toml"
setting issuer "[credentials]
$dialect

[authority]
types = [\"MembershipCredential\", \"SensitiveDataCredential\"]
space = \"urn:example:space\"
automatic = true"
start issuer
properties "$work/issuer.properties" "dataspacetck.did.issuer=$did"
judge "issuer service" issuer "$work/issuer.properties" $verification.issuance.issuer

member verifier
sed -i '/^\[credentials\]/,/^$/d' "$work/verifier/concordat.toml"
setting verifier "[credentials]
required = [\"MembershipCredential\"]
$dialect
$trusted"
start verifier
properties "$work/verifier.properties" "dataspacetck.did.verifier=$did" \
    "dataspacetck.vpp.trigger.endpoint=http://localhost:$plain/dsp/2025-1/catalog/request"
judge "verifier" verifier "$work/verifier.properties" $verification.presentation.verifier
exit $status
