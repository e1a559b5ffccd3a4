#!/bin/sh
# What `make bench-instructions` does: counts, with callgrind, how many instructions one call of each kind takes, and
# holds that against benches/instructions.json: over 3 % more, in three counts, is a failure. Fewer is worth writing down.
#   UPDATE=1   writes the file anew
#   RUNS=5     counts so often, takes the medians and says the spread
# The counts belong to one compiler, C library and kind of processor; the file names them. Where those differ, nothing
# can be told: it ends with 69 when calls take more, and says how to find out. Without valgrind it ends with 69 too.
set -eu
cd "$(dirname "$0")/.."
out=target/bench/instructions

if ! command -v callgrind_control >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "bench-instructions: installing valgrind"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends valgrind; } >/dev/null || true
    fi
    command -v callgrind_control >/dev/null || {
        echo "bench-instructions: CANNOT RUN HERE: valgrind is not installed, and cannot be" >&2
        exit 69
    }
fi

# Optimised as a release is, but not linked across crates: that takes as long again and moves few instructions.
cargo build --locked --profile counted --bin toolgate
cargo build --locked --manifest-path benches/load/Cargo.toml --target-dir target/bench/build

set -- --toolgate "${TOOLGATE:-target/counted/toolgate}" --out "$out" --file benches/instructions.json --runs "${RUNS:-1}"
[ -z "${UPDATE:-}" ] || set -- "$@" --update
exec target/bench/build/debug/toolgate-bench instructions "$@"
