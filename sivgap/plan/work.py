"""How much a run has to do, phase by phase: responses, tokens and FLOPs. Nothing here knows how fast anything is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.config.verifier import VerifierConfig
from sivgap.cross.external import make_timetable
from sivgap.loop.schedule import make_schedule
from sivgap.models.shape import Shape
from sivgap.tasks.load import Dataset


@dataclass(frozen=True)
class Lengths:
    """Means of what is read and written, tokens.

    Attributes:
        prompt: The solver's.
        response: Those that end it included.
        question: What a verifier's prompt adds.
        shared: Of a verifier's prompt what stands before the response, and is the same for all of a problem.
        verdict: One sampled answer of a verifier; 0 where likelihoods are read.
        examples: Training examples a labelled prompt, replayed ones left out.
        source: Where response, verdict and examples are from.
        each: Of single responses in the order in which an engine takes them, where an estimate needs them.
    """

    prompt: float
    response: float
    question: float
    verdict: float
    examples: float
    source: str
    each: tuple[int, ...] = ()
    shared: float = 0.0


@dataclass(frozen=True)
class Phase:
    """One kind of work over the whole run. `items` are responses, of training examples; tokens are `read` (prompts, and
    all that is trained on) or `written`."""

    name: str
    items: float
    read: float
    written: float
    flops: float


@dataclass(frozen=True)
class VerifierWork:
    """What a verifier does about one response: tokens read and written."""

    read: float
    written: float


def verifier_work(verifier: VerifierConfig, lengths: Lengths, n: int, follows_up: bool) -> VerifierWork:
    """What one member of an ensemble, or a verifier alone, reads and writes about one of `n` responses.

    A follow-up asked once continues from the response's cache, and reads its question alone. Otherwise question and
    response are read again, by a tournament two at once, for each pair and (`both_orders`) each way round; what stands
    before the responses is read once for all of a problem.
    """
    answers = verifier.repetitions if verifier.readout == "sampled" or verifier.heading else 1
    written = answers * lengths.verdict
    once_for_all = lengths.shared * (1 - 1 / n)
    if verifier.name != "tournament":
        in_pass = follows_up and verifier.repetitions == 1 and verifier.model.path is None
        if in_pass:
            return VerifierWork(lengths.question, written)
        return VerifierWork(lengths.question + lengths.prompt + lengths.response - once_for_all, written)
    most = math.ceil(math.log2(max(n, 2)))
    rounds = verifier.rounds or most
    pairs = rounds / 2 if verifier.pairing == "swiss" else 1 - 0.5 ** min(rounds, most)
    questions = pairs * (2 if verifier.both_orders else 1)
    read = questions * (lengths.prompt + lengths.question + 2 * lengths.response - lengths.shared) + lengths.shared / n
    return VerifierWork(read, questions * written)


def phases(config: SolverConfig, dataset: Dataset, shape: Shape, lengths: Lengths, about: VerifierWork) -> list[Phase]:
    """The work of `config` on `dataset`, in Algorithm 1's order; `about` is what all verifiers do about a response."""
    if not isinstance(config, TrainConfig):
        return [phase for split, size in panels(config, dataset)
                for phase in _sampled(f"{split} panel", size, config.n, shape, lengths, about)]  # fmt: skip
    labelled, taken, reused = _labelled(config, dataset)
    samples = config.measure.samples or config.n
    measured = {split: panel * samples * measurements(config, dataset) for split, panel in panels(config, dataset)}
    found = _sampled("labels", labelled - reused, config.n, shape, lengths, about)
    found.append(_trained(config, labelled * lengths.examples + taken, shape, lengths))
    for split, responses in measured.items():
        found += _sampled(f"{split} panel", responses / samples, samples, shape, lengths, about)
    return found


def panels(config: SolverConfig, dataset: Dataset) -> list[tuple[str, int]]:
    """Prompts of each panel."""
    sizes = {"train": len(dataset.train), "test": len(dataset.test)}
    asked_for: dict[str, int | None] = {}
    if isinstance(config, TrainConfig):
        asked_for = {"train": config.measure.train_prompts, "test": config.measure.test_prompts}
    elif isinstance(config, EvaluateConfig):
        asked_for = {config.panel.split: config.panel.prompts}
        sizes = {config.panel.split: sizes[config.panel.split]}
    return [(split, min(asked_for[split] or size, size)) for split, size in sizes.items()]


def measurements(config: SolverConfig, dataset: Dataset) -> int:
    if not isinstance(config, TrainConfig):
        return 1
    schedule = make_schedule(config, len(dataset.train))
    return sum(schedule.measures(half) for half in range(schedule.halves + 1))


def _labelled(config: TrainConfig, dataset: Dataset) -> tuple[int, int, float]:
    """Prompts labelled by the model over the run, prompts whose external response is trained on instead, and how many
    of the former have been sampled for a measurement (``measure.reuse``)."""
    schedule, timetable = make_schedule(config, len(dataset.train)), make_timetable(config, dataset.train)
    own = given = 0
    reused, share = 0.0, dict(panels(config, dataset))["train"] / len(dataset.train) if config.measure.reuse else 0.0
    for half in range(schedule.halves):
        with_response = timetable.given(half // 2 + 1)
        prompts = [dataset.train[i].id for i in schedule.prompts(half)]
        outside = sum(name in with_response for name in prompts)
        own, given = own + len(prompts) - outside, given + outside
        if schedule.measures(half - half % 2 if config.refresh == "epoch" else half):
            reused += share * (len(prompts) - outside)
    return own, given, reused


def _sampled(what: str, prompts: float, n: int, shape: Shape, lengths: Lengths, about: VerifierWork) -> list[Phase]:
    responses = prompts * n
    read, written = prompts * lengths.prompt, responses * lengths.response
    flops = shape.forward(read, lengths.prompt / 2) + shape.forward(written, lengths.prompt + lengths.response / 2)
    tokens = responses * (about.read + about.written)
    verified = shape.forward(tokens, lengths.prompt + lengths.response)
    return [
        Phase(f"{what}: sampling", responses, read, written, flops),
        Phase(f"{what}: verifying", responses, responses * about.read, responses * about.written, verified),
    ]


def _trained(config: TrainConfig, examples: float, shape: Shape, lengths: Lengths) -> Phase:
    """Forward and backward: three times a forward pass, or two where only adapters need gradients of weights.

    Pairs of ``rpo`` are two texts each.
    """
    text = lengths.prompt + lengths.response
    replay = config.update.replay
    replayed = examples * replay / (1 - replay)
    tokens = examples * text * (2 if config.update.name == "rpo" else 1) + replayed * (text + lengths.question)
    times = 3 if config.update.parameters == "full" else 2
    return Phase("training", examples + replayed, tokens, 0, times * shape.forward(tokens, text / 2))
