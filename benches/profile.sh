#!/bin/sh
# Counts what one call costs Toolgate in instructions and allocations, and names the functions: callgrind over so many
# calls of one kind, after as many to warm up. Instructions do not drift with the machine.
#   benches/profile.sh BINARY echo|blob|progress|list|initialize legacy|modern [CALLS] [OUT]
# BINARY needs symbols: CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only cargo build --release
set -eu
cd "$(dirname "$0")/.."
binary=$1 operation=$2 era=$3 calls=${4:-500}
out=${5:-target/bench/profile/$operation-$era}
bench=target/bench/build/release/toolgate-bench
mkdir -p "$out"
rm -f "$out"/callgrind.*

started=
stop() {
    for pid in $started; do kill "$pid" 2>/dev/null || true; done
}
trap stop EXIT

listening() { # FILE: waits for "listening on X" and says X
    n=0
    until grep -q '^listening on ' "$1" 2>/dev/null; do
        n=$((n + 1))
        [ $n -lt 600 ] || { echo "profile: $1 says nothing" >&2; exit 1; }
        sleep 0.1
    done
    sed -n 's/^listening on //p' "$1" | head -n 1
}

tools=4 gateways=1 names=p0
[ "$operation" != list ] || { tools=40 gateways=5; }
mkfifo "$out/stdin" 2>/dev/null || true
"$bench" upstream p "$era" $tools $gateways <"$out/stdin" >"$out/upstream" &
started="$started $!"
exec 9>"$out/stdin"
upstream=$(listening "$out/upstream")

{
    echo "[server]"; echo "store = \"memory\""
    echo "[auth]"
    echo 'keys = [{ user = "bench", key = "tg_bench_key_0123456789" }]'
    echo '[tools]'
    echo 'permitted = ["x_*", "*_echo", "*_blob", "*_progress", "*_tool_*", "*_sleep"]'
    for n in $(seq 0 $((gateways - 1))); do
        echo "[gateways.p$n]"
        echo "url = \"http://$upstream/$n/mcp\""
    done
} >"$out/toolgate.toml"
valgrind --tool=callgrind --callgrind-out-file="$out/callgrind.out" --dump-instr=no --separate-threads=no \
    "$binary" serve --config "$out/toolgate.toml" --listen 127.0.0.1:0 >"$out/toolgate" 2>"$out/toolgate.log" &
toolgate=$!
started="$started $toolgate"
url=$(listening "$out/toolgate")
sleep 4

"$bench" calls "$url" tg_bench_key_0123456789 "$operation" $names "$era" 1 "$calls"
callgrind_control --zero $toolgate >/dev/null
"$bench" calls "$url" tg_bench_key_0123456789 "$operation" $names "$era" 1 "$calls"
callgrind_control --dump $toolgate >/dev/null
sleep 1
ls "$out"/callgrind.out*
callgrind_annotate --auto=no --inclusive=no --threshold=100 "$out/callgrind.out.1" >"$out/exclusive.txt" 2>/dev/null
callgrind_annotate --auto=no --tree=caller --inclusive=yes --threshold=100 "$out/callgrind.out.1" >"$out/inclusive.txt" 2>/dev/null
total=$(sed -n 's/^ *\([0-9,]*\) (100.0%)  PROGRAM TOTALS/\1/p' "$out/exclusive.txt" | tr -d ,)
echo "$operation $era: $((total / calls)) instructions a call"
