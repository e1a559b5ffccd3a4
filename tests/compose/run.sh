#!/usr/bin/env bash
# Builds and starts docker-compose.yml with a real engine and uses it as a client would: `make test-compose`.
# Where no engine answers it runs one of its own (root), where no registry answers it makes the base images here, and
# it takes away at the end what it made. Brave's API and the page that is fetched are faked inside the private networks.
# Exit code 69 (EX_UNAVAILABLE): nothing was tested, for this machine can neither reach nor run an engine; it says why.
set -euo pipefail
cd "$(dirname "$0")/../.."

tmp=$(mktemp -d /tmp/toolgate-compose.XXXXXX)
project=toolgate-test-$$
say() { printf 'compose: [%3d s] %s\n' "$SECONDS" "$*"; }
die() { say "FAILED: $*" >&2; exit 1; }
cannot() { say "CANNOT RUN HERE: $*" >&2; exit 69; }
have() { command -v "$1" >/dev/null 2>&1; }
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# shellcheck source=tests/compose/engine.sh
. tests/compose/engine.sh
# shellcheck source=tests/compose/base-images.sh
. tests/compose/base-images.sh

TOOLGATE_KEY=$(random) MCP_FETCH_KEY=$(random) BRAVE_API_KEY=$(random)
export TOOLGATE_KEY MCP_FETCH_KEY BRAVE_API_KEY
export TOOLGATE_BIND=127.0.0.1 TOOLGATE_PORT
unset PERMITTED_TOOLS TOOLGATE_PUBLIC_URL TOOLGATE_LOG
# An .env that somebody keeps here has no say in the test.
: >"$tmp/env"
dc() { timeout 1800 "${compose[@]}" --env-file "$tmp/env" -p "$project" --project-directory . -f docker-compose.yml -f tests/compose/override.yml "$@"; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
url() { echo "http://127.0.0.1:$TOOLGATE_PORT/mcp"; }
check() { timeout 120 python3 tests/compose/check.py "$(url)" "$@" || die "$*"; }
id_of() { dc ps -q "$1"; }
health_of() { docker inspect -f '{{.State.Status}}/{{if .State.Health}}{{.State.Health.Status}}{{end}}' "$(id_of "$1")" 2>/dev/null; }

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || die "waited in vain for: $what"
    sleep 1
  done
}

healthy() {
  local health
  health=$(health_of "$1")
  case $health in exited/* | dead/*) die "$1 has ended" ;; esac
  [ "$health" = running/healthy ]
}
wait_healthy() {
  local service
  for service in "$@"; do wait_for 120 "$service to be healthy" healthy "$service"; done
  say "healthy: $*"
}

remove_images() {
  docker rmi -f toolgate-compose-test toolgate-compose-test-brave toolgate-compose-test-fetch >/dev/null 2>&1
  remove_base_images
}

finish() {
  local code=$?
  trap - EXIT INT TERM
  set +e
  if [ -n "${compose:-}" ] && engine_answers; then
    if [ "$code" != 0 ]; then
      dc ps -a
      dc logs --no-color --tail 40
    fi
    dc down -v --timeout 5 >/dev/null 2>&1
    # An engine of our own goes with all that is in it.
    [ "$own_engine" = 1 ] || remove_images
  fi
  stop_engine
  rm -rf "$tmp"
  case $code in
    0) say "passed" ;;
    69) say "left out: nothing was tested" ;;
    *) say "FAILED (exit code $code)" ;;
  esac
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

have python3 || apt_install python3
find_engine
base_images

build() {
  say "building the images (Rust too: minutes)"
  dc build "${proxy_args[@]}" >"$tmp/build.log" 2>&1 || { tail -n 60 "$tmp/build.log"; die "build"; }
  say "built: $(docker image ls --format '{{.Repository}} {{.Size}}' | grep '^toolgate-compose-test' | sort | paste -s -d, | sed 's/,/, /g')"
}

needs_its_secrets() {
  local name
  for name in TOOLGATE_KEY MCP_FETCH_KEY BRAVE_API_KEY; do
    if (unset "$name"; dc config) >"$tmp/config.log" 2>&1; then die "starts without $name"; fi
    grep -q "set $name" "$tmp/config.log" || die "does not say how to set $name"
  done
  say "each missing secret is named before anything starts"
}

lists_both() { timeout 60 python3 tests/compose/check.py "$(url)" list brave_web_search fetch >/dev/null 2>&1; }

serves_both() {
  check refused
  say "401 without a key and with a wrong one"
  # No gateway is required for readiness, so one may join a moment later.
  wait_for 60 "both gateways' tools to be listed" lists_both
  check list brave_web_search fetch
  check call brave_web_search '{"query": "canary"}' brave-canary
  check call fetch '{"url": "http://fake:8080/page.html"}' fetch-canary
  say "brave and fetch are listed and answer through one URL with one key"
  check host 403 evil.example
  beside toolgate list brave_web_search fetch || die "a container beside it does not reach http://toolgate:$TOOLGATE_PORT/mcp"
  say "a foreign Host is refused; a container beside it is served by the name of the service"
}

# beside HOST ARGUMENTS…: check.py from inside a container that shares a network with toolgate.
beside() {
  local host=$1
  shift
  docker exec -i -e TOOLGATE_KEY "$(id_of mcp-fetch)" python3 - "http://$host:$TOOLGATE_PORT/mcp" "$@" <tests/compose/check.py
}

is_closed() {
  local service container pids
  for service in toolgate mcp-brave mcp-fetch; do
    container=$(id_of "$service")
    [ "$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}}' "$container")" = true ] || die "$service: root is writable"
    # Every process of the container: not root, no capability, no way to gain one.
    docker exec "$container" sh -c '! touch /probe 2>/dev/null && touch /tmp/probe && rm /tmp/probe' || die "$service: the root can be written, or /tmp not"
    docker exec "$container" sh -c 'cat /proc/[0-9]*/status 2>/dev/null' >"$tmp/status"
    pids=$(grep -c '^Uid:' "$tmp/status")
    [ "$(awk '/^Uid:/ && $2 && $3 && $4 && $5' "$tmp/status" | wc -l)" = "$pids" ] || die "$service: a process is root"
    [ "$(grep -c '^CapEff:[[:space:]]*0*$' "$tmp/status")" = "$pids" ] || die "$service: a process has capabilities"
    [ "$(grep -c '^NoNewPrivs:[[:space:]]*1$' "$tmp/status")" = "$pids" ] || die "$service: no-new-privileges is not in force"
  done
  say "no service runs as root, has capabilities or can write its root"
  docker exec "$(id_of toolgate)" sh -c 'touch data/probe && rm data/probe' || die "toolgate: the data volume cannot be written"
  for service in mcp-brave mcp-fetch; do
    [ -z "$(docker port "$(id_of "$service")")" ] || die "$service publishes a port"
  done
  [ "$(docker port "$(id_of toolgate)")" = "$TOOLGATE_PORT/tcp -> 127.0.0.1:$TOOLGATE_PORT" ] || die "toolgate publishes more than its port"
  docker exec "$(id_of mcp-fetch)" node -e 'fetch("http://mcp-brave:8080/ping", { signal: AbortSignal.timeout(3000) }).then(() => process.exit(1), () => process.exit(0))' ||
    die "mcp-fetch reaches mcp-brave"
  say "only toolgate is published, and mcp-fetch does not reach mcp-brave"
}

