"""One measurement of a model on a fixed panel of problems: the columns of ``trajectory.jsonl`` (THEORY 1 and 4).

The noise of a measurement does not depend on the epoch (common random numbers) and comes from nothing that training
uses, so measuring never disturbs training and differences between epochs are differences between models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sivgap.core.rollout import Rollouts
from sivgap.core.verification import Scores
from sivgap.gap.auroc import auroc, auroc_within
from sivgap.gap.beware import Measured, measured
from sivgap.gap.estimate import Estimate
from sivgap.gap.gap import aggregate_relative_gap, gap, relative_gap, saturated_fraction
from sivgap.gap.pass_at_k import mean_pass_at_k
from sivgap.gap.rival import varied
from sivgap.gap.selection import Choice, Selection
from sivgap.gap.youden import youden
from sivgap.grading.grade import Grade

Number = float | int | str | None
Columns = dict[str, "Number | dict[str, Number]"]


@dataclass(frozen=True)
class Answers:
    """One response of each of P prompts; arrays (P,)."""

    nll: NDArray[np.float64]
    length: NDArray[np.int64]
    correct: NDArray[np.float64]
    correct_strict: NDArray[np.float64]
    finished: NDArray[np.bool_]


@dataclass(frozen=True)
class External:
    """External responses to some prompts of a panel, measured like the others (SV Eq. 14 to 18).

    Attributes:
        prompt: Place of each response's prompt in the panel, (E,).
        arriving: Whether it is given only after this measurement, (E,).
        tokens, texts: One a response.
        finished: Whether it has an end, (E,).
        nll: U(y|x), nats, (E,).
        grades: One a response, once they are graded.
    """

    prompt: NDArray[np.int64]
    arriving: NDArray[np.bool_]
    tokens: list[tuple[int, ...]]
    texts: list[str]
    finished: NDArray[np.bool_]
    nll: NDArray[np.float64]
    grades: list[Grade] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """What was sampled on a panel, scored and graded; arrays (P, N)."""

    rollouts: Rollouts
    texts: list[str]
    scores: Scores
    grades: list[Grade]
    choice: Choice
    external: External | None = None

    def solver(self) -> Answers:
        """The first response of each prompt (SV Eq. 4)."""
        return self._picked(np.zeros(len(self.rollouts.nll), dtype=np.int64))

    def verifier(self, arriving: bool = False) -> Answers:
        """The chosen response of each prompt (SV Eq. 5), or its external one where it has been given one.

        With `arriving`, also where it is given one right after this measurement: the verifier as the data find it.
        """
        chosen = self._picked(self.choice.chosen)
        if self.external is None:
            return chosen
        outside = self.external
        here = np.ones_like(outside.arriving) if arriving else ~outside.arriving
        columns = {
            "nll": outside.nll,
            "length": np.array([len(tokens) for tokens in outside.tokens]),
            "correct": np.array([grade.correct for grade in outside.grades], dtype=np.float64),
            "correct_strict": np.array([grade.correct_strict for grade in outside.grades], dtype=np.float64),
            "finished": outside.finished,
        }
        for name, values in columns.items():
            getattr(chosen, name)[outside.prompt[here]] = values[here]
        return chosen

    def _picked(self, index: NDArray[np.int64]) -> Answers:
        """New arrays of the responses `index`, (P,)."""
        at = np.arange(len(index)), index
        nll, length = self.rollouts.nll, self.rollouts.length
        return Answers(nll[at], length[at], self.correct[at], self.correct_strict[at], self.rollouts.finished[at])

    @property
    def correct(self) -> NDArray[np.float64]:
        return self._graded("correct")

    @property
    def correct_strict(self) -> NDArray[np.float64]:
        return self._graded("correct_strict")

    def _graded(self, name: str) -> NDArray[np.float64]:
        flat = np.array([getattr(grade, name) for grade in self.grades], dtype=np.float64)
        return flat.reshape(self.rollouts.nll.shape)


def summarise(panel: Panel, selection: Selection, pass_at: Sequence[int]) -> Columns:
    """The columns that describe a panel.

    ``solver_*`` reads the first response of each prompt (SV Eq. 4, 6), ``solver_uncertainty_all`` and
    ``solver_accuracy_all`` all N; ``verifier_*`` the chosen one (SV Eq. 5, 6). Uncertainties are nats a response.
    Standard errors are over prompts. What the verifier must beat is the likelihood (`sivgap.gap.rival`):
    ``likeliest_accuracy`` is best-of-N without the score, ``score_gain`` what the score adds to it, paired by prompt.

    ``gv_gap_aggregate_relative`` is the share of all missing utility that the filter wins, a ratio of means;
    ``gv_gap_relative`` the mean of prompts' ratios without the ``saturated_fraction`` of the prompts, all of whose
    responses are right (MG Def. 2.2). Lines without ``gv_gap_relative_se`` are older: there saturated prompts count 0.
    ``*_informative`` are the prompts that a number rests on.
    """
    rollouts, solver, verifier = panel.rollouts, panel.solver(), panel.verifier()
    nll, length = rollouts.nll, rollouts.length
    scores, correct = panel.scores, panel.correct
    by_likelihood = selection.without_scores.choose(scores.values, nll, length, rollouts.finished)
    alone = correct[np.arange(len(nll)), by_likelihood.chosen]
    chosen = correct[np.arange(len(nll)), panel.choice.chosen]
    columns: Columns = {"n_prompts": int(nll.shape[0]), "n_samples": int(nll.shape[1])}
    for who, answers in (("solver", solver), ("verifier", verifier)):
        columns |= {
            **_mean(f"{who}_uncertainty", answers.nll),
            **_mean(f"{who}_uncertainty_per_token", answers.nll / answers.length),
            f"{who}_length": float(answers.length.mean()),
            **_mean(f"{who}_accuracy", answers.correct),
            f"{who}_accuracy_strict": float(answers.correct_strict.mean()),
        }
    kept = selection.weights(scores.values, scores.unparsed)
    gv_gap, within = gap(correct, kept).estimate, auroc_within(scores.values, correct)
    columns |= {
        **_mean("solver_uncertainty_all", nll.mean(axis=1)),
        **_mean("gap", solver.nll - verifier.nll),
        "gap_per_token": float((solver.nll / solver.length - verifier.nll / verifier.length).mean()),
        **_of_finished(panel, verifier),
        **_as_data_arrive(panel),
        **_mean("solver_accuracy_all", correct.mean(axis=1)),
        **_mean("likeliest_accuracy", alone),
        **_mean("score_gain", chosen - alone),
        "pass_at_k": {str(k): mean_pass_at_k(correct, k).value for k in pass_at},
        **_with_error("gv_gap", gv_gap),
        "gv_gap_informative": gv_gap.informative,
        **_with_error("gv_gap_aggregate_relative", aggregate_relative_gap(correct, kept)),
        **_with_error("gv_gap_relative", relative_gap(correct, kept).estimate),
        "saturated_fraction": saturated_fraction(correct).value,
        "score_mean": float(scores.values.mean()),
        "score_std": _std(scores.values[scores.unparsed < 1]),
        "score_varied_fraction": float(varied(scores.values, scores.unparsed).mean()),
        "score_auroc": auroc(scores.values, correct),
        **_with_error("score_auroc_within", within),
        "score_auroc_within_informative": within.informative,
        "likelihood_auroc": auroc(-nll / length, correct),
        "likelihood_auroc_within": auroc_within(-nll / length, correct).value,
        "true_positive_rate": _rate(kept, correct == 1),
        "false_positive_rate": _rate(kept, correct == 0),
        **_with_error("youden_j", youden(kept, correct)),
        "fallback_fraction": float(1 - panel.choice.passed.mean()),
        "unparsed_fraction": float(scores.unparsed.mean()),
        "finished_fraction": float(rollouts.finished.mean()),
        "chosen_cut_fraction": float(1 - verifier.finished.mean()),
    }
    return columns


def seen_in(panel: Panel, selection: Selection) -> Measured:
    """What a reader of the panel is warned by."""
    return measured(
        panel.correct,
        panel.correct_strict,
        panel.scores.values,
        panel.scores.unparsed,
        panel.rollouts.nll,
        panel.rollouts.length.astype(np.float64),
        panel.rollouts.finished.astype(np.float64),
        selection,
        panel.scores.notes.get("second_preferred"),
    )


def _of_finished(panel: Panel, verifier: Answers) -> Columns:
    """U_s, U_v and their gap without cut responses, whose U is a lower bound: over the prompts whose chosen response
    ended, U_s as the mean over all of a prompt's responses that ended. Null where there is no such prompt."""
    finished = panel.rollouts.finished
    whole = verifier.finished & finished.any(axis=1)
    names = ("solver_uncertainty_finished", "verifier_uncertainty_finished", "gap_finished")
    if not whole.any():
        return dict.fromkeys([*names, *(f"{name}_se" for name in names)])
    ended, nll = finished[whole], panel.rollouts.nll[whole]
    solver = (nll * ended).sum(axis=1) / ended.sum(axis=1)
    chosen = verifier.nll[whole]
    found = [_mean(name, by_prompt) for name, by_prompt in zip(names, (solver, chosen, solver - chosen), strict=True)]
    return {key: value for columns in found for key, value in columns.items()}


def _as_data_arrive(panel: Panel) -> Columns:
    """The verifier just after external data have come, before any training on them: what D_t of SV Eq. 19 does."""
    names = ("verifier_uncertainty_given", "verifier_accuracy_given")
    if panel.external is None or not panel.external.arriving.any():
        return dict.fromkeys(names)
    after = panel.verifier(arriving=True)
    return {names[0]: float(after.nll.mean()), names[1]: float(after.correct.mean())}


def _mean(name: str, values: NDArray[np.float64]) -> dict[str, Number]:
    """Mean over prompts and its standard error (null for a single prompt)."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {name: float(values.mean()), f"{name}_se": error}


def _with_error(name: str, estimate: Estimate) -> dict[str, Number]:
    return {name: estimate.value, f"{name}_se": estimate.stderr}


def _std(values: NDArray[np.float64]) -> float | None:
    return float(values.std()) if len(values) else None


def _rate(kept: NDArray[np.float64], among: NDArray[np.bool_]) -> float | None:
    return float(kept[among].mean()) if among.any() else None
