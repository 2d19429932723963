# Kith: the commands of the house. The build itself is CMake (CMakePresets.json).
FUZZ_SECONDS ?= 300
FOR ?= 10m
BENCH ?=
TEST ?=

.PHONY: help run test quick natlab bench fuzz soak format lint profile clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: ## build, and serve on this machine for a try (SIP over TLS on 5061, alice and bob)
	@tools/setup.sh run
	@cmake --preset release >/dev/null
	@cmake --build --preset release --target kith
	@build/release/kith serve --demo

test: ## every test; the last line counts them (TEST="--only dev --match uri" for a part)
	@tools/setup.sh test
	@python3 tools/test.py $(TEST)

quick: ## the checks of the tree and the tests of the debug build
	@python3 tools/test.py --quick

natlab: ## calls between networks of every kind, and their table in docs/nat.md
	@tools/setup.sh test
	@cmake --preset release >/dev/null
	@cmake --build --preset release --target kith
	@python3 -u tests/nat/natlab.py --kith build/release/kith --write docs/nat.md

bench: ## measure against the floor (BENCH="--quick" for a look)
	@tools/setup.sh bench
	@python3 bench/run.py $(BENCH)

fuzz: ## run every fuzzer for FUZZ_SECONDS (300)
	@tools/setup.sh test
	@python3 tools/test.py --only fuzz --seconds $(FUZZ_SECONDS)

soak: ## networks of servers and phones on virtual time, new seeds until FOR (10m) is over
	@tools/setup.sh test
	@cmake --preset release >/dev/null
	@cmake --build --preset release --target sim
	@build/release/tests/sim/sim --for $(FOR)

format: ## let clang-format lay out every C file
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

lint: ## clang-tidy and cppcheck over the whole tree
	@tools/setup.sh lint
	@python3 tools/lint.py

profile: ## check the profile and make its documents (profile/out)
	@python3 tools/profile.py

clean: ## remove what was built
	@rm -rf build
