#!/bin/sh
# What `make bench` does: builds Toolgate and the bench, finds nginx (Debian's, unpacked beside the results when it is
# not installed: nothing is installed and no service starts), and runs. Results stand in target/bench/.
#   QUICK=1          a fifth of the time, for a first look
#   ONLY=one,memory  some stages only (see benches/load/src/run.rs)
#   PEER='command'   another MCP proxy beside; {url} and {port} are filled in
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

set -- --toolgate "${TOOLGATE:-target/release/toolgate}" --out "$out" --nginx "$nginx"
[ -z "${QUICK:-}" ] || set -- "$@" --quick
[ -z "${ONLY:-}" ] || set -- "$@" --only "$ONLY"
[ -z "${PEER:-}" ] || set -- "$@" --peer "$PEER"
exec "$out/build/release/toolgate-bench" run "$@"
