"""What a reader of a measurement should beware of: one sentence each, what was seen and which setting to change.

`train` says them after its first measurement, `evaluate` at its end, `preflight` before either; pages show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sivgap.gap.beware_ranking import of_ranking
from sivgap.gap.estimate import FEWEST, Array, Estimate, proportion
from sivgap.gap.gap import gap
from sivgap.gap.rival import Rival, rival, varied
from sivgap.gap.selection import Selection

NOTHING_TO_LEARN = 0.05
"""Accuracy this near to 0 or 1: of 8 responses to a prompt two in three times not one differs from the others."""
CUT = 0.10
"""Share of responses cut off: their answers count as wrong, and a model that learns them learns not to end."""
CHOSEN_CUT = 0.05
"""Share of chosen responses cut off: their U is a lower bound, so U_v and the gap mix two quantities."""
UNPARSED = 0.05
"""Share of verdicts that could not be read: a response without one is never chosen."""
FORM = 0.05
"""Accuracy lost by the answer's form: of the size of what a few rounds of self-improvement win."""
FEW = 10
"""Right, or wrong, responses: an AUROC of fewer has a standard error of .09 and more (Hanley and McNeil 1982)."""
ALIKE = 0.9
"""Share of prompts of which all responses pass, or none: where selection decides nothing."""
COARSE = 0.03
"""Standard error of an accuracy: a gain of less than twice this cannot be seen, and most rounds gain less."""
FINE = 0.02
"""Standard error that prompts are suggested for."""
PLACE = 0.05
"""How far from half a judge may prefer the second of two responses: as much goes by place, not by quality."""
KEPT = 0.25
"""Quantile that is suggested: MG's, the best quarter."""
_CONSTANT = 1e-6
"""Standard deviation of scores that are all the same but for rounding."""
LONGEST = 4
"""Times by which longer responses are suggested at most, in one go."""
ENDLESS = 0.9
"""Share of responses cut off from which on it is not their length that is too small: nothing makes them end."""


@dataclass(frozen=True)
class RunSettings:
    """The settings that sentences name.

    Attributes:
        selection: Which responses pass.
        quantile: How a quantile is set.
        panel: The setting of the number of measured prompts.
        prompts: How many there will be; those seen may be fewer.
        verifier, readout: Of the verifier.
        verdict: `verifier.max_new_tokens`.
        longest: `sampling.max_new_tokens`.
        learns: Whether chosen responses are trained on.
    """

    selection: Selection
    quantile: str
    panel: str
    prompts: int
    verifier: str
    readout: str
    verdict: int
    longest: int
    learns: bool


def run_settings_of(config: Mapping[str, Any], selection: Selection, prompts: int) -> RunSettings:
    """Of the ``config.yaml`` of a run or an evaluation, which measures `prompts`."""
    evaluates, verifier = "weight" in config, config["verifier"]
    quantile = f"weight.kind=quantile weight.quantile={KEPT}" if evaluates else f"selection.quantile={KEPT}"
    return RunSettings(
        selection,
        quantile,
        "panel.prompts" if evaluates else "measure.test_prompts",
        prompts,
        str(verifier["name"]),
        str(verifier["readout"]),
        int(verifier.get("max_new_tokens", 0)),
        int(config.get("sampling", {}).get("max_new_tokens", 0)),
        not evaluates,
    )


@dataclass(frozen=True)
class Measured:
    """What P prompts x N responses showed.

    Attributes:
        prompts, samples: P and N.
        right: Responses that are right.
        accuracy: Over all N, its error over prompts.
        strict: Accuracy in the form that was asked for.
        gap: MG Def. 2.1.
        rival: The score beside the likelihood.
        score, spread: Mean and standard deviation of the scores that could be read, if any could.
        varied: Share of prompts whose responses have different scores.
        all_pass, none_pass: Share of prompts of which every response passes, or none.
        unparsed: Share of verdicts that could not be read.
        cut, chosen_cut: Share of responses, and of chosen ones, that were cut off.
        length: Mean tokens of a response.
        second: Share of the comparisons in which a tournament's judge prefers the second response.
    """

    prompts: int
    samples: int
    right: int
    accuracy: Estimate
    strict: float
    gap: Estimate
    rival: Rival
    score: float | None
    spread: float | None
    varied: float
    all_pass: float
    none_pass: float
    unparsed: float
    cut: float
    chosen_cut: float
    length: float
    second: float | None = None


