"""One round of a 3 B model on a GPU, phase by phase, beside what the GPU could do at best.

    python benchmarks/gpu_round.py                        Llama-3.2-3B's shape, random weights, bfloat16
    python benchmarks/gpu_round.py --shape small          the same on a model that a processor carries: does it work?
    python benchmarks/gpu_round.py --vllm                 both engines (pip install 'sivgap[vllm]')

Responses never end early, so that the work is known.

*Sampling*, by the number of responses at once: tokens a second (reading prompts is in the time) and the share of the
bound that memory sets: all weights, and the rows' keys and values, read once a step.
*Update*: LoRA steps; tokens a second and MFU: operations done over the matrix rate measured in the same run. A frozen
weight has no gradient: 4 N a token, 6 N with everything trained, 2 N more where activations are computed twice; the
output head is applied to responses alone.
*Round*: hand-over, sampling, verdicts (one token behind each response) and update of 64 prompts x 8, seconds each.
Peak memory is torch's. Writes benchmarks/results/gpu_round.json and .md.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from roofline import Roofline, measure
from study import RESULTS
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from sivgap.config.embedded import WEIGHTS
from sivgap.config.engine import EngineConfig
from sivgap.config.model import ModelConfig
from sivgap.config.update import UpdateConfig
from sivgap.core.example import Example
from sivgap.core.rollout import Engine, FollowUp, Prompt, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.report.tables import markdown
from sivgap.runtime.hardware import describe_hardware
from sivgap.runtime.rng import derive_key
from sivgap.update.sft import Sft

SHAPES = {
    "llama32_3b": {
        "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24,
        "num_key_value_heads": 8, "vocab_size": 128256, "head_dim": 128, "tie_word_embeddings": True,
    },
    "small": {
        "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 8192, "head_dim": 64, "tie_word_embeddings": True,
    },
}  # fmt: skip
GPU = "cuda" if torch.cuda.is_available() else "cpu"
SAMPLES, ASK = 8, FollowUp(tuple(range(5, 21)), 0.0, 1, answers=((30,), (31,)))
Row = dict[str, float | str]


def random_model(shape: str) -> LlamaForCausalLM:
    torch.manual_seed(0)
    with torch.device(GPU):
        config = LlamaConfig(**SHAPES[shape], max_position_embeddings=8192, eos_token_id=None, bos_token_id=1)
        return LlamaForCausalLM(config).to(torch.bfloat16).eval()


def random_prompts(model: LlamaForCausalLM, count: int, length: int) -> list[Prompt]:
    drawn = torch.randint(32, model.config.vocab_size, (count, length), generator=torch.Generator().manual_seed(1))
    return [Prompt(tuple(tokens), derive_key(str(i))) for i, tokens in enumerate(drawn.tolist())]


def clocked(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds, after one run that does not count, and the peak of memory in GiB."""
    took = []
    for repeat in range(repeats + 1):
        if GPU == "cuda":
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if GPU == "cuda":
            torch.cuda.synchronize()
        if repeat:
            took.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() if GPU == "cuda" else 0
    return statistics.median(took), peak / 2**30


