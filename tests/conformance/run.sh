#!/usr/bin/env bash
# The official suite (@modelcontextprotocol/conformance) against Toolgate in front of the dual-era fixture: no prefix, no
# keys, one line per run. The fixture and the notes on the suite are shared material beside the checkout
# (../shared/conformance; TOOLGATE_SHARED moves it).
#
#   run.sh [both|legacy|modern|mixed …]   which eras the upstream speaks; all four without arguments.
#                                         mixed: two upstreams, one of each era, that share the tools and prompts
#   run.sh direct                         the fixture alone: what the suite says of it when no gateway is in between
#
# expected-failures-<eras>-<revision>.yaml lists what may fail and why; warnings count as failures. What fails and is not
# listed, and what is listed and passes, ends the run with 1.
set -uo pipefail
# Nothing of one run reaches the next.
export TOOLGATE_STORE=memory

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
shared=${TOOLGATE_SHARED:-$top/../shared}/conformance
deps=${TOOLGATE_DEPS:-$top/.deps}
toolgate=${TOOLGATE_BIN:-$top/target/debug/toolgate}
revisions=${REVISIONS:-2025-03-26 2025-06-18 2025-11-25 2026-07-28}
cli=$deps/suite/node_modules/@modelcontextprotocol/conformance/dist/index.js

die() { printf 'conformance: %s\n' "$*" >&2; exit 1; }
[ -f "$shared/fixture.mjs" ] || die "no fixture at $shared (set TOOLGATE_SHARED)"
[ -f "$cli" ] || die "the suite is not installed: make deps"

# The suite needs Node 22; where there is none for this machine, the shim lets Node 20 load it.
node22=("$deps"/suite/node_modules/node-linux-*/bin/node)
if [ -x "${node22[0]}" ]; then suite=("${node22[0]}" "$cli"); else suite=(node --import "$shared/fs-glob-shim.mjs" "$cli"); fi

work=$(mktemp -d)
pids=()
stop() { [ "${#pids[@]}" = 0 ] || kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; pids=(); }
trap 'stop; rm -rf "$work"' EXIT

free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }

# until_ok SECONDS WHAT COMMAND…: waits, or shows the logs and ends.
until_ok() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then
      for log in "$work"/*.log; do printf '== %s\n' "${log##*/}" >&2; tail -n 40 "$log" >&2; done
      die "$what did not come up"
    fi
    sleep 0.1
  done
}

# fixture NAME [VAR=value…]: starts one and leaves its port in $port.
fixture() {
  local name=$1
  shift
  port=$(free_port)
  env PORT="$port" "$@" node "$shared/fixture.mjs" >"$work/$name.log" 2>&1 &
  pids+=($!)
  until_ok 20 "the fixture $name" curl -sf "http://127.0.0.1:$port/healthz"
}

# gateway NAME=PORT…: starts Toolgate in front of these and leaves its URL in $url.
gateway() {
  local config=$work/gateways.toml one
  printf '[tools]\nprefix = "never"\nnames = "as_is"\n' >"$config"
  for one in "$@"; do
    printf '\n[gateways.%s]\nurl = "http://127.0.0.1:%s/mcp"\nrequired = true\n' "${one%%=*}" "${one#*=}" >>"$config"
  done
  : >"$work/listening"
  "$toolgate" serve --config "$config" --listen 127.0.0.1:0 >"$work/listening" 2>"$work/toolgate.log" </dev/null &
  pids+=($!)
  until_ok 30 toolgate grep -q '^listening on http://' "$work/listening"
  url=$(sed -n 's/^listening on \(http:[^ ]*\).*/\1/p' "$work/listening" | head -n 1)
  until_ok 30 "a ready toolgate" curl -sf "${url%/mcp}/readyz"
}

# What the legacy half of `mixed` offers; the modern half offers the rest.
legacy_half='^test_(simple_text|image|audio|multiple|error|tool_with|sampling|elicitation|reconnection|simple_prompt)'

upstreams() {
  case $1 in
    direct) fixture both ERAS=both; url=http://127.0.0.1:$port/mcp ;;
    both | legacy | modern) fixture "$1" ERAS="$1"; gateway "fixture=$port" ;;
    mixed)
      fixture modern ERAS=modern EXCEPT="$legacy_half"; local modern=$port
      fixture legacy ERAS=legacy ONLY="$legacy_half"
      gateway "modern=$modern" "legacy=$port" ;;
    *) die "no such pairing: $1" ;;
  esac
}

failed=0
for eras in "${@:-both legacy modern mixed}"; do for one in $eras; do
  upstreams "$one"
  for revision in $revisions; do
    out=$work/out-$one-$revision
    expected=$here/expected-failures-$one-$revision.yaml
    [ -f "$expected" ] || { expected=$work/none.yaml; echo 'server: []' >"$expected"; }
    "${suite[@]}" server --url "$url" --suite all --spec-version "$revision" --expected-failures "$expected" \
      -o "$out" >"$out.log" 2>&1 </dev/null
    code=$?
    node "$here/summary.mjs" "$out" "upstream $one, suite $revision" "$code" "$out.log" "$expected" || failed=1
  done
  stop
done; done
exit "$failed"