def measured(
    correct: Array,
    strict: Array,
    scores: Array,
    unparsed: Array,
    nll: Array,
    length: Array,
    finished: Array,
    selection: Selection,
    second: float | None = None,
) -> Measured:
    """From arrays (P, N); `unparsed` is the share of each score's verdicts that could not be read."""
    passes = selection.passes(scores, unparsed)
    chosen = selection.choose(scores, nll, length, finished, unparsed).chosen
    read = unparsed < 1
    return Measured(
        prompts=correct.shape[0],
        samples=correct.shape[1],
        right=int(correct.sum()),
        accuracy=proportion(correct.mean(axis=1), correct.shape[1]),
        strict=float(strict.mean()),
        gap=gap(correct, selection.weights(scores, unparsed)).estimate,
        rival=rival(scores, nll, length, finished, correct, selection, unparsed),
        score=float(scores[read].mean()) if read.any() else None,
        spread=float(scores[read].std()) if read.any() else None,
        varied=float(varied(scores, unparsed).mean()),
        all_pass=float(passes.all(axis=1).mean()),
        none_pass=float(1 - passes.any(axis=1).mean()),
        unparsed=float(unparsed.mean()),
        cut=float(1 - finished.mean()),
        chosen_cut=float(1 - finished[np.arange(len(chosen)), chosen].mean()),
        length=float(length.mean()),
        second=second,
    )


def beware(seen: Measured, asked: RunSettings) -> list[str]:
    """A sentence for each thing that is wrong, the gravest kinds first; none where nothing is."""
    return [*_of_responses(seen, asked), *_of_verdicts(seen, asked), *_of_numbers(seen, asked)]


def _of_responses(seen: Measured, asked: RunSettings) -> Iterator[str]:
    value, them = seen.accuracy.value or 0.0, f"{seen.prompts * seen.samples} responses"
    if seen.cut > CUT:
        where = f"sampling.max_new_tokens={asked.longest}"
        yield f"{seen.cut:.1%} of {them} were cut off at {where}; {_longer(seen, asked)}"
    if seen.chosen_cut > CHOSEN_CUT:
        learnt = ", and they are learnt without an end" if asked.learns else ""
        yield (
            f"{seen.chosen_cut:.1%} of the chosen responses are cut off: their uncertainty is a lower bound{learnt}; "
            "raise sampling.max_new_tokens"
        )
    if value < NOTHING_TO_LEARN:
        first = "first let responses end, then " if seen.cut > CUT else ""
        yield (
            f"{value:.1%} of {them} are right: there is next to nothing to learn from; {first}read the "
            "conversations whether the prompt lets the model reason before it answers (dataset.prompt), try "
            "dataset.few_shot=4, or take a larger model"
        )
    if value > 1 - NOTHING_TO_LEARN:
        yield f"{value:.1%} of {them} are right: there is next to nothing left to learn; take harder problems"
    if value - seen.strict > FORM:
        yield (
            f"{value:.1%} of {them} are right, {seen.strict:.1%} in the form that the prompt asks for: a gain in "
            "strict accuracy may be form, not ability; ask for the form that the model uses (dataset.prompt), or "
            "show it with dataset.few_shot=4"
        )


def _longer(seen: Measured, asked: RunSettings) -> str:
    """What to do about responses that are cut off: lengths beyond the cut are taken to go on as they end before it."""
    if seen.cut > ENDLESS:
        return (
            "hardly any ends by itself: see whether they run on behind the answer (then set model.stop, or "
            "model.chat_template), else raise it"
        )
    ended = (1 - seen.cut) / seen.length
    needed = 64 * math.ceil((asked.longest + math.log(seen.cut / CUT) / ended) / 64)
    return f"raise it to {min(needed, LONGEST * asked.longest)}"


def _of_verdicts(seen: Measured, asked: RunSettings) -> Iterator[str]:
    if asked.verifier == "gold":
        return  # it is the truth, or errs as it was told to
    if seen.unparsed > UNPARSED:
        yield f"{seen.unparsed:.1%} of the verdicts could not be read, and never pass; {_readable(asked)}"
    if seen.score is not None and seen.spread is not None:
        yield from _of_scores(seen, seen.score, seen.spread, asked)
    yield from of_ranking(seen.rival, seen.samples, _another(asked))
    if seen.second is not None and abs(seen.second - 0.5) > PLACE:
        yield (
            f"the judge prefers the second of two responses in {seen.second:.1%} of the comparisons, whatever they "
            "are; keep verifier.both_orders=true"
        )


