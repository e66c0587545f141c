"""The tables of `real_models.py`, from results/real_models/ alone: no model is loaded, nothing is sampled."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from real_models_figures import draw
from study import RESULTS

from sivgap.gap.estimate import FEWEST, Estimate, mean
from sivgap.gap.gap import gap
from sivgap.gap.scaling import Line
from sivgap.gap.weights import Quantile, weigh
from sivgap.report.evaluation_record import Evaluation, read_evaluation
from sivgap.report.evaluation_tables import tables
from sivgap.report.evaluations import Scaling, scaling
from sivgap.report.evaluations_figure import draw_scaling
from sivgap.report.over_n import over_n as uncertainty
from sivgap.report.tables import cells, markdown
from sivgap.runs.names import epoch_name
from sivgap.runs.trajectory import Trajectory

KEPT = RESULTS / "real_models"
WORDS = Path(__file__).parent / "real_models"
"""What is said of the figures: about.md before the tables, said.md in front of all."""
ENDS = ("low", "high", "informative")
Row = dict[str, Any]


def write(names: Sequence[str]) -> None:
    """real_models.md, .json and figures from the jobs among `names` that are done, and a list of those that are not."""
    done = [name for name in names if (KEPT / name / "config.yaml").exists()]
    found: dict[str, list[Row]] = {
        "accuracy": [accuracy(name) for name in _of(done, "accuracy", "gsm8k") if name.endswith("-gold")],
        "verifiers": [verifier(name) for name in _of(done, "verifiers", "judges", "choice", "gsm8k", "over_n")
                      if not name.endswith("-gold") and "-by-" not in name],
        "judges": [judge(name) for name in _of(done, "judges")],
        "over_n": [row for name in _of(done, "over_n", "accuracy/qwen") for row in over_n(name)],
        "self": [training(name) for name in _of(done, "self")],
        "cross": [training(name) for name in _of(done, "cross", "self/own")],
        "fits": [row for name in _of(done, "self", "cross") for row in fit(name)],
        "epochs": [row for name in _of(done, "self", "cross") for row in epochs(name)],
        "scaling": scale([*_of(done, "scaling"), *(name for name in _of(done, "judges") if "-by-" not in name)]),
    }  # fmt: skip
    parts = [(WORDS / "said.md").read_text(), (WORDS / "about.md").read_text()]
    parts += [f"## {title}\n\n{_table(found[key])}" for key, title in TITLES.items() if found[key]]
    missing = [name for name in names if name not in done or not _complete(name)]
    if missing:
        command = f"python benchmarks/real_models.py --models FOLDER --data FOLDER --only {' '.join(missing)}"
        parts.append(f"## Not yet measured\n\n`{command}`\n")
    draw(KEPT, done)
    (RESULTS / "real_models.md").write_text("\n".join(parts))
    (RESULTS / "real_models.json").write_text(json.dumps({**found, "missing": missing}, indent=1) + "\n")


TITLES = {
    "accuracy": "1. Accuracy",
    "verifiers": "2. Verifiers that judge their own model's responses",
    "judges": "3. Judges crossed",
    "over_n": "3. Choosing one of n",
    "self": "4. Self-improvement of the 0.5 B model, held out",
    "cross": "5. Responses of the 1.5 B model, held out",
    "fits": "4, 5. The coupled law, and its forecast from the first third",
    "epochs": "4, 5. Every measurement, held out",
    "scaling": "6. Relative gap (mc) over pre-training FLOPs",
}


def accuracy(name: str) -> Row:
    said = _said(name)
    top = max(said["pass_at_k"], key=int)
    return {
        "model": said["generator"], "dataset": said["dataset"], "problems x responses": _size(said),
        "accuracy": _shown(said["solver_accuracy"]), "in the form asked for": _shown(said["solver_accuracy_strict"]),
        "likeliest of N": _shown(said["likeliest_accuracy"]), "pass@N": _shown(said["pass_at_k"][top]),
        "U_s (nats)": _shown(said["solver_uncertainty"], 2), "tokens": f"{said['solver_length']['value']:.0f}",
        "cut off": f"{1 - said['finished_fraction']['value']:.0%}",
    }  # fmt: skip


def verifier(name: str) -> Row:
    said, found = _said(name), read_evaluation(KEPT / name)
    values, counts = np.unique(np.round(found.scores, 3), return_counts=True)
    asked = found.config["weight"]
    best = f", best {asked['quantile']:.0%}" if asked["kind"] == "quantile" else ""
    return {
        "model": said["generator"], "problems": f"{said['dataset']}, {found.config['dataset']['data_seed']}",
        "verifier": f"{said['verifier']}{best}",
        "x responses": _size(said), "kept": f"{found.weights.mean():.0%}", "gap": _shown(said["gv_gap"]),
        "gap, best quarter": best_quarter(found),
        "AUROC within prompts": _shown(said["score_auroc_within"], 2),
        "of the likelihood": _shown(said["likelihood_auroc_within"], 2),
        "best of N": _shown(said["verifier_accuracy"]), "likeliest of N": _shown(said["likeliest_accuracy"]),
        "unparsed": f"{said['unparsed_fraction']['value']:.0%}",
        "commonest score": f"{values[counts.argmax()]:g} ({counts.max() / counts.sum():.0%})",
    }  # fmt: skip


def best_quarter(found: Evaluation) -> str:
    """The gap of MG's other filter, for scores that are all high or all low."""
    kept = weigh(found.scores, Quantile(0.25), found.unparsed)
    return _shown(gap(found.correct, kept, found.config["weight"]["empty"]).estimate.record())


