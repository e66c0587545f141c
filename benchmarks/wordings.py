"""Which words make models solve and judge: accuracy of several solver's prompts, AUROC of several verifiers'.

    python benchmarks/wordings.py --models FOLDER ... --task gsm8k --data TRAIN.jsonl [--only NAME ...] [--base]
    python benchmarks/wordings.py --models FOLDER ... --task gsm8k --data TRAIN.jsonl --verifier qe tf --solver NAME

The candidates are tables, benchmarks/wordings/solver.yaml and verifier.yaml. A wording is chosen on training problems
and confirmed on others (``--held-out``, from ``--test-data`` where there is one). Verifiers judge the responses that an
earlier call got with the solver's prompt NAME. What was measured is not measured again: responses are kept under
``--cache``, figures in benchmarks/results/wordings.json, from which wordings.md is written (by a call without models,
too). ``--quick`` only shows that it works, and writes no figures.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from study import RESULTS
from wordings_tables import write

from sivgap.config.app import validate
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir
from sivgap.core.problem import Problem
from sivgap.core.rollout import Sampling
from sivgap.core.verification import Responses, about_each
from sivgap.engines.solver import Solver, load_source
from sivgap.engines.threads import settle_threads
from sivgap.gap.auroc import auroc
from sivgap.grading.equal import AnswerComparer, comparer
from sivgap.models.prompts import PromptWriter
from sivgap.runs.identity import short
from sivgap.runtime.hardware import keep_freed_memory
from sivgap.runtime.rng import derive_key
from sivgap.tasks.grade import grade_samples
from sivgap.tasks.load import Dataset, load_dataset
from sivgap.tasks.panel import draw_panel
from sivgap.verifiers.context import make_verifier_context
from sivgap.verifiers.verifier import make_judge

TABLES = Path(__file__).parent / "wordings"
EXAMPLES_FORM = {"gsm8k": "####", "arithmetic": "Answer:", "nq_open": "The answer is", "sudoku": "The answer is"}
"""The form of the answer in the solutions of few-shot examples."""
PORTION = 16
"""Problems whose responses are kept together: what a measurement that was stopped loses at most."""
QUICK = {"prompts": 2, "samples": 2, "tokens": 32}


@dataclass(frozen=True)
class Asked:
    """Responses to one wording of the solver's prompt, as the cache keeps them; one entry a response."""

    texts: list[str]
    bodies: list[list[int]]
    nll: list[float]
    length: list[int]
    finished: list[bool]
    seconds: float
    problems: list[str] = field(default_factory=list)


def main() -> None:
    a = arguments()
    keep_freed_memory()
    path = RESULTS / "wordings.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    results: list[dict[str, Any]] = before.get("cells", [])
    about = a.about or before.get("about", "")
    for model in a.models:
        for cell, figures in measure_model(a, Path(model), results):
            what = " ".join(str(cell[key]) for key in ("model", "task", "kind", "wording"))
            print(f"{what}: {json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()})}")
            results.append({**cell, **figures})
            if not a.quick:
                write(results, about)
    if not a.models:
        write(results, about)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[], metavar="FOLDER")
    parser.add_argument("--task", choices=EXAMPLES_FORM, default="gsm8k")
    parser.add_argument("--data", help="training problems, where the task is not generated")
    parser.add_argument("--test-data", help="held-out problems")
    parser.add_argument("--held-out", action="store_true", help="confirm on held-out problems")
    parser.add_argument("--base", action="store_true", help="plain text for a base model, with few-shot examples")
    parser.add_argument("--few-shot", type=int, help="examples; 4 with --base, else none")
    parser.add_argument("--only", nargs="+", help="names of wordings; all otherwise")
    parser.add_argument("--verifier", nargs="+", default=[], help="judge responses, instead of asking for them")
    parser.add_argument("--readout", nargs="+", choices=["sampled", "expected"], help="of verdicts; both otherwise")
    parser.add_argument("--solver", default="box_after", help="the wording whose responses are judged")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/sivgap/wordings").expanduser())
    parser.add_argument("--about", help="what a reader must know of models and machine, kept from call to call")
    parser.add_argument("--quick", action="store_true")
    a = parser.parse_args()
    a.few_shot = a.few_shot if a.few_shot is not None else 4 * a.base
    for name, value in QUICK.items() if a.quick else ():
        setattr(a, name, value)
    return a


