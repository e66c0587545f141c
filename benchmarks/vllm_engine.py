"""Engine vllm beside hf: whether both agree, how fast both sample, what a hand-over costs in either way.

    python benchmarks/vllm_engine.py                             without a GPU: the embedded model, and one of 10 M
    python benchmarks/vllm_engine.py --models FOLDER_OR_HUB_ID   with one: real models

For each model, and for each kind of hand-over in a process of its own (which gives all memory back): vLLM's responses
are scored again by hf, greedy texts are compared, then both engines sample and judge the same prompts by turns, and the
weights are handed over after each of a few optimiser steps, slept through on a GPU, each time with its canary.
Ends with status 1 if the engines disagree. Writes benchmarks/results/vllm_engine.json and .md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from study import RESULTS
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from sivgap.config.embedded import WEIGHTS
from sivgap.config.engine import EngineConfig
from sivgap.config.model import ModelConfig
from sivgap.config.update import UpdateConfig
from sivgap.core.example import Example
from sivgap.core.rollout import Engine, FollowUp, Prompt, Rollouts, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.engines.vllm import VLLMEngine
from sivgap.engines.vllm_start import require_vllm, start_vllm
from sivgap.models.load import load_model, pad_token
from sivgap.report.tables import markdown
from sivgap.runtime.hardware import describe_hardware, keep_freed_memory
from sivgap.runtime.rng import derive_key
from sivgap.runtime.versions import vllm_version
from sivgap.tasks import arithmetic
from sivgap.update.sft import Sft

AGREE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.15}
"""Mean difference of a token's log-likelihood, nats."""
KINDS = ("merged", "adapter")
ROW = dict[str, float | str | bool]


