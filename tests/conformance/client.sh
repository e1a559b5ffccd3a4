#!/usr/bin/env bash
# The official suite's client scenarios against Toolgate's upstream side: client-driver.mjs puts Toolgate where the suite
# expects a client. Every scored scenario that is not about authorization must pass.
#   client.sh [2025-11-25|2026-07-28 …]
set -uo pipefail
# Nothing of one run reaches the next.
export TOOLGATE_STORE=memory

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
shared=${TOOLGATE_SHARED:-$top/../shared}/conformance
deps=${TOOLGATE_DEPS:-$top/.deps}
export TOOLGATE_BIN=${TOOLGATE_BIN:-$top/target/debug/toolgate}
cli=$deps/suite/node_modules/@modelcontextprotocol/conformance/dist/index.js
[ -f "$cli" ] || { echo "conformance: the suite is not installed: make deps" >&2; exit 1; }
node22=("$deps"/suite/node_modules/node-linux-*/bin/node)
if [ -x "${node22[0]}" ]; then suite=("${node22[0]}" "$cli"); else suite=(node --import "$shared/fs-glob-shim.mjs" "$cli"); fi

# What is scored and not about authorization, and by which revisions; and the preservation of schemas, which came later.
declare -A scenarios=(
  [2025-11-25]="initialize tools_call elicitation-sep1034-client-defaults sse-retry"
  [2026-07-28]="tools_call request-metadata http-standard-headers http-custom-headers http-invalid-tool-headers sep-2322-client-request-state json-schema-ref-no-deref json-schema-2020-12-preservation"
)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0
[ $# -gt 0 ] || set -- 2025-11-25 2026-07-28
for revision in "$@"; do
  passed=0 bad=()
  for scenario in ${scenarios[$revision]}; do
    if "${suite[@]}" client --command "node $here/client-driver.mjs" --scenario "$scenario" --spec-version "$revision" \
      -o "$out/$revision-$scenario" >"$out/$revision-$scenario.log" 2>&1; then
      passed=$((passed + 1))
    else
      bad+=("$scenario")
    fi
  done
  printf 'conformance: client scenarios %s: %d passed, %d failed\n' "$revision" "$passed" "${#bad[@]}"
  for scenario in "${bad[@]}"; do
    failed=1
    printf '  not expected: %s\n' "$scenario"
    tail -n 25 "$out/$revision-$scenario.log" | sed 's/^/    /'
  done
done
exit "$failed"