def sampling(name: str, engine: Engine, model: LlamaForCausalLM, limits: Roofline, a: argparse.Namespace) -> list[Row]:
    shape, rows = model.config, []
    weights = 2 * sum(p.numel() for p in model.parameters())
    place = (
        2 * 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim
    )  # keys and values, 2 bytes each
    for batch in a.batches:
        prompts = random_prompts(model, batch // SAMPLES, a.prompt)
        settings = Sampling(SAMPLES, 1.0, a.tokens, 0)
        seconds, peak = clocked(lambda p=prompts, s=settings: engine.rollout(p, s), a.repeats)
        moved = a.tokens * (weights + place * (len(prompts) * a.prompt + batch * a.tokens / 2))
        rate, bound = batch * a.tokens / seconds, batch * a.tokens / (moved / limits.bandwidth)
        rows.append({"engine": name, "batch": batch, "tokens_s": rate, "of_bandwidth": rate / bound, "peak_gib": peak})
        print(rows[-1], flush=True)
    return rows


def updates(model: LlamaForCausalLM, limits: Roofline, a: argparse.Namespace) -> list[Row]:
    source = ModelConfig(name="measured", lora_targets=["all-linear"], parameters=1, licence="")
    prompts = random_prompts(model, 16, a.prompt)
    batch = [Example(p.tokens, tuple((p.tokens * 9)[: a.tokens]), p.tokens[0]) for p in prompts]
    head = model.lm_head.weight.numel()
    body, rows = sum(p.numel() for p in model.model.layers.parameters()), []
    for kind, twice in (("lora", False), ("lora", True), ("full", True)):
        if kind == "full" and not a.full:
            continue
        config = UpdateConfig(parameters=kind, lora_dropout=0.0, micro_batch_size=a.micro_batch, checkpointing=twice)
        AcceleratorState._reset_state()  # which keeps the precision of the first of a process
        learner = Sft(model, source, config, 0)
        seconds, peak = clocked(lambda it=learner: it.step(batch, 0), a.repeats)
        tokens = sum(example.tokens for example in batch)
        trained = sum(p.numel() for p in learner._raw.parameters() if p.requires_grad) if kind == "lora" else 0
        each = 4 if kind == "lora" else 6
        flops = tokens * (each + 2 * twice) * body + sum(len(e.response) for e in batch) * each * head
        flops += 6 * tokens * trained
        rows.append({"trained": kind, "activations_twice": twice, "tokens_s": tokens / seconds,
                     "mfu": flops / seconds / limits.matrix["bfloat16"], "peak_gib": peak})  # fmt: skip
        print(rows[-1], flush=True)
        del learner
    return rows


def whole_round(name: str, engine: Engine, model: LlamaForCausalLM, a: argparse.Namespace) -> Row:
    """Seconds by phase of 64 prompts x 8 (fewer where the largest batch is smaller)."""
    source = ModelConfig(name="measured", lora_targets=["all-linear"], parameters=1, licence="")
    learner = Sft(model, source, UpdateConfig(lora_dropout=0.0, micro_batch_size=a.micro_batch), 0)
    prompts = random_prompts(model, min(64, max(a.batches) // SAMPLES), a.prompt)
    found: list[Row] = []
    for repeat in range(a.repeats + 1):
        started = time.perf_counter()
        engine.load(dict(learner.merged_weights()), learner.write_adapter)
        handed = time.perf_counter() - started
        rollouts = engine.rollout(prompts, Sampling(SAMPLES, 1.0, a.tokens, repeat), ASK)
        engine.rest()
        chosen = [Example(p.tokens, tuple(map(int, rollouts.tokens[SAMPLES * i])), "") for i, p in enumerate(prompts)]
        started = time.perf_counter()
        for step in range(0, len(chosen), 16):
            learner.step(chosen[step : step + 16], step)
        trained = time.perf_counter() - started
        found.append({"hand-over": handed, "sampling": rollouts.seconds_generate,
                      "verifying": rollouts.seconds_verify, "update": trained})  # fmt: skip
    row: Row = {phase: statistics.median(float(one[phase]) for one in found[1:]) for phase in found[0]}
    return {"engine": name, **row}


def vllm_engine(model: LlamaForCausalLM, folder: Path, a: argparse.Namespace) -> Engine:
    from sivgap.engines.vllm import VLLMEngine
    from sivgap.engines.vllm_start import start_vllm

    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(WEIGHTS).save_pretrained(folder)
    source = ModelConfig(name="measured", path=str(folder), lora_targets=["all-linear"], parameters=1, licence="")
    config = EngineConfig(name="vllm", batch_size=max(a.batches), memory=a.memory)
    llm = start_vllm(source, "", model.dtype, config, None, texts=False)
    canary = random_prompts(model, 1, a.prompt)[0].tokens
    return VLLMEngine(llm, model, [model.config.vocab_size - 1], max(a.batches), canary, False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="llama32_3b")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 64, 256, 1024])
    parser.add_argument("--prompt", type=int, default=256, help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a response")
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="an update of all weights, too (16 bytes a parameter)")
    parser.add_argument("--vllm", action="store_true")
    parser.add_argument("--memory", type=float, default=0.4, help="vLLM's share of the GPU")
    a = parser.parse_args()
    limits = measure(GPU)
    model = random_model(a.shape)
    engines: dict[str, Engine] = {"hf": HFEngine(model, [model.config.vocab_size], 0, max(a.batches))}
    with tempfile.TemporaryDirectory() as scratch:
        if a.vllm:
            engines["vllm"] = vllm_engine(model, Path(scratch), a)
        about = {"hardware": describe_hardware(), "torch": torch.__version__, "arguments": vars(a),
                 "matrix_flops": limits.matrix, "bandwidth": limits.bandwidth}  # fmt: skip
        rounds, sampled = [], []
        for name, engine in engines.items():
            sampled += sampling(name, engine, model, limits, a)
            rounds.append(whole_round(name, engine, model, a))
        found = {**about, "sampling": sampled, "update": updates(model, limits, a), "round": rounds}
    write(found, a)


def write(found: dict, a: argparse.Namespace) -> None:
    machine = found["hardware"]["gpus"] or f"{found['hardware']['threads']} threads of a processor"
    text = [
        "# One round on a GPU",
        f"{a.shape}, random weights, bfloat16; prompts of {a.prompt} and responses of {a.tokens} tokens, {SAMPLES} a "
        f"prompt; {machine}, torch {found['torch']}. Measured in the same run: "
        f"{found['matrix_flops']['bfloat16'] / 1e12:.3g} TFLOP/s in bfloat16, {found['bandwidth'] / 1e9:.4g} GB/s.",
    ]
    for title, rows in (
        ("Sampling", found["sampling"]),
        ("Update", found["update"]),
        ("Round, seconds", found["round"]),
    ):
        cells = [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
        text += [f"## {title}", markdown([name.replace("_", " ") for name in rows[0]], cells)]
    stem = "gpu_round" if GPU == "cuda" else "gpu_round_on_a_processor"
    (RESULTS / f"{stem}.json").write_text(json.dumps(found, indent=2) + "\n")
    (RESULTS / f"{stem}.md").write_text("\n\n".join(text) + "\n")
    print("\n\n".join(text))


if __name__ == "__main__":
    main()
