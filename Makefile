# What people and CI run. `make help` lists the targets; each says what it does and for about how long.
.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
NAME ?=
KEEP ?=

.PHONY: help setup demo test test-unit schedules properties check format generate lab-up lab-down bench

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  On your own cluster: KUBECONFIG=... KAFKA_BOOTSTRAP=... make test|demo|bench"

setup: ## Make .venv from the lock (once, 1-2 min)
	@hack/setup

demo: setup ## Show one tenant's request take its own way (KEEP=1 leaves it running)
	@KEEP=$(KEEP) hack/demo

test: setup ## Prove it: unit tests, then flows and end to end on a real cluster
	@hack/test

test-unit: setup ## Only the tests that need no cluster (10 min)
	@hack/test unit

schedules: setup ## 20,000 random schedules of the hand-off, for a nightly run (25 min; in `make test` it is 200)
	@SIDESTREAM_SCHEDULES=20000 .venv/bin/python -m pytest --quiet tests/unit/kafka/test_model.py

properties: setup ## 5,000 random sets of users' routes for each provider, for a nightly run (12 min; in `make test` it is 600)
	@SIDESTREAM_EXAMPLES=5000 .venv/bin/python -m pytest --quiet $$(grep -l unit.routing.examples tests/unit/routing/test_*.py)

check: setup ## Format, lint, types, layers, generated files fresh (30 s)
	@hack/check

format: setup ## Format the code and mend what the linter can
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

generate: setup ## Write crds/ and the chart's copy from the models
	@hack/generate

lab-up: setup ## Bring up cluster, Istio and Kafka (first time 10-20 min where nothing can be pulled)
	@hack/lab up

lab-down: setup ## Stop the lab; what was built stays cached
	@hack/lab down

bench: setup ## Run the benchmarks, or NAME=... one; writes build/bench/NAME.json
	@hack/bench $(NAME)
