"""Sampling beside transformers.generate and its continuous batching, over batch, model size, samples and length.

    python benchmarks/sampling_speed.py            writes benchmarks/results/sampling_speed.md, .json and .png
    python benchmarks/sampling_speed.py --check    compares the ratios with those on record, and writes nothing

Random Llama models that never stop early, so that both sides make the same number of tokens, and as uncertain as can
be: no two samples share a beginning, as many of the embedded model's (first line) do. Where a *mean* length is named
any token may end a response, and eight times as many are asked for as fit at once: `generate` takes batch after batch.
With the embedded model there are other peers, too (`peers`). Ours returns likelihoods in all of it.
The peer gets each prompt once a sample (top_k off). Both alternate in one process; the ratio of medians counts. Beside
the times stands what this machine could do at best: the matrices alone, at the rate measured in the same run.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import peers
import torch
from roofline import matrix_flops, measure
from study import RESULTS
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.utils import logging

from sivgap.config.embedded import WEIGHTS
from sivgap.core.rollout import Prompt, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.report.tables import markdown
from sivgap.runtime.hardware import describe_hardware, keep_freed_memory
from sivgap.runtime.rng import derive_key
from sivgap.tasks import arithmetic

SIZES = {"1 M": (128, 4), "10 M": (320, 8), "100 M": (768, 12)}
"""Hidden size and layers of the random models."""
VOCABULARY, PROMPT = 2048, 24
WORSE = 0.75
"""A ratio below this share of the one on record is a regression."""


@dataclass(frozen=True)
class Case:
    model: str
    rows: int
    samples: int
    tokens: int
    dtype: str = "float32"
    mean: int | None = None
    """Mean length of a response before it is cut, where they end by chance."""

    @property
    def name(self) -> str:
        kind = "" if self.dtype == "float32" else f", {self.dtype}"
        tail = f", mean {self.mean}" if self.mean else ""
        return f"{self.model}, batch {self.rows}, N {self.samples}, {self.tokens} tokens{tail}{kind}"

    @property
    def responses(self) -> int:
        return self.rows * (8 if self.mean else 1)


CASES = [
    Case("embedded", 1024, 8, 48),
    *(Case(model, rows, 8, 32) for model in ("1 M", "10 M") for rows in (8, 64, 256, 1024)),
    *(Case("100 M", rows, 8, 16) for rows in (8, 64, 256)),
    *(Case("10 M", 256, samples, 32) for samples in (1, 64)),
    *(Case("10 M", 256, 8, tokens) for tokens in (8, 128)),
    *(Case(model, 64, 8, 256, mean=64) for model in ("1 M", "10 M")),
    Case("10 M", 256, 8, 32, "bfloat16"),
    *(Case("100 M", rows, 8, 16, "bfloat16") for rows in (8, 64, 256)),
]


def model_of(name: str) -> PreTrainedModel:
    if name == "embedded":
        return AutoModelForCausalLM.from_pretrained(WEIGHTS)
    hidden, layers = SIZES[name]
    shape = LlamaConfig(
        hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=layers, num_attention_heads=hidden // 64,
        vocab_size=VOCABULARY, max_position_embeddings=1024, pad_token_id=0, bos_token_id=1, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(shape).eval()


def prompts_of(case: Case) -> list[Prompt]:
    count = case.responses // case.samples
    if case.model == "embedded":
        tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
        texts = [f"Question: {p.question}\nSolution: " for p in arithmetic.generate(count, "train", 0)]
        return [Prompt(tuple(tokenizer(text)["input_ids"]), derive_key(text)) for text in texts]
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(2, VOCABULARY, (count, PROMPT), generator=generator).tolist()
    return [Prompt(tuple(tokens), derive_key(str(i))) for i, tokens in enumerate(drawn)]


def ends_of(case: Case) -> list[int]:
    """Tokens that end a response; of most cases none."""
    if case.model == "embedded":
        return [AutoTokenizer.from_pretrained(WEIGHTS).eos_token_id]
    return list(range(2, 2 + VOCABULARY // case.mean)) if case.mean else [VOCABULARY]


def contest(case: Case, repeats: int) -> dict[str, float]:
    """Seconds of both, tokens made, and operations of the tokens if none were shared."""
    model, prompts = model_of(case.model).to(getattr(torch, case.dtype)), prompts_of(case)
    ends = ends_of(case)
    engine = HFEngine(model, ends, 0, case.rows)
    longest = max(len(p.tokens) for p in prompts)
    ids = torch.tensor([[0] * (longest - len(p.tokens)) + list(p.tokens) for p in prompts for _ in range(case.samples)])
    mask = torch.tensor(
        [[0] * (longest - len(p.tokens)) + [1] * len(p.tokens) for p in prompts for _ in range(case.samples)]
    )
    stop = {"eos_token_id": ends} if ends[0] < VOCABULARY else {}
    made = 0

    def ours() -> None:
        nonlocal made
        made = int(engine.rollout(prompts, Sampling(case.samples, 1.0, case.tokens, 0)).length.sum())

    def theirs() -> None:
        with torch.inference_mode():
            model.set_attn_implementation("sdpa")
            for start in range(0, case.responses, case.rows):
                model.generate(
                    input_ids=ids[start : start + case.rows], attention_mask=mask[start : start + case.rows],
                    do_sample=True, temperature=1.0, top_k=0, max_new_tokens=case.tokens, pad_token_id=0, **stop,
                )  # fmt: skip
            model.set_attn_implementation("sivgap_prefix")

    mine, peer = alternate(ours, theirs, repeats)
    flops = matrix_flops(model, made + sum(len(p.tokens) for p in prompts))
    return {"sivgap": mine, "generate": peer, "tokens": made, "flops": flops}


def others(repeats: int) -> dict[str, dict[str, float]]:
    """Tokens a second of the peers on the embedded model, and of ours beside each."""
    case = Case("embedded", 256, 8, 48)
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    prompts, ends = prompts_of(case), ends_of(case)
    engine = HFEngine(model_of("embedded"), ends, 0, case.rows)
    grpo = peers.Grpo(model_of("embedded"), tokenizer, case.samples, case.tokens)
    asked = [prompt.tokens for prompt in prompts for _ in range(case.samples)]
    made = {"sivgap": 0, "peer": 0}

    def ours() -> None:
        made["sivgap"] = int(engine.rollout(prompts, Sampling(case.samples, 1.0, case.tokens, 0)).length.sum())

    def batching() -> None:
        pad = tokenizer.pad_token_id
        made["peer"] = peers.continuous_batching(model_of("embedded"), asked[:64], case.tokens, ends, pad)

    def rollout() -> None:
        made["peer"] = grpo.rollout([tokenizer.decode(prompt.tokens) for prompt in prompts])

    found = {}
    for name, work in (("transformers' continuous batching, 64 responses", batching), ("TRL's GRPOTrainer", rollout)):
        mine, theirs = alternate(ours, work, repeats)
        found[name] = {"sivgap": made["sivgap"] / mine, "peer": made["peer"] / theirs}
    return found


def alternate(one: Callable[[], None], other: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Median seconds of each, after a warm-up."""
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for work, seconds in zip((one, other), spent, strict=True):
            started = time.perf_counter()
            work()
            if turn:
                seconds.append(time.perf_counter() - started)
    return statistics.median(spent[0]), statistics.median(spent[1])


