# What a person runs and what CI runs. `make` alone lists the targets.
#   make run PROFILE=release     an optimised build
#   make run CONFIG=other.toml   another configuration
#   make run COMPOSIO=fake       with a fake of Composio: its whole flow without a key

CONFIG ?= gateways.toml
PROFILE ?= dev
OUT = target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
BIN = $(OUT)/toolgate
FAKED = $(filter fake,$(COMPOSIO))

.PHONY: help run deps test lint conformance test-compose bench bench-peer bench-instructions

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: ## set everything up, build, and serve CONFIG
	@tests/kit/install.sh servers
	cargo build --locked --profile $(PROFILE) --bin toolgate $(if $(FAKED),--example composio-fake)
	@exec $(if $(FAKED),tests/composio/run.sh $(OUT)/examples/composio-fake) $(BIN) serve --config $(CONFIG)

deps: ## install the real servers and clients that the tests drive into .deps
	@tests/kit/install.sh all

test: deps ## every test, those with real servers, real clients and the conformance suite included
	cargo test --locked --no-fail-fast

lint: ## format, clippy, and the syntax of scripts and drivers
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@tests/kit/lint.sh

conformance: deps ## the official suite through the gateway, every revision and pairing of eras
	cargo build --locked --bin toolgate
	tests/conformance/run.sh
	tests/conformance/client.sh

test-compose: ## docker-compose.yml on a real engine
	tests/compose/run.sh

bench: ## figures against nginx and a bare proxy, into target/bench; QUICK=1 for a first look, KEEP=1 into docs/benchmarks.md
	benches/run.sh

bench-peer: ## the same with the mcp-proxy crate beside
	PEER=1 benches/run.sh

bench-instructions: ## instructions of one call of each kind against benches/instructions.json; UPDATE=1 writes it anew
	benches/instructions.sh
