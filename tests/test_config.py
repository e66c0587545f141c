import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from small_runs import composed

from sivgap.allocate import AllocateConfig
from sivgap.compare import CompareConfig, named
from sivgap.config.app import validate
from sivgap.config.embedded import EMBEDDED
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir, read_prompt
from sivgap.config.members import member_config
from sivgap.config.preflight import PreflightConfig
from sivgap.config.schema import TrainConfig
from sivgap.dashboard import DashboardConfig
from sivgap.export import ExportConfig
from sivgap.fit import FitConfig
from sivgap.grade import GradeConfig
from sivgap.report.__main__ import ReportConfig
from sivgap.runs.identity import identity
from sivgap.upload import UploadConfig

ROOT = Path(__file__).parents[1]
SCHEMAS = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "export": ExportConfig,
    "preflight": PreflightConfig,
    "grade": GradeConfig,
    "fit": FitConfig,
    "allocate": AllocateConfig,
    "report": ReportConfig,
    "dashboard": DashboardConfig,
    "upload": UploadConfig,
    "compare": CompareConfig,
}


def shipped(group: str) -> list[str]:
    return sorted(p.stem for p in (conf_dir() / group).glob("*.yaml"))


MODELS = [m for m in shipped("model") if m != "custom" and m not in EMBEDDED]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_composes_with_every_dataset_and_verifier_at_the_values_of_table_3(model):
    for dataset in ("gsm8k", "math", "nq_open", "sudoku"):
        for verifier in ("qe", "tf"):
            config = composed(f"model={model}", f"dataset={dataset}", f"verifier={verifier}")
            update, sampling = config.update, config.sampling
            assert (update.learning_rate, update.weight_decay, update.lora_rank) == (1e-5, 0.01, 16)
            assert (update.lora_dropout, config.n, config.epochs, config.measure.every) == (0.5, 16, 10, 0.5)
            assert (sampling.solver_temperature, sampling.verifier_temperature) == (1.0, 0.1)
            assert (sampling.top_p, sampling.max_new_tokens, config.selection.threshold) == (1.0, 512, 0.5)
            assert (config.selection.fallback, config.update.replay) == ("likeliest", 0)
            read_prompt(config.dataset.prompt)
            read_prompt(config.verifier.prompt)


def test_a_verifier_asks_in_the_words_for_the_task_and_a_file_of_ones_own_is_taken_as_it_is(tmp_path):
    sudoku = composed("model=llama32_3b", "dataset=sudoku", "verifier=cot_binary").verifier
    assert sudoku.prompt == "chat/cot_binary_sudoku.txt"
    assert composed("model=llama32_3b", "dataset=gsm8k", "verifier=cot_binary").verifier.prompt == "chat/cot_binary.txt"
    assert composed("model=qwen15_7b", "dataset=nq_open", "verifier=mc").verifier.prompt == "base/mc_nq_open.txt"
    own, beside = tmp_path / "own.txt", tmp_path / "own_sudoku.txt"
    for file in (own, beside):
        file.write_text("{question} {response}")
    config = composed("model=llama32_3b", "dataset=sudoku", "verifier=mc", f"verifier.prompt={own}")
    assert config.verifier.prompt == str(own)
    joined = composed("model=llama32_3b", "dataset=sudoku", "verifier=ensemble").verifier
    asked = [member_config(joined, name, "sudoku").prompt for name in ("mc", "qe")]
    assert asked == ["chat/mc_sudoku.txt", "chat/qe.txt"]


def test_members_of_an_ensemble_are_read_as_they_are_alone_or_all_by_likelihoods():
    readouts = {}
    for readout in ("sampled", "expected"):
        joined = composed("model=llama32_3b", "verifier=ensemble", f"verifier.readout={readout}").verifier
        readouts[readout] = [member_config(joined, name, "gsm8k").readout for name in ("mc", "qe", "cot_score")]
    assert readouts == {"sampled": ["expected", "sampled", "sampled"], "expected": ["expected"] * 3}