follows_its_variables() {
  local before=$TOOLGATE_PORT
  TOOLGATE_PORT=$(free_port)
  export PERMITTED_TOOLS="brave_web_search, fetch" TOOLGATE_PUBLIC_URL=https://tools.example
  dc up -d --no-build toolgate >"$tmp/up.log" 2>&1 || { cat "$tmp/up.log"; die "up with another port"; }
  wait_healthy toolgate
  wait_for 60 "both gateways' tools to be listed" lists_both
  check only brave_web_search fetch
  check host 200 tools.example
  if python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)' "$before" 2>/dev/null; then
    die "the port before is still published"
  fi
  if docker exec -e "TOOLGATE_LISTEN=127.0.0.1:$before" "$(id_of toolgate)" toolgate health >/dev/null 2>&1; then
    die "toolgate health succeeds on a port where nothing listens"
  fi
  say "port, health check, permitted tools and public URL follow their variables"
}

both_are_held() {
  dc logs --no-color fake >"$tmp/fake.log" 2>/dev/null
  grep -q 'held: 2' "$tmp/fake.log"
}
release() { docker exec "$(id_of fake)" node -e 'fetch("http://127.0.0.1:8080/release")'; }
is_not_ready() { ! docker exec "$1" toolgate health >/dev/null 2>&1; }
call_slowly() { timeout 90 python3 tests/compose/check.py "$(url)" call "$@"; }

drains() {
  local toolgate fetch calls=() call stop began
  toolgate=$(id_of toolgate) fetch=$(id_of mcp-fetch)
  call_slowly fetch '{"url": "http://fake:8080/slow.html"}' slow-canary & calls+=($!)
  call_slowly brave_web_search '{"query": "slow"}' brave-canary & calls+=($!)
  wait_for 20 "a call of each gateway to be in flight" both_are_held
  # All at once: mcp-brave does not drain, so it must be stopped after toolgate.
  dc stop toolgate mcp-brave mcp-fetch >/dev/null 2>&1 &
  stop=$! began=$SECONDS
  wait_for 20 "toolgate to stop taking requests" is_not_ready "$toolgate"
  for call in "${calls[@]}"; do kill -0 "$call" 2>/dev/null || die "a call ended before it had its answer"; done
  release || die "the fake does not let go of its answers"
  for call in "${calls[@]}"; do wait "$call" || die "a call in flight was cut at SIGTERM"; done
  wait "$stop" || die "stop"
  [ "$(ended "$toolgate")" = "exited 0" ] || die "toolgate after SIGTERM: $(ended "$toolgate")"
  [ "$(ended "$fetch")" = "exited 0" ] || die "mcp-fetch after SIGTERM: $(ended "$fetch")"
  say "SIGTERM: no new requests, those in flight were finished; toolgate and mcp-fetch exit with 0, all within $((SECONDS - began)) s"
}
ended() { docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"; }

leaves_nothing() {
  local mine=label=com.docker.compose.project=$project left
  dc down -v --timeout 10 >/dev/null 2>&1 || die "down -v"
  left=$(docker ps -aq --filter "$mine"; docker network ls -q --filter "$mine"; docker volume ls -q --filter "$mine")
  [ -z "$left" ] || die "down -v left $left"
  say "down -v leaves no container, network or volume"
}

TOOLGATE_PORT=$(free_port)
needs_its_secrets
build
dc up -d --no-build >"$tmp/up.log" 2>&1 || { cat "$tmp/up.log"; die "up"; }
wait_healthy mcp-brave mcp-fetch toolgate
serves_both
is_closed
follows_its_variables
drains
leaves_nothing
