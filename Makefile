# SPDX-License-Identifier: MIT
#
# Short commands for everything. Each target installs the packages it lacks (tools/setup.sh),
# configures, builds and runs; the build itself is done by CMake. `make help` lists the targets.

# As CMakePresets.json has it. What the environment calls BUILD is something else.
BUILD = build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
SECONDS ?= 30
CONFIGURE = tools/configure.sh

.PHONY: help run test lint bench bench-servers torture explore explore-night coverage mutate
.PHONY: portability kill install clean

help:
	@echo 'make run            build the release and run the guided tour (keyedpool demo)'
	@echo 'make test           all tests: sanitizers, invariants checked, threads, release'
	@echo 'make lint           layers, limits, contracts, exports, formatting'
	@echo 'make bench          build the release and measure it; BENCH=--quick for a look'
	@echo 'make bench-servers  64 threads on 8 connections to PostgreSQL, and PgBouncer'
	@echo 'make torture        random use from 8 threads under each sanitizer; SECONDS=30'
	@echo 'make explore        every order of small programs; the model; the bug zoo'
	@echo 'make explore-night  the long part of make explore'
	@echo 'make coverage       all tests once, instrumented; fails below 100 %'
	@echo 'make mutate         break the core in one place at a time: do the tests notice?'
	@echo 'make portability    the tests for aarch64, s390x, i386 and with musl'
	@echo 'make kill           kill -9 a server under load, twenty times'
	@echo 'make install        build the release, install it; PREFIX=/usr/local, DESTDIR='
	@echo 'make clean          remove what was built'

run:
	@tools/setup.sh build
	@$(CONFIGURE) user
	@cmake --build --preset user -j $(JOBS) --target keyedpool-cli
	$(BUILD)/user/keyedpool demo

test:
	@tools/setup.sh build test
	@JOBS=$(JOBS) tools/test.sh

lint:
	@tools/setup.sh build test lint
	@$(CONFIGURE) release
	@cmake --build --preset release -j $(JOBS) --target keyedpool-libraries
	@python3 tools/lint.py --build $(BUILD)/release

bench:
	@tools/setup.sh build test bench
	@$(CONFIGURE) release
	@grep -q '^KP_APR_FOUND:INTERNAL=1' $(BUILD)/release/CMakeCache.txt || \
	    cmake --preset release --log-level=WARNING >/dev/null
	@cmake --build --preset release -j $(JOBS) --target keyedpool-benches
	@tools/bench.py --build $(BUILD)/release --out $(BUILD)/bench.jsonl \
	    --draw $(BUILD)/performance.svg $(BENCH)

bench-servers:
	@tools/setup.sh build test bench
	@$(CONFIGURE) release
	@grep -q '^KP_APR_FOUND:INTERNAL=1' $(BUILD)/release/CMakeCache.txt || \
	    cmake --preset release --log-level=WARNING >/dev/null
	@cmake --build --preset release -j $(JOBS) --target bench-servers
	@tools/bench_servers.py --build $(BUILD)/release --out $(BUILD)/bench-servers.jsonl $(BENCH)

torture:
	@tools/setup.sh build test
	@JOBS=$(JOBS) KP_SECONDS=$(SECONDS) tools/test.sh torture

explore:
	@tools/setup.sh build test
	@tests/explore/run.py --build $(BUILD) --jobs $(JOBS)

explore-night:
	@tools/setup.sh build test
	@tests/explore/run.py --build $(BUILD) --jobs $(JOBS) --night

coverage:
	@tools/setup.sh build test coverage
	@tools/coverage.py --jobs $(JOBS)

mutate:
	@tools/setup.sh build test mutate
	@tools/mutate.py --jobs $(JOBS) $(MUTATE)

portability:
	@tools/setup.sh build portability
	@JOBS=$(JOBS) tools/portability.sh $(TARGETS)

kill:
	@tools/setup.sh build test
	@$(CONFIGURE) release
	@cmake --build --preset release -j $(JOBS) --target kill-postgres kill-redis
	$(BUILD)/release/tests/kill-postgres --rounds 20 $(KILL)
	$(BUILD)/release/tests/kill-redis --rounds 20 $(KILL)

install:
	@tools/setup.sh build install
	@$(CONFIGURE) user
	@! grep -qE '^(SCDOC|KP_PYTHON):.*NOTFOUND' $(BUILD)/user/CMakeCache.txt || \
	    cmake --preset user --log-level=WARNING >/dev/null
	@cmake --build --preset user -j $(JOBS) --target keyedpool-libraries
	@cmake --build --preset user -j $(JOBS) --target keyedpool-cli
	cmake --install $(BUILD)/user --prefix $(subst $() ,\ ,$(PREFIX))

clean:
	rm -rf $(BUILD)
