"""What the two papers say, on real pretrained models: accuracy, verifiers, judges, self- and cross-improvement.

    python benchmarks/real_models.py --models FOLDER --data FOLDER [--only NAME ...]     hours on one core
    python benchmarks/real_models.py --models FOLDER --quick                             minutes; writes no figures
    python benchmarks/real_models.py                                                     the tables again, no model

FOLDER of models holds qwen25_coder_0_5b and the like, FOLDER of data gsm8k/train.jsonl and test.jsonl. Each job is one
command of sivgap, run in ``--folder``: one that is done is found again, one that was stopped goes on. ``--list`` shows
the commands. What figures rest on is copied to benchmarks/results/real_models/ without token ids, checkpoints and local
paths; from there alone `real_models_tables` writes real_models.md and .json.
"""

import argparse
import math
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import real_models_tables
from study import RESULTS

SMALL, LARGE = "qwen25_coder_0_5b", "qwen25_coder_1_5b"
QUESTION = Path(__file__).parent / "real_models" / "question.txt"
"""The solver's prompt in arithmetic: the question alone. Two examples before it show the form."""

# Pre-training tokens as published: 2 T; 6 T; 18 T of Qwen2.5 and 5.5 T of Coder.
TOKENS = {"smollm2_135m": 2e12, "gemma3_270m": 6e12, SMALL: 23.5e12, LARGE: 23.5e12}
PARAMETERS = {"smollm2_135m": 135e6, "gemma3_270m": 268e6, SMALL: 494e6, LARGE: 1544e6}
BASE = ("gemma3_270m",)
"""Models without a chat template: plain text, and words for it."""

ARITHMETIC = ("dataset=arithmetic", "dataset.few_shot=2", "dataset.data_seed=3", "sampling.max_new_tokens=64")
GSM8K = ("dataset=gsm8k", "sampling.max_new_tokens=320")
TRAINING = (
    "dataset.train_size=24", "n=4", "epochs=4", "measure.test_prompts=32", "measure.samples=4", "measure.reuse=true",
    "measure.pass_at=[1,2,4]", "update.learning_rate=1e-4", "update.lora_dropout=0", "update.batch_size=4",
    "tracking.wandb.mode=disabled",
)  # fmt: skip
"""24 problems, two examples beside them. On problems of ``dataset.data_seed=0`` three times this learning
rate took U_s from 3.3 to 1.0 nats in half an epoch, too fast to be seen as a curve."""
CROSS = (f"cross.source=model cross.model.path={{models}}/{LARGE} cross.model.dtype=bfloat16 cross.budget=0.5 "
         "cross.epochs=3").split()  # fmt: skip
