# The two commands are `make run` and `make test`. What a target does beyond one
# line stands in scripts/, which can be run directly.

SHELL := /bin/bash
# git refuses to speak about a clone that another user owns; go build then stops.
BUILDVCS := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)
.DEFAULT_GOAL := help
.PHONY: help run test check bench bench-engine fuzz chaos build image clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: build ## start everything on its built-in defaults (ARGS="--config file" for others)
	exec bin/pratique serve $(ARGS)

test: ## all tests with the race detector; installs what they need where it may
	@scripts/test

check: ## gofmt, vet, staticcheck, gosec, import order, file length, known vulnerabilities
	@scripts/check

bench: ## all benchmarks (BENCHTIME=1s BENCHCOUNT=1)
	@scripts/bench

bench-engine: ## the engine on real layers, which it makes first (BENCHTIME=3x)
	@scripts/bench-engine

fuzz: ## every fuzz target in turn (FUZZTIME=30s)
	@scripts/fuzz

chaos: ## kill, cut and starve the program for ten minutes (PRATIQUE_CHAOS_TIME=10m PRATIQUE_CHAOS_SEED=number)
	@scripts/chaos

build: ## the static binary bin/pratique
	CGO_ENABLED=0 go build $(BUILDVCS) -trimpath -o bin/pratique ./cmd/pratique

image: deploy/secrets/hmac.key ## the container image pratique:latest (IMAGE=name:tag), and the key for docker compose
	@scripts/image

deploy/secrets/hmac.key:
	@scripts/secret $@

clean: ## remove what the other targets made
	rm -rf bin dist
