# make course   runs the whole course headless and writes a report
# make test     runs everything that is checked, exactly as CI does
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help env data course test lab app bench curate lock clean distclean

BIN := .venv/bin
PROFILE ?= quick
DATA ?= auto
SMOKE := runs/test
JOBS := 2
PORT := 8866
HOST :=
VOILA :=

# Tests run in two processes, a file in one of them: one thread each, or they wait for each other's spinning threads.
test: export OMP_NUM_THREADS ?= 1

# One heap for all threads: the holes that one heap a thread leaves added up to 0.2 GB in the live tool (the app's own
# setting: notebooks/serve/voila.py).
lab bench: export MALLOC_ARENA_MAX ?= 1
lab: export GOMP_SPINCOUNT ?= 4000

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 18

env: ## Make .venv from requirements.lock (PYTHON=... chooses the interpreter)
	@bash .ci/env

data: env ## Get EuroSAT, or DATA=name, through RSPRUNE_MIRROR if that is set
	$(BIN)/rsprune data fetch $(if $(filter auto,$(DATA)),eurosat,$(DATA))

course: env ## Run all notebooks and write a report (PROFILE=smoke|quick|full, DATA=eurosat|synthetic|folder)
	@if [ "$(DATA)" = auto ]; then \
	  $(BIN)/rsprune data fetch eurosat || echo "EuroSAT cannot be had now: the course runs on synthetic scenes." >&2; fi
	$(BIN)/rsprune run --profile $(PROFILE) --data "$(DATA)"

test: env ## Lint, unit tests, notebooks in profile smoke, their outputs a second time, the app in a browser
	@status=0; export RSPRUNE_PROFILE=smoke; \
	[ "$(RSPRUNE_BROWSER_TESTS)" = off ] || bash .ci/browser >/dev/null || status=1; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/rsprune run --profile smoke --data synthetic --out $(SMOKE) --force || status=1; \
	$(BIN)/python -m pytest -v -rs tests $$(ls -d $(SMOKE) 2>/dev/null) --nbval-lax --nbval-current-env --nbval-cell-timeout=300 \
	  -n $(JOBS) --dist loadfile --durations=25 || status=1; \
	exit $$status

lab: env ## Open the course in JupyterLab
	$(BIN)/jupyter lab notebooks/00_start.ipynb

app: env ## Open the pruning studio as a page (PORT=8866; for a class HOST=public.name, see README)
	@$(BIN)/python -c "from rsprune_lib.data import load_data; load_data('auto')"
	RSPRUNE_APP_HOST=$(HOST) $(BIN)/voila notebooks/app.ipynb --Voila.config_file_paths=notebooks/serve --port=$(PORT) $(VOILA)

bench: env ## Measure speed against baselines in the same run
	$(BIN)/python benchmarks/bench.py --data $(DATA)

curate: env ## Put fresh outputs into the committed notebooks (profile quick)
	$(BIN)/python -m rsprune_lib.course.headless.curate --data $(DATA)

lock: ## Write requirements.lock from what .venv holds now
	@sed -n '/^#/p' requirements.lock > requirements.lock.new
	@$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/\+cpu$$//' >> requirements.lock.new
	@! grep -n ' @ ' requirements.lock.new || { echo "A package came from a file; install it by name first." >&2; exit 1; }
	@mv requirements.lock.new requirements.lock

clean: ## Remove caches and test runs; environment, data and your runs stay
	rm -rf $(SMOKE) runs/scratch build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf .venv *.egg-info
