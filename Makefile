# Two commands matter: `make run` executes every lesson, `make test` checks everything. Each of them sets up what it
# needs on a fresh machine: `.ci/setup` makes .venv and installs the course into it; the next call starts at once.
#
#   make run                    all lessons, headless, at the sizes of a laptop   (results: out/index.html)
#   make run PROFILE=smoke      … in seven minutes; LESSON=01 runs one lesson;  ARGS="--strict" adds flags
#   make lab                    JupyterLab on copies of the lessons in work/, which git ignores
#   make site                   the course as static pages, from the stored outputs     (out/site/index.html; ARGS=--open)
#   make grade-demo             twelve sample submissions, some hostile, graded and shown (out/grade-demo/index.html)
#   make test                   lint, types, unit tests, and every notebook under nbval and papermill
#   make test-device            every notebook on a device that refuses what a GPU refuses; no GPU is needed
#   make test-browser           every notebook run whole in JupyterLab, in Chromium         (screenshots: out/browser)
#   make test-colab             every notebook on Colab's versions, installed by its first cell        (out/colab)
#
# PYTHON=/path/to/python3.12 chooses the interpreter. Without a GPU, UV_TORCH_BACKEND=cpu saves 4 GB of download.

SHELL := /bin/bash
PYTHON ?= python3
PROFILE ?= cpu
WORKERS ?= 2
LESSON ?=
ARGS ?=
CONSTRAINTS ?=

BIN := .venv/bin
MODE := $(if $(CONSTRAINTS),-constrained)
LAB := .venv/.ready-lab$(MODE)
SITE := .venv/.ready-site$(MODE)
TEST := .venv/.ready-test$(MODE)
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

export PYTHON CONSTRAINTS
export TIMEFORMAT := -- %0R s

.DEFAULT_GOAL := help
.PHONY: help run lab site grade-demo test test-lint test-unit test-nbval test-nbval-lax test-smoke test-device test-browser test-colab lint constraints clean distclean
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile

run: $(LAB)
	@$(BIN)/course run $(LESSON) --profile $(PROFILE) $(ARGS)

lab: $(LAB)
	@$(BIN)/course lab $(ARGS)

site: $(SITE)
	@$(BIN)/course site $(ARGS)

grade-demo: $(TEST)
	@$(BIN)/python tests/grading/demo.py out/grade-demo $(if $(DISPLAY)$(WAYLAND_DISPLAY),--open) $(ARGS)

test: test-lint test-unit test-nbval test-smoke
	@echo; echo "All tests passed."

lint test-lint: $(TEST)
	@printf '\n== ruff and pyright\n'
	@time { $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright; }

test-unit: $(TEST)
	@printf '\n== unit tests, exercises, runner, hygiene of the notebooks, browser\n'
	@time OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# The stored outputs come from profile cpu on real data. Comparing them with smoke on stand-ins shows every output
# that should carry the tag nbval-ignore-output.
test-nbval: $(TEST)
	@printf '\n== nbval: stored outputs against profile smoke without data\n'
	@time OMP_NUM_THREADS=1 COURSE_PROFILE=smoke COURSE_DATA= COURSE_OFFLINE=1 $(BIN)/pytest -q -p no:cacheprovider --nbval \
		--nbval-current-env --nbval-sanitize-with tests/nbval.cfg --nbval-cell-timeout=120 -n $(WORKERS) \
		--dist loadfile $(NOTEBOOKS)

# For machines whose numbers differ from the stored ones (GPUs): the cells run, outputs are not compared.
test-nbval-lax: $(TEST)
	@time COURSE_PROFILE=smoke $(BIN)/pytest -q -p no:cacheprovider --nbval-lax --nbval-current-env \
		--nbval-cell-timeout=120 $(NOTEBOOKS)

test-smoke: $(TEST)
	@printf '\n== papermill: lessons as they are, without data\n'
	@time COURSE_DATA= COURSE_OFFLINE=1 $(BIN)/course run --profile smoke --jobs $(WORKERS) --out out/smoke-without-data
	@printf '\n== papermill: lessons solved, with the data that there are\n'
	@time COURSE_OFFLINE=1 $(BIN)/course run --profile smoke --jobs $(WORKERS) --solved --out out/smoke-solved

test-device: $(TEST)
	@printf '\n== every lesson on a strict device that is not there, and the headlines at their sizes for a GPU\n'
	@time OMP_NUM_THREADS=1 $(BIN)/pytest -q -m "nightly or not nightly" -n $(WORKERS) tests/running/test_pretend_device.py \
		tests/lessons/test_gpu_sizes.py $(ARGS)

test-browser: $(TEST)
	@printf '\n== every notebook in JupyterLab\n'
	@time OMP_NUM_THREADS=1 $(BIN)/pytest -q -m "nightly or not nightly" -n $(WORKERS) tests/running/test_browser.py \
		tests/running/test_every_notebook.py $(ARGS)

test-colab: $(TEST)
	@time bash .ci/colab

# The set of versions that CI passes with. No host names, so that it works behind any mirror.
constraints: $(TEST)
	@{ echo "# What CI installs: made by \`make constraints\` from pyproject.toml. Use: uv pip install -c constraints.txt"; \
	$(BIN)/uv pip compile pyproject.toml --upgrade --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean:
	@rm -rf out build .hypothesis .pytest_cache .ruff_cache *.egg-info
	@find course_utils tests notebooks benchmarks -name __pycache__ -prune -exec rm -rf {} + \
		-o -name .ipynb_checkpoints -prune -exec rm -rf {} +

distclean: clean
	@rm -rf .venv

# --- set-up -----------------------------------------------------------------------------------------------------

$(LAB) $(SITE) $(TEST): pyproject.toml $(CONSTRAINTS) $(BIN)/python
	@.ci/setup $(patsubst .ready-%,%,$(patsubst %-constrained,%,$(@F)))
	@touch $@ $(if $(filter $(TEST),$@),$(LAB) $(SITE))

$(BIN)/python: ;

# A .venv that was copied or moved here holds the paths of its old place: set up anew.
ifneq ($(wildcard .venv/.place),)
ifneq ($(shell cat .venv/.place),$(shell pwd -P))
.PHONY: $(LAB) $(SITE) $(TEST)
endif
endif
