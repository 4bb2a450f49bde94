# The two commands of the README: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help install demo test test-sanitize check format bench results

help: ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# pip takes torch from constraints.txt first, so that nothing else pulls in another build of it.
.venv/installed: pyproject.toml constraints.txt CMakeLists.txt $(shell find csrc -type f)
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --group dev --editable '.[train,bench]'
	touch $@

install: .venv/installed ## install evenbit and its tools into .venv

demo: .venv/installed ## train, pack and run a network on small real images
	$(BIN)/evenbit demo

test: .venv/installed ## run the tests
	$(BIN)/pytest

test-sanitize: ## run the engine's tests with AddressSanitizer and UndefinedBehaviorSanitizer
	test -d .venv-sanitize || $(PYTHON) -m venv .venv-sanitize
	.venv-sanitize/bin/pip install --quiet pytest hypothesis jaxtyping beartype
	.venv-sanitize/bin/pip install --quiet --config-settings=cmake.define.EVENBIT_SANITIZE=ON \
	  --config-settings=build-dir=build/sanitize .
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
	  .venv-sanitize/bin/pytest tests/runtime

check: .venv/installed ## check style and types
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	find csrc -name '*.h' -o -name '*.cc' -o -name '*.cpp' | xargs $(BIN)/clang-format --dry-run --Werror

format: .venv/installed ## bring the sources into form
	$(BIN)/ruff format src tests benchmarks
	find csrc -name '*.h' -o -name '*.cc' -o -name '*.cpp' | xargs $(BIN)/clang-format -i

bench: .venv/installed ## time a binary ResNet-18 beside other runtimes
	mkdir -p runs
	$(BIN)/evenbit pack --untrained resnet18 --float-layers int8 -o runs/resnet18.evb
	$(BIN)/evenbit bench runs/resnet18.evb --against onnxruntime,onnxruntime-int8,openvino-int8

results: .venv/installed ## write docs/results.md from the kept runs in results/
	$(BIN)/python benchmarks/results.py render