def judge(name: str) -> Row:
    """Both papers' forms: the gap of the filter, and the chosen response's accuracy and uncertainty."""
    said, found = _said(name), read_evaluation(KEPT / name)
    by = found.scores, found.nll, found.length, found.finished, found.unparsed
    chosen = found.selection.choose(*by).chosen
    mine = found.nll.mean(axis=1)
    likeliest = found.selection.without_scores.choose(*by[:4]).chosen
    at = np.arange(len(chosen))
    return {
        "generator": said["generator"], "judge": said["judge"], "problems x responses": _size(said),
        "accuracy": _shown(said["solver_accuracy"]), "gap": _shown(said["gv_gap"]),
        "gap, best quarter": best_quarter(found),
        "AUROC within prompts": _shown(said["score_auroc_within"], 2),
        "best of N": _shown(said["verifier_accuracy"]), "likeliest of N": _shown(said["likeliest_accuracy"]),
        "U_s - U_v (nats)": _shown(mean(mine - found.nll[at, chosen]).record(), 2),
        "same without scores": _shown(mean(mine - found.nll[at, likeliest]).record(), 2),
    }  # fmt: skip


def over_n(name: str) -> list[Row]:
    """Accuracy and uncertainty of the one chosen of n, by the verifier and by the likelihood alone, and pass@n."""
    found = read_evaluation(KEPT / name)
    frame = pd.read_parquet(KEPT / name / "scores.parquet")
    alone = frame.assign(score=1.0, unparsed=False)
    accuracy = tables(found)["over_n"][1].to_dict("records")
    chosen, likeliest = (uncertainty(rows, found.selection).to_dict("records") for rows in (frame, alone))
    return [
        {"model": found.generator, "verifier": found.verifier, "panel": found.config["panel"]["split"], "n": row["n"],
         "best of n": _ends(row, "best_of_n"), "likeliest of n": _ends(row, "likeliest_of_n"),
         "pass@n": _ends(row, "pass_at_n"), "U_v": f"{by['verifier_uncertainty']:.2f}",
         "U of the likeliest": f"{without['verifier_uncertainty']:.2f}"}
        for row, by, without in zip(accuracy, chosen, likeliest, strict=True)
    ]  # fmt: skip


