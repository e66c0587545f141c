"""``python -m sivgap.evaluate``: the generation-verification gap of a model, a task and a verifier, without training.

MG, Section 3: N responses to each problem, each scored by a verifier; then what the scores are worth. Responses and
verdicts are kept (`sivgap.store`): another verifier, weight or N on the same responses generates only what is missing,
and an evaluation that was stopped goes on where it was.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sivgap.config.app import run_app
from sivgap.config.evaluation import EvaluateConfig
from sivgap.errors import RunError, SivgapError, Stopped
from sivgap.parallel.group import ALONE, Group
from sivgap.parallel.launch import WorkerSpec, in_ranks, work_in_ranks
from sivgap.parallel.machines import gathered
from sivgap.parallel.place import find_place

if TYPE_CHECKING:
    from sivgap.core.problem import Problem
    from sivgap.core.verification import Verifier
    from sivgap.grading.equal import AnswerComparer
    from sivgap.runtime.display import Display
    from sivgap.runtime.signals import StopRequest
    from sivgap.store.responses import ResponseStore
    from sivgap.tasks.load import Dataset

_log = logging.getLogger("sivgap")


def main() -> None:
    with gathered():
        run_app("evaluate", EvaluateConfig, evaluate)


def evaluate(config: EvaluateConfig) -> None:
    """One evaluation; prints its directory as the last line.

    Raises:
        ConfigError: If the configuration is wrong.
        RunError: If it failed.
        Stopped: If a signal asked for it; the same command goes on.
    """
    from sivgap.runs.identity import evaluation_directory
    from sivgap.runtime.display import Display

    config = config.model_copy(update={"launch": find_place(os.environ).settle(config.launch)})
    if config.plan:
        from sivgap.plan.command import show_plan

        show_plan(config)
        return
    folder, display = evaluation_directory(config), Display()
    complete = (folder / "evaluation.json").exists()
    if complete and (damage := _damage(folder)) is not None:
        display.say(f"{damage}; it is made again from the stored responses")
        complete = False
    if complete:
        display.say("this evaluation is complete; fresh=true makes it again beside it")
    else:
        _attempt(config, folder, display)
    print(folder)


def _attempt(config: EvaluateConfig, folder: Path, display: Display) -> None:
    """Measure and report; ``sivgap.log`` in `folder` says how it went."""
    from sivgap.report.evaluation import report_evaluation
    from sivgap.runtime.log import logged
    from sivgap.runtime.signals import handle_signals

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); set runs_dir=FOLDER") from error
    with logged(folder / "sivgap.log"):
        try:
            with handle_signals() as stop:
                if in_ranks(config.launch):
                    _measure_in_ranks(config, folder, stop)
                else:
                    measure(config, folder, display, stop)
                with display.phase("tables, figures and page", None):
                    report_evaluation(folder, display)
        except Stopped:
            raise
        except Exception:
            _log.exception("the evaluation failed")
            raise
        finally:
            from sivgap.runtime.hardware import return_freed_memory

            return_freed_memory()  # a sweep's next evaluation is made by this process, too


def _measure_in_ranks(config: EvaluateConfig, folder: Path, stop: StopRequest) -> None:
    """As `measure`, by ``launch.processes`` ranks; the first one writes, unless it dies."""
    from sivgap.runtime.files import write_json

    settings = config.model_dump(mode="json")
    try:
        work_in_ranks(WorkerSpec("evaluate", settings, str(folder), "", config.launch.processes), stop)
    except SivgapError as error:
        found = _status(folder)
        if found.get("state") == "running":  # it died, or was ended with another
            write_json(folder / "status.json", {**found, "state": "failed", "reason": str(error)}, folder)
        raise


def work_as_rank(spec: WorkerSpec, display: Display, stop: StopRequest, group: Group) -> str | None:
    """`measure` as one of the processes of an evaluation."""
    return measure(EvaluateConfig.model_validate(spec.settings), Path(spec.path), display, stop, group)


def measure(
    config: EvaluateConfig, folder: Path, display: Display, stop: StopRequest, group: Group = ALONE
) -> str | None:
    """Responses, verdicts and grades of all problems, into ``scores.parquet``; by the first rank of `group`, which the
    others help to generate.
    """
    with display.phase("loading torch and transformers", None):
        from sivgap.engines.threads import settle_threads
        from sivgap.loop.scoring import score_all
        from sivgap.runtime.files import tidied, write_json, write_text
        from sivgap.runtime.hardware import describe_hardware, keep_freed_memory
        from sivgap.runtime.log import silence_libraries
        from sivgap.runtime.versions import versions
        from sivgap.tasks.load import load_dataset
        from sivgap.tasks.panel import draw_panel

    started = time.monotonic()
    keep_freed_memory()
    silence_libraries()
    threads_from = settle_threads(config, _status(folder), group)
    with display.phase(f"loading {config.dataset.name}", None):
        dataset = load_dataset(config.dataset)
    if not group.leads:
        _help(config, dataset, group, stop)
        return None
    split = config.panel.split
    among = dataset.test if split == "test" else dataset.train
    problems = draw_panel(among, config.panel.prompts, config.dataset.data_seed, split)
    write_text(folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), folder)
    about = {"versions": versions(), "hardware": describe_hardware(group.size, threads_from)}
    write_json(folder / "status.json", {"state": "running", **about}, folder)
    try:
        with tidied(folder), ExitStack() as opened:
            with display.phase(f"loading {config.model.label}", None):
                store, verifier, comparer = opened.enter_context(_opened(config, dataset, problems, display, group))
            opened.enter_context(stop.deferred())  # from here on what was sampled is worth storing
            notes = score_all(
                config, problems, store, verifier, comparer, folder / "scores.parquet", display, stop, dataset.examples
            )
            _keep_examples(folder, problems, store)
    except BaseException as error:
        stopped = isinstance(error, Stopped) or not isinstance(error, Exception)
        reason = str(error) or "stopped by a signal while loading"
        write_json(
            folder / "status.json", {"state": "stopped" if stopped else "failed", "reason": reason, **about}, folder
        )
        raise
    seconds = round(time.monotonic() - started, 1)
    write_json(folder / "status.json", {"state": "complete", **about, **notes, "seconds": seconds}, folder)
    return None


def _keep_examples(folder: Path, problems: Sequence[Problem], store: ResponseStore) -> None:
    """Copy the responses that the page shows into `folder`: it can then be made again without the store."""
    import pandas as pd

    from sivgap.report.examples import choose_examples, examples, write_examples
    from sivgap.runtime.read import read_parquet

    rows = read_parquet(folder / "scores.parquet", folder)
    chosen = pd.concat([kind for _, kind in choose_examples(rows)])
    shown = [problem for problem in problems if problem.id in set(chosen["problem_id"])]
    texts = pd.DataFrame(
        {
            "problem_id": [problem.id for problem in shown for _ in range(store.sampling.samples)],
            "sample": list(range(store.sampling.samples)) * len(shown),
            "question": [problem.question for problem in shown for _ in range(store.sampling.samples)],
            "reference": [problem.reference for problem in shown for _ in range(store.sampling.samples)],
            "text": store.get(shown).responses.texts if shown else [],
        }
    )
    of_these = rows[rows["problem_id"].isin(texts["problem_id"])]
    write_examples(folder, examples(of_these.merge(texts, on=["problem_id", "sample"], validate="1:1")))


def _help(config: EvaluateConfig, dataset: Dataset, group: Group, stop: StopRequest) -> None:
    """The part of all ranks but the first: to generate what it asks for."""
    from sivgap.engines.solver import load_solver
    from sivgap.grading.equal import comparer
    from sivgap.parallel.remote_engine import serve
    from sivgap.verifiers.context import make_verifier_context

    with comparer() as answers:
        solver = load_solver(config, dataset, group)
        verifier_context = make_verifier_context(config, solver, dataset, answers, group)
        with stop.deferred():
            serve(group, [solver.engine, verifier_context.engine])


def _damage(folder: Path) -> str | None:
    """What is wrong with the files of a complete evaluation."""
    from sivgap.runtime.checksums import Damaged, check

    try:
        for name in ("evaluation.json", "scores.parquet", "config.yaml", "status.json"):
            check(folder, folder / name)
    except (Damaged, OSError) as error:
        return str(error)
    return None


def _status(folder: Path) -> dict[str, Any]:
    """What an earlier attempt wrote of itself, if there was one."""
    from sivgap.runtime.read import read_json

    try:
        found = read_json(folder / "status.json", folder)
    except (OSError, ValueError, RunError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _opened(
    config: EvaluateConfig, dataset: Dataset, problems: Sequence[Problem], display: Display, group: Group
) -> Iterator[tuple[ResponseStore, Verifier, AnswerComparer]]:
    """The solver behind its store, and the verifier with its memory beside it."""
    from sivgap.config.members import asking as asking_models
    from sivgap.config.model import UNNAMED
    from sivgap.config.verifier import VerifierConfig
    from sivgap.core.rollout import Sampling
    from sivgap.core.verification import Judge
    from sivgap.engines.solver import load_solver
    from sivgap.grading.equal import comparer
    from sivgap.loop.introduction import introduce, tokens_at_most
    from sivgap.parallel.remote_engine import asking
    from sivgap.runs.identity import responses_identity, short, verdict_sampling, verifier_identity
    from sivgap.runs.names import stored_under
    from sivgap.runtime.rng import derive_key
    from sivgap.store.parts import Parts
    from sivgap.store.responses import ResponseStore
    from sivgap.store.verdicts import FusedVerdicts, RememberingJudge
    from sivgap.verifiers.context import check_context, make_verifier_context
    from sivgap.verifiers.judge import ModelJudge
    from sivgap.verifiers.verifier import in_pass, make_verifier

    solver = load_solver(config, dataset, group)
    made_by = responses_identity(config)
    behind = f"{config.dataset.name}-{short(made_by)}"
    folder = stored_under(Path(config.store), [f"{name}-{behind}" for name in (config.model.label, UNNAMED)])

    @cache
    def verdicts(name: str) -> Parts:
        verifier = next(each for each in asking_models(config.verifier, config.dataset.name) if each.name == name)
        judged_by = {**verifier_identity(verifier, config.dataset.name), **verdict_sampling(config)}
        for key in ("repetitions", "rounds", "both_orders", "pairing"):
            judged_by.pop(key, None)  # they decide what is asked, not what is answered
        return Parts(folder / f"{name}-{short(judged_by)}", judged_by)

    def remember(verifier: VerifierConfig, judge: ModelJudge) -> Judge:
        return RememberingJudge(judge, verdicts(verifier.name), solver.writer)

    with comparer() as answers:
        verifier_context = make_verifier_context(config, solver, dataset, answers, group)
        with asking(group, [solver.engine, verifier_context.engine]) as (own, judge):
            solver, verifier_context = replace(solver, engine=own), replace(verifier_context, engine=judge)
            check_context(config, [*dataset.train, *dataset.test], solver, verifier_context)
            work = tokens_at_most(len(problems) * config.n, config.sampling.max_new_tokens)
            work += f", each judged by {config.verifier.name}; what the store has is not made again"
            introduce(display, config.model.label, solver.loaded, solver.writer, problems, work)
            sampling = Sampling(
                config.n,
                config.sampling.solver_temperature,
                config.sampling.max_new_tokens,
                derive_key(config.seed, "evaluate"),
                config.sampling.top_p,
            )
            quick = in_pass(config.verifier, verifier_context)
            with_them = None if quick is None else FusedVerdicts(quick, verdicts(config.verifier.name))
            store = ResponseStore(Parts(folder, made_by), solver.engine, solver.writer, sampling, with_them)
            yield store, make_verifier(config.verifier, verifier_context, remember), answers


if __name__ == "__main__":
    main()
