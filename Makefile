# Everything runs in .venv, which is made on first use from the pinned requirements.
PYTHON ?= python3
# Images of containers often set it, and then each of the hundreds of processes that tests start
# compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin

OLDEST := .venv-prefect-oldest
SEARCH := .venv-search
TORCH := .venv-torch

.PHONY: quickstart test test-all test-search test-torch test-prefect-oldest test-ui chaos check bench gpu-check docs changelog clean

$(VENV)/.installed: requirements.txt requirements-dev.txt pyproject.toml
	@echo "Installing into $(VENV); this takes a few minutes once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/prefect-tune quickstart $(ARGS)

# Each module's tests stay in one process, which shares its servers and clusters. They begin in the
# order of their names: short modules are the last ones. Four processes on two cores, as many tests wait.
test: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not slow and not chaos and not ui" -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not ui" $(ARGS)

$(OLDEST)/.installed: requirements.txt requirements-dev.txt requirements-prefect-oldest.txt pyproject.toml
	@echo "Installing into $(OLDEST); this takes a few minutes once."
	@$(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-prefect-oldest.txt
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

test-prefect-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest tests/orchestration tests/integration/test_prefect_*.py $(ARGS)

$(SEARCH)/.installed: requirements.txt requirements-dev.txt requirements-search.txt pyproject.toml
	@echo "Installing into $(SEARCH); this takes a few minutes once."
	@$(PYTHON) -m venv $(SEARCH)
	@grep -v '^bayesian-optimization' requirements-dev.txt > $(SEARCH)/requirements-dev.txt
	@$(SEARCH)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r $(SEARCH)/requirements-dev.txt -r requirements-search.txt
	@$(SEARCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

test-search: $(SEARCH)/.installed
	$(SEARCH)/bin/python -m pytest tests/search/test_libraries.py -k "Nevergrad or TestAx or AxSearch" $(ARGS)

$(TORCH)/.installed: requirements.txt requirements-dev.txt requirements-torch.txt pyproject.toml
	@echo "Installing into $(TORCH); this takes a few minutes once."
	@$(PYTHON) -m venv $(TORCH)
	@$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt -r requirements-torch.txt
	@$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

test-torch: $(TORCH)/.installed
	$(TORCH)/bin/python -m pytest tests/integration/test_torch.py tests/docs/test_code_blocks.py -k "torch or distributed" $(ARGS)

$(VENV)/.ui: $(VENV)/.installed requirements-ui.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-ui.txt
	@touch $@

# Makes the pictures of the docs, too. Drives an installed Chromium, e.g. of `apt-get install chromium`.
test-ui: $(VENV)/.ui
	PREFECT_TUNE_UI_IMAGES=docs/images $(BIN)/python -m pytest tests/ui $(ARGS)

chaos: $(VENV)/.installed
	$(BIN)/python -m tests.chaos $(ARGS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks $(ARGS)

$(VENV)/.gpu: $(VENV)/.installed requirements-gpu.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-gpu.txt
	@touch $@

# Needs a GPU, and says so without one. With PyTorch for CUDA in .venv it tries NCCL, too.
gpu-check: $(VENV)/.gpu
	$(BIN)/python -m benchmarks.gpu_check

$(VENV)/.docs: $(VENV)/.installed requirements-docs.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_search_table.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m pytest tests/docs $(ARGS)

changelog: $(VENV)/.installed
	$(BIN)/towncrier build --version $$($(BIN)/python -c "import prefect_tune; print(prefect_tune.__version__)") $(ARGS)

clean:
	rm -rf $(VENV) $(OLDEST) $(SEARCH) $(TORCH) build dist
