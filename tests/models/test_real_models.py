"""Real pretrained models, as users have them: `make models-test`, or SIVGAP_MODELS=FOLDER with models by name in it.

``SIVGAP_MODELS_QUICK=1`` takes the smallest model alone. The problems are our own, so nothing else is needed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import ROOT
from transformers import AutoModelForCausalLM

MODELS = os.environ.get("SIVGAP_MODELS", "")
SMALLEST = "smollm2_135m"
CHAT = ["smollm2_135m", "qwen25_coder_0_5b", "qwen25_coder_1_5b"]
BASE = ["gemma3_270m"]
QUICK = bool(os.environ.get("SIVGAP_MODELS_QUICK"))

pytestmark = [
    pytest.mark.skipif(not MODELS, reason="needs real models: SIVGAP_MODELS=FOLDER"),
    pytest.mark.timeout(1800),
]
slow = pytest.mark.skipif(QUICK, reason="SIVGAP_MODELS_QUICK is set")

PROBLEMS = [
    ("Tom has 3 bags with 4 marbles each. How many marbles does he have?", "3*4 = 12\n#### 12"),
    ("A pen costs 2 dollars. How many dollars do 7 pens cost?", "2*7 = 14\n#### 14"),
    ("Ann read 10 pages on Monday and 15 on Tuesday. How many pages did she read?", "10+15 = 25\n#### 25"),
    ("A farmer has 20 sheep and sells 8. How many sheep are left?", "20-8 = 12\n#### 12"),
    ("There are 6 rows of 5 chairs. How many chairs are there?", "6*5 = 30\n#### 30"),
    ("Ben had 50 cents and spent 20. How many cents are left?", "50-20 = 30\n#### 30"),
    ("A box holds 12 eggs. How many eggs do 3 boxes hold?", "12*3 = 36\n#### 36"),
    ("Lea is 9 and her brother is 4 years older. How old is he?", "9+4 = 13\n#### 13"),
]


def folder(name: str) -> Path:
    found = Path(MODELS).expanduser() / name
    if not (found / "config.json").exists():
        pytest.skip(f"{found} is not there")
    return found


@pytest.fixture
def gsm8k(tmp_path) -> list[str]:
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in PROBLEMS]
    for name, some in (("train", lines[:4]), ("test", lines[4:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(some) + "\n")
    return ["dataset=gsm8k", f"dataset.path={tmp_path / 'train.jsonl'}", f"dataset.test_path={tmp_path / 'test.jsonl'}"]


def asked(name: str) -> list[str]:
    base = ["model.chat_template=false", "dataset.prompt=base/solve_gsm8k.txt", "model.stop=['Question:']"]
    return ["model=custom", f"model.path={folder(name)}", "model.dtype=bfloat16", *(base if name in BASE else [])]


def sivgap(where: Path, name: str, *arguments: str, seconds: float = 1500) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"sivgap.{name}", *arguments], cwd=where, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=seconds,
    )  # fmt: skip


def made(done: subprocess.CompletedProcess[str], where: Path) -> Path:
    assert done.returncode == 0, done.stderr[-3000:]
    return where / done.stdout.splitlines()[-1]


def engine_of(name: str, dtype: str = "float32"):
    from sivgap.config.model import ModelConfig
    from sivgap.engines.hf import HFEngine
    from sivgap.models.load import load_model, pad_token

    config = ModelConfig(
        name=name, path=str(folder(name)), dtype=dtype, chat_template=False, lora_targets=["all-linear"],
        parameters=1e9, licence="",
    )  # fmt: skip
    loaded = load_model(config)
    text = loaded.tokenizer(PROBLEMS[0][0])["input_ids"]
    return loaded, HFEngine(loaded.model, loaded.end_tokens, pad_token(loaded), 64, None, text)


@pytest.mark.parametrize("name", [SMALLEST, *(pytest.param(name, marks=slow) for name in ["gemma3_270m", CHAT[1]])])
def test_likelihoods_of_sampled_tokens_are_those_of_an_ordinary_pass(name):
    from sivgap.core.rollout import FollowUp, Prompt, Sampling

    loaded, engine = engine_of(name)
    prompts = [Prompt(tuple(loaded.tokenizer(q)["input_ids"]), i) for i, (q, _) in enumerate(PROBLEMS[:2])]
    question = tuple(loaded.tokenizer("\nIs it right?", add_special_tokens=False)["input_ids"])
    answers = tuple(tuple(loaded.tokenizer(a, add_special_tokens=False)["input_ids"]) for a in (" Yes", " No"))
    rollouts = engine.rollout(prompts, Sampling(2, 1.0, 24, 0), FollowUp(question, 0.1, 1, answers))
    plain = AutoModelForCausalLM.from_pretrained(folder(name), dtype=torch.float32)
    for row, response in enumerate(rollouts.tokens):
        ids = [*prompts[row // 2].tokens, *response]
        with torch.inference_mode():
            logp = plain(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        places = range(len(ids) - len(response) - 1, len(ids) - 1)
        expected = -sum(float(logp[i, ids[i + 1]]) for i in places)
        assert rollouts.nll.flat[row] == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("name", [SMALLEST, *(pytest.param(name, marks=slow) for name in CHAT[1:])])
def test_models_of_llamas_kind_take_the_lean_pass_in_bfloat16(name):
    assert engine_of(name, "bfloat16")[1]._pass.refusal == ""


@pytest.mark.parametrize(
    ("name", "verifier"),
    [(SMALLEST, "qe"), *(pytest.param(n, v, marks=slow) for n in (*CHAT[:2], *BASE)
                         for v in ("qe", "tf", "mc", "cot_binary", "cot_score", "tournament", "ensemble", "gold"))],
)  # fmt: skip
def test_an_evaluation_by_any_verifier_says_what_it_did_and_what_to_beware_of(name, verifier, gsm8k, tmp_path):
    short = ["sampling.max_new_tokens=48", "n=2", "panel.prompts=4"]
    if verifier in ("cot_binary", "cot_score", "tournament"):
        short.append("verifier.max_new_tokens=48")
    if verifier == "ensemble":
        short.append("verifier.members=[mc,tf]")  # members have lengths of their own, and a justification takes minutes
    if name in BASE and verifier != "gold":
        short.append(f"verifier.prompt=base/{verifier}.txt")
    done = sivgap(tmp_path, "evaluate", *asked(name), *gsm8k, f"verifier={verifier}", *short)
    run = made(done, tmp_path)
    assert run.name.startswith(f"evaluate-{name}-gsm8k-{verifier}")
    page = (run / "report.html").read_text()
    assert ">nan<" not in page
    assert "answer nan" not in page
    scores = pd.read_parquet(run / "scores.parquet")
    assert len(scores) == 8
    assert scores["score"].between(0, 1).all()
    assert np.isfinite(scores["nll"]).all()
    assert "beware" in done.stderr  # of 4 problems nothing is sure
    assert "first prompt, " in done.stderr  # as the model gets it; a rate follows where sampling takes seconds


def test_a_run_is_stopped_resumed_exported_and_read_by_other_libraries(gsm8k, tmp_path):
    from peft import PeftModel

    settings = [
        *asked(SMALLEST), *gsm8k, "verifier=gold", "n=2", "sampling.max_new_tokens=32", "epochs=1",
        "update.batch_size=2", "update.learning_rate=1e-3", "tracking.wandb.mode=disabled", "engine.threads=1",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "sivgap.train", *settings], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    while not list((tmp_path / "runs").glob("*/checkpoints/epoch=*")) and process.poll() is None:
        time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=300)[1]
    assert process.returncode in (0, 75), said[-2000:]
    assert time.monotonic() - began < 30
    run = made(sivgap(tmp_path, "train", *settings), tmp_path)
    lines = [json.loads(line) for line in (run / "trajectory.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["split"] == "test"] == [0.0, 0.5, 1.0]
    newest = sorted((run / "checkpoints").glob("epoch=*"))[-1]
    base = AutoModelForCausalLM.from_pretrained(folder(SMALLEST), dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, newest)
    out = made(sivgap(tmp_path, "export", f"run='{run}'", f"out={tmp_path / 'merged'}", "merged=true"), tmp_path)
    merged = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    ids = torch.arange(500, 540)[None]
    with torch.inference_mode():
        one, other = adapted(ids).logits, merged(ids).logits
    assert float((one - other).abs().max()) < 0.1 * float(one.abs().max())  # merged weights are rounded to bfloat16


@slow
@pytest.mark.parametrize(
    "settings",
    [
        ["update=rpo", "verifier=gold", "update.learning_rate=1e-6"],
        ["update.parameters=full", "verifier=gold"],
        ["cross.strategy=early", "cross.source=model", "cross.model.path={}", "cross.model.dtype=bfloat16",
         "cross.budget=2", "verifier=mc"],
        ["launch.processes=2", "verifier=tf", "engine.threads=1"],
        ["selection.quantile=0.5", "verifier=mc", "selection.keep=all"],
    ],
    ids=["rpo", "full", "cross", "processes", "quantile"],
)  # fmt: skip
def test_every_way_of_training_runs_on_a_real_model(settings, gsm8k, tmp_path):
    given = [part.format(folder(SMALLEST)) for part in settings]
    short = ["n=2", "sampling.max_new_tokens=32", "epochs=0.5", "update.batch_size=2", "tracking.wandb.mode=disabled"]
    run = made(sivgap(tmp_path, "train", *asked(SMALLEST), *gsm8k, *short, *given), tmp_path)
    assert len((run / "trajectory.jsonl").read_text().splitlines()) == 4


@slow
def test_a_preflight_says_what_is_wrong_within_minutes(gsm8k, tmp_path):
    began = time.monotonic()
    where = made(sivgap(tmp_path, "preflight", *asked(CHAT[1]), *gsm8k, "verifier=tf"), tmp_path)
    assert time.monotonic() - began < 300
    found = json.loads(next(iter([where] if where.suffix == ".json" else where.glob("*.json"))).read_text())
    assert found
