# The base images that the Dockerfiles name: there, or pulled, or (where no registry can be reached) made of Debian's
# packages and this machine's Rust and Node, under the same names. Sourced by run.sh; needs `tmp`, `say`, `cannot`, `have`.
# What is made here stands in for the real image in this test only: `made_images` is removed at the end.

debian_image=debian:bookworm-slim
node_image=node:20-bookworm-slim
rust_image=rust:1.95-bookworm
made_images=()
registry_answers=1
# What the engine's builds need where the way out is a proxy.
proxy_args=()
for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
  [ -z "${!variable:-}" ] || proxy_args+=(--build-arg "$variable")
done

base_images() {
  ensure_image "$debian_image" make_debian
  ensure_image "$node_image" make_node
  ensure_image "$rust_image" make_rust
}

# ensure_image NAME MAKER
ensure_image() {
  local began=$SECONDS
  if docker image inspect "$1" >/dev/null 2>&1; then say "$1: there"; return; fi
  if [ "$registry_answers" = 1 ]; then
    if timeout 300 docker pull -q "$1" >/dev/null 2>"$tmp/pull.log"; then say "$1: pulled"; return; fi
    say "$1 cannot be pulled ($(tail -n 1 "$tmp/pull.log" | cut -c1-120)): base images are made here"
    registry_answers=0
  fi
  made_images=("$1" "${made_images[@]}")
  "$2" >"$tmp/make.log" 2>&1 || { tail -n 20 "$tmp/make.log" >&2; cannot "$1 can be neither pulled nor made"; }
  say "$1: made in $((SECONDS - began)) s"
}

# debootstrap, and the certificates that this machine trusts: its way out may need one of its own.
make_debian() {
  [ "$(id -u)" = 0 ] || { echo "debootstrap needs root"; return 1; }
  have debootstrap || apt_install debootstrap
  local root=$tmp/debian bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" || return
  if [ -r "$bundle" ]; then cp "$bundle" "$root/etc/ssl/certs/ca-certificates.crt" || return; fi
  # As in the real image: dpkg does not sync every file, and apt keeps no cache of its lists.
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup" || return
  echo 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";' >"$root/etc/apt/apt.conf.d/docker-clean" || return
  tar -C "$root" --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/lib/apt/lists/*' -c . |
    docker import --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
      --change 'CMD ["bash"]' - "$debian_image" || return
  rm -rf "$root"
}

# This machine's node and npm on top, and the user that the real image has.
make_node() {
  local node npm context=$tmp/node
  node=$(node -p 'process.execPath') || return
  npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
  [ -f "$npm/bin/npm-cli.js" ] || { echo "npm of this machine is not one folder"; return 1; }
  mkdir -p "$context/bin" "$context/npm"
  cp "$node" "$context/bin/node" && cp -R "$npm/." "$context/npm/" || return
  cat >"$context/Dockerfile" <<EOF
FROM $debian_image
COPY bin/node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \\
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \\
 && groupadd --gid 1000 node && useradd --uid 1000 --gid 1000 --create-home node \\
 && node --version && npm --version
CMD ["node"]
EOF
  docker build "${proxy_args[@]}" -t "$node_image" "$context" || return
  rm -rf "$context"
}

# This machine's Rust, and the C compiler that it links with.
make_rust() {
  local sysroot context=$tmp/rust
  sysroot=$(rustc --print sysroot) || return
  mkdir -p "$context"
  cat >"$context/Dockerfile" <<EOF
FROM $debian_image
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY bin /usr/local/bin
COPY lib /usr/local/lib
ENV CARGO_HOME=/usr/local/cargo
RUN ldconfig && rustc --version && cargo --version
EOF
  tar -c -C "$context" Dockerfile -C "$sysroot" bin/cargo bin/rustc lib |
    docker build "${proxy_args[@]}" -t "$rust_image" - || return
  rm -rf "$context"
}

remove_base_images() {
  [ "${#made_images[@]}" = 0 ] || docker rmi -f "${made_images[@]}" >/dev/null 2>&1 || true
}
