# WE-PaDiM: `make demo` and `make test` need Python 3.10+ and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(CURDIR)/$(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo test bench study tutorials outputs fuzz coverage mutate peers readme docs clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

install: $(STAMP)  ## make the environment in .venv and install the project with all it needs
	@echo "environment ready in $(VENV)"

# The stamp is written last, so an interrupted installation is done again; it is newer than
# what decides the environment, so an unchanged one is used again.
$(STAMP): settings.ini setup.py
	@echo "making the environment in $(VENV) (once; about 7 GB with torch)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make environments: install its venv package (Debian: apt install python3-venv)"; exit 2; }
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --upgrade pip
	@"$(BIN)/python" -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo:  ## train and test on real solar cells; writes results/demo/report.html
	@if [ -f $(STAMP) ] && [ ! settings.ini -nt $(STAMP) ] && [ ! setup.py -nt $(STAMP) ]; then echo "using the environment that is in $(VENV)"; else $(MAKE) --no-print-directory install; fi
	@"$(BIN)/wepadim_demo"

# The order is from cheap to dear; pytest comes last and has the last word.
test: $(STAMP)  ## check notebooks, export, README and docs, run all notebooks and tests
	@"$(BIN)/python" tools/check.py
	@PATH="$(BIN):$$PATH" OMP_NUM_THREADS=1 "$(BIN)/nbdev_test" --n_workers 2 --timing
	@"$(BIN)/python" -m pytest tests -n 2

bench: $(STAMP)  ## measure the search beside a direct implementation; writes results/benchmark
	@mkdir -p results/benchmark
	@"$(BIN)/python" tools/run_notebook.py nbs/experiments/benchmark.ipynb results/benchmark/benchmark.ipynb
	@"$(BIN)/python" -m json.tool results/benchmark/benchmark.json | head -9

STUDY := explanations/where_the_defect_is explanations/false_alarms explanations/choosing_without_labels explanations/few_images_moving_parts experiments/baselines

study: $(STAMP)  ## measure every option on WEPADIM_DATA, or on the solar cells; goes on where it was stopped; writes results/study
	@mkdir -p results/study
	@set -e; for n in $(STUDY); do "$(BIN)/python" tools/run_notebook.py nbs/$$n.ipynb results/study/$$(basename $$n).ipynb; done
	@echo "executed notebooks in results/study"

tutorials: $(STAMP)  ## run every tutorial from a fresh kernel
	@PATH="$(BIN):$$PATH" "$(BIN)/python" tools/tutorials.py

outputs: $(STAMP)  ## run notebooks for their committed outputs: make outputs NB=nbs/29_spill.ipynb, several in quotes
	@"$(BIN)/python" tools/outputs.py $(NB)

fuzz: $(STAMP)  ## load 5,000 damaged images and models, at most 5 minutes
	@"$(BIN)/python" tools/fuzz.py

coverage: $(STAMP)  ## lines of wepadim that notebooks and tests run; writes results/coverage
	@PATH="$(BIN):$$PATH" "$(BIN)/python" tools/coverage_all.py

mutate: $(STAMP)  ## break 20 lines, one at a time, and see that notebooks or tests notice
	@PATH="$(BIN):$$PATH" "$(BIN)/python" tools/mutate.py

peers: $(STAMP)  ## measure anomalib's PaDiM and PatchCore beside the presets: make peers ARGS='--category bottle'; writes results/peers
	@"$(BIN)/python" tools/peers.py $(ARGS)

readme: $(STAMP)  ## write README.md from nbs/index.ipynb
	@"$(BIN)/python" tools/method_picture.py
	@"$(BIN)/python" tools/readme.py

docs: $(STAMP)  ## render the site with quarto (which must be installed) into _docs
	@PATH="$(BIN):$$PATH" "$(BIN)/nbdev_docs"

clean:  ## remove the environment and everything that was made
	rm -rf $(VENV) _proc _docs build dist *.egg-info
