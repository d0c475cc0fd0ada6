# All that one does with a checkout. Tools are installed under .cache/ as they are needed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Named in one place because every host build must name the examples: they bring in the development dependencies, whose
# features reach down into wasmtime. Without them cargo builds wasmtime a second time for the tests.
HOST_BUILD := cargo build --locked --bins --examples
# The build of etcd's client generates code with it. Always the same one: another one would build the client anew.
export PROTOC := $(CURDIR)/.cache/protoc/bin/protoc
# Some recipes share build folders, and cargo uses all cores by itself.
.NOTPARALLEL:

.PHONY: help demo demo-ci test simulate chaos interop guests check bench clean

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: guests ## Runs a pipeline of three components over this project's own lock file
	.ci/tools protoc
	$(HOST_BUILD)
	.ci/demo

demo-ci: guests ## Runs continuous integration of a small C program: git, make and a component
	.ci/tools protoc nats
	$(HOST_BUILD)
	.ci/demo-ci

test: guests ## Runs all tests: those of the guests, then those of the host
	.ci/tools authors nats protoc etcd go
	.ci/test-guests
	.ci/build-interop
	$(HOST_BUILD)
	. .ci/env && cargo test --locked --doc
	. .ci/env && cargo test --locked --lib --bins --tests

# How many seeds, from which one on; or one alone, told in full.
SEEDS ?= 100000
FIRST ?= 0
SEED ?=
# How many times as often as in `make test` each fault happens.
TIMES ?= 20
# Optimised, and still with all checks of a development build; the dependencies are those of the other tests.
SIMULATION := cargo test --locked --config 'profile.dev.opt-level=2' --test suite simulation::engine

simulate: ## Plays the simulation of the engine: SEEDS=n FIRST=n, or SEED=n
	.ci/tools protoc
	CONVEYOR_SIMULATE_SEEDS=$(SEEDS) CONVEYOR_SIMULATE_FIRST=$(FIRST) CONVEYOR_SIMULATE_SEED=$(SEED) \
	  $(SIMULATION)::the_engine -- --nocapture

chaos: ## Kills, stops and fills real servers under load: TIMES=n as often as `make test`
	.ci/tools nats protoc etcd
	$(HOST_BUILD)
	. .ci/env && CHAOS_TIMES=$(TIMES) cargo test --locked --test suite chaos:: -- --nocapture --test-threads 2

interop: ## Tests a driver of the released Go SDK, or of that in GO_SDK=folder, with a job of 45 s
	.ci/tools nats protoc go
	GO_SDK="$(or $(GO_SDK),released)" .ci/build-interop
	$(HOST_BUILD)
	. .ci/env && INTEROP_LONG=1 cargo test --locked --test suite interop:: -- --nocapture

guests: ## Builds the guest components into plugins/out/
	.ci/tools guests
	.ci/build-guests

check: ## Fails on code that is not formatted and on warnings
	.ci/tools protoc
	.ci/check

bench: ## Measures, all or ONLY="chain crowd"; builds with optimisations first
	.ci/tools nats protoc etcd
	. .ci/env && cargo bench --locked --bench belt -- $(ONLY)

clean: ## Removes all build output, but not the installed tools (they are in .cache/)
	cargo clean
	rm -rf plugins/target plugins/out