QUICK = {
    "panel.prompts": "4", "n": "4", "epochs": "1", "cross.epochs": "1", "dataset.train_size": "6",
    "measure.test_prompts": "4", "measure.samples": "4", "sampling.max_new_tokens": "32",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One command, ``sivgap.COMMAND model=... SETTINGS``, under a name GROUP/WHAT."""

    name: str
    command: str
    model: str
    settings: tuple[str, ...]

    def words(self, models: str, data: str) -> list[str]:
        """The command's arguments, with the folders of models and data in their places."""
        return [
            word.replace("{models}", models).replace("{data}", data)
            for word in (*of_model(self.model, self.settings), *self.settings)
        ]


def of_model(name: str, settings: tuple[str, ...]) -> list[str]:
    if name.startswith("tiny"):
        return [f"model={name}"]
    words = ["model=custom", f"model.path={{models}}/{name}", "model.dtype=bfloat16", f"model.tokens={TOKENS[name]:g}",
             f"model.parameters={PARAMETERS[name]:g}", "engine.threads=1"]  # fmt: skip
    if name in BASE:
        return [*words, "model.chat_template=false", "model.stop=['Question:']"]
    return [*words, f"dataset.prompt={QUESTION}"] if "dataset=arithmetic" in settings else words


def judging(group: str, model: str, verifier: str, prompts: int, n: int, *more: str, mark: str = "") -> Job:
    """An evaluation of `model` on held-out arithmetic."""
    settings = [*ARITHMETIC, f"panel.prompts={prompts}", f"n={n}", f"verifier={verifier}", *more]
    if model in BASE:
        settings.append("dataset.prompt=base/solve_arithmetic.txt")
        settings += [] if verifier == "gold" else [f"verifier.prompt=base/{verifier}.txt"]
    return Job(f"{group}/{model}-{verifier}{mark}", "evaluate", model, tuple(settings))


def training(group: str, what: str, seed: int, *settings: str) -> Job:
    """A run of the 0.5 B model."""
    return Job(f"{group}/{what}-seed{seed}", "train", SMALL, (*ARITHMETIC, *TRAINING, f"seed={seed}", *settings))


def by(judge: str) -> tuple[str, ...]:
    return (f"verifier.model.path={{models}}/{judge}", "verifier.model.dtype=bfloat16")


OWN = ("verifier=qe",)
"""The 0.5 B model's own verifier, of those tried on other problems; results/real_models.md says how it was chosen."""


def jobs() -> Iterator[Job]:
    """In the order in which they are worth their time."""
    for verifier in ("mc", "tf", "qe"):
        yield judging("choice", SMALL, verifier, 16, 8, "verifier.readout=expected", "dataset.data_seed=0")
    yield judging("accuracy", SMALL, "gold", 64, 8)
    for verifier, more, mark in (
        ("qe", (), ""), ("qe", ("verifier.readout=expected",), "-expected"),
        ("tf", ("verifier.readout=expected",), "-expected"), ("mc", (), ""),
    ):  # fmt: skip
        yield judging("verifiers", SMALL, verifier, 32, 8, *more, mark=mark)
    yield training("self", "gold", 0, "verifier=gold")
    yield training("self", "own", 0, *OWN)
    for model in (LARGE, "smollm2_135m", "gemma3_270m"):
        yield judging("accuracy", model, "gold", 32, 4)
    yield judging("judges", SMALL, "mc", 32, 4, *by(LARGE), mark=f"-by-{LARGE}")
    yield judging("judges", SMALL, "mc", 32, 4)
    yield judging("judges", LARGE, "mc", 32, 4, *by(SMALL), mark=f"-by-{SMALL}")
    yield judging("judges", LARGE, "mc", 32, 4)
    for strategy in ("late", "early", "uniform"):
        yield training("cross", strategy, 0, *OWN, f"cross.strategy={strategy}", *CROSS)
    yield training("self", "judge", 0, "verifier=mc", *by(LARGE))
    for model in ("tiny_xs", "tiny_s", "tiny_m", "tiny_l"):
        yield Job(f"scaling/{model}-mc", "evaluate", model, ("dataset=arithmetic", "panel.prompts=512", "n=16",
                                                             "verifier=mc", "dataset.data_seed=3"))  # fmt: skip
    for model in ("smollm2_135m", "gemma3_270m"):
        yield judging("scaling", model, "mc", 32, 4)
    for verifier in ("cot_binary", "cot_score", "tournament"):
        yield judging("verifiers", SMALL, verifier, 24, 4)
    yield judging("verifiers", SMALL, "ensemble", 24, 4, "verifier.members=[mc,cot_binary]")
    yield judging("verifiers", SMALL, "tf", 32, 8)
    yield judging("over_n", SMALL, "mc", 32, 32, mark="-test")
    yield judging("over_n", SMALL, "mc", 32, 32, "panel.split=train", mark="-train")
    for verifier in ("qe", "tf"):
        yield judging("verifiers", LARGE, verifier, 32, 4, "verifier.readout=expected", mark="-expected")
    yield training("self", "gold", 1, "verifier=gold")
    yield training("self", "own", 1, *OWN)
    for strategy in ("late", "early", "uniform"):
        yield training("cross", strategy, 1, *OWN, f"cross.strategy={strategy}", *CROSS)
    yield training("self", "judge", 1, "verifier=mc", *by(LARGE))
    files = ("dataset.path={data}/gsm8k/train.jsonl", "dataset.test_path={data}/gsm8k/test.jsonl")
    for model, prompts, verifier in ((SMALL, 32, "gold"), (LARGE, 16, "gold"), (SMALL, 32, "mc"), (LARGE, 16, "mc")):
        settings = (*GSM8K, *files, f"verifier={verifier}", f"panel.prompts={prompts}", "n=4")
        yield Job(f"gsm8k/{model}-{verifier}", "evaluate", model, settings)


def shortened(settings: list[str]) -> list[str]:
    """The same on a few problems."""
    return [f"{key}={QUICK.get(key, value)}" for key, _, value in (word.partition("=") for word in settings)]


def light(job: Job) -> bool:
    """Whether ``--quick`` takes it: neither the 1.5 B model nor a second seed, and nothing that needs files."""
    return not any(word in " ".join((job.name, *job.settings)) for word in (LARGE, "seed1", "gsm8k"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, help="folder of the models' folders")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with gsm8k/train.jsonl and test.jsonl")
    parser.add_argument("--folder", type=Path, default=Path("runs/real_models"), help="where runs and the store go")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="jobs by how names begin, in order")
    parser.add_argument("--list", action="store_true", help="show names and commands; run nothing")
    parser.add_argument("--quick", action="store_true", help="all jobs without the 1.5 B model, a few responses each")
    a = parser.parse_args()
    chosen = list(dict.fromkeys(job for beginning in a.only for job in jobs() if job.name.startswith(beginning)))
    for job in chosen if a.list else ():
        print(f"{job.name}: {shlex.join(['sivgap', job.command, *job.words('MODELS', 'DATA')])}")
    for job in chosen if a.models and not a.list else ():
        if not a.quick or light(job):
            run(a, job)
    if not a.quick and not a.list:
        real_models_tables.write([job.name for job in jobs()])


def run(a: argparse.Namespace, job: Job) -> None:
    """Run one job, keep the compact part of its directory, and say how long it took."""
    places = {"MODELS": str(a.models.expanduser().resolve()), "DATA": str(a.data.expanduser().resolve())}
    settings = job.words(places["MODELS"], places["DATA"])
    settings = shortened(settings) if a.quick else settings
    started = time.monotonic()
    a.folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", f"sivgap.{job.command}", *settings]
    done = subprocess.run(words, cwd=a.folder, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job.name}: status {done.returncode}; the same command goes on")
    made = a.folder / done.stdout.splitlines()[-1]
    print(f"{job.name}: {time.monotonic() - started:.0f} s, {made}", flush=True)
    if not a.quick:
        kept = RESULTS / "real_models" / job.name
        keep(made, kept, {**places, "question.txt": str(QUESTION)})
        if job.command == "train":
            explain(kept)
        real_models_tables.write([each.name for each in jobs()])


def keep(made: Path, kept: Path, places: dict[str, str]) -> None:
    """Copy what tables, fits and reports need of a run or an evaluation, with names for local `places`."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for name in ("config.yaml", "status.json", "trajectory.jsonl", "evaluation.json"):
        if (made / name).exists():
            text = (made / name).read_text()
            for shown, place in places.items():
                text = text.replace(place, shown)
            (kept / name).write_text(text)
    for path in [*made.glob("samples/*.parquet"), *made.glob("scores.parquet")]:
        rows = pd.read_parquet(path)
        to = kept / path.relative_to(made)
        to.parent.mkdir(exist_ok=True)
        rows.drop(columns="tokens", errors="ignore").to_parquet(to, index=False, compression="zstd")


def explain(kept: Path) -> None:
    """fit.json of the whole run and forecast.json from its first third (and a figure), from the compact directory."""
    epochs = float(next(word for word in TRAINING if word.startswith("epochs=")).partition("=")[2])
    for name, until in (("forecast.json", math.ceil(2 * epochs / 3) / 2), ("fit.json", epochs)):
        words = [sys.executable, "-m", "sivgap.fit", f"runs={kept}", f"until={until}", "bootstrap=200"]
        further = [f"horizon={epochs}"] if until < epochs else []
        done = subprocess.run([*words, *further], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            (kept / "fit.json").rename(kept / name)
    for file in (*kept.glob("figures/*.pdf"), kept / "checksums.txt"):
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
