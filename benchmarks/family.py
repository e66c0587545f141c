"""The family of embedded models: what each solves, and how well it verifies its own solutions in each format.

    python benchmarks/family.py [--problems 512] [--samples 8] [--sizes xs s m l] [--weights FOLDER] [--dtype float32]

Problems are held out (part `test`, data seed 5). Solutions are sampled at temperature 1, derivations and verdicts at
0.1. ``qe``, ``tf`` and ``mc`` are read as expected scores over the allowed answers; ``cot_binary`` and ``cot_score``
from the last line of the sampled text, 0.5 where there is none; a tournament sees one right and one wrong solution of
each problem that has both, in both orders. The relative gap is (best-of-N - solver) / (1 - solver), accuracies, where
best-of-N takes the solution with the highest score and ties count their mean.
Writes benchmarks/results/family.json and .md.
"""

import argparse
import json
import re
import time
from pathlib import Path

import numpy as np
import torch
from study import RESULTS

from sivgap.config.embedded import FAMILY
from sivgap.config.locate import read_prompt
from sivgap.config.model import ModelConfig
from sivgap.core.rollout import FollowUp, Prompt, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.gap.auroc import auroc
from sivgap.gap.pass_at_k import pass_at_k
from sivgap.models.load import load_model, pad_token
from sivgap.report.tables import markdown
from sivgap.runtime.rng import derive_key
from sivgap.tasks.arithmetic import generate

ANSWERS = {
    "qe": {f"{k / 10:.1f}": k / 10 for k in range(11)},
    "tf": {"True": 1.0, "False": 0.0},
    "mc": {"Correct": 1.0, "Incorrect": 0.0},
}
LAST_LINE = {"cot_binary": r"\nCorrectness: (Correct|Incorrect)$", "cot_score": r"\nScore: ([1-9]|10)$"}
LONGEST, DERIVATION, TEMPERATURE = 48, 48, 0.1


class Reader:
    """One model with its engine, asked about the same problems in every format."""

    def __init__(self, weights: Path, dtype: str) -> None:
        config = ModelConfig(
            name="family", path=str(weights), chat_template=False, dtype=dtype, lora_targets=["all-linear"],
            parameters=1, licence="MIT",
        )  # fmt: skip
        loaded = load_model(config)
        self.tokenizer, self.model = loaded.tokenizer, loaded.model
        self.engine = HFEngine(loaded.model, loaded.end_tokens, pad_token(loaded), batch_size=2048)

    def ids(self, text: str, start: bool = False) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=start)["input_ids"])

    def prompts(self, texts: list[str]) -> list[Prompt]:
        return [Prompt(self.ids(text, start=True), derive_key(text)) for text in texts]

    def decode(self, rows: list) -> list[str]:
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True)

    def scores(self, form: str, prompts: list[Prompt], sampling: Sampling) -> np.ndarray:
        """(P, N) scores of the same samples in one format."""
        answers = ANSWERS.get(form, {})
        said = tuple(self.ids(text) for text in answers)
        ask = FollowUp(self.ids(read_prompt(f"tiny/{form}.txt")), TEMPERATURE, DERIVATION, said)
        rollouts = self.engine.rollout(prompts, sampling, ask)
        if rollouts.answer_logprobs is not None:
            likelihood = np.exp(rollouts.answer_logprobs)
            return likelihood @ np.array(list(answers.values())) / likelihood.sum(-1)
        last = [re.search(LAST_LINE[form], text) for text in self.decode(rollouts.verdicts)]
        values = [0.5 if found is None else verdict_value(found[1]) for found in last]
        return np.array(values).reshape(rollouts.nll.shape)


def verdict_value(word: str) -> float:
    return float(word == "Correct") if word.endswith("orrect") else (int(word) - 1) / 9


def best_of_n(scores: np.ndarray, correct: np.ndarray) -> float:
    """Mean accuracy of the solutions with the highest score; ties count their mean."""
    best = scores >= scores.max(1, keepdims=True) - 1e-9
    return float(((best * correct).sum(1) / best.sum(1)).mean())