def ten_million(folder: Path) -> str:
    """A random model of 10 M parameters with the embedded model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            hidden_size=320, intermediate_size=960, num_hidden_layers=8, num_attention_heads=10, num_key_value_heads=10,
            vocab_size=len(tokenizer), max_position_embeddings=512, eos_token_id=2, bos_token_id=1, pad_token_id=0,
        )
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    return str(folder)


def compare(path: str, kind: str, a: argparse.Namespace) -> ROW:
    """One model and one kind of hand-over, in this process."""
    if a.threads:
        torch.set_num_threads(a.threads)
    keep_freed_memory()
    source = ModelConfig(name="measured", path=path, lora_targets=["all-linear"], parameters=1, licence="")
    update = UpdateConfig(learning_rate=1e-4, lora_dropout=0.0)
    rank = update.lora_rank if kind == "adapter" else None
    loaded = load_model(source.model_copy(update={"chat_template": False}))
    learner = Sft(loaded.model, source, update, 0)
    tokens = [loaded.tokenizer(text)["input_ids"] for text in questions(a.prompts)]
    prompts = [Prompt(tuple(ids), derive_key(i)) for i, ids in enumerate(tokens)]
    config = EngineConfig(name="vllm", batch_size=a.batch_size, memory=a.memory)
    llm = start_vllm(source, "", loaded.model.dtype, config, rank, texts=False)
    vllm = VLLMEngine(llm, loaded.model, loaded.end_tokens, a.batch_size, prompts[0].tokens, kind == "adapter")
    handed = hand_overs(vllm, learner, prompts, a)
    twin = load_model(source.model_copy(update={"chat_template": False})).model
    hf = HFEngine(twin, loaded.end_tokens, pad_token(loaded), a.batch_size)
    hf.load(dict(learner.merged_weights()))
    question = tuple(loaded.tokenizer("\nScore: ", add_special_tokens=False)["input_ids"])
    rows = agreement(vllm, hf, prompts[:32], a)
    speed = speeds({"hf": hf, "vllm": vllm}, prompts, FollowUp(question, 0.1, 4), a)
    dtype = str(loaded.model.dtype).removeprefix("torch.")
    size = sum(p.numel() for p in loaded.model.parameters()) / 1e6
    agrees = rows["difference"] <= AGREE[dtype]
    return {"parameters_m": size, "dtype": dtype, "handover": kind, "agrees": agrees, **rows, **speed, **handed}


def questions(count: int) -> list[str]:
    return [f"Question: {p.question}\nSolution: " for p in arithmetic.generate(count, "train", 0)]


def agreement(vllm: VLLMEngine, hf: HFEngine, prompts: list[Prompt], a: argparse.Namespace) -> ROW:
    """Mean difference, nats a token, of the likelihoods of what vLLM drew; share of greedy texts that are the same."""
    drawn = vllm.rollout(prompts, Sampling(2, 1.0, a.longest, 0))
    each = [prompt for prompt in prompts for _ in range(2)]
    off = np.abs(drawn.nll.ravel() - hf.likelihood(each, drawn.tokens)) / drawn.length.ravel()
    greedy = Sampling(1, 0.0, a.longest, 0)
    pairs = zip(vllm.rollout(prompts, greedy).tokens, hf.rollout(prompts, greedy).tokens, strict=True)
    return {
        "difference": float(off.mean()),
        "greedy_same": float(np.mean([x.tolist() == y.tolist() for x, y in pairs])),
    }


def speeds(engines: dict[str, Engine], prompts: list[Prompt], ask: FollowUp, a: argparse.Namespace) -> ROW:
    """Tokens a second of responses and verdicts together, medians of runs by turns."""
    found: dict[str, list[float]] = {name: [] for name in engines}
    for repeat in range(a.repeats + 1):
        for name, engine in engines.items():
            done: Rollouts = engine.rollout(prompts, Sampling(a.samples, 1.0, a.longest, repeat), ask)
            if repeat:  # the first one pays for compilation and caches
                found[name].append(done.generated / (done.seconds_generate + done.seconds_verify))
    return {f"tokens_s_{name}": statistics.median(values) for name, values in found.items()}


def hand_overs(vllm: VLLMEngine, learner: Sft, prompts: list[Prompt], a: argparse.Namespace) -> ROW:
    """Milliseconds of a hand-over and of its canary, medians."""
    took, canary = [], []
    for number in range(a.hand_overs):
        examples = [Example(p.tokens, prompts[(i + 1) % len(prompts)].tokens, "") for i, p in enumerate(prompts[:4])]
        vllm.rest()
        learner.step(examples, number)
        vllm.load(dict(learner.merged_weights()), learner.write_adapter)
        took.append(1e3 * vllm.seconds_handover)
        canary.append(1e3 * vllm.seconds_canary)
    return {"handover_ms": statistics.median(took), "canary_ms": statistics.median(canary)}


COLUMNS: dict[str, Callable[[ROW], str]] = {
    "model": lambda r: f"{r['parameters_m']:.3g} M, {r['dtype']}",
    "hand-over": lambda r: f"{r['handover']}",
    "hand-over, ms": lambda r: f"{r['handover_ms']:.0f}",
    "canary, ms": lambda r: f"{r['canary_ms']:.0f}",
    "tokens/s hf": lambda r: f"{r['tokens_s_hf']:.0f}",
    "tokens/s vllm": lambda r: f"{r['tokens_s_vllm']:.0f}",
    "difference, nats a token": lambda r: f"{r['difference']:.1e}",
    "greedy texts the same": lambda r: f"{100 * r['greedy_same']:.0f} %",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", help="folders or hub ids; none: the embedded model and one of 10 M")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--longest", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--memory", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hand-overs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", nargs=3, metavar=("MODEL", "HANDOVER", "FILE"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    require_vllm()
    if a.one:
        Path(a.one[2]).write_text(json.dumps(compare(a.one[0], a.one[1], a)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        models = a.models or [str(WEIGHTS), ten_million(Path(scratch) / "10m")]
        rows = []
        for model in models:
            for kind in KINDS:
                file = Path(scratch) / "row.json"
                subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", model, kind, str(file)], check=True)
                rows.append(json.loads(file.read_text()))
    write(rows, a)
    if not all(row["agrees"] for row in rows):
        sys.exit("the engines disagree")


def write(rows: list[ROW], a: argparse.Namespace) -> None:
    table = markdown(list(COLUMNS), [[show(row) for show in COLUMNS.values()] for row in rows])
    hardware = describe_hardware()
    threads = a.threads or hardware["threads"]
    machine = hardware["gpus"] or f"{hardware['cores']} cores, {threads} threads"
    settings = {key: value for key, value in vars(a).items() if key not in ("models", "one", "out")}
    a.out.mkdir(exist_ok=True)
    about = {"arguments": settings, "hardware": hardware, "vllm": vllm_version(), "torch": torch.__version__}
    (a.out / "vllm_engine.json").write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")
    (a.out / "vllm_engine.md").write_text(
        f"# Engine vllm beside hf\n\n{a.prompts} prompts x {a.samples} responses of up to {a.longest} tokens, each "
        f"with a sampled verdict, {a.batch_size} at once, by turns, median of {a.repeats}; {a.hand_overs} hand-overs, "
        f"each after an optimiser step. {machine}, vLLM {vllm_version()}, torch {torch.__version__}. An adapter "
        f"is read by vLLM at its first request, which is the canary's.\n\n{table}"
    )
    print(table)


if __name__ == "__main__":
    main()
