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

suite_port=$(free_port)
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

# Release candidates of the suite test release candidates of the protocol. The verifier is judged in the dialect of 1.0 too, with the lines
# that allow what the suite's DID documents do not say of their keys; of holders and issuers they want what 1.0.1 changed: that scopes
# beyond those of the token are refused, and formats by their old names.
case "$TCK_CLASSPATH" in *1.0.0-RC*) dialects="draft 1.0" ;; *) dialects=1.0 ;; esac

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

# holder_and_issuer: these two roles, with the `lines` and the `dialect` of the caller.
holder_and_issuer() {
    local tokens_port
    tokens_port=$(free_port)
    member "holder-$dialect"
    sed -i '/^\[credentials\]/,/^$/d' "$work/holder-$dialect/concordat.toml"
    setting "holder-$dialect" "[credentials]
$lines
$trusted"
    start "holder-$dialect"
    # The suite asks an OAuth server for the holder's tokens, as EDC has one; here the management API makes them.
    python3 tests/tck/tokens.py "$tokens_port" "$work/holder-$dialect" >"$work/tokens.log" 2>&1 &
    children+=($!)
    properties "$work/holder.properties" "dataspacetck.did.holder=$did" \
        "dataspacetck.sts.url=http://localhost:$tokens_port" dataspacetck.sts.client.id=suite dataspacetck.sts.client.secret=suite
    judge "credential service, dialect $dialect" "holder-$dialect" "$work/holder.properties" $verification.presentation.cs $verification.issuance.cs

    member "issuer-$dialect"
    sed -i '/^\[credentials\]/,/^$/d' "$work/issuer-$dialect/concordat.toml"
    setting "issuer-$dialect" "[credentials]
$lines

[authority]
types = [\"MembershipCredential\", \"SensitiveDataCredential\"]
space = \"urn:example:space\"
automatic = true"
    start "issuer-$dialect"
    properties "$work/issuer.properties" "dataspacetck.did.issuer=$did"
    judge "issuer service, dialect $dialect" "issuer-$dialect" "$work/issuer.properties" $verification.issuance.issuer
}

# suite DIALECT: the node in all roles that the suite judges in this dialect.
suite() {
    local dialect=$1 party undeclared=""
    case "$1:$TCK_CLASSPATH" in 1.0:*1.0.0-RC*)
        for party in holder issuer thirdparty verifier; do
            undeclared+=$(printf '\n[peers."did:web:localhost%%3A%s:%s"]\nundeclared_keys = true\n.' "$suite_port" "$party")
            undeclared=${undeclared%.}
        done
        ;;
    esac
    local lines="dialect = \"$dialect\""
    [ -n "$undeclared" ] || holder_and_issuer

    member "verifier-$dialect"
    sed -i '/^\[credentials\]/,/^$/d' "$work/verifier-$dialect/concordat.toml"
    setting "verifier-$dialect" "[credentials]
required = [\"MembershipCredential\"]
$lines
$trusted
$undeclared"
    start "verifier-$dialect"
    properties "$work/verifier.properties" "dataspacetck.did.verifier=$did" \
        "dataspacetck.vpp.trigger.endpoint=http://localhost:$plain/dsp/2025-1/catalog/request"
    judge "verifier, dialect $dialect" "verifier-$dialect" "$work/verifier.properties" $verification.presentation.verifier
}
for dialect in $dialects; do suite "$dialect"; done
exit $status