def _of_scores(seen: Measured, score: float, spread: float, asked: RunSettings) -> Iterator[str]:
    """Scores that are all alike, or all on one side of the threshold: of the mean `score`, with deviation `spread`."""
    if seen.varied == 0:
        each = "every verdict that could be read" if seen.unparsed > UNPARSED else "every response"
        same = f"{each} scores {score:.2f}" if spread < _CONSTANT else "scores differ between prompts alone"
        yield f"{same}: the verifier says nothing, and choosing is by likelihood alone; {_another(asked)}"
    elif seen.all_pass > ALIKE or seen.none_pass > ALIKE:
        what = "all" if seen.all_pass > ALIKE else "none"
        share = max(seen.all_pass, seen.none_pass)
        yield (
            f"of {share:.0%} of the prompts {what} of the responses pass at {asked.selection.name} (scores "
            f"{score:.2f} ± {spread:.2f}), and choosing is by likelihood alone; set {asked.quantile}, or "
            f"{_another(asked)}"
        )


def _readable(asked: RunSettings) -> str:
    if asked.verifier == "ensemble":  # its members have lengths of their own
        return "see which member's verdicts these are (verifier=NAME for each), and leave it out (verifier.members)"
    if asked.readout == "sampled" and asked.verifier in ("qe", "tf", "mc"):
        return (
            f"set verifier.readout=expected, raise verifier.max_new_tokens={asked.verdict}, or reword verifier.prompt"
        )
    return f"raise verifier.max_new_tokens={asked.verdict}, or reword verifier.prompt"


def _another(asked: RunSettings) -> str:
    """Another way to a verdict than the one that was tried."""
    other = "verifier=mc" if asked.verifier != "mc" else "verifier=cot_score"
    if asked.readout == "sampled" and asked.verifier in ("qe", "tf"):
        return f"set verifier.readout=expected, or take another verifier ({other})"
    return f"take another verifier ({other}), or a larger one (verifier.model.path)"


def _of_numbers(seen: Measured, asked: RunSettings) -> Iterator[str]:
    """What the panel's size lets one say; of fewer prompts seen than will be measured, scaled to those."""
    times = asked.prompts / seen.prompts
    wide = math.sqrt(1 / times)
    total = seen.prompts * seen.samples
    right, wrong = seen.right, total - seen.right
    tells = asked.verifier != "gold" and seen.varied > 0
    if tells and 0 < min(right, wrong) < FEW:  # without any there is no AUROC, and accuracy says why
        few = times * min(right, wrong) < FEW
        yield (
            f"the AUROC of the score rests on {right} right and {wrong} wrong responses, {FEW} of each are the least; "
            + (f"raise {asked.panel} or n" if few else f"believe that of the run, on {asked.prompts} prompts")
        )
    elif tells and 0 < (seen.gap.informative or 0) < FEWEST:
        yield (
            f"the generation-verification gap rests on {seen.gap.informative} prompts that have right and wrong, and "
            f"kept and dropped responses, {FEWEST} are the least; raise {asked.panel} or n"
        )
    elif tells and seen.gap.value is not None and seen.gap.low is not None:
        half = (seen.gap.value - seen.gap.low) * wide
        if abs(seen.gap.value) <= half and max(seen.all_pass, seen.none_pass) <= ALIKE:
            yield (
                f"the generation-verification gap, {seen.gap.value:.3f}, is not told apart from 0 (90 %: at least "
                f"{seen.gap.value - half:.3f}, at most {seen.gap.value + half:.3f}); raise "
                f"{asked.panel}={asked.prompts}, or {_another(asked)}"
            )
    if seen.accuracy.stderr is not None and seen.accuracy.stderr * wide > COARSE:
        error = seen.accuracy.stderr * wide
        needed = math.ceil(asked.prompts * (error / FINE) ** 2)
        yield (
            f"accuracies of {asked.prompts} prompts have a standard error of {error:.3f}: gains below {2 * error:.2f} "
            f"cannot be seen; raise {asked.panel} to about {needed} for {FINE}"
        )