def test_models_of_the_contract_are_there():
    names = set(shipped("model"))
    assert {"tiny", "llama32_3b", "llama31_8b", "phi4_mini", "phi35_mini", "phi3_mini", "phi4"} <= names
    for family in ("qwen15_", "qwen2_", "qwen25_", "llama2_", "llama3_", "llama31_", "yi15_"):
        assert any(name.startswith(family) for name in names), family


def commands(experiment: str) -> list[tuple[str, list[str]]]:
    """Every command that an experiment's file says to type: the sivgap command, and its overrides."""
    said = (conf_dir() / "experiment" / f"{experiment}.yaml").read_text()
    found = re.findall(r"^#   python -m sivgap\.(train|evaluate) (.*?)(?:   .*)?$", said, re.MULTILINE)
    return [(name, [o for o in shlex.split(typed) if o not in ("-m", "...")]) for name, typed in found]


@pytest.mark.parametrize("experiment", [e for e in shipped("experiment") if e != "smoke"])
def test_every_command_of_an_experiment_composes_at_both_ends_of_its_sweep(experiment):
    assert commands(experiment)
    for name, typed in commands(experiment):
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            fixed = [o for o in typed if "," not in o.partition("=")[2] or o.partition("=")[2].startswith("[")]
            swept = dict(o.split("=", 1) for o in typed if o not in fixed)
            hydra = compose(name, fixed, return_hydra_config=True).hydra
            swept = {**(hydra.sweeper.get("params") or {}), **swept}
            for end in (0, -1):
                chosen = [f"{key}={values.split(',')[end]}" for key, values in swept.items()]
                validate(compose(name, [*fixed, *chosen]), SCHEMAS[name])


def test_smoke_composes():
    composed("experiment=smoke")


@pytest.mark.parametrize("dataset", ["gsm8k", "nq_open", "prontoqa", "sudoku"])
def test_the_protocol_of_mg_is_that_of_its_section_3_on_any_base_model(dataset):
    config = composed("model=qwen15_7b", f"dataset={dataset}", "experiment=mg_protocol")
    sampling = config.sampling
    assert (sampling.top_p, sampling.solver_temperature, sampling.max_new_tokens) == (0.9, 0.7, 512)
    assert (config.dataset.few_shot, config.n) == (4, 128)
    assert "{question}" in read_prompt(config.dataset.prompt)


def test_every_command_in_the_readme_composes():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"python -m sivgap\.(\w+)([^\n`#]*)", text)
    assert {name for name, _ in commands} == set(SCHEMAS)
    for name, rest in commands:
        overrides = shlex.split(rest.replace(" -m ", " "))
        overrides = named(overrides) if name == "compare" else overrides
        for job in product(*([f"{o.split('=')[0]}={v}" for v in o.split("=", 1)[1].split(",")] for o in overrides)):
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                validate(compose(name, list(job)), SCHEMAS[name])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("epochs=-1", ["epochs", "greater than 0"]),
        ("epochs=0.3", ["epochs", "multiple of 0.5"]),
        ("selction.threshold=0.5", ["selction.threshold", "selection.threshold"]),
        ("selection.threshold=1.5", ["selection.threshold", "less than or equal to 1"]),
        ("selection.threshold=nan", ["selection.threshold", "finite"]),
        ("refresh=half_epochs", ["refresh", "half_epoch"]),
        ("model=llama32_3", ["llama32_3b"]),
        ("+foo=1", ["foo", "allowed"]),
        ("engine.handover=adapter", ["engine.handover is a setting of another engine"]),
        ("dataset=gsm8k", ["tiny", "arithmetic only"]),
        ("dataset=sudoku", ["tiny", "arithmetic only"]),
        ("sampling.top_p=0", ["sampling.top_p", "greater than 0"]),
        ("dataset.path=x.txt", [".jsonl or .parquet"]),
        ("n", ["n"]),
    ],
)
def test_a_wrong_setting_ends_with_status_2_the_key_and_what_is_allowed(command, override, expected):
    done = command("train", override)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for words in expected:
        assert words in done.stderr