def _ends(row: Row, name: str) -> str:
    return _shown({end or "value": row[f"{name}{'_' * bool(end)}{end}"] for end in ("", "low", "high")})


def training(name: str) -> Row:
    """Before and after, paired by problem."""
    lines = _held_out(name)
    first, last = lines[0], lines[-1]
    rows = {line["epoch"]: _samples(name, line["epoch"]) for line in (first, last)}
    change = {key: _paired(rows, key, first["epoch"], last["epoch"]) for key in ("correct", "nll", "length")}
    best = max(lines, key=lambda line: line["pass_at_k"]["1"])
    top = str(first["n_samples"])
    return {
        "run": name, "epochs": last["epoch"], "pass@1": _arrow(first, last, lambda line: line["pass_at_k"]["1"]),
        "change": _shown(change["correct"].record()),
        "highest (epoch)": f"{best['pass_at_k']['1']:.3f} ({best['epoch']:g})",
        f"pass@{top}": _arrow(first, last, lambda line: line["pass_at_k"][top]),
        "pass@1 where the product stands last": " -> ".join(f"{_product_last(frame):.3f}" for frame in rows.values()),
        "best of N": _arrow(first, last, lambda line: line["verifier_accuracy"]),
        "U_s": _arrow(first, last, lambda line: line["solver_uncertainty_all"], 2),
        "change of U_s": _shown(change["nll"].record(), 2),
        "U_v": _arrow(first, last, lambda line: line["verifier_uncertainty"], 2),
        "AUROC of -U/|y| within": _arrow(first, last, lambda line: line.get("likelihood_auroc_within"), 2),
        "tokens": _arrow(first, last, lambda line: line["solver_length"], 1),
        "prompts none of which pass": _arrow(first, last, lambda line: line["fallback_fraction"], 2),
    }  # fmt: skip


def _product_last(rows: pd.DataFrame) -> float:
    """Accuracy of problems such as 14+60*3, whose steps do not go from left to right as those of both examples do."""
    return float(rows.loc[rows["question"].str.contains(r"[+-]\d+\*"), "correct"].mean())


def epochs(name: str) -> list[Row]:
    keys = ("solver_uncertainty_all", "solver_uncertainty_all_se", "verifier_uncertainty", "verifier_uncertainty_se",
            "verifier_accuracy", "likeliest_accuracy", "score_auroc_within", "likelihood_auroc_within",
            "solver_length", "external_new")  # fmt: skip
    return [
        {"run": name, "epoch": line["epoch"],
         **_passes(line),
         **{key: _number(line.get(key)) for key in keys}}
        for line in _held_out(name)
    ]  # fmt: skip


def _passes(line: Row) -> Row:
    return {f"pass@{k}": _number(value) for k, value in line["pass_at_k"].items() if value is not None}


def fit(name: str) -> list[Row]:
    """What fit.json and forecast.json say, which `real_models.explain` made beside the run; else nothing."""
    path = KEPT / name / "fit.json"
    if not path.exists():
        return []
    said = json.loads(path.read_text())
    law, forecast = said["coupled"], json.loads((KEPT / name / "forecast.json").read_text())
    lines = {line["epoch"]: line for line in _held_out(name)}
    parameters, r2 = law["parameters"], law["r2"]
    told = {curve: forecast["forecast"][curve][-1] for curve in ("solver", "verifier")}
    last = max(lines)
    shown = {curve: f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]" for curve, value in told.items()
             if value["epoch"] == last}  # fmt: skip
    return [{
        "run": name, "rate an epoch": _interval(parameters["rate"]), "limit of U_s": _interval(law["limits"]["solver"]),
        "R² of U_s, U_v, gap": ", ".join(f"{r2[c]:.2f}" for c in ("solver", "verifier", "gap")),
        "forecast of U_s at the end": shown.get("solver", ""), "was": _number(lines[last]["solver_uncertainty_all"]),
        "forecast of U_v": shown.get("verifier", ""), "was ": _number(lines[last]["verifier_uncertainty"]),
    }]  # fmt: skip


