# The two commands of the README: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
# The tests build the C library with the options of the Python extension; with ccache and one name of the compiler, that
# is done once.
ifneq ($(shell command -v ccache),)
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
ifeq ($(origin CXX),default)
CXX := c++
endif
export CXX
endif
PYTHON_FILES := src tests benchmarks examples fuzz tools
CXX_FILES := find csrc src/evenbit/export examples fuzz tests -name '*.h' -o -name '*.c' -o -name '*.cc' -o -name '*.cpp'
.PHONY: help install demo test test-sanitize test-arm test-browser test-gpu test-packaging fuzz device-tools device-packages \
  test-devices wasm test-web check format docs headline bench results reliability coverage

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

test: .venv/installed ## run the tests, in three processes, since they also wait
	$(BIN)/pytest -n 3 --no-loadscope-reorder

# There is no torch there, which the model of latency needs. What has been freed is kept for a while, so memory does grow,
# and the sanitizers need more addresses than the test of refused threads allows.
test-sanitize: .venv/installed ## run the tests of the engine and the C API with AddressSanitizer and UndefinedBehaviorSanitizer
	test -d .venv-sanitize || $(PYTHON) -m venv .venv-sanitize
	.venv-sanitize/bin/pip install --quiet pytest hypothesis jaxtyping beartype
	.venv-sanitize/bin/pip install --quiet --config-settings=cmake.define.EVENBIT_SANITIZE=ON \
	  --config-settings=build-dir=build/sanitize .
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
	  .venv-sanitize/bin/pytest tests/runtime --ignore tests/runtime/test_latency.py \
	  --deselect tests/runtime/test_engine.py::test_memory_stays_flat \
	  --deselect tests/runtime/test_engine.py::test_threads_that_the_system_refuses_end_in_one_line
	$(BIN)/pytest -m sanitize tests/capi

test-arm: .venv/installed ## run the kernels' tests as 64-bit ARM code; needs g++-aarch64-linux-gnu and qemu-user
	$(BIN)/pytest -m arm tests/capi/test_cases.py tests/capi/test_example.py

test-packaging: .venv/installed ## build sdist and wheel, install that in a clean environment, and run it there
	$(BIN)/pip install --quiet --group packaging
	$(BIN)/pytest -m packaging tests/packaging

test-gpu: .venv/installed ## train on a GPU and compare with the CPU
	$(BIN)/pytest -m gpu tests/gpu

test-browser: .venv/installed ## look at a report in headless Chromium; needs chromium and chromium-driver
	$(BIN)/pytest -m browser tests/report

WEB_SITE := src/evenbit/export/web/site

wasm: .venv/installed ## build the WebAssembly module and the scripts in src/evenbit/export/web/site; needs emscripten and npm
	emcmake cmake -S . -B build/wasm -DCMAKE_BUILD_TYPE=Release -DNLOHMANN_JSON_INCLUDE_DIR="$$($(BIN)/python \
	  -c 'import nlohmann_json, pathlib; print(pathlib.Path(nlohmann_json.__file__).parent / "include")')"
	cmake --build build/wasm --parallel 2
	cd web && npm ci --no-audit --no-fund && npm run build
	mkdir -p $(WEB_SITE)
	cp build/wasm/csrc/wasm/evenbit.wasm web/dist/
	cp LICENSE web/
	cp web/dist/*.js web/dist/evenbit.wasm $(WEB_SITE)/
	chmod 644 $(WEB_SITE)/*
	$(BIN)/python tools/web_sources.py > src/evenbit/export/web/sources.sha256

test-web: .venv/installed ## run networks in Node.js and in headless Chromium; needs node, chromium and chromium-driver
	$(BIN)/pytest -m web tests/web

FUZZ_SECONDS ?= 60
FUZZ_OPTIONS ?=

fuzz: .venv/installed ## fuzz each reader for FUZZ_SECONDS; needs clang, and more options go into FUZZ_OPTIONS
	$(BIN)/pip install --quiet --group fuzz
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ_OPTIONS)

DEVICE_TOOLS := arm-none-eabi-gcc qemu-system-arm aarch64-linux-gnu-gcc aarch64-linux-gnu-g++ qemu-aarch64
DEVICE_PACKAGES := gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc-aarch64-linux-gnu \
  g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

device-tools: ## say which tools for the tests on devices are missing
	@missing=$$(for tool in $(DEVICE_TOOLS); do command -v $$tool > /dev/null || echo $$tool; done); test -z "$$missing" || \
	  { echo "missing:" $$missing "(on Debian: apt-get install $(DEVICE_PACKAGES))" >&2; exit 1; }

device-packages:
	@echo $(DEVICE_PACKAGES)

test-devices: .venv/installed device-tools ## run exported C on 64-bit ARM and Cortex-M under QEMU
	$(BIN)/pytest -m device

check: .venv/installed ## check style and types, and that the WebAssembly module is that of the sources
	$(BIN)/python tools/web_sources.py | diff - src/evenbit/export/web/sources.sha256 || { echo "run make wasm" >&2; exit 1; }
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/ruff format --check $(PYTHON_FILES)
	$(BIN)/mypy
	$(CXX_FILES) | xargs $(BIN)/clang-format --dry-run --Werror

format: .venv/installed ## bring the sources into form
	$(BIN)/ruff format $(PYTHON_FILES)
	$(CXX_FILES) | xargs $(BIN)/clang-format -i

docs: .venv/installed ## build the docs as a site in site/
	NO_MKDOCS_2_WARNING=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mkdocs build --strict

headline: .venv/installed ## train ResNet-18 in float and binary for as long as SECONDS say, for a GPU; DATA is where CIFAR-10 is
	$(BIN)/python benchmarks/headline.py --seconds $(SECONDS) --data-root $(DATA) --out runs/headline

bench: .venv/installed ## time a binary ResNet-18 beside other runtimes
	mkdir -p runs
	$(BIN)/evenbit pack --untrained resnet18 --float-layers int8 -o runs/resnet18.evb
	$(BIN)/evenbit bench runs/resnet18.evb --against onnxruntime,onnxruntime-int8,openvino-int8

reliability: .venv/installed ## write docs/reliability.md from what is kept in results/
	$(BIN)/python benchmarks/reliability.py render

coverage: .venv/installed ## run the tests and say which lines of the Python package they reach
	$(BIN)/pytest --cov --cov-report=term:skip-covered

results: .venv/installed ## write docs/results.md from the kept runs in results/
	$(BIN)/python benchmarks/results.py render
