# The two commands are `make demo` and `make test`; everything else is a part of them.

CARGO ?= cargo
TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
STATIC := target/$(TARGET)/release/schism-agent
SCHISM := target/release/schism
SEED ?= 4
STORE ?= store
# For each target of `make fuzz`.
SECONDS ?= 60
# nextest gives every test a process and a time limit; without it plain `cargo test` does.
TESTS := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo nextest run || echo test)
# One after the other, for each has a cluster of servers.
SYSTEMS := $(if $(filter nextest,$(TESTS)),--run-ignored only -j 1 -E 'test(real_systems::)',--test it -- --ignored --test-threads 1 real_systems::)

.PHONY: demo test build agent lint deny advisories bench fuzz box test-vagrant test-systems aarch64 test-aarch64 setup-demo setup-test clean

# The main job on the lab: the healthy cluster passes, the same seed with a planted flaw does not.
demo: setup-demo build
	@.ci/demo $(SCHISM) $(SEED) $(STORE)

test: setup-test agent
	$(CARGO) $(TESTS) --workspace

build: agent
	$(CARGO) build --release --workspace --bins
	@cp -f $(STATIC) target/release/schism-agent

# Static, so that it runs on any node with the same processor: it needs no libc there.
agent:
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --release -p agent --target $(TARGET)

# The virtual machines' disk, built from the distribution's packages and made known to Vagrant.
box:
	@.ci/setup vagrant
	vagrant/box/build
	vagrant box add --force --name schism/debian12 vagrant/box/out/schism.box

# From nothing to verdicts on real machines with real clocks, and everything gone again. As root.
test-vagrant: build
	@.ci/setup vagrant
	vagrant/test

# Real systems that take long to install, with what they are known to do wrong.
test-systems: setup-test agent
	@.ci/setup systems
	@.ci/get-systems
	$(CARGO) $(TESTS) --workspace $(SYSTEMS)

# The agent and the nodes of our own for AArch64, beside the others.
aarch64:
	@.ci/aarch64 build

# The agent's tests on an emulated AArch64 machine, or those whose names have FILTER in them.
test-aarch64:
	@.ci/aarch64 test $(FILTER)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Licences and sources of every crate, as deny.toml says: from what cargo has, without the network.
DENY := $(CARGO) deny --locked
deny:
	@.ci/setup deny
	$(DENY) check bans licenses sources
	$(DENY) --manifest-path harness/fuzz/Cargo.toml --config deny.toml check bans licenses sources

# What has become known of them: asks the network for RustSec's database.
advisories:
	@.ci/setup deny
	$(DENY) check advisories
	$(DENY) --manifest-path harness/fuzz/Cargo.toml --config deny.toml check advisories

bench: build
	$(CARGO) bench -p harness --bench engine
	$(CARGO) bench -p checkers
	$(CARGO) bench -p agent --bench clock
	$(CARGO) bench -p cli --bench side_by_side
	$(CARGO) bench -p cli --bench scale

# Every reader is given what nobody would write; what one found before is tried first.
fuzz:
	@.ci/setup fuzz
	.ci/fuzz $(SECONDS)

setup-demo:
	@.ci/setup demo

setup-test:
	@.ci/setup test

clean:
	$(CARGO) clean
