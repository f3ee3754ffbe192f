#!/usr/bin/env bash
# Stands in for rustdoc under `cargo test --doc`: documents each crate, warnings are errors, over the dependencies that the
# tests were built with. (`cargo doc` would build all of them once more.)
arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
    --test) ;;
    --test-run-directory | --test-args | --test-builder | --test-builder-wrapper) shift ;;
    --test-run-directory=* | --test-args=*) ;;
    *) arguments+=("$1") ;;
    esac
    shift
done
exec rustdoc "${arguments[@]}" -D warnings --out-dir target/doc
