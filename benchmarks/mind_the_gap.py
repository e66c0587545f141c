"""The studies of "Mind the Gap" on the embedded family, each from the command that its experiment file names.

    python benchmarks/mind_the_gap.py                        all of it, hours on a laptop's worth of cores
    python benchmarks/mind_the_gap.py --only scaling readout

What is done is found again, so an interrupted study goes on. Tables and figures go to benchmarks/results/mind_the_gap/.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from study import RESULTS

FAMILY = "model=tiny_xs,tiny_s,tiny_m,tiny_l"
PANEL = ("panel.prompts=512", "n=16")
ROUNDS = (
    "train", "-m", "experiment=iterative", "model=tiny_l", "update.parameters=full", "update.learning_rate=1e-4",
    "update.batch_size=64", "epochs=6", "measure.test_prompts=256", "measure.samples=16", "measure.train_prompts=16",
    "tracking.wandb.mode=disabled",
)  # fmt: skip
"""Iterative self-improvement, with a learning rate for models thousands of times smaller than MG's."""
STUDIES: dict[str, tuple[str, ...]] = {
    "scaling": ("evaluate", "-m", "experiment=scaling", *PANEL),
    "cross_verification": ("evaluate", "-m", "experiment=cross_verification", "verifier=cot_binary", *PANEL),
    "verifiers": ("evaluate", "-m", "experiment=verifiers", "model=tiny_l", *PANEL),
    "readout": ("evaluate", "-m", "experiment=readout", "model=tiny_l", *PANEL),
    "tournament": ("evaluate", "-m", "experiment=tournament", "model=tiny_l", "panel.prompts=256"),
    "verdict_variance": ("evaluate", "experiment=verdict_variance", "model=tiny_l", "panel.prompts=64"),
    "temperature": ("evaluate", "-m", "experiment=temperature", "model=tiny_l", "verifier=mc", *PANEL),
    "iterative": (*ROUNDS, "verifier=cot_binary,gold", "seed=0,1"),
    "iterative_rpo": (*ROUNDS, "verifier=cot_binary,gold", "update=rpo"),
}  # fmt: skip
"""Commands of the studies."""


def run(folder: Path, *command: str) -> str:
    """``python -m sivgap.COMMAND`` in `folder`; the last line of what it prints."""
    done = subprocess.run([sys.executable, "-m", f"sivgap.{command[0]}", *command[1:]], cwd=folder, text=True,
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    return done.stdout.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/mind_the_gap"), help="where runs and stores go")
    parser.add_argument("--only", nargs="*", choices=list(STUDIES), default=list(STUDIES))
    asked = parser.parse_args()
    for name in asked.only:
        started = time.monotonic()
        folder = asked.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        store = (asked.folder / "store").resolve()
        command = STUDIES[name]
        shared = [f"store={store}"] if command[0] == "evaluate" else []
        last = run(folder, *command, *shared)
        if command[0] == "evaluate":
            last = run(folder, "report", "evaluations='runs/evaluate-*'")
        kept = RESULTS / "mind_the_gap" / name
        shutil.rmtree(kept, ignore_errors=True)
        for part in ("tables", "figures"):
            source = folder / Path(last).parent / part if Path(last).suffix else folder / last / part
            if source.is_dir():
                shutil.copytree(source, kept / part, ignore=shutil.ignore_patterns("*.pdf", "*.csv"))
        print(f"{name}: {time.monotonic() - started:.0f} s, {kept}")


if __name__ == "__main__":
    main()
