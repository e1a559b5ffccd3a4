#!/usr/bin/env bash
# `make run COMPOSIO=fake`: the fake of Composio, and Toolgate in front of it; both end together.
#   tests/composio/run.sh FAKE COMMAND…      COMMAND runs with the fake's key and address in its environment
# What both remember stays in data/composio-fake, or where COMPOSIO_FAKE_DIR says; COMPOSIO_FAKE_LISTEN moves the fake.
set -euo pipefail
fake=$1; shift
dir=${COMPOSIO_FAKE_DIR:-data/composio-fake}
mkdir -p "$dir"
key=ak_fake_of_composio

: >"$dir/fake.out" # also what an earlier run said there
"$fake" --listen "${COMPOSIO_FAKE_LISTEN:-127.0.0.1:8089}" --key "$key" --state "$dir/world.json" >"$dir/fake.out" &
fake_pid=$!
trap 'kill "$fake_pid" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  url=$(sed -n 's/^listening on //p' "$dir/fake.out")
  [ -n "$url" ] && break
  kill -0 "$fake_pid" 2>/dev/null || { echo "the fake of Composio did not start; COMPOSIO_FAKE_LISTEN=127.0.0.1:0 moves it" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "the fake of Composio does not say where it listens" >&2; exit 1; }

export COMPOSIO_API_KEY=$key COMPOSIO_BASE_URL=$url TOOLGATE_STORE=${TOOLGATE_STORE:-sqlite://$dir/toolgate.db}
cat <<EOF
composio is a fake at $url: no key is needed, nothing leaves this machine. In another terminal:
  $1 tools
  $1 call COMPOSIO_MANAGE_CONNECTIONS 'toolkits=["github"]'
      its answer holds a redirect_url: open it in a browser and press Allow
  curl -X POST -H 'content-type: application/json' -d '{}' http://127.0.0.1:8080/api/integrations/gmail/connect
      the same by REST: an authUrl; /api/integrations shows every app's status
  $1 call COMPOSIO_MULTI_EXECUTE_TOOL sync_response_to_workbench=false \\
      'tools=[{"tool_slug":"GITHUB_GET_THE_AUTHENTICATED_USER","arguments":{}}]'
  curl -H 'x-fake-control: control-of-the-fake' $url/_fake/ledger      what the fake was asked to do
EOF

# The terminal's Ctrl-C reaches Toolgate by itself; SIGTERM to this script is handed on. Toolgate ends first.
"$@" &
gate_pid=$!
trap : INT
trap 'kill -TERM "$gate_pid" 2>/dev/null || true' TERM
code=0
wait "$gate_pid" || code=$?
while kill -0 "$gate_pid" 2>/dev/null; do code=0; wait "$gate_pid" || code=$?; done
exit "$code"
