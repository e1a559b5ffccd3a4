# The images of Toolgate. Plain syntax: BuildKit and the classic builder both take it.
#
#   docker build -t toolgate .                            slim: the binary and a CA bundle, for gateways over HTTP
#   docker build -t toolgate:full --target full .         with Node, uv and Python, for gateways over stdio
#   docker build -t mcp-fetch --target mcp-fetch .        mcp-server-fetch behind a Toolgate of its own
#
# `slim` stands last so that it is the default. All run as user 10001 and need no writable root; what is kept
# lies in /toolgate/data. Without TOOLGATE_KEY or [auth] they refuse to listen beyond loopback, and say so.

FROM rust:1.95-bookworm AS build
WORKDIR /src
# Without a value they change nothing: Cargo.toml decides. A build that should be quick rather than fast gives them.
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL
ARG CARGO_PROFILE_RELEASE_LTO
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS
# The dependencies alone, around an empty program: this layer stays until Cargo.toml or Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && : > src/lib.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --locked --release --bin toolgate \
 && rm -rf src target/release/toolgate* target/release/.fingerprint/toolgate-*
COPY migrations migrations
COPY src src
RUN cargo build --locked --release --bin toolgate


FROM node:20-bookworm-slim AS full
ARG UV_VERSION=0.13.8
# tini is PID 1 here: it reaps what a stdio server leaves behind and hands SIGTERM on to toolgate.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 python3-pip tini \
 && pip install --break-system-packages --no-cache-dir "uv==${UV_VERSION}" \
 && DEBIAN_FRONTEND=noninteractive apt-get purge -y --auto-remove python3-pip \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 toolgate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /toolgate/data --shell /usr/sbin/nologin toolgate \
 && install -d -m 0750 -o toolgate -g toolgate /toolgate/data
COPY --from=build /src/target/release/toolgate /usr/local/bin/toolgate
LABEL org.opencontainers.image.title="toolgate:full" \
      org.opencontainers.image.description="One MCP endpoint in front of many tool gateways; with Node, uv and Python for stdio gateways" \
      org.opencontainers.image.licenses="Apache-2.0"
# npx and uvx keep what they download below HOME, which is the volume.
ENV TOOLGATE_LISTEN=0.0.0.0:8080 HOME=/toolgate/data
WORKDIR /toolgate
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["toolgate", "health"]
ENTRYPOINT ["tini", "--", "toolgate"]
CMD ["serve"]


FROM full AS mcp-fetch
USER root
COPY docker/mcp-fetch/requirements.txt docker/mcp-fetch/package.json docker/mcp-fetch/package-lock.json /opt/mcp-fetch/
# mcp-server-fetch reads articles with Readability.js and would `npm install` it, unpinned, in its first call.
RUN uv venv --quiet --no-cache --python /usr/bin/python3 /opt/mcp-fetch/venv \
 && uv pip install --quiet --no-cache --compile-bytecode --python /opt/mcp-fetch/venv/bin/python --require-hashes \
      -r /opt/mcp-fetch/requirements.txt \
 && cd "$(/opt/mcp-fetch/venv/bin/python -c 'import os, readabilipy; print(os.path.dirname(readabilipy.__file__))')/javascript" \
 && cp /opt/mcp-fetch/package.json /opt/mcp-fetch/package-lock.json . \
 && npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
 && npm cache clean --force \
 && rm -rf /root/.npm /toolgate/data/.npm /tmp/*
COPY docker/mcp-fetch/gateways.toml /etc/toolgate/gateways.toml
LABEL org.opencontainers.image.title="mcp-fetch" \
      org.opencontainers.image.description="mcp-server-fetch over Streamable HTTP, by a Toolgate with one stdio gateway"
# Nothing of it needs to outlive the container, whose file system is read-only.
ENV TOOLGATE_STORE=memory TOOLGATE_CONFIG=/etc/toolgate/gateways.toml PATH=/opt/mcp-fetch/venv/bin:$PATH HOME=/tmp
USER 10001:10001


FROM debian:bookworm-slim AS slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 toolgate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /toolgate/data --shell /usr/sbin/nologin toolgate \
 && install -d -m 0750 -o toolgate -g toolgate /toolgate/data
COPY --from=build /src/target/release/toolgate /usr/local/bin/toolgate
LABEL org.opencontainers.image.title="toolgate" \
      org.opencontainers.image.description="One MCP endpoint in front of many tool gateways" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV TOOLGATE_LISTEN=0.0.0.0:8080
WORKDIR /toolgate
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["toolgate", "health"]
ENTRYPOINT ["toolgate"]
CMD ["serve"]
