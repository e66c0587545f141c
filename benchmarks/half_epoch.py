"""One half epoch of the embedded default, beside the same work written with transformers.generate and TRL's SFTTrainer.

    python benchmarks/half_epoch.py [--prompts 512] [--samples 8] [--examples 256] [--repeats 3]

Same model, prompts, temperatures, lengths, adapters and examples; both alternate in one process, and the ratio of the
medians counts. The peer samples with `generate` (top_k off), asks for verdicts with a second `generate` over the whole
text, computes the likelihoods with a forward pass, and trains with SFTTrainer (completion-only loss).
Beside them stands what the matrices alone would take at the rate measured in the same run: every token once where no
two responses shared a beginning, and in training forward and the gradient of what goes in (adapters need no other).
Writes benchmarks/results/half_epoch.json and .md.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings

import torch
from datasets import Dataset
from peft import LoraConfig
from roofline import matrix_flops, measure
from study import RESULTS
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sivgap.config.embedded import WEIGHTS
from sivgap.config.model import ModelConfig
from sivgap.config.update import UpdateConfig
from sivgap.core.example import Example
from sivgap.core.rollout import FollowUp, Prompt, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.report.tables import markdown
from sivgap.runtime.hardware import describe_hardware, keep_freed_memory
from sivgap.runtime.rng import derive_key
from sivgap.tasks import arithmetic
from sivgap.update.sft import Sft

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LONGEST, VERDICT = 48, 4


class Clock(dict):
    """Seconds by phase."""

    def lap(self, name: str, started: float) -> float:
        self[name] = self.get(name, 0.0) + time.perf_counter() - started
        return time.perf_counter()


def ours(texts: list[str], a: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> tuple[Clock, dict[str, float]]:
    """Seconds and matrix FLOPs by phase."""
    clock = Clock()
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS)
    update = UpdateConfig(lora_dropout=0.0, learning_rate=3e-4)
    config = ModelConfig(name="tiny", lora_targets=TARGETS, parameters=857e3, licence="MIT")
    learner = Sft(model, config, update, 0)
    engine = HFEngine(model, [tokenizer.eos_token_id], tokenizer.pad_token_id, batch_size=2048)
    now = time.perf_counter()
    prompts = [Prompt(tuple(tokenizer(t)["input_ids"]), derive_key(t)) for t in texts]
    ask = FollowUp(tuple(tokenizer("\nScore: ", add_special_tokens=False)["input_ids"]), 0.1, VERDICT)
    engine.load(dict(learner.merged_weights()))
    rollouts = engine.rollout(prompts, Sampling(a.samples, 1.0, LONGEST, 0), ask)
    tokenizer.batch_decode(rollouts.bodies)
    tokenizer.batch_decode(rollouts.verdicts)
    clock.lap("sampling", now)  # likelihoods come with it: no phase of scoring
    clock["sampling"] -= rollouts.seconds_verify
    clock["verifying"], clock["scoring"] = rollouts.seconds_verify, 0.0
    examples = [
        Example(prompts[i].tokens, tuple(map(int, rollouts.tokens[i * a.samples])), str(i)) for i in range(a.examples)
    ]
    now = time.perf_counter()
    for step in range(0, a.examples, 16):
        learner.step(examples[step : step + 16], step)
    clock.lap("training", now)
    tokens, read = int(rollouts.length.sum()), sum(len(prompt.tokens) for prompt in prompts)
    answers = len(texts) * a.samples * len(ask.tokens) + rollouts.generated - tokens
    trained = 2 * sum(example.tokens for example in examples)
    work = {"sampling": tokens + read, "verifying": answers, "scoring": 0, "training": trained}
    return clock, {phase: matrix_flops(model, count) for phase, count in work.items()}


def peer(texts: list[str], a: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> Clock:
    clock = Clock()
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS)
    now = time.perf_counter()
    rows = [t for t in texts for _ in range(a.samples)]
    responses = generate(model, tokenizer, rows, 1.0, LONGEST, a.peer_batch)
    now = clock.lap("sampling", now)
    judged = [row + response + "\nScore: " for row, response in zip(rows, responses, strict=True)]
    generate(model, tokenizer, judged, 0.1, VERDICT, a.peer_batch)
    now = clock.lap("verifying", now)
    score(model, tokenizer, rows, responses, a.peer_batch)
    clock.lap("scoring", now)
    clock["training"] = fine_tune(model, tokenizer, texts[: a.examples], responses[:: a.samples])
    return clock


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[str],
    temperature: float,
    new_tokens: int,
    batch: int,
) -> list[str]:
    model.eval()
    out = []
    for start in range(0, len(rows), batch):
        ids = tokenizer(rows[start : start + batch], return_tensors="pt", padding=True, padding_side="left")
        ids = {key: ids[key] for key in ("input_ids", "attention_mask")}
        made = model.generate(
            **ids, do_sample=True, temperature=temperature, top_k=0, max_new_tokens=new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        out += tokenizer.batch_decode(made[:, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    return out


@torch.inference_mode()
def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[str], responses: list[str], batch: int
) -> None:
    for start in range(0, len(rows), batch):
        pairs = zip(rows[start : start + batch], responses[start : start + batch], strict=True)
        whole = tokenizer([row + response for row, response in pairs], return_tensors="pt", padding=True)
        ids = whole["input_ids"]
        logits = model(input_ids=ids, attention_mask=whole["attention_mask"]).logits[:, :-1]
        logits.log_softmax(-1).gather(2, ids[:, 1:, None])


def fine_tune(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str], completions: list[str]
) -> float:
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_list([{"prompt": p, "completion": c} for p, c in zip(prompts, completions, strict=False)])
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=folder, per_device_train_batch_size=16, num_train_epochs=1, learning_rate=3e-4,
            lr_scheduler_type="constant", report_to=[], save_strategy="no", logging_strategy="no", use_cpu=True,
            completion_only_loss=True, disable_tqdm=True, bf16=False, gradient_checkpointing=False, max_length=None,
        )  # fmt: skip
        lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules=TARGETS)
        trainer = SFTTrainer(model, settings, train_dataset=data, processing_class=tokenizer, peft_config=lora)
        started = time.perf_counter()  # its preparation of the data is not counted
        trainer.train()
        return time.perf_counter() - started


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-batch", type=int, default=256, help="rows in a call of the peer's generate")
    a = parser.parse_args()
    keep_freed_memory()  # of use to both
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    texts = [f"Question: {p.question}\nSolution: " for p in arithmetic.generate(a.prompts, "train", 0)]
    runs = {"sivgap": [], "transformers + TRL": []}
    for _ in range(a.repeats):
        clock, flops = ours(texts, a, tokenizer)
        runs["sivgap"].append(clock)
        runs["transformers + TRL"].append(peer(texts, a, tokenizer))
    phases = ("sampling", "verifying", "scoring", "training")
    median = {who: {p: statistics.median(r[p] for r in rs) for p in phases} for who, rs in runs.items()}
    total = {who: statistics.median(sum(r[p] for p in phases) for r in rs) for who, rs in runs.items()}
    mine, theirs = runs
    machine = measure()
    least = {phase: machine.seconds(flops[phase]) for phase in phases}
    rows = [
        [
            p,
            *(f"{median[w][p]:.2f}" for w in runs),
            f"{median[theirs][p] / median[mine][p]:.1f}" if median[mine][p] else "",
            f"{least[p]:.2f}",
        ]
        for p in phases
    ]
    rows.append(["whole", *(f"{total[w]:.2f}" for w in runs), f"{total[theirs] / total[mine]:.1f}"])
    rows[-1].append(f"{sum(least.values()):.2f}")
    table = markdown(["seconds", *runs, "ratio", "matrices alone"], rows)
    hardware = describe_hardware()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "half_epoch.json").write_text(
        json.dumps(
            {
                "arguments": vars(a),
                "hardware": hardware,
                "runs": runs,
                "ratio": total[theirs] / total[mine],
                "matrix_flops": flops,
                "float32_flops_a_second": machine.matrix["float32"],
            },
            indent=2,
        )
        + "\n"
    )
    (RESULTS / "half_epoch.md").write_text(
        f"# Half an epoch, beside transformers and TRL\n\n{a.prompts} prompts x {a.samples} samples, verified and "
        f"scored, {a.examples} examples trained; median of {a.repeats}, {hardware['cores']} cores, "
        f"{hardware['threads']} threads, torch {torch.__version__}. *Matrices alone*: every token once, none shared, "
        f"at {machine.matrix['float32'] / 1e9:.0f} GFLOP/s, measured in the same run.\n\n{table}"
    )
    print(table)


if __name__ == "__main__":
    main()
