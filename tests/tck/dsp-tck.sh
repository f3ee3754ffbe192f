#!/usr/bin/env bash
# Runs the official DSP TCK against a `concordat serve` process, its scenarios played by `operator.rs`.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
. tests/nodes.sh
. tests/tck/suite.sh
public=$(free_port) management=$(free_port) plain=$(free_port) webhook=$(free_port) suite=$(free_port)

cargo build --quiet --workspace --bin concordat --example tck-operator || exit 1
node=$work/node
create node "$public" "$management"
sed -i 's/signatures = "required"/signatures = "none"/' "$node/concordat.toml"
cat >>"$node/concordat.toml" <<EOF

[closed_test_network]
listen = "127.0.0.1:$plain"
address = "http://localhost:$plain"
authorization = "node-under-test"

[[closed_test_network.participants]]
id = "TCK_PARTICIPANT"
authorization = "suite"
EOF

start node
mkfifo "$work/operator.out"
TCK_ADDRESS="http://localhost:$suite" target/debug/examples/tck-operator "$node" "127.0.0.1:$webhook" \
    >"$work/operator.out" 2>"$work/operator.log" &
children+=($!)
exec 4<"$work/operator.out"
read -r _ <&4 || { cat "$work/operator.log"; exit 1; }
cat <&4 >"$work/operator.acts" &
children+=($!)

# Ids as the suite's own sample has them; the offers' ids are this node's.
python3 - "$plain" "$webhook" "$suite" "$public" >"$work/tck.properties" <<'EOF' || exit 1
import json, sys, urllib.request
plain, webhook, suite, public = sys.argv[1:]
base = f"http://localhost:{plain}"
def offer(dataset):
    request = urllib.request.Request(f"{base}/dsp/2025-1/catalog/datasets/{dataset}", headers={"Authorization": "suite"})
    return json.load(urllib.request.urlopen(request))["hasPolicy"][0]["@id"]
print(f"""dataspacetck.debug=false
dataspacetck.ansi=false
dataspacetck.dsp.local.connector=false
dataspacetck.launcher=org.eclipse.dataspacetck.dsp.system.DspSystemLauncher
dataspacetck.host=127.0.0.1
dataspacetck.port={suite}
dataspacetck.callback.address=http://localhost:{suite}
dataspacetck.dsp.connector.agent.id=did\\:web\\:localhost%3A{public}
dataspacetck.dsp.connector.http.url={base}/dsp/2025-1
dataspacetck.dsp.connector.http.base.url={base}
dataspacetck.dsp.connector.http.headers.authorization=suite
dataspacetck.dsp.connector.negotiation.initiate.url=http://localhost:{webhook}/negotiations
dataspacetck.dsp.connector.transfer.initiate.url=http://localhost:{webhook}/transfers
dataspacetck.dsp.default.wait=15
CAT_01_01_DATASETID=CAT0101
CAT_01_02_DATASETID=CAT0102
CAT_01_03_DATASETID=CAT0103""")
groups = {"CN": [(1, 4), (2, 7), (3, 4)], "CN_C": [(1, 4), (2, 6), (3, 6)], "TP": [(1, 5), (2, 5), (3, 6)], "TP_C": [(1, 5), (2, 5), (3, 6)]}
for kind, parts in groups.items():
    for group, count in parts:
        for number in range(1, count + 1):
            name, place = f"{kind}_{group:02}_{number:02}", f"{group:02}{number:02}"
            if kind == "CN":
                print(f"{name}_DATASETID=ACN{place}\n{name}_OFFERID={offer('ACN' + place)}")
            elif kind == "CN_C":
                print(f"{name}_DATASETID=ACNC{place}")
            else:
                print(f"{name}_AGREEMENTID={'ATP' if kind == 'TP' else 'ATPC'}{place}\n{name}_FORMAT=HttpData-PULL")
EOF

suite dsp 1.0.1 1.0.0-RC6
launch dsp "$work/tck.properties" org.eclipse.dataspacetck.dsp.verification
status=$?
if [ $status -ne 0 ]; then
    echo "-- the operator's last acts"; tail -n 20 "$work/operator.acts"
    echo "-- the node's log"; tail -n 20 "$work/node.log"
fi
exit $status
