# One command per duty. `make demo` and `make test` are all that a newcomer needs.
#
#   make install      build .venv with the exact versions of constraints.txt
#   make demo         install, then do the main job and open the app     (ARGS="--place chicago")
#   make test         install, then run the tests, in the browser too where Chromium is there
#   make check        lint, formatting, types, floors
#   make bench        run the benchmarks            (BENCH=benchmarks/loss.py ARGS="--batch 512")
#   make results      evaluate all three places and put the tables into README.md (hours)
#   make constraints  resolve constraints.txt anew
#   make clean        remove .venv and caches; data/ stays

PYTHON ?= python3
ARGS ?=
BENCH ?= $(sort $(wildcard benchmarks/*.py))
TORCH = 2.13.0

BIN = .venv/bin
INSTALLED = .venv/installed
EXTRAS = app,notebook,dev

.PHONY: install demo test check bench results constraints clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "mobclip needs Python 3.11 or newer; $(PYTHON) is older or missing."; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: install
	$(BIN)/mobclip demo $(ARGS)

test: install
	$(BIN)/pytest $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	@for file in $(BENCH); do echo "== $$file"; $(BIN)/python $$file $(ARGS) || exit 1; done

# Resolved without installing. setuptools is left to each Python: torch's needs differ by version.
results: install
	for place in synthetic chicago new-york; do \
	  $(BIN)/mobclip ablate $$place --recipe mobclip && $(BIN)/mobclip subsets $$place || exit 1; \
	  for recipe in propagated pca; do \
	    $(BIN)/mobclip ablate $$place --recipe $$recipe && \
	    $(BIN)/mobclip scale $$place --recipe $$recipe || exit 1; \
	  done; done
	$(BIN)/mobclip transfer chicago new-york --resolution 8
	for place in synthetic chicago new-york; do $(BIN)/mobclip evaluate $$place || exit 1; done
	$(BIN)/python docs/results.py "$${MOBCLIP_DATA_DIR:-data}"

constraints:
	@rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	@echo 'torch==$(TORCH)' > .venv-constraints/seed.txt
	.venv-constraints/bin/python -m pip install -q --disable-pip-version-check --dry-run \
	  --report .venv-constraints/report.json -c .venv-constraints/seed.txt '.[$(EXTRAS)]'
	@sed -n '/^#/p' constraints.txt > .venv-constraints/constraints.txt
	@.venv-constraints/bin/python -c 'import json, sys; \
	  found = [one["metadata"] for one in json.load(open(sys.argv[1]))["install"]]; \
	  plain = {one["name"]: one["version"].split("+")[0] for one in found}; \
	  skip = ("mobclip", "setuptools", "triton", "nvidia", "cuda"); \
	  kept = sorted((n for n in plain if not n.lower().startswith(skip)), key=str.lower); \
	  print("\n".join(f"{n}=={plain[n]}" for n in kept))' \
	  .venv-constraints/report.json >> .venv-constraints/constraints.txt
	@mv .venv-constraints/constraints.txt constraints.txt && rm -rf .venv-constraints
	@git diff --stat constraints.txt

clean:
	rm -rf .venv .venv-constraints .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find core app tests notebooks benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