def scale(names: Sequence[str]) -> list[Row]:
    """The figure, real models in one and embedded ones in another line, and its points."""
    found = [read_evaluation(KEPT / name) for name in names]
    tiny: Callable[[Evaluation], bool] = lambda each: each.generator.startswith("tiny")  # noqa: E731
    groups = {"embedded": [e for e in found if tiny(e)], "real": [e for e in found if not tiny(e)]}
    lines = {label: line for label, group in groups.items() for line in scaling(group)}
    rows = []
    for label, line in lines.items():
        for point in line.points.to_dict("records"):
            gap = {end or "value": point.get(f"gv_gap_relative{'_' * bool(end)}{end}") for end in ("", *ENDS)}
            rows.append(
                {
                    "models": label,
                    "model": point["model"],
                    "FLOPs": f"{point['flops']:.1e}",
                    "relative gap": _shown(gap),
                }
            )
    if lines:
        drawn = [
            replace(line, name=f"{label} models, {line.name}", line=_if_known(line)) for label, line in lines.items()
        ]
        draw_scaling(drawn, KEPT / "figures" / "scaling.png")
        (KEPT / "figures" / "scaling.pdf").unlink(missing_ok=True)
    return rows


def _complete(name: str) -> bool:
    return bool(json.loads((KEPT / name / "status.json").read_text())["state"] == "complete")


def _if_known(found: Scaling) -> Line | None:
    """The line through gaps each of which rests on enough problems."""
    counts = found.points.get("gv_gap_relative_informative")
    return found.line if counts is None or (counts >= FEWEST).all() else None


def _of(done: Sequence[str], *groups: str) -> list[str]:
    return [name for name in done if name.startswith(groups)]


def _said(name: str) -> Row:
    said: Row = json.loads((KEPT / name / "evaluation.json").read_text())
    return said


def _size(said: Row) -> str:
    return f"{said['prompts']} x {said['samples']}"


def _held_out(name: str) -> list[Row]:
    return [line for line in Trajectory(KEPT / name / "trajectory.jsonl").read() if line["split"] == "test"]


def _samples(name: str, epoch: float) -> pd.DataFrame:
    rows = pd.read_parquet(KEPT / name / "samples" / f"{epoch_name(epoch)}.parquet")
    return rows[(rows["split"] == "test") & (rows["sample"] >= 0)]


def _paired(rows: dict[float, pd.DataFrame], key: str, first: float, last: float) -> Estimate:
    """The mean change of a problem, with its interval over problems."""
    by = {epoch: frame.groupby("problem_id")[key].mean() for epoch, frame in rows.items()}
    change = (by[last] - by[first]).to_numpy(np.float64)
    return mean(change)


def _shown(value: Row | None, digits: int = 3) -> str:
    """A number with its 90 % interval over problems."""
    if value is None or value.get("value") is None:
        return "none"
    if value.get("informative") is not None and value["informative"] < FEWEST:
        return f"too few problems ({value['informative']:.0f})"
    if value.get("low") is None:
        return f"{value['value']:.{digits}f}"
    return f"{value['value']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def _interval(value: Row) -> str:
    return _shown(value, 2)


def _arrow(first: Row, last: Row, of: Callable[[Row], float | None], digits: int = 3) -> str:
    ends = [of(first), of(last)]
    return " -> ".join("none" if end is None else f"{end:.{digits}f}" for end in ends)


def _number(value: object) -> object:
    return None if value is None or value != value else round(value, 4) if isinstance(value, float) else value


def _table(rows: Sequence[Row]) -> str:
    frame = pd.DataFrame(rows)
    return markdown(list(map(str, frame.columns)), cells(frame))
