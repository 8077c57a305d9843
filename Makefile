# custom_pose_ros: every target sets up what it needs the first time. `make help` lists them.
# PYTHON=python3.12 make demo   takes another interpreter (3.10 to 3.13)

PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
DISTRO ?=
ARGS ?=
MINUTES ?= 30

PYTHON_VARIABLE = PYTHON
SETUP = $(PYTHON) .make/bootstrap.py
DISTRO_OPTION = $(if $(DISTRO),--distro $(DISTRO))
TWO_PROCESSES = --numprocesses 2 --dist loadfile # half of the time of a test of nodes is waiting

.DEFAULT_GOAL := help
.PHONY: help python demo face test test-oldest bench soak docs lint

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

python:
	@$(PYTHON) -c '' 2> /dev/null || { echo "$(PYTHON) is not installed. On Debian or Ubuntu: sudo apt install" \
		"$(PYTHON) $(PYTHON)-venv $(PYTHON)-dev. Or: $(PYTHON_VARIABLE)=/path/of/python make $(MAKECMDGOALS)" >&2; exit 1; }

demo: python ## find the shipped submarine in a video over real ROS 2 topics -> build/demo/
	@$(SETUP) demo $(DISTRO_OPTION) -- -m custom_pose_ros.tools.demo $(ARGS)

face: python ## find faces with your webcam, without training (ARGS=photo.jpg: in pictures, folders or videos)
	@$(SETUP) face -- -m custom_pose_ros.tools.predict $(or $(ARGS),0) --object face --reference-frame camera_body

test: python ## run the whole test suite (DISTRO=jazzy: on ROS 2 Jazzy; ARGS='-k tracking': options of pytest)
ifeq ($(strip $(ARGS)),)
	@$(SETUP) test $(DISTRO_OPTION) -- -m pytest $(TWO_PROCESSES) --ignore=test/training
	@$(SETUP) test $(DISTRO_OPTION) -- -m pytest $(TWO_PROCESSES) test/training # by itself: with all libraries in one process signals have crashed it (inference/backends/signal_stack.py)
else
	@$(SETUP) test $(DISTRO_OPTION) -- -m pytest $(ARGS)
endif

test-oldest: PYTHON = $(OLDEST_PYTHON)
test-oldest: PYTHON_VARIABLE = OLDEST_PYTHON
test-oldest: python ## run the tests of core and inference with the oldest supported versions, on python3.10
	@$(SETUP) test-oldest -- -m pytest test/core test/inference $(ARGS)

bench: python ## measure every stage, backend and the live node on this machine -> build/bench/ (ARGS=--help: what else)
	@$(SETUP) bench $(DISTRO_OPTION) -- test/benchmarks/bench.py $(ARGS)

soak: python ## run both nodes for MINUTES=30 behind a camera of 30 Hz: lost frames, memory, latency -> build/soak/
	@$(SETUP) soak $(DISTRO_OPTION) -- test/benchmarks/soak.py --minutes $(MINUTES) $(ARGS)

docs: python ## build the documentation and check its links -> build/docs/html/index.html
	@$(SETUP) docs $(DISTRO_OPTION) -- -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs build/docs/html $(ARGS)
	@echo build/docs/html/index.html

lint: python ## check style and types
	@$(SETUP) lint $(DISTRO_OPTION) -- -m ruff check
	@$(SETUP) lint $(DISTRO_OPTION) -- -m ruff format --check
	@$(SETUP) lint $(DISTRO_OPTION) -- -m mypy