def tournaments(reader: Reader, questions: list[str], texts: np.ndarray, correct: np.ndarray) -> dict:
    """Right against wrong in both orders: share of right preferences, of A, and of answers that can be read."""
    template = read_prompt("tiny/tournament.txt")
    prompts, right_is = [], []
    for question, solutions, marks in zip(questions, texts, correct, strict=True):
        if 0 < marks.sum() < len(marks):
            right, wrong = solutions[int(marks.argmax())], solutions[int(marks.argmin())]
            for a, b, name in ((right, wrong, "A"), (wrong, right, "B")):
                filled = template.replace("{question}", question).replace("{response_a}", a).replace("{response_b}", b)
                prompts.append(filled)
                right_is.append(name)
    rollouts = reader.engine.rollout(reader.prompts(prompts), Sampling(1, TEMPERATURE, DERIVATION, 1))
    last = [re.search(r"\nPreferred solution: ([AB])$", text) for text in reader.decode(rollouts.bodies)]
    said = np.array([found[1] if found else "" for found in last])
    won = np.where(said == "", 0.5, said == np.array(right_is))
    first, second = won[::2], won[1::2]
    return {
        "pairs": len(first),
        "right": float(won.mean()),
        "right if A": float(first.mean()),
        "right if B": float(second.mean()),
        "unread": float((said == "").mean()),
    }


def measure(reader: Reader, problems: int, samples: int) -> dict:
    asked = generate(problems, "test", 5)
    questions = [problem.question for problem in asked]
    template = read_prompt("tiny/solve.txt")
    prompts = reader.prompts([template.replace("{question}", q) for q in questions])
    sampling = Sampling(samples, 1.0, LONGEST, 0)
    texts = np.array(reader.decode(reader.engine.rollout(prompts, sampling).bodies)).reshape(problems, samples)
    correct = np.array(
        [[text.endswith(f"Answer: {p.reference}") for text in row] for p, row in zip(asked, texts, strict=True)]
    ).astype(float)
    solver = float(correct.mean())
    found = {
        "parameters": reader.model.num_parameters(),
        "solver": solver,
        "solver se": float(correct.mean(1).std(ddof=1) / np.sqrt(problems)),
        f"pass@{samples}": float(pass_at_k(correct.sum(1), samples, samples).mean()),
    }
    for form in ("qe", "tf", "mc", "cot_binary", "cot_score"):
        scores = reader.scores(form, prompts, sampling)
        best = best_of_n(scores, correct)
        found[form] = {
            "auroc": auroc(scores.ravel(), correct.ravel()),
            "best-of-N": best,
            "gap_rel": (best - solver) / (1 - solver),
        }
    return found | {"tournament": tournaments(reader, questions, texts, correct)}


def table(found: dict, samples: int) -> str:
    forms = ("qe", "tf", "mc", "cot_binary", "cot_score")
    rows = [
        ["parameters", *(f"{f['parameters']:,}" for f in found.values())],
        ["tokens read (D)", *(f"{f['tokens'] / 1e6:.2f} M" for f in found.values())],
        ["pretraining FLOPs (6ND)", *(f"{f['flops']:.3g}" for f in found.values())],
        ["solver accuracy", *(f"{f['solver']:.3f} ± {f['solver se']:.3f}" for f in found.values())],
        [f"pass@{samples}", *(f"{f[f'pass@{samples}']:.3f}" for f in found.values())],
        *([f"AUROC {form}", *(f"{f[form]['auroc']:.3f}" for f in found.values())] for form in forms),
        *([f"best of {samples} by {form}", *(f"{f[form]['best-of-N']:.3f}" for f in found.values())] for form in forms),
        *([f"relative gap, {form}", *(f"{f[form]['gap_rel']:.3f}" for f in found.values())] for form in forms),
        ["tournament: right preferred", *(f"{f['tournament']['right']:.3f}" for f in found.values())],
        *(
            [f"... where it is {name}", *(f"{f['tournament'][f'right if {name}']:.3f}" for f in found.values())]
            for name in ("A", "B")
        ),
        ["... pairs", *(str(f["tournament"]["pairs"]) for f in found.values())],
    ]
    return markdown(["", *(f"tiny_{size}" for size in found)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=512)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--sizes", nargs="+", default=["xs", "s", "m", "l"])
    parser.add_argument("--weights", type=Path, default=FAMILY)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    found = {}
    for size in a.sizes:
        started = time.monotonic()
        took = json.loads((a.weights / size / "pretraining.json").read_text())
        found[size] = took | measure(Reader(a.weights / size, a.dtype), a.problems, a.samples)
        print(f"{size}: {time.monotonic() - started:.0f} s", flush=True)
    shown = table(found, a.samples)
    (a.out / "family.json").write_text(json.dumps(found, indent=2) + "\n")
    (a.out / "family.md").write_text(
        f"# The family\n\n{a.problems} held-out problems x {a.samples} samples at temperature 1; derivations and "
        f"verdicts at {TEMPERATURE}; {a.dtype}.\n\n{shown}"
    )
    print(shown)


if __name__ == "__main__":
    main()