def draw(found: dict[str, dict[str, float]]) -> None:
    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for model, colour in zip(SIZES, ("#0072B2", "#009E73", "#D55E00"), strict=True):
        cases = [
            c
            for c in CASES
            if c.model == model
            and c.samples == 8
            and c.tokens == (16 if model == "100 M" else 32)
            and c.dtype == "float32"
            and c.mean is None
        ]
        for who, style in (("sivgap", "o-"), ("generate", "o--")):
            rates = [found[c.name]["tokens"] / found[c.name][who] for c in cases]
            axis.plot([c.rows for c in cases], rates, style, color=colour, markersize=4, label=f"{model}, {who}")
    axis.set(xscale="log", yscale="log", xlabel="responses at once", ylabel="tokens a second")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(RESULTS / "sampling_speed.png", dpi=150)


def regressions(found: dict[str, dict[str, float]]) -> list[str]:
    """Cases whose ratio is far below the one on record."""
    record = json.loads((RESULTS / "sampling_speed.json").read_text())["cases"]
    said = []
    for name, now in found.items():
        ratio, before = (each["generate"] / each["sivgap"] for each in (now, record[name]))
        if ratio < WORSE * before:
            said.append(f"{name}: {ratio:.2f} times generate(), {before:.2f} on record")
    return said


def main() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="compare ratios with those on record")
    asked = parser.parse_args()
    keep_freed_memory()
    machine = measure()
    found = {}
    for case in CASES:
        found[case.name] = contest(case, asked.repeats if case.model != "100 M" else 1)
        print(
            f"{case.name}: {found[case.name]['generate'] / found[case.name]['sivgap']:.2f} times generate()", flush=True
        )
    if asked.check:
        worse = regressions(found)
        print("\n".join(worse) or "no ratio is below three quarters of the one on record")
        sys.exit(1 if worse else 0)
    dtypes = {case.name: case.dtype for case in CASES}
    rows = [
        [
            name,
            f"{each['tokens'] / each['sivgap']:,.0f}",
            f"{each['tokens'] / each['generate']:,.0f}",
            f"{each['generate'] / each['sivgap']:.2f}",
            f"{machine.seconds(each['flops'], dtypes[name]) / each['sivgap']:.2f}",
        ]
        for name, each in found.items()
    ]
    table = markdown(["case", "tokens/s", "generate()", "ratio", "of the roofline"], rows)
    hardware = describe_hardware()
    beside = others(asked.repeats)
    also = markdown(
        ["embedded model, batch 256, N 8", "tokens/s", "sivgap", "ratio"],
        [
            [who, *(f"{r:,.0f}" for r in (it["peer"], it["sivgap"])), f"{it['sivgap'] / it['peer']:.1f}"]
            for who, it in beside.items()
        ],
    )
    rates = ", ".join(f"{dtype} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in machine.matrix.items())
    about = {"hardware": hardware, "torch": torch.__version__, "matrix": machine.matrix, "bandwidth": machine.bandwidth}
    (RESULTS / "sampling_speed.json").write_text(
        json.dumps({**about, "cases": found, "others": beside}, indent=1) + "\n"
    )
    (RESULTS / "sampling_speed.md").write_text(
        f"# Sampling, beside transformers.generate\n\nfloat32 unless a line says otherwise, {hardware['cores']} cores, "
        f"{hardware['threads']} threads, torch {torch.__version__}; "
        f"measured in the same run: {rates}, memory {machine.bandwidth / 1e9:.1f} GB/s. "
        "Medians of alternating runs. *Of the roofline*: what the matrices alone would take at that rate if no token "
        "were shared, over what sampling took; above 1 where samples share beginnings.\n\n"
        f"{table}\n{also}\n"
        "![Tokens a second](sampling_speed.png)\n"
    )
    draw(found)


if __name__ == "__main__":
    main()
