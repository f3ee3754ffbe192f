# Sourced: makes and starts nodes for the foreign suites. Uses $work, fills children, stops them at the end.
children=()
finish() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT

# Below those that the operating system gives to connections: nothing else takes it before its program does.
free_port() {
    python3 -c '
import random, socket
while True:
    port = random.randrange(10_000, 32_000)
    try:
        with socket.socket() as s:
            s.bind(("127.0.0.1", port))
        print(port)
        break
    except OSError:
        pass'
}

# start NAME: runs the node in $work/NAME and returns when it is ready.
start() {
    mkfifo "$work/$1.out"
    target/debug/concordat --dir "$work/$1" serve >"$work/$1.out" 2>"$work/$1.log" &
    children+=($!)
    # The first line is the readiness; the rest is read by nobody and there is none.
    read -r _ <"$work/$1.out" || { cat "$work/$1.log"; exit 1; }
}

# create NAME PUBLIC MANAGEMENT [ARGUMENT...]: makes a node for this machine, certified by the authority in $work.
create() {
    local name=$1 public=$2 management=$3
    shift 3
    target/debug/concordat --dir "$work/$name" init --name "$name" --address "https://localhost:$public" \
        --listen "127.0.0.1:$public" --management "127.0.0.1:$management" --authority "$work/authority" \
        --allow-network 127.0.0.0/8 --allow-network ::1/128 "$@" >/dev/null || exit 1
}