def test_identity_follows_what_changes_numbers_and_nothing_else(tmp_path):
    plain = identity(composed())
    for harmless in ("runs_dir=elsewhere", "fresh=true", "engine.batch_size=7", "engine.threads=1",
                     "tracking.wandb.mode=disabled", "update.micro_batch_size=4", "plan=h100"):  # fmt: skip
        assert identity(composed(harmless)) == plain
    for harmful in ("seed=1", "n=4", "update.learning_rate=1e-3", "verifier=tf", "refresh=epoch"):
        assert identity(composed(harmful)) != plain
    (tmp_path / "a").mkdir()
    for name in ("one.jsonl", "a/two.jsonl"):
        (tmp_path / name).write_text('{"question": "1+1", "answer": "2"}\n')
    one, two = (identity(composed(f"dataset.path={tmp_path / n}")) for n in ("one.jsonl", "a/two.jsonl"))
    assert one == two != plain


def test_runs_from_before_a_setting_was_added_keep_their_identity(tmp_path):
    tables = ROOT / "benchmarks" / "wordings"
    solver, verifier = (yaml.safe_load((tables / f"{name}.yaml").read_text()) for name in ("solver", "verifier"))
    words = {  # of the prompts of then: they count, their files do not
        "gsm8k": solver["chat"]["gsm8k"]["shipped_at_87a75eb"]["words"] + "\n",
        "qe": verifier["qe"]["shipped_at_87a75eb"]["words"] + "\n",
        "math": solver["base"]["any"]["solution"]["words"],
        "tf": "\nIs this solution correct, True or False? ",
    }

    def before(model, dataset, verifier, tokens):
        for name in (dataset, verifier):
            (tmp_path / f"{name}.txt").write_text(words[name])
        prompts = (f"dataset.prompt={tmp_path / dataset}.txt", f"verifier.prompt={tmp_path / verifier}.txt")
        chosen = (f"model={model}", f"dataset={dataset}", f"verifier={verifier}", f"verifier.max_new_tokens={tokens}",
                  "selection.finished=any")  # fmt: skip
        return identity(composed(*chosen, *prompts))

    assert before("llama32_3b", "gsm8k", "qe", 8) == "62b0faa191dde114"
    assert before("qwen2_7b", "math", "tf", 4) == "67fe0e9f9034cdca"
    assert identity(composed("sampling.top_p=0.9")) != identity(composed())


def test_a_reader_who_has_seen_enough_is_no_error():
    shell = f"{sys.executable} -m sivgap.train --help | head -1"
    done = subprocess.run(shell, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("python -m sivgap.train")
    assert "Traceback" not in done.stderr


def test_help_and_cfg_print_and_exit_0(command):
    shown = command("train", "--help").stdout
    assert "Powered by Hydra" in shown
    assert "sampling.solver_temperature" in shown
    assert "Temperature of responses (SV Table 3: 1)." in shown
    assert "learning_rate" in command("train", "--cfg", "job").stdout


def test_a_run_samples_before_it_loads_what_its_end_needs():
    code = "import sys, sivgap.loop.session; print(*{'lmfit', 'matplotlib', 'scipy.stats', 'wandb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_help_loads_nothing_that_only_a_run_needs(command):
    for name in ("train", "evaluate", "fit"):
        loaded = re.findall(r"\| +(\w+)$", command(name, "--help", PYTHONPROFILEIMPORTTIME="1").stderr, re.MULTILINE)
        assert "hydra" in loaded
        assert not {"torch", "transformers", "scipy", "pandas", "matplotlib", "lmfit", "wandb"} & {*loaded}, name
