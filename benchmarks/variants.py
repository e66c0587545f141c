"""TF against QE, LoRA against full fine-tuning, fixed labels against refreshed ones, and the plain form of the paper.

    python benchmarks/variants.py [--seeds 0 1]

Writes benchmarks/results/variants.md: one row a variant of the embedded default, mean and deviation over seeds.
"""

import argparse
import json

from study import RESULTS, fitted, held_out, mean_and_deviation, run, seconds

from sivgap.report.tables import markdown

VARIANTS = {
    "default: QE, LoRA, refreshed every half epoch": (),
    "TF": ("verifier=tf", "verifier.readout=expected"),
    "full fine-tuning (1e-4)": ("update.parameters=full", "update.learning_rate=1e-4"),
    "labels of the initial model": ("refresh=never",),
    "plain form of the paper": (
        "selection.fallback=likeliest",
        "selection.finished=any",
        "verifier.readout=sampled",
    ),
    "an eighth of replayed verification examples": ("update.replay=0.125",),
    "QE, sampled score, threshold 0.8": ("verifier.readout=sampled", "selection.threshold=0.8"),
    "labels refreshed every epoch": ("refresh=epoch",),
    "a third of the learning rate, 10 epochs": ("update.learning_rate=1e-4", "epochs=10", "dataset.train_size=5120"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--runs-dir", default="runs")
    parser.add_argument("--first", type=int, default=len(VARIANTS), help="only so many variants")
    a = parser.parse_args()
    rows, record = [], {}
    for name, overrides in list(VARIANTS.items())[: a.first]:
        paths = [run(f"seed={seed}", *overrides, runs_dir=a.runs_dir) for seed in a.seeds]
        runs = [held_out(path) for path in paths]
        last = [lines[-1] for lines in runs]
        fits = [fitted(lines) for lines in runs]
        columns = {
            "solver": [line["solver_accuracy"] for line in last],
            "best-of-N": [line["verifier_accuracy"] for line in last],
            "without score": [line["likeliest_accuracy"] for line in last],
            "AUROC": [line["score_auroc"] for line in last],
            "pass@8": [line["pass_at_k"]["8"] for line in last],
            "U_s": [line["solver_uncertainty"] for line in last],
            "U_v": [line["verifier_uncertainty"] for line in last],
            "gap": [line["gap"] for line in last],
            "R² of U_s": [fit.r2["solver"] for fit in fits if fit],
            "R² of U_v": [fit.r2["verifier"] for fit in fits if fit],
            "rate": [fit.parameters["rate"].value for fit in fits if fit],
            "seconds": [seconds(path) for path in paths],
        }
        record[name] = columns
        rows.append([name, *(mean_and_deviation(v, 0 if k == "seconds" else 3) for k, v in columns.items())])
    first = held_out(run(f"seed={a.seeds[0]}", runs_dir=a.runs_dir))[0]
    before = (
        f"Before training: solver {first['solver_accuracy']:.3f}, best-of-N {first['verifier_accuracy']:.3f}, without "
        f"score {first['likeliest_accuracy']:.3f}, AUROC {first['score_auroc']:.3f}, "
        f"pass@8 {first['pass_at_k']['8']:.3f}, "
        f"U_s {first['solver_uncertainty']:.3f}, U_v {first['verifier_uncertainty']:.3f}, gap {first['gap']:.3f} "
        f"(standard error of an accuracy about {first['solver_accuracy_se']:.3f})."
    )
    table = markdown(["variant, after 6 epochs, held out", *columns], rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "variants.json").write_text(json.dumps(record, indent=2) + "\n")
    (RESULTS / "variants.md").write_text(f"# Variants of the default run\n\n{before}\n\n{table}")
    print(before, table, sep="\n\n")


if __name__ == "__main__":
    main()
