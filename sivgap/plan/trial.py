"""How fast a run will be, by loading its model and doing a little of everything."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sivgap.config.schema import TrainConfig
from sivgap.lab import Lab, open_lab
from sivgap.measure import Panel
from sivgap.plan.rates import Rates, batch_rows
from sivgap.plan.texts import Texts
from sivgap.plan.work import Lengths, measurements, panels
from sivgap.tasks.load import Dataset
from sivgap.update.example import Example

PATIENCE = 5.0
"""Seconds after which no larger batch is tried."""
LARGER = 8
"""Times that the next one is larger."""


def on_the_spot(config: TrainConfig, dataset: Dataset, texts: Texts, loading: float) -> tuple[Rates, Lengths]:
    """With batches as large as the run's while that is quick. `loading` seconds have gone into imports and problems."""
    started = time.perf_counter()
    with open_lab(by_itself(config), dataset) as lab:
        loading += time.perf_counter() - started
        panel, seconds = _panel(lab, batch_rows(config, dataset) // config.n)
        problems = dataset.train[: len(panel.rollouts.nll)]
        examples = lab.choose(problems, panel.rollouts, panel.scores)
        train = _train_seconds(lab, examples) if examples else 0.0
    rollouts, sharing = panel.rollouts, config.launch.processes
    responses, tokens = len(rollouts.tokens), int(rollouts.length.sum())
    what = f"{responses} responses drawn now"
    verdict = (rollouts.generated - tokens) / responses
    by_prompt = np.argsort([len(lab.writer.solve(problem).tokens) for problem in problems], kind="stable")
    each = tuple(map(int, rollouts.length[by_prompt].ravel()))  # an engine takes short prompts first
    lengths = Lengths(texts.prompt, tokens / responses, 0, verdict, len(examples) / len(problems), what, each)
    samples = config.measure.samples or config.n
    graded = samples * measurements(config, dataset) * sum(size for _, size in panels(config, dataset))
    grading = max(0.0, seconds - rollouts.seconds_generate - rollouts.seconds_verify) / responses
    return Rates(
        rollouts.seconds_generate / tokens / sharing,
        rollouts.seconds_verify / responses / sharing,
        train / sharing,
        loading + graded * grading,
        f"measured now, on {responses} responses",
    ), lengths


def by_itself(config: TrainConfig) -> TrainConfig:
    """What one process can try: a whole engine; for other hardware, where lengths alone matter, one that is here."""
    alone = {"tensor_parallel": 1} | ({} if config.plan is True else {"name": "hf"})
    return config.model_copy(update={"engine": config.engine.model_copy(update=alone)})


def _panel(lab: Lab, most: int) -> tuple[Panel, float]:
    """The largest panel of up to `most` training problems that there was patience for, and its seconds."""
    count = 1
    while True:
        begun = time.perf_counter()
        problems = lab.dataset.train[:count]
        rollouts, scores = lab.sample_and_verify(problems, lab.config.n, lab.config.seed)
        panel = lab.panel(problems, rollouts, lab.writer.decode(rollouts.bodies), scores)
        seconds = time.perf_counter() - begun
        if count >= min(most, len(lab.dataset.train)) or seconds > PATIENCE:
            return panel, seconds
        count = min(most, count * LARGER)


def _train_seconds(lab: Lab, examples: Sequence[Example]) -> float:
    """Seconds a token of the second of two steps; the first one warms up."""
    size = lab.config.update.batch_size
    batch = [examples[i % len(examples)] for i in range(size)]
    lab.learner.step(batch, 0)
    begun = time.perf_counter()
    lab.learner.step(batch, 1)
    spent = time.perf_counter() - begun
    return spent / sum(example.tokens for example in batch)
