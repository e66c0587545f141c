"""The state of a run in memory, and the steps of Algorithm 1 that `sivgap.train.improve` takes with it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from sivgap.config.schema import TrainConfig
from sivgap.core.example import Example
from sivgap.core.problem import Problem
from sivgap.core.rollout import Rollouts, gather
from sivgap.core.verification import Scores, gather_scores
from sivgap.cross.external import Response, Timetable
from sivgap.errors import RunError, Stopped
from sivgap.loop.components import Components
from sivgap.loop.early_stopping import EarlyStopping
from sivgap.loop.introduction import introduce, tokens_at_most
from sivgap.loop.measurement import External
from sivgap.loop.recorder import PendingPanel, Recorder
from sivgap.loop.rollout_reuse import Reused, keep
from sivgap.loop.rounds import Rounds
from sivgap.loop.schedule import Schedule, make_schedule
from sivgap.loop.workload import PROMPTS, RESPONSES, VERDICTS, verdict_cost, workload
from sivgap.parallel.group import Group
from sivgap.runs.checkpoint import Checkpoint, Progress, load_newest
from sivgap.runs.run import Run
from sivgap.runtime.display import Advance, Display
from sivgap.runtime.rng import derive_key
from sivgap.runtime.signals import StopRequest
from sivgap.tasks.panel import panels
from sivgap.tracking.wandb_tracker import WandbTracker
from sivgap.update.replay import mixed


class Experiment:
    """One run under way. The public methods are the steps of Algorithm 1; everything they change is in a checkpoint.

    With several processes every rank takes them all, and decides alike; the first one alone writes.
    """

    def __init__(
        self,
        components: Components,
        run: Run,
        display: Display,
        tracker: WandbTracker,
        stop: StopRequest,
        timetable: Timetable,
        external: dict[str, Response],
    ) -> None:
        self.components, self.run, self.display, self.tracker, self._stop = components, run, display, tracker, stop
        self.config: TrainConfig = components.config
        self.group: Group = components.group
        self.schedule: Schedule = make_schedule(self.config, len(components.dataset.train))
        self._rounds = Rounds(self.config, components.dataset.train, self.schedule, timetable, external)
        self.recorder = Recorder(components, run, display, tracker, self.schedule, timetable)
        self.progress = Progress()
        self._labels: list[Example] = []
        self._queue: list[Example] = []
        self._panels = panels(self.config, components.dataset)
        self._reused = Reused()
        self._workload = workload(self.config, self.schedule, self._panels, components.in_pass is not None)
        self._early_stopping = EarlyStopping(self.config, run.trajectory, self.group)
        fixed_labels = self.config.refresh == "never"  # alone needs the initial weights again: a copy of the model
        self._base_weights = {n: w.clone() for n, w in components.learner.merged_weights()} if fixed_labels else {}

    @property
    def finished(self) -> bool:
        return self.progress.half >= self.schedule.halves or self.stops_early

    @property
    def stops_early(self) -> bool:
        """Whether `stopping` ends the run here."""
        return self.progress.measured and self._early_stopping.stops

    @property
    def early_reason(self) -> str | None:
        """Why it ended early, in a sentence; None where it did not."""
        return self._early_stopping.reason if self.stops_early else None

    @property
    def epoch(self) -> float:
        return self.progress.half / 2

    def introduce(self) -> None:
        """Say what was loaded, what it is asked first, and how much is to come."""
        components, work = self.components, self._workload.to_come(0, measured=False, labelled=False)
        text = tokens_at_most(work[RESPONSES], self.config.sampling.max_new_tokens)
        introduce(
            self.display,
            self.config.model.label,
            components.loaded,
            components.writer,
            self._panels["train"],
            f"epochs {self.config.epochs:g}, {text} sampled, {work[PROMPTS]:,.0f} prompts trained on",
        )

    def resume(self) -> None:
        """Go on from the newest checkpoint, forgetting what was measured after it; or from the start."""
        found, damaged = load_newest(self.run.checkpoints)
        stands = json.dumps(found and asdict(found.progress)).encode()
        if any(other != stands for other in self.group.gather(stands)):  # none writes the next one before all have read
            raise RunError(
                f"{self.run.checkpoints}: the processes of this run see different checkpoints; it must be on a file "
                "system that shows all machines the same, run the same command once it does"
            )
        for sentence in damaged:
            self.display.say(f"{sentence}; going on from the one before")
        if found is not None:
            self.progress, self._labels, self._queue = found.progress, found.labels, found.queue
            self.components.learner.restore(found.weights, found.optimizer)
            self.display.say(f"going on from epoch {self.epoch:g}")
        if self.group.leads:
            if found is None or found.trajectory is None:
                self.run.trajectory.rewind(self.epoch, inclusive=self.progress.measured)
            elif self.run.trajectory.restore(found.trajectory):
                self.display.say("trajectory.jsonl was damaged; restored from the checkpoint")
            for _, lines in groupby(self.run.trajectory.read(), key=lambda line: line["epoch"]):
                self.tracker.log(list(lines))
        self._plan()
        if not self.progress.measured:
            self._measure(self._checkpoint())

    def batches(self) -> Iterator[list[Problem]]:
        """The prompts of the half epoch under way, in portions that share one labelling (``refresh``)."""
        return self._rounds.batches(self.progress.half, self.progress.rounds)

    def sample(self, problems: Sequence[Problem]) -> Rollouts:
        """`n` responses to each problem that the model labels itself, with the weights that ``refresh`` names (Eq. 4).

        Those that a measurement has drawn with the same weights are taken from it (``measure.reuse``).
        """
        labelled = self._labelled(problems)
        drawn, others = self._reused.split(labelled)
        parts = [(drawn, self._reused.rollouts_of(drawn))] if drawn else []
        if others:
            if self.config.refresh == "never":
                self.components.engine.load(self._base_weights)
            else:
                self.components.hand_over()
            parts.append((others, self._sample("sampling", others, self.config.n, self._label_stream())))
        if not parts:
            return Rollouts.none(self.config.n)
        rollouts = gather([(_places(some, labelled), part) for some, part in parts])
        self.progress = replace(
            self.progress,
            tokens=self.progress.tokens + rollouts.generated,
            seconds_generate=self.progress.seconds_generate + rollouts.seconds_generate,
        )
        return rollouts

    def verify(self, problems: Sequence[Problem], rollouts: Rollouts) -> Scores:
        """The verifier's score of each of `rollouts` (Eq. 5), by the weights that sampled them; those that were
        measured have one.
        """
        labelled = self._labelled(problems)
        drawn, others = self._reused.split(labelled)
        parts = [(_places(drawn, labelled), self._reused.scores_of(drawn))] if drawn else []
        if others:
            places = _places(others, labelled)
            mine = replace(rollouts.of(places), seconds_verify=rollouts.seconds_verify) if drawn else rollouts
            mine, scores = self._verify("sampling", others, mine, self._label_stream())
            self.progress = replace(self.progress, seconds_verify=self.progress.seconds_verify + mine.seconds_verify)
            parts.append((places, scores))
        return gather_scores(parts) if parts else Scores.none(self.config.n)

    def select(self, problems: Sequence[Problem], rollouts: Rollouts, scores: Scores) -> list[Example]:
        """Pairs (x, y*): the response that passes and is the likeliest a token (Eq. 5); to a prompt that has been given
        an external response, that one (Eq. 14, 15).
        """
        if self._queue:
            return []  # stopped while training on these: their labels are in the queue already
        half, labelled = self.progress.half, self._labelled(problems)
        own = self._choose(labelled, rollouts, scores) if labelled else []
        together = self._rounds.labelled_with(problems, half)
        self._labels += self._rounds.in_order(together, own, self._external(together))
        self._reused = Reused()
        now = {problem.id for problem in problems}
        labels = [example for example in self._labels if example.problem_id in now]
        self._labels = [example for example in self._labels if example.problem_id not in now]
        return labels

    def update(self, examples: list[Example]) -> None:
        """Fine-tune on `examples`, in random order, mixed with replayed verification examples (`update.replay`)."""
        end = self.components.loaded.end_tokens[0]
        self._queue = self._queue or mixed(
            examples, self.config, self.components.writer, end, self.progress.half, self.progress.rounds
        )
        size = self.config.update.batch_size
        if self.config.refresh == "step":
            size = max(1, len(self._queue))  # a round is a step
        steps = -(-len(self._queue) // size)
        self.components.engine.rest()
        stopped = False
        each = len({example.problem_id for example in self._queue}) / max(1, steps)
        with self.display.phase(f"epoch {self.epoch:g}: training", steps, "steps", PROMPTS, each) as advance:
            while self._queue and not stopped:
                started = time.perf_counter()
                batch, rest = self._queue[:size], self._queue[size:]
                try:
                    loss = self.components.learner.step(batch, self.progress.step, self._raise_if_stopped)
                except Stopped:
                    stopped = True  # before the step had changed anything
                    break
                self._queue = rest
                self.progress = replace(
                    self.progress,
                    step=self.progress.step + 1,
                    step_in_half=self.progress.step_in_half + 1,
                    rounds=self.progress.rounds + (not self._queue),
                    loss_sum=self.progress.loss_sum + loss,
                    loss_steps=self.progress.loss_steps + 1,
                    seconds_train=self.progress.seconds_train + time.perf_counter() - started,
                )
                advance(1, sum(example.tokens for example in batch))
                stopped = self.group.any(bool(self._stop))
        if stopped:
            self.settle()
            self._save(self._checkpoint())
            raise self._stop.stopped(f"at epoch {self.epoch:g}")
        if steps == 0:  # no response passed the verifier, and `selection.fallback` is drop
            self.progress = replace(self.progress, rounds=self.progress.rounds + 1)

    def measure(self) -> None:
        """Count the half epoch; measure U_s, U_v and their gap if it is time (Eq. 3, 6, 8)."""
        self.settle()  # one measurement at a time is held in memory
        done = replace(self.progress, half=self.progress.half + 1, rounds=0, step_in_half=0)
        self.progress = replace(done, measured=not self.schedule.measures(done.half))
        self._plan()
        standing = self._checkpoint()
        self._save(standing)  # before a measurement that may take long, so that a stop in it loses no training
        if not self.progress.measured:
            self._measure(standing)

    def _labelled(self, problems: Sequence[Problem]) -> list[Problem]:
        """The problems that the model labels in the round of `problems`; none while it is trained on its labels."""
        if self._queue:
            return []
        given = self._rounds.given(self.progress.half)
        together = self._rounds.labelled_with(problems, self.progress.half)
        return [problem for problem in together if problem.id not in given]

    def _external(self, problems: Sequence[Problem]) -> dict[str, Example]:
        """What is learnt of those of `problems` that have been given an external response."""
        given, responses = self._rounds.given(self.progress.half), self._rounds.responses
        return {
            problem.id: Example(
                self.components.writer.solve(problem).tokens,
                self.components.external_tokens(problem, responses[problem.id]),
                problem.id,
            )
            for problem in problems
            if problem.id in given
        }

    def _sample(self, what: str, problems: Sequence[Problem], samples: int, stream: int) -> Rollouts:
        phase = f"epoch {self.epoch:g}: {what}"
        with self.display.phase(phase, len(problems), kind=RESPONSES, each=samples) as advance:
            return self.components.sample(problems, samples, stream, self._checked(advance))

    def _verify(
        self, what: str, problems: Sequence[Problem], rollouts: Rollouts, stream: int
    ) -> tuple[Rollouts, Scores]:
        """The same rollouts, with the seconds that their verdicts took, and their scores."""
        if self.components.in_pass is not None:
            return self.components.verify(problems, rollouts, stream)
        phase, samples = f"epoch {self.epoch:g}: {what}, verdicts", rollouts.nll.shape[1]
        with self.display.phase(phase, len(problems), kind=VERDICTS, each=samples) as advance:
            return self.components.verify(problems, rollouts, stream, self._checked(advance))

    def _choose(self, problems: Sequence[Problem], rollouts: Rollouts, scores: Scores) -> list[Example]:
        with self.display.phase(f"epoch {self.epoch:g}: choosing", None) as advance:
            return self.components.choose(problems, rollouts, scores, self._checked(advance))

    def _plan(self) -> None:
        """What is still to come, for the time left."""
        labelled = bool(self._queue or self._labels)
        work = self._workload.to_come(self.progress.half, self.progress.measured, labelled)
        self.display.left.plan(work, {VERDICTS: verdict_cost(self.config)})

    def _label_stream(self) -> int:
        """The noise of a round's labels."""
        of_round = () if self.config.refresh == "never" else (self.progress.half, self.progress.rounds)
        return derive_key(self.config.seed, "train", *of_round)

    def _measure(self, standing: Checkpoint | None) -> None:
        """Sample and verify both panels, and leave the rest to the recorder; never touches what training uses."""
        self.components.hand_over()
        panels: dict[str, PendingPanel] = {}
        for split, problems in self._panels.items():
            samples = self.config.measure.samples or self.config.n
            reused = self.config.measure.reuse and split == "train"
            stream = self._label_stream() if reused else derive_key(self.config.seed, "measure")
            rollouts = self._sample(f"measuring ({split})", problems, samples, stream)
            rollouts, scores = self._verify(f"measuring ({split})", problems, rollouts, stream)
            if reused:
                self._reused = keep(problems, self._rounds.labelled_after(self.progress.half), rollouts, scores)
            external = self._measured_external(problems) if split == "train" else None
            if self.group.leads:
                panels[split] = self.recorder.grade(problems, rollouts, scores, external)
        spent = self.progress
        self.progress = Progress(half=spent.half, measured=True, step=spent.step)
        if standing is not None:
            self.recorder.record(panels, spent, replace(standing, progress=self.progress))
        if self.config.stopping.rule != "none":
            self.settle()
            self._early_stopping.advise(self.display)

    def _measured_external(self, problems: Sequence[Problem]) -> External | None:
        with self.display.phase(f"epoch {self.epoch:g}: measuring external responses", None) as advance:
            return self.components.external(
                problems, *self._rounds.external_at(self.progress.half), self._checked(advance)
            )

    def _checkpoint(self) -> Checkpoint | None:
        """Everything that the run needs to go on from here; for the first rank alone."""
        learner = self.components.learner
        if not (self.group.leads or learner.sharded):
            return None
        weights, moments = learner.trained(), learner.optimizer_state()
        if not self.group.leads:
            return None
        return Checkpoint(
            self.progress, weights, moments, self._labels, self._queue, beside=self.components.beside_weights
        )

    def _save(self, standing: Checkpoint | None) -> None:
        if standing is not None:
            self.recorder.save(standing)

    def settle(self) -> None:
        """Wait until all that has been measured is graded and written: a rank that went on, and ended, would take the
        first one along before it is.
        """
        self.recorder.settle()
        self.group.wait()

    def _checked(self, advance: Advance) -> Advance:
        def on_batch(done: float, tokens: int) -> None:
            advance(done, tokens)
            self._raise_if_stopped()

        return on_batch

    def _raise_if_stopped(self) -> None:
        """Raises Stopped once a signal asked for it."""
        if self._stop:
            raise self._stop.stopped(f"at epoch {self.epoch:g}")


def _places(some: Sequence[Problem], problems: Sequence[Problem]) -> NDArray[np.int64]:
    """Where `some` of `problems` are."""
    place = {problem.id: i for i, problem in enumerate(problems)}
    return np.array([place[problem.id] for problem in some], dtype=np.int64)
