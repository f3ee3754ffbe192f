#!/usr/bin/env bash
# Programs of EDC's management API, unchanged, between an operator and each of two nodes: the npm client in three versions, four
# Python clients. And the OpenAPI document: a linter and two generators read it, and a fuzzer made of it looks for faults.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
. tests/nodes.sh
cargo build --quiet --workspace --bin concordat --example tck-operator || exit 1
here=tests/management tools=$PWD/target/management
mkdir -p "$tools"

# as_said FILE FOLDER COMMAND...: installs into a folder what a file says, unless that was done before.
as_said() {
    local file=$1 folder=$2
    shift 2
    cmp -s "$file" "$folder/installed" && return
    mkdir -p "$folder" && (cd "$folder" && "$@") && cp "$file" "$folder/installed"
}
npm_install() { npm install --silent --no-audit --no-fund "$@"; }
# An older Debian has a node that the linter of the document does not run on.
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    echo node@22 >"$work/wanted"
    as_said "$work/wanted" "$tools/node" npm_install --prefix . node@22 || exit 1
    PATH=$tools/node/node_modules/.bin:$PATH
fi
# Python says for which of its versions a package is meant; what is tested is whether it runs.
pip_install() { python3 -m venv --clear . && ./bin/pip install -q --disable-pip-version-check --ignore-requires-python -r "$1"; }
versions="0.8.0 0.9.0 0.9.5"
for version in $versions; do
    echo "@think-it-labs/edc-connector-client@$version" >"$work/wanted"
    as_said "$work/wanted" "$tools/npm-$version" npm_install --prefix . "@think-it-labs/edc-connector-client@$version" || exit 1
done
as_said "$here/package.json" "$tools/readers" bash -c "cp '$PWD/$here/package.json' . && npm install --silent --no-audit --no-fund" || exit 1
as_said "$here/clients.txt" "$tools/clients" pip_install "$PWD/$here/clients.txt" || exit 1
as_said "$here/tractusx.txt" "$tools/tractusx" pip_install "$PWD/$here/tractusx.txt" || exit 1

# What they share: a file, and the same behind an address.
mkdir "$work/www"
printf '{"rows":[{"a":1,"b":2},{"a":3,"b":4}]}\n' >"$work/www/rows.json"
upstream=$(free_port)
python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$upstream" >/dev/null 2>&1 &
children+=($!)
nodes="" did=""
for name in provider consumer examined; do
    public=$(free_port) management=$(free_port)
    create "$name" "$public" "$management"
    printf '\n[[sources.allowed]]\npath = "%s"\n' "$work/www/rows.json" >>"$work/$name/concordat.toml"
    # The consumer reads the provider's catalog by itself.
    [ "$name" != consumer ] || sed -i "s|^peers = \[\]|peers = [\"$did\"]|" "$work/$name/concordat.toml"
    start "$name"
    did="did:web:localhost%3A$public"
    address="http://127.0.0.1:$management"
    [ "$name" = examined ] || nodes+="{\"folder\":\"$work/$name\",\"management\":\"$address\",\"did\":\"$did\",\
\"protocol\":\"https://localhost:$public/dsp/2025-1\",\"file\":\"$work/www/rows.json\",\"upstream\":\"http://127.0.0.1:$upstream/rows.json\"},"
done
export NODES="[${nodes%,}]" NODE_EXTRA_CA_CERTS="$work/authority/authority.pem"
export SSL_CERT_FILE="$work/authority/authority.pem" REQUESTS_CA_BUNDLE="$work/authority/authority.pem"
status=0

for version in $versions; do
    echo "-- @think-it-labs/edc-connector-client $version"
    cp "$here/client.mjs" "$tools/npm-$version"
    (cd "$tools/npm-$version" && CLIENT_VERSION=$version node --test --test-reporter=tap client.mjs) >"$work/tap" || status=1
    # Each check by its name; of one that fails all that is said.
    awk '/^ *not ok/ {bad = 1} /^ *ok|^# (Subtest|tests|suites|cancelled|todo|duration)/ {bad = 0} bad || /^ok|^# (pass|fail|skipped)/' "$work/tap"
done

for client in edc_client edc_python edcpy tractusx; do
    echo "-- $client"
    folder=clients
    [ "$client" != tractusx ] || folder=tractusx
    (cd "$here" && PYTHONDONTWRITEBYTECODE=1 "$tools/$folder/bin/python" "${client}_checks.py") || status=1
done

echo "-- the OpenAPI document"
passed=0 failed=0
# check NAME COMMAND...
check() {
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $name"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        tail -n 60 "$work/said"
    fi
}
key=$(cat "$work/examined/keys/management.key")
document=$work/openapi.json
given() { curl -sSf -H "X-Api-Key: $key" "$address/openapi.json" -o "$document"; }
whole() {
    python3 - "$document" <<'EOF'
import json, re, sys
document = json.load(open(sys.argv[1]))
components = document["components"]["schemas"]
references = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(document)))
lost = [one for one in references if one.removeprefix("#/components/schemas/") not in components]
# What needs no words besides the address.
silent = {"validate", "approve", "deprovision", "resume", "complete", "refresh", "reload", "again", "check", "checkpoint"}
mute = [path for path, all in document["paths"].items() for method, one in all.items()
        if method in ("post", "put") and "requestBody" not in one and path.rsplit("/", 1)[1] not in silent]
assert document["servers"] and not lost and not mute, (lost, mute)
EOF
}
typescript() { "$tools/readers/node_modules/.bin/openapi-typescript" "$document" -o "$work/types.ts" \
    && "$tools/readers/node_modules/.bin/tsc" --noEmit --skipLibCheck "$work/types.ts"; }
python_client() {
    "$tools/clients/bin/openapi-generator-cli" generate -g python -i "$document" -o "$work/made" >"$work/generator" 2>&1 \
        && ! grep -E '^\[[a-z]+\] ERROR|^Exception' "$work/generator" || { tail -n 30 "$work/generator"; return 1; }
    ADDRESS=$address KEY=$key PYTHONPATH=$work/made "$tools/clients/bin/python" - <<'EOF'
import os
import openapi_client
configuration = openapi_client.Configuration(host=os.environ["ADDRESS"], api_key={"key": os.environ["KEY"]})
api = openapi_client.V4Api(openapi_client.ApiClient(configuration))
asset = {"@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "Asset", "@id": "made", "properties": {"name": "Made"}}
api.post_assets_v4(asset)
assert api.get_assets_id_v4("made").properties, "it was not read back"
EOF
}
fuzzed() {
    # What a request means is judged by more than its form, so that not all that fits the form is taken.
    (cd "$work" && "$tools/clients/bin/schemathesis" run "$address/openapi.json" -H "X-Api-Key: $key" --seed 1 --workers 2 \
        --max-examples "${CONCORDAT_SCHEMATHESIS_EXAMPLES:-3}" --phases examples,coverage,fuzzing --continue-on-failure \
        --exclude-path /v4/events --exclude-checks positive_data_acceptance --warnings off)
}
check "the document is given" given
check "every reference leads within it, every body is described, a server is named" whole
check "redocly finds no error" "$tools/readers/node_modules/.bin/redocly" lint "$document" --format summary
check "openapi-typescript makes types of it that compile" typescript
check "openapi-generator makes a Python client of it that makes an asset and reads it back" python_client
check "schemathesis finds nothing" fuzzed
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] || status=1
[ "$status" -eq 0 ] || tail -n 20 "$work"/*.log
exit "$status"
