# Two commands set everything up on a fresh machine with Python 3.11 and make, in a clone or an unpacked zip: `make repro` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)/src
READY := $(VENV)/.ready
TYPES := .venv-types
SLOW ?= slow

.PHONY: repro test lab live live-assets bench fuzz deps docs types clean
repro: $(READY)  ## run the whole pipeline; open reports/site/index.html afterwards
	@python -m ferlab.clone
	@python -m ferlab.pipeline check
	python -m dvc repro
	@echo "The report: reports/site/index.html"
	@python -m ferlab.expected

test: $(READY)  ## all tests, fast ones first; the slow ones too where a fast one failed; a file's tests in one process, up to four processes
	trap 'exit 130' INT; status=0; for part in "not slow" "$(SLOW)"; do \
	  python -m pytest -q -m "$$part" -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder || status=1; done; exit $$status

lab: $(READY)  ## JupyterLab on the notebooks; saving one without an edit leaves its bytes as they were
	JUPYTER_CONFIG_DIR="$(CURDIR)/conf/jupyter" python -m jupyter lab

live: $(READY)  ## the live notebooks alone: camera, pictures, videos; on this machine only
	JUPYTER_CONFIG_DIR="$(CURDIR)/conf/jupyter" python -m voila notebooks/live

live-assets: $(READY)  ## write the packed browser parts again from their npm packages; nothing else needs npm
	python -m ferlab.live.parts

bench: $(READY)  ## speed and memory as ratios of one run
	trap 'exit 130' INT; status=0; for bench in tests/bench/bench_*.py; do \
	  echo "== $$bench"; SECONDS=0; python "$$bench" || status=1; echo "$$SECONDS s"; done; exit $$status

fuzz: $(READY)  ## 100,000 spoilt inputs (a round of 500 is among the slow tests); make fuzz ROUNDS=20 for fewer
	python tests/fuzz/fuzz.py --rounds $(or $(ROUNDS),200) --seed $(or $(SEED),1)

deps: $(READY)  ## write the lists of code in dvc.yaml anew, from what the notebooks import
	python -m ferlab.dependencies

docs: $(READY)  ## write what pages take from the code anew: docs/api.md, the table of docs/studies.md, README's picture
	python -m ferlab.documents
	python -m ferlab.reporting.site.readme_picture

types: $(READY)  ## check the types of src with mypy, which lives apart from the environment
	@test -d $(TYPES) || python -m venv $(TYPES)
	@$(TYPES)/bin/python -m pip install --quiet --disable-pip-version-check mypy==2.4.1
	$(TYPES)/bin/mypy

clean:  ## remove the environment and what interrupted runs left
	rm -rf $(VENV) $(TYPES) data/.partial data/scratch reports/_failed

# Made anew when the pins change; a half-made environment has no .ready and is mended by the next call.
$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(v != (3, 11) and f"Python 3.11 is needed, found {v[0]}.{v[1]}; say make PYTHON=/path/to/python3.11")'
	@echo "Making the environment in $(VENV) (once, a few minutes) ..."
	"$(PYTHON)" -m venv $(VENV)
	python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)
