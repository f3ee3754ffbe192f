#!/usr/bin/env bash
# The two commands on a Debian that has Rust and nothing else: a root of its own, made for the occasion.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD/target/bare
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "LEFT OUT: a Debian root of its own takes root"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
    unshare -m true || { echo "LEFT OUT: nothing can be mounted here"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
    # In a namespace of its own nothing stays mounted, whatever happens.
    exec unshare -m "$0" inside
fi
# What is mounted below the root is this machine's own: nothing is removed while anything still is, whatever ended the run.
remove() {
    umount -R -l "$root/dev" "$root/proc" "$root/root/.cargo" "$root/root/.rustup" 2>/dev/null
    if grep -qF " $root/" /proc/self/mounts; then echo "LEFT: $root, for something is mounted there still"; return 1; else rm -rf "$root"; fi
}
remove && mkdir -p "$root" || exit 1
trap remove EXIT
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk -v r="$release" '$2 == r {print $1; exit}')
debootstrap --variant=minbase --include=ca-certificates "$release" "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 \
    || { tail -n 5 "$root.log"; exit 1; }
mkdir -p "$root/root/.cargo" "$root/root/.rustup" "$root/work/concordat" "$root/work/shared"
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" \
    && mount --bind "${CARGO_HOME:-$HOME/.cargo}" "$root/root/.cargo" \
    && mount --bind "${RUSTUP_HOME:-$HOME/.rustup}" "$root/root/.rustup" || exit 1
cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null
git archive HEAD | tar -x -C "$root/work/concordat" || exit 1
cp -r "${POLICY_CASES:-../shared/policy-cases}" "$root/work/shared/policy-cases" || exit 1
inside() {
    chroot "$root" /usr/bin/env -i HOME=/root TERM=dumb RUSTUP_AUTO_INSTALL=0 \
        PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -c "cd /work/concordat && $1" </dev/null
}
for tool in cc make python3; do
    if inside "command -v $tool" >/dev/null; then echo "the root is not bare: it has $tool"; exit 1; fi
done
passed=0 failed=0
check() {
    if inside "$2" >"$root.log" 2>&1 && grep -q "$3" "$root.log"; then
        passed=$((passed + 1))
        echo "ok: $1"
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
        tail -n 40 "$root.log"
    fi
}
check "./demo on a bare Debian" "./demo" "Everything went as told"
check "./test on a bare Debian" "./test fmt policy" " 0 failed, "
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
