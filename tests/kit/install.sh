#!/usr/bin/env bash
# Installs the real servers and clients that `make run` and `make test` need into .deps of the checkout (git-ignored).
#   tests/kit/install.sh servers    Node and Python servers and clients: what `make run` needs
#   tests/kit/install.sh all        that, the official conformance suite with its Node 22, the rmcp client, Composio's SDKs, and a browser
# Every part is pinned by a lock file and carries a stamp of it, so a second run takes no time. TOOLGATE_DEPS moves .deps.
set -euo pipefail

kit=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$kit/../.." && pwd)
deps=${TOOLGATE_DEPS:-$top/.deps}
parts=${1:-all}

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# apt_install PACKAGES…: installs Debian packages where that is possible without asking anybody.
apt_install() {
  [ "$(id -u)" = 0 ] && have apt-get || return 1
  say "installing Debian packages: $*"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" >/dev/null 2>&1 && return 0
  DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null 2>&1 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" >/dev/null
}

check_tools() {
  have git || apt_install git || die "git is missing (mcp-server-git needs it): install it"
  have node && have npm || die "Node.js 20 or later with npm is missing: install it (Debian: nodejs npm)"
  have python3 || die "Python 3.10 or later is missing: install it (Debian: python3 python3-venv)"
  node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' || die "Node.js is $(node --version); 20 or later is needed"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python is $(python3 --version); 3.10 or later is needed"
}

# stamp FILE…: one word for what these files and the machine's interpreters come to.
stamp() { { cat "$@"; node --version; python3 --version; } | sha256sum | cut -c1-32; }
fresh() { [ -f "$1/.stamp" ] && [ "$(cat "$1/.stamp")" = "$2" ]; }

# npm_part NAME: `npm ci` of tests/kit/NAME into .deps/NAME.
npm_part() {
  local name=$1 want
  want=$(stamp "$kit/$name/package.json" "$kit/$name/package-lock.json")
  if fresh "$deps/$name" "$want"; then say "$name: there"; return; fi
  say "$name: installing npm packages"
  rm -rf "${deps:?}/$name"; mkdir -p "$deps/$name"
  cp "$kit/$name/package.json" "$kit/$name/package-lock.json" "$deps/$name/"
  npm_ci "$deps/$name"
  echo "$want" >"$deps/$name/.stamp"
}

npm_ci() {
  local log=$1/npm.log
  (cd "$1" && npm ci --no-audit --no-fund --no-update-notifier </dev/null >"$log" 2>&1) && return
  say "npm ci failed once; again"
  (cd "$1" && npm ci --no-audit --no-fund --no-update-notifier </dev/null >"$log" 2>&1) && return
  tail -n 30 "$log" >&2; die "npm ci failed in $1"
}

# A virtual environment, also where Debian's python3-venv (ensurepip) is lacking.
make_venv() {
  local at=$1
  rm -rf "$at"; mkdir -p "$(dirname "$at")"
  python3 -m venv "$at" >/dev/null 2>&1 && return
  rm -rf "$at"
  if python3 -m pip --version >/dev/null 2>&1 && python3 -m venv --without-pip "$at" >/dev/null 2>&1 &&
    python3 -m pip --python "$at/bin/python" install -q pip >/dev/null 2>&1; then return; fi
  rm -rf "$at"
  if have virtualenv && virtualenv -q -p python3 "$at"; then return; fi
  rm -rf "$at"
  if apt_install python3-venv && python3 -m venv "$at"; then return; fi
  die "no virtual environment can be made: install python3-venv (Debian) or virtualenv"
}

python_part() {
  local at=$deps/py want site
  want=$(stamp "$kit/python/requirements.txt" "$kit/readability/package-lock.json")
  if fresh "$at" "$want"; then say "py: there"; return; fi
  say "py: installing Python packages"
  make_venv "$at"
  "$at/bin/python" -m pip install -q --disable-pip-version-check --no-input -r "$kit/python/requirements.txt" </dev/null ||
    die "pip could not install tests/kit/python/requirements.txt"
  # mcp-server-fetch reads HTML with Readability.js and runs a bare `npm install` inside its first call when that is
  # missing: slow, unpinned, and on the stdout that carries its protocol. So it is put there beforehand.
  site=$("$at/bin/python" -c 'import os, readabilipy; print(os.path.dirname(readabilipy.__file__))')
  say "py: installing what mcp-server-fetch reads HTML with"
  cp "$kit/readability/package.json" "$kit/readability/package-lock.json" "$site/javascript/"
  npm_ci "$site/javascript"
  echo "$want" >"$at/.stamp"
}

# Composio's Python SDK, in an environment of its own: it would move packages of the other one.
composio_py_part() {
  local at=$deps/composio-py want
  want=$(stamp "$kit/composio-py/requirements.txt" "$kit/composio-py/sdk.txt")
  if fresh "$at" "$want"; then say "composio-py: there"; return; fi
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then die "Composio's SDK needs Python 3.11 or later; this is $(python3 --version)"; fi
  say "composio-py: installing Python packages"
  make_venv "$at"
  "$at/bin/python" -m pip install -q --disable-pip-version-check --no-input --no-deps \
    -r "$kit/composio-py/requirements.txt" -r "$kit/composio-py/sdk.txt" </dev/null ||
    die "pip could not install tests/kit/composio-py"
  echo "$want" >"$at/.stamp"
}

rmcp_part() {
  have cargo || die "cargo is missing: install Rust (rustup.rs)"
  say "rmcp client: building"
  (cd "$kit/rmcp-client" && CARGO_TARGET_DIR=$top/target/rmcp-client cargo build --quiet --locked)
}

# A browser, for the flow that a person goes through in one. Where it cannot be had its test says so and fails, unless
# TOOLGATE_NO_BROWSER=1 leaves it out.
browser_part() {
  if [ "${TOOLGATE_NO_BROWSER:-}" = 1 ]; then say "LEFT OUT: chromium; TOOLGATE_NO_BROWSER=1 says so"; return; fi
  if have chromium || have chromium-browser || have google-chrome; then say "chromium: there"; return; fi
  apt_install chromium || die "Chromium is missing: install it (Debian: chromium), or set TOOLGATE_NO_BROWSER=1"
}

check_tools
mkdir -p "$deps"
have flock && { exec 9>"$deps/.lock"; flock 9; }
case $parts in
  servers) npm_part npm; python_part ;;
  all) npm_part npm; python_part; npm_part suite; rmcp_part; npm_part composio-js; composio_py_part; browser_part ;;
  *) die "usage: tests/kit/install.sh servers|all" ;;
esac
say "ready in $deps"
