# nftlbc: `make try` shows it working, `make test` checks everything.
# Both need only python3 and make to start with; see scripts/setup.

PYTHON ?= python3
FARMS ?= examples/web.lb
# What to give pytest: single files or tests, and further options.
TESTS ?=
PYTEST_ARGS ?=
TEST_JOBS_MAX ?= 8
# Which Debian the package is installed on.
SUITE ?= bookworm
# What to measure (see benchmarks/bench.py): nothing is all.
BENCH ?=

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses=$(TEST_JOBS_MAX)

export PYTHON
# nft and ip live in /usr/sbin, which the PATH of an ordinary user may lack.
export PATH := $(PATH):/usr/sbin:/sbin

# Root can always make a sandbox: there a test that cannot is a failure, not a skip.
ifeq ($(shell id -u),0)
NFTLBC_REQUIRE_SANDBOX ?= 1
export NFTLBC_REQUIRE_SANDBOX
endif

# A network namespace of their own for the long runs, which tell how far they are.
UNSHARE := unshare $(if $(filter 0,$(shell id -u)),-n,-Urn)

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help try test bench bench-quick conformance soak setup setup-dev lint types format golden
.PHONY: dist dist-test deb deb-test clean

help: ## print this
	@echo 'usage: make TARGET [PYTHON=python3.12]'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' Makefile | \
	    while IFS='	' read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done

try: ## set up, then build the example farm in a sandbox (FARMS=file for another)
	@scripts/setup --system
	@$(BIN)/nftlbc try $(FARMS)

test: ## set up, then everything: ruff, mypy, pytest (TESTS=, PYTEST_ARGS=)
	@scripts/setup --system --dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict nftlbc
	$(PYTEST) $(PYTEST_ARGS) $(TESTS)

conformance: ## set up, then 5000 farms files against the kernel (NFTLBC_CASES=, NFTLBC_NFTS=nft:...)
	@scripts/setup --system --dev
	NFTLBC_CASES=$${NFTLBC_CASES:-5000} NFTLBC_TEST_INSIDE=1 \
	    $(UNSHARE) $(BIN)/python -m pytest -p no:xdist -q -s \
	    tests/conformance -k nobody_wrote

soak: ## set up, then edits, faults and clients at once for an hour (NFTLBC_SOAK=seconds)
	@scripts/setup --system --dev
	NFTLBC_SOAK=$${NFTLBC_SOAK:-3600} $(BIN)/python -m pytest -p no:xdist -q -s \
	    tests/traffic/test_soak_traffic.py

bench: ## as root: nftlbc beside its peers; writes docs/performance/ (BENCH= for single parts)
	@scripts/setup --system --bench
	@$(BIN)/python -m benchmarks.bench --out docs/performance $(BENCH)

bench-quick: ## the same with fewer farms and rounds, in three minutes; writes nothing
	@scripts/setup --system --bench
	@$(BIN)/python -m benchmarks.bench --quick $(BENCH)

setup: ## only set up .venv, nft and ip
	@scripts/setup --system

setup-dev: ## only set up .venv with the tools for development
	@scripts/setup --dev

lint: setup-dev ## ruff check and ruff format --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev ## mypy --strict
	$(BIN)/mypy --strict nftlbc

format: setup-dev ## reformat and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: ## rewrite the golden files of the tests
	@scripts/setup --system --dev
	$(PYTEST) $(PYTEST_ARGS) --update-golden $(TESTS)

dist: ## a wheel and a source archive, in dist/
	@scripts/setup --dev
	$(BIN)/python -m hatchling build -d dist

dist-test: dist ## install them into clean virtual environments, and run what they install
	@scripts/dist-test

deb: ## the Debian package, in dist/
	@scripts/deb

deb-test: ## install it into a clean root (SUITE=trixie), and do what its manual page says
	@scripts/deb-test $(SUITE)

clean: ## remove .venv, caches and built packages
	rm -rf .venv build dist ./*.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