def measure_model(
    a: argparse.Namespace, model: Path, results: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What was asked of one model, and the figures; what is among `results` is left alone."""
    config = composed(a, model)
    dataset = load_dataset(config.dataset)
    among, part = (dataset.test, "test") if a.held_out else (dataset.train, "train")
    problems = draw_panel(among, a.prompts, 0, part)
    about = {
        "model": model.name, "task": a.task, "problems": "held-out" if a.held_out else "training",
        "style": "base" if a.base else "chat", "few_shot": a.few_shot, "prompts": len(problems), "samples": a.samples,
        "tokens": a.tokens, "dtype": a.dtype,
    }  # fmt: skip
    solver: Solver | None = None
    for name, wording in chosen(solver_wordings(a), () if a.verifier else a.only).items():
        cell = {**about, "kind": "solver", "wording": name, "words": wording["words"]}
        if known(results, cell):
            continue
        if solver is None:
            solver = opened(config, dataset)
        with comparer() as answers:
            found = solved(a, cell, solver, dataset, problems)
            yield cell, solver_figures(a, wording["form"], found, problems, answers)
    for verifier in a.verifier:
        for name, wording in chosen(verifier_wordings(a, verifier), a.only).items():
            for readout in a.readout or wording.get("readouts", ["sampled", "expected"]):
                cell = {**about, "kind": verifier, "wording": name, "words": wording["words"], "readout": readout}
                if known(results, cell):
                    continue
                if solver is None:
                    solver = opened(config, dataset)
                yield cell, judged(a, cell, wording, config, solver, dataset, problems)


def composed(a: argparse.Namespace, model: Path, verifier: str = "mc") -> EvaluateConfig:
    paths = {"dataset.path": a.data, "dataset.test_path": a.test_data}
    given = [f"{key}={value}" for key, value in paths.items() if value]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = compose(
            "evaluate",
            [
                "model=custom", f"model.path={model}", f"model.dtype={a.dtype}", f"model.chat_template={not a.base}",
                "model.stop=" + ('["\n\nQuestion:"]' if a.base else "[]"), f"dataset={a.task}", *given,
                f"dataset.few_shot={a.few_shot}", f"engine.batch_size={a.batch}", f"verifier={verifier}", "n=4",
            ],
        )  # fmt: skip
    return validate(raw, EvaluateConfig)


def opened(config: EvaluateConfig, dataset: Dataset) -> Solver:
    settle_threads(config, {})
    return load_source(config.model, config, dataset)


def solver_wordings(a: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Those for the task, by name."""
    table = yaml.safe_load((TABLES / "solver.yaml").read_text())["base" if a.base else "chat"]
    return {**table["any"], **table.get(a.task, {})}


def verifier_wordings(a: argparse.Namespace, verifier: str) -> dict[str, dict[str, Any]]:
    table = yaml.safe_load((TABLES / "verifier.yaml").read_text())[verifier]
    return {name: wording for name, wording in table.items() if wording.get("base", False) == a.base}


def chosen(wordings: dict[str, dict[str, Any]], only: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    return {name: wording for name, wording in wordings.items() if only is None or name in only}


def known(results: Sequence[dict[str, Any]], cell: dict[str, Any]) -> bool:
    return any(all(found.get(key) == value for key, value in cell.items()) for found in results)


def writer_of(solver: Solver, words: str, style: str, dataset: Dataset) -> PromptWriter:
    return PromptWriter(solver.loaded.tokenizer, style == "chat", words, dataset.examples)


def solved(
    a: argparse.Namespace, cell: dict[str, Any], solver: Solver, dataset: Dataset, problems: Sequence[Problem]
) -> Asked:
    """Responses of `cell`, a portion of the problems at a time; portions from the cache where they are there."""
    key = {name: value for name, value in cell.items() if name != "prompts"}
    writer = writer_of(solver, cell["words"], cell["style"], dataset)
    sampling = Sampling(a.samples, 1.0, a.tokens, derive_key(0, "wordings"))
    portions: list[Asked] = []
    for start in range(0, len(problems), PORTION):
        asked = problems[start : start + PORTION]
        name = f"{cell['model']}-{cell['task']}-{cell['wording']}-{short(key)}-{start}-{len(asked)}.json"
        path = a.cache / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(sampled(solver, writer, asked, sampling).__dict__))
        portions.append(Asked(**json.loads(path.read_text())))
        if portions[-1].problems not in ([], [problem.id for problem in asked]):
            raise SystemExit(f"{path}: responses to other problems; give the same --data and --test-data as before")
    return Asked(
        **{
            name: list(chain.from_iterable(getattr(portion, name) for portion in portions))
            for name in ("texts", "bodies", "nll", "length", "finished")
        },
        seconds=sum(portion.seconds for portion in portions),
    )


def sampled(solver: Solver, writer: PromptWriter, problems: Sequence[Problem], sampling: Sampling) -> Asked:
    started = time.perf_counter()
    rollouts = solver.engine.rollout([writer.solve(problem) for problem in problems], sampling)
    return Asked(
        writer.decode(rollouts.bodies),
        [[int(token) for token in body] for body in rollouts.bodies],
        rollouts.nll.ravel().tolist(),
        rollouts.length.ravel().tolist(),
        rollouts.finished.ravel().tolist(),
        time.perf_counter() - started,
        [problem.id for problem in problems],
    )


def solver_figures(
    a: argparse.Namespace, form: str, found: Asked, problems: Sequence[Problem], answers: AnswerComparer
) -> dict[str, Any]:
    """Accuracy however the answer is written, and in the form that was asked for."""
    mark = EXAMPLES_FORM[a.task] if form == "examples" else form
    right = correct(a.task, problems, found.texts, answers)
    in_form = np.array([mark in text for text in found.texts]).reshape(right.shape)
    behind = [text[max(text.rfind(mark), 0) :] for text in found.texts]
    strict = correct(a.task, problems, behind, answers) * in_form
    tokens = int(sum(found.length))
    return {
        **mean("accuracy", right), **mean("strict", strict), "in_form": float(in_form.mean()),
        "length": float(np.mean(found.length)), "cut": float(1 - np.mean(found.finished)), "seconds": found.seconds,
        "tokens_per_second": tokens / found.seconds, "form": mark,
        "pass_at_samples": float(right.max(1).mean()),
    }  # fmt: skip


def correct(task: str, problems: Sequence[Problem], texts: list[str], answers: AnswerComparer) -> NDArray[np.float64]:
    """(P, N), 1 where the answer is right, however it is written."""
    grades = grade_samples(task, problems, texts, answers)
    return np.array([grade.correct for grade in grades], dtype=np.float64).reshape(len(problems), -1)


def mean(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Mean of (P, N) and its standard error, clustered by prompt."""
    each = values.mean(1)
    return {name: float(each.mean()), f"{name}_se": float(each.std(ddof=1) / np.sqrt(len(each)))}


def judged(
    a: argparse.Namespace,
    cell: dict[str, Any],
    wording: dict[str, Any],
    config: EvaluateConfig,
    solver: Solver,
    dataset: Dataset,
    problems: Sequence[Problem],
) -> dict[str, Any]:
    """How well verdicts tell right responses from wrong ones, beside the likelihood a token."""
    words = solver_wordings(a)[a.solver]["words"]
    about = {key: value for key, value in cell.items() if key not in ("readout", "kind", "wording", "words")}
    found = solved(a, {**about, "kind": "solver", "wording": a.solver, "words": words}, solver, dataset, problems)
    shipped = composed(a, Path(cell["model"]), cell["kind"]).verifier
    settings = {"max_new_tokens": wording.get("tokens", shipped.max_new_tokens), "readout": cell["readout"],
                "answers": wording.get("answers", shipped.answers)}  # fmt: skip
    started = time.perf_counter()
    with comparer() as answers:
        own = replace(solver, writer=writer_of(solver, words, cell["style"], dataset))
        verifier_context = make_verifier_context(config, own, dataset, answers)
        judge = replace(make_judge(shipped.model_copy(update=settings), verifier_context), template=wording["words"])
        responses = Responses(problems, found.texts, [np.array(body, dtype=np.int64) for body in found.bodies])
        verdicts = judge.ask(responses, about_each(*responses.shape), derive_key(0, "wordings"))
        right = correct(a.task, problems, found.texts, answers)
    score = verdicts.value.reshape(right.shape)
    commonest, often = Counter(np.round(score.ravel(), 6)).most_common(1)[0]
    return {
        "solver": a.solver, "auroc": auroc(score, right), "right": int(right.sum()), "wrong": int((1 - right).sum()),
        "auroc_likelihood": auroc(-np.array(found.nll) / np.array(found.length), right.ravel()),
        "unparsed": float(verdicts.unparsed.mean()), "commonest": float(commonest),
        "commonest_share": often / score.size, "score_mean": float(score.mean()), "score_std": float(score.std()),
        "seconds": time.perf_counter() - started,
        "max_new_tokens": settings["max_new_tokens"], "said": Counter(verdicts.said).most_common(4),
    }  # fmt: skip


if __name__ == "__main__":
    main()
