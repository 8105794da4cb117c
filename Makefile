# `make` lists the targets. Everything works from a fresh clone; what is missing is installed by .ci/setup.
SHELL := /bin/bash
CACHE ?= $(or $(WEIR_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weir)
export PATH := $(CACHE)/bin:$(PATH)
SDK_BUILD := cargo run --quiet --package weir-sdk-build --
H3I := --manifest-path tests/clients/h3i/Cargo.toml
# `make run ARGS='run -c configs/minimal.yaml'`
ARGS ?= demo

.DEFAULT_GOAL := help
.PHONY: help run dev plugins bindings guests components h3i test test-only test-build test-native test-doc test-guests check fmt lint doc deny fuzz \
  bench soak setup clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve https://localhost:8443 with three origins of its own; needs Rust and a C compiler, nothing else
	cargo run --profile quick -- $(ARGS)

dev: ## the same, rebuilt and restarted on every change
	.ci/dev $(ARGS)

plugins: ## rebuild the built-in plugins from source into plugins/dist
	.ci/setup plugins
	$(SDK_BUILD) plugins

bindings: ## write the bindings of the Rust SDK from wit/
	$(SDK_BUILD) bindings

guests: ## rebuild the test guests from source
	.ci/setup plugins
	$(SDK_BUILD) guests

h3i: ## build the HTTP/3 client that breaks the rules (quiche's, with BoringSSL), for tests
	.ci/setup test
	.ci/h3i build

components: ## compare plugins/dist with its sources; build all components that tests need
	.ci/setup build plugins languages
	$(SDK_BUILD) verify
	$(SDK_BUILD) plugins --out $(CURDIR)/target/plugins
	$(SDK_BUILD) guests

test: ## install what tests need, build every component from source, run all tests
	$(MAKE) --no-print-directory components h3i
	WEIR_PLUGINS=$(CURDIR)/target/plugins $(MAKE) --no-print-directory test-only

test-only: test-native test-doc test-guests ## run all tests with the components as they are (`cargo nextest run -E 'test(name)'` for some)

test-build: ## compile the tests of the workspace
	cargo nextest run --workspace --lib --bins --tests --no-run

test-native: ## run the tests of the workspace, the slowest first
	cargo nextest run --workspace --lib --bins --tests

test-doc: ## run the examples in doc comments
	cargo test --workspace --doc --quiet

test-guests: ## run the tests of plugins, guests and examples
	.ci/each-guest cargo test --workspace --quiet

check: ## what CI runs: formatting, lints, documentation, dependencies, some minutes of fuzzing, then the tests
	.ci/setup
	$(MAKE) --no-print-directory fmt lint doc deny fuzz test

fmt: ## check the formatting (`cargo fmt --all` corrects it)
	cargo fmt --all --check
	cargo fmt --check $(H3I)
	.ci/each-guest cargo fmt --all --check

lint: ## clippy, warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings
	.ci/h3i lint
	.ci/each-guest cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

doc: ## build the documentation, warnings are errors
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --quiet --locked

deny: ## licences, sources and duplicates among the dependencies
	cargo deny --workspace --log-level warn check bans licenses sources
	cargo deny $(H3I) --config deny.toml --log-level error check licenses sources
	cd plugins && cargo deny --workspace --config ../deny.toml --log-level error check bans licenses sources

# Without a sanitizer the stable toolchain is enough, and there is no unsafe code that one would watch.
fuzz: ## fuzz HTTP/3: frames, control stream, QPACK, requests, capsules (FUZZ=seconds for each)
	.ci/setup check
	cd host/h3 && for target in frames control qpack request capsules; do \
	  mkdir -p fuzz/corpus/$$target && \
	  cargo fuzz run --sanitizer none --target-dir $(CURDIR)/target/fuzz $$target fuzz/corpus/$$target fuzz/seeds/$$target \
	    -- -max_total_time=$(or $(FUZZ),30) -max_len=4096 -rss_limit_mb=512 -verbosity=0 || exit 1; \
	done

bench: ## criterion benches; for the comparison with other proxies see docs/performance.md
	cargo bench --package weir --bench '*' --package weir-runtime

soak: ## ten minutes of load on all protocols under a memory bound (SOAK=seconds)
	WEIR_SOAK_SECONDS=$(or $(SOAK),600) cargo nextest run --package weir --test it --profile soak -E 'test(/soak::|_under_load_/)'

setup: ## install what all targets need
	.ci/setup

clean: ## remove what was built
	cargo clean
