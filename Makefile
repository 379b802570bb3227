# Needs Python 3.11 or newer, pip and GNU make; everything else goes into .venv on the first call.
# `make` alone lists the targets.

PYTHON  ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11 python,$(call suits,$(p))))
WORKERS ?= 2
ARGS    ?=

is_new_enough := import sys; sys.exit(sys.version_info < (3, 11))
suits = $(shell command -v $(1) >/dev/null 2>&1 && $(1) -c '$(is_new_enough)' 2>/dev/null && echo $(1))

python := .venv/bin/python
pytest := $(python) -m pytest -n $(WORKERS) --dist worksteal
ready  := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help venv run test quick many parity security trust programs labs mutants bench fuzz torture lint clean
.NOTPARALLEL:    # the tests share out the cores themselves, and `make -j clean test` means one after the other

help:  ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

venv: $(ready)  ## set up .venv with the tested versions

run: $(ready)  ## train on Fashion-MNIST in NumPy and in PyTorch and compare; options in ARGS="--epochs 5"
	$(python) scripts/fashion_mnist.py $(ARGS)

test: $(ready)  ## the tests, quick and slow, in about 15 minutes
	$(pytest) $(ARGS)

quick: $(ready)  ## the tests that take seconds
	$(pytest) -m "not slow and not many" $(ARGS)

many: export HYPOTHESIS_PROFILE = many
many: $(ready)  ## many more random networks, examples and whole trainings than `make test` has
	$(pytest) -m "many or hypothesis" $(ARGS)

parity: $(ready)  ## the parity suite alone, in under 30 seconds
	$(pytest) tests/parity $(ARGS)

security: $(ready)  ## hostile programs in one class run, in about 3 minutes; needs bubblewrap: SECURITY.md
	$(python) -m pytest -m "many" tests/security $(ARGS)

trust: $(ready)  ## measure the checker on planted faults and correct networks, in about half an hour: docs/trust.md
	$(python) scripts/measure_checker.py --resume --workers $(WORKERS) $(ARGS)

programs: $(ready)  ## measure the checker on 20,000 programs that a program writes, in hours: docs/programs.md
	$(python) scripts/measure_programs.py --resume --workers $(WORKERS) $(ARGS)

labs: $(ready)  ## run every lab and study in both backends, in about half an hour: docs/labs.md
	$(python) scripts/labs_page.py --workers $(WORKERS) $(ARGS)

mutants: $(ready)  ## mutation testing with the check as the judge, in about 15 minutes: docs/mutants.md
	$(python) scripts/mutate.py --workers $(WORKERS) $(ARGS)

bench: $(ready)  ## an epoch by NumPy, PyTorch and others, in turns, in about 10 minutes: runs/benchmark
	$(python) scripts/benchmark.py --sweeps $(ARGS)

fuzz: $(ready)  ## a million hostile files for the readers, in about an hour; guided by coverage where atheris is installed
	$(python) scripts/fuzz.py $(ARGS)

torture: $(ready)  ## kill a run, fill its disk, take its memory, and count what is lost, in about an hour
	$(python) scripts/torture.py $(ARGS)

lint: $(ready)  ## ruff and mypy
	$(python) -m ruff check .
	$(python) -m mypy

clean:  ## remove .venv and what the tools left behind; data and results stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each worker has one thread: with more, the two fight over the cores.
test quick many parity security trust programs: export OMP_NUM_THREADS = 1
test quick many parity security trust programs: export OPENBLAS_NUM_THREADS = 1
test quick many parity security trust programs: export MKL_NUM_THREADS = 1

# The mark is there from before the first file until after the last one, so an interrupted install is never trusted:
# it becomes the stamp by its new name, and keeps the time at which the install began.
mark := .venv/.unfinished
$(ready): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and none was found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c '$(is_new_enough)' 2>/dev/null || { echo "$(PYTHON) is not a Python 3.11 or newer; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make environments: install its venv module (on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }
	@if test -e $(mark); then echo "An earlier install was interrupted: starting afresh."; rm -rf .venv; fi
	@mkdir -p .venv && touch $(mark) && rm -f $@
	test -x $(python) || "$(PYTHON)" -m venv .venv
	$(python) -m pip install -c constraints.txt -e '.[dev]'
	@mv $(mark) $@
