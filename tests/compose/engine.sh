# The container engine of run.sh: finds one, or installs Debian's and runs it in a folder of its own. Sourced.
# Sets `compose` (the command) and `own_engine`; needs `tmp`, `say`, `cannot`, `have`.

own_engine=0
dockerd_pid=
ip_forward_before=
forward_policy_before=

apt_install() {
  [ "$(id -u)" = 0 ] && have apt-get || cannot "missing: $*. Install it, or run this as root on Debian"
  say "installing Debian packages: $*"
  local log=$tmp/apt.log
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$log" 2>&1 && return
  apt-get update -q >"$log" 2>&1 || { tail -n 20 "$log" >&2; cannot "apt-get update fails"; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; cannot "apt-get does not install $*"; }
}

engine_answers() { timeout 20 docker info >/dev/null 2>&1; }

find_engine() {
  have docker || apt_install docker.io
  if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
  else
    have docker-compose || apt_install docker-compose
    compose=(docker-compose)
  fi
  if engine_answers; then
    say "using the engine that runs"
  else
    have dockerd || apt_install docker.io
    # With an init system, installing it has started it.
    engine_answers || start_engine
  fi
  [ "$own_engine" = 0 ] || [ "$(docker info --format '{{.Driver}}')" != vfs ] ||
    cannot "the file system below /tmp has no layers: every step of a build would copy gigabytes"
  say "engine $(docker version --format '{{.Server.Version}}'), $(docker info --format '{{.Driver}}'), ${compose[*]} $("${compose[@]}" version --short)"
}

start_engine() {
  [ "$(id -u)" = 0 ] || cannot "no container engine answers, and only root can start one"
  local device mtu=1500
  # Two engines would take each other's bridge and rules.
  if have flock; then
    exec 8>/run/toolgate-compose.lock
    flock -w 600 8 || cannot "another run of this test has its engine running"
  fi
  device=$(ip -o route show default 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p;q')
  [ -z "$device" ] || mtu=$(cat "/sys/class/net/$device/mtu")
  ! ip link show docker0 >/dev/null 2>&1 || cannot "docker0 exists though no engine answers: start that engine"
  ip_forward_before=$(cat /proc/sys/net/ipv4/ip_forward)
  forward_policy_before=$(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')
  own_engine=1
  export DOCKER_HOST=unix://$tmp/docker.sock
  dockerd --host "$DOCKER_HOST" --data-root "$tmp/data" --exec-root "$tmp/exec" --pidfile "$tmp/docker.pid" \
    --mtu "$mtu" >"$tmp/dockerd.log" 2>&1 8>&- &
  dockerd_pid=$!
  for _ in $(seq 60); do
    engine_answers && { say "started an engine of our own"; return; }
    kill -0 "$dockerd_pid" 2>/dev/null || break
    sleep 1
  done
  tail -n 20 "$tmp/dockerd.log" >&2
  cannot "dockerd does not come up"
}

# Ends our own engine and takes away what it leaves in the network and below its folder.
stop_engine() {
  [ "$own_engine" = 1 ] && [ -n "$dockerd_pid" ] || return 0
  # It is ours alone: whatever is in it goes first, so that it takes its bridges and rules away itself.
  docker ps -aq 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1 || true
  docker network prune -f >/dev/null 2>&1 || true
  kill "$dockerd_pid" 2>/dev/null || true
  for _ in $(seq 30); do kill -0 "$dockerd_pid" 2>/dev/null || break; sleep 1; done
  if kill -0 "$dockerd_pid" 2>/dev/null; then
    say "the engine did not end in 30 s: killed"
    kill -9 "$dockerd_pid" 2>/dev/null || true
  fi
  wait "$dockerd_pid" 2>/dev/null || true
  awk -v below="$tmp/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r -n 1 umount 2>/dev/null || true
  ip link delete docker0 2>/dev/null || true
  remove_chains
  [ -z "$forward_policy_before" ] || iptables -P FORWARD "$forward_policy_before"
  echo "$ip_forward_before" >/proc/sys/net/ipv4/ip_forward
}

# docker0 was not there when we began, so every chain of this name is ours.
remove_chains() {
  local table rule chain
  for table in nat filter; do
    iptables -t "$table" -S 2>/dev/null | grep -E '^-A .*(DOCKER|docker0)' | while read -r rule; do
      # shellcheck disable=SC2086  # a rule is words
      iptables -t "$table" -D ${rule#-A } 2>/dev/null || true
    done
    iptables -t "$table" -S 2>/dev/null | sed -n 's/^-N \(DOCKER.*\)/\1/p' | while read -r chain; do
      iptables -t "$table" -F "$chain" 2>/dev/null || true
    done
    iptables -t "$table" -S 2>/dev/null | sed -n 's/^-N \(DOCKER.*\)/\1/p' | while read -r chain; do
      iptables -t "$table" -X "$chain" 2>/dev/null || true
    done
  done
}
