#!/bin/sh
# What `make bench` does: builds Toolgate and the bench, finds nginx (Debian's, unpacked beside the results when it is
# not installed: nothing is installed and no service starts), and runs. Results stand in target/bench/.
#   QUICK=1          a fifth of the time, for a first look
#   ONLY=one,memory  some stages only (see benches/load/src/run.rs)
#   PEER=1           the mcp-proxy crate beside, which is installed into target/bench/peer (what `make bench-peer` does)
# The Markdown is of the form of docs/benchmarks.md, between its two marks: KEEP=1 puts it there.
set -eu
cd "$(dirname "$0")/.."
out=target/bench
mkdir -p "$out"

fail() {
    echo "bench: $*" >&2
    exit 1
}

for tool in taskset cargo; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
done

find_nginx() {
    command -v nginx && return
    [ -x "$out/debian/usr/sbin/nginx" ] && echo "$out/debian/usr/sbin/nginx" && return
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 0
    (
        cd "$out"
        rm -f nginx_*.deb
        if ! apt-get download nginx >&2 && [ "$(id -u)" = 0 ]; then
            apt-get update >&2 && apt-get download nginx >&2
        fi
        dpkg -x nginx_*.deb debian >&2
    ) || return 0
    "$out/debian/usr/sbin/nginx" -v >&2 && echo "$out/debian/usr/sbin/nginx"
}

nginx=$(find_nginx) || nginx=
if [ -z "$nginx" ]; then
    echo "bench: no nginx to be had; the columns that compare with it stay empty" >&2
fi

cargo build --locked --release --bin toolgate
cargo build --locked --release --manifest-path benches/load/Cargo.toml --target-dir target/bench/build

peer=
if [ -n "${PEER:-}" ]; then
    peer=$out/peer/bin/mcp-proxy
    [ -x "$peer" ] || cargo install --locked --root "$out/peer" --version 0.6.0 mcp-proxy
fi

set -- --toolgate "${TOOLGATE:-target/release/toolgate}" --out "$out" --nginx "$nginx"
[ -z "${QUICK:-}" ] || set -- "$@" --quick
[ -z "${ONLY:-}" ] || set -- "$@" --only "$ONLY"
[ -z "$peer" ] || set -- "$@" --peer "$peer"
"$out/build/release/toolgate-bench" run "$@"

if [ -n "${KEEP:-}" ]; then
    page=docs/benchmarks.md
    { sed '/<!-- run -->/q' $page && cat "$out/results.md" && sed -n '/<!-- end of run -->/,$p' $page; } >"$out/page.md"
    cp "$out/page.md" $page
    echo "bench: $page has the run" >&2
fi
