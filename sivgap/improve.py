"""The state of a run in memory, and the moves that `sivgap.train.improve` makes with it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby

import numpy as np

from sivgap.config.schema import TrainConfig
from sivgap.cross.external import Response, Timetable
from sivgap.dynamics.collapse import Alarm
from sivgap.engines.noise import key_of
from sivgap.engines.rollout import Rollouts
from sivgap.errors import RunError, Stopped
from sivgap.lab import Lab
from sivgap.measure import External
from sivgap.parallel.group import Group
from sivgap.progress import Advance, Display
from sivgap.recorder import Graded, Recorder
from sivgap.reuse import Kept, keep
from sivgap.runs.checkpoint import Checkpoint, Progress, load_newest
from sivgap.runs.run import Run
from sivgap.schedule import Schedule, make_schedule
from sivgap.signals import StopRequest
from sivgap.startup import introduce, tokens_at_most
from sivgap.stopping import Gain, collapse, remaining_gain
from sivgap.tasks.panel import draw_panel
from sivgap.tasks.problem import Problem
from sivgap.to_come import PROMPTS, RESPONSES, VERDICTS, Workload, verdict_cost
from sivgap.tracking.wandb_tracker import WandbTracker
from sivgap.update.example import Example
from sivgap.update.replay import replay_examples
from sivgap.verifiers.question import Scores


class Improvement:
    """One run under way. The public methods are the steps of Algorithm 1; everything they change is in a checkpoint.

    With several processes every rank takes them all, and decides alike; the first one alone writes.
    """

    def __init__(
        self,
        lab: Lab,
        run: Run,
        display: Display,
        tracker: WandbTracker,
        stop: StopRequest,
        timetable: Timetable,
        external: dict[str, Response],
    ) -> None:
        self.lab, self.run, self.display, self.tracker, self._stop = lab, run, display, tracker, stop
        self._timetable, self._external = timetable, external
        self.config: TrainConfig = lab.config
        self.group: Group = lab.group
        self.schedule: Schedule = make_schedule(self.config, len(lab.dataset.train))
        self.recorder = Recorder(lab, run, display, tracker, self.schedule, timetable)
        self.progress = Progress()
        self._labels: list[Example] = []
        self._queue: list[Example] = []
        self._panels = _panels(lab)
        self._kept = Kept()
        self._workload = _workload(lab, self.schedule, self._panels)
        fixed_labels = self.config.refresh == "never"  # alone needs the initial weights again: a copy of the model
        self._base_weights = {n: w.clone() for n, w in lab.learner.merged_weights()} if fixed_labels else {}

    @property
    def finished(self) -> bool:
        return self.progress.half >= self.schedule.halves or self.stops_early

    @property
    def stops_early(self) -> bool:
        """Whether `stopping` ends the run here: it collapses, or too little is still to be gained."""
        stopping = self.config.stopping
        if stopping.action == "advise" or not self.progress.measured:
            return False
        if stopping.rule == "collapse":
            return self._collapse() is not None
        gain = self._remaining_gain()
        return gain is not None and gain.high < stopping.min_gain

    @property
    def epoch(self) -> float:
        return self.progress.half / 2

    def introduce(self) -> None:
        """Say what was loaded, what it is asked first, and how much is to come."""
        lab, work = self.lab, self._workload.to_come(0, measured=False, labelled=False)
        text = tokens_at_most(work[RESPONSES], self.config.sampling.max_new_tokens)
        introduce(
            self.display,
            self.config.model.label,
            lab.loaded,
            lab.writer,
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
            self.lab.learner.restore(found.weights, found.optimizer)
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
            self._measure(self._standing())

    def rounds(self) -> Iterator[list[Problem]]:
        """The prompts of the half epoch under way, in portions that share one labelling (``refresh``)."""
        problems = [self.lab.dataset.train[i] for i in self.schedule.prompts(self.progress.half)]
        size = self.config.update.batch_size if self.config.refresh == "step" else len(problems)
        for start in range(self.progress.rounds * size, len(problems), size):
            yield problems[start : start + size]

    def label(self, problems: list[Problem]) -> list[Example]:
        """Sample, verify and select for `problems`, with the weights that ``refresh`` names; (x, y*) pairs.

        The y* of a prompt that has been given an external response is that response (SV Eq. 14, 15).
        """
        if self._queue:
            return []  # stopped while training on these: their labels are in the queue already
        if self.config.refresh != "epoch":
            return self._sample_verify_select(problems)
        if self.progress.half % 2 == 0:
            following = [self.lab.dataset.train[i] for i in self.schedule.prompts(self.progress.half + 1)]
            self._labels = self._sample_verify_select([*problems, *following])
        now = {problem.id for problem in problems}
        labels = [example for example in self._labels if example.problem_id in now]
        self._labels = [example for example in self._labels if example.problem_id not in now]
        return labels

    def update(self, examples: list[Example]) -> None:
        """Fine-tune on `examples`, in random order, mixed with replayed verification examples (`update.replay`)."""
        self._queue = self._queue or self._mixed(examples)
        size = self.config.update.batch_size
        if self.config.refresh == "step":
            size = max(1, len(self._queue))  # a round is a step
        steps = -(-len(self._queue) // size)
        self.lab.engine.rest()
        stopped = False
        each = len({example.problem_id for example in self._queue}) / max(1, steps)
        with self.display.phase(f"epoch {self.epoch:g}: training", steps, "steps", PROMPTS, each) as advance:
            while self._queue and not stopped:
                started = time.perf_counter()
                batch, rest = self._queue[:size], self._queue[size:]
                try:
                    loss = self.lab.learner.step(batch, self.progress.step, self._heard)
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
            self._save(self._standing())
            raise self._stop.stopped(f"at epoch {self.epoch:g}")
        if steps == 0:  # no response passed the verifier, and `selection.fallback` is drop
            self.progress = replace(self.progress, rounds=self.progress.rounds + 1)

    def end_half_epoch(self) -> None:
        """Count the half epoch, and measure if it is time."""
        self.settle()  # one measurement at a time is held in memory
        done = replace(self.progress, half=self.progress.half + 1, rounds=0, step_in_half=0)
        self.progress = replace(done, measured=not self.schedule.measures(done.half))
        self._plan()
        standing = self._standing()
        self._save(standing)  # before a measurement that may take long, so that a stop in it loses no training
        if not self.progress.measured:
            self._measure(standing)

    def _sample_verify_select(self, problems: list[Problem]) -> list[Example]:
        """Eq. 4 and 5 on `problems`. With ``refresh=never`` the initial weights draw the labels, the same each time."""
        given = self._timetable.given(self.progress.half // 2 + 1)
        own = [problem for problem in problems if problem.id not in given]
        labels: dict[str, list[Example]] = {problem.id: [] for problem in problems}
        for example in self._own_labels(own) if own else []:
            labels[example.problem_id].append(example)
        for problem in problems:
            if problem.id in given:
                response = self.lab.external_tokens(problem, self._external[problem.id])
                labels[problem.id] = [Example(self.lab.writer.solve(problem).tokens, response, problem.id)]
        return [example for problem in problems for example in labels[problem.id]]

    def _own_labels(self, problems: list[Problem]) -> list[Example]:
        """What the model chooses among its own responses."""
        measured, others = self._kept.split(problems)
        examples = self._choose(measured, *self._kept.of(measured)) if measured else []
        self._kept = Kept()
        return examples + (self._sampled_labels(others) if others else [])

    def _sampled_labels(self, problems: list[Problem]) -> list[Example]:
        if self.config.refresh == "never":
            self.lab.engine.load(self._base_weights)
        else:
            self.lab.hand_over()
        rollouts, scores = self._sample_and_verify("sampling", problems, self.config.n, self._label_stream())
        self.progress = replace(
            self.progress,
            tokens=self.progress.tokens + rollouts.generated,
            seconds_generate=self.progress.seconds_generate + rollouts.seconds_generate,
            seconds_verify=self.progress.seconds_verify + rollouts.seconds_verify,
        )
        return self._choose(problems, rollouts, scores)

    def _sample_and_verify(
        self, what: str, problems: Sequence[Problem], samples: int, stream: int
    ) -> tuple[Rollouts, Scores]:
        """`samples` responses to each problem, each scored by the verifier; the same weights do both."""
        epoch = f"epoch {self.epoch:g}"
        with self.display.phase(f"{epoch}: {what}", len(problems), kind=RESPONSES, each=samples) as advance:
            rollouts = self.lab.sample(problems, samples, stream, self._checked(advance))
            if self.lab.in_pass is not None:
                return self.lab.verify(problems, rollouts, stream)
        with self.display.phase(f"{epoch}: {what}, verdicts", len(problems), kind=VERDICTS, each=samples) as advance:
            return self.lab.verify(problems, rollouts, stream, self._checked(advance))

    def _choose(self, problems: Sequence[Problem], rollouts: Rollouts, scores: Scores) -> list[Example]:
        with self.display.phase(f"epoch {self.epoch:g}: choosing", None) as advance:
            return self.lab.choose(problems, rollouts, scores, self._checked(advance))

    def _plan(self) -> None:
        """What is still to come, for the time left."""
        labelled = bool(self._queue or self._labels)
        work = self._workload.to_come(self.progress.half, self.progress.measured, labelled)
        self.display.left.plan(work, {VERDICTS: verdict_cost(self.config)})

    def _label_stream(self) -> int:
        """The noise of a round's labels."""
        of_round = () if self.config.refresh == "never" else (self.progress.half, self.progress.rounds)
        return key_of(self.config.seed, "train", *of_round)

    def _labelled_next(self) -> set[str]:
        """The problems that are labelled with the weights as they are, and in the same round."""
        half = self.progress.half
        halves = [half] if self.config.refresh == "half_epoch" else [half, half + 1] if half % 2 == 0 else []
        return {self.lab.dataset.train[i].id for one in halves for i in self.schedule.prompts(one)}

    def _replayed(self, count: int) -> int:
        """Verification examples that go with `count` others."""
        share = self.config.update.replay
        return round(count * share / (1 - share))

    def _mixed(self, examples: list[Example]) -> list[Example]:
        key = (self.config.seed, "replay", self.progress.half, self.progress.rounds)
        count, end = self._replayed(len(examples)), self.lab.loaded.end_tokens[0]
        together = list(examples)
        if count:
            together += replay_examples(count, self.lab.writer, self.config.verifier, end, key_of(*key))
        order = np.random.default_rng(key_of(*key, "order")).permutation(len(together))
        return [together[i] for i in order]

    def _measure(self, standing: Checkpoint | None) -> None:
        """Sample and verify both panels, and leave the rest to the recorder; never touches what training uses."""
        self.lab.hand_over()
        panels: dict[str, Graded] = {}
        for split, problems in self._panels.items():
            samples = self.config.measure.samples or self.config.n
            reused = self.config.measure.reuse and split == "train"
            stream = self._label_stream() if reused else key_of(self.config.seed, "measure")
            rollouts, scores = self._sample_and_verify(f"measuring ({split})", problems, samples, stream)
            if reused:
                self._kept = keep(problems, self._labelled_next(), rollouts, scores)
            external = self._measured_external(problems) if split == "train" else None
            if self.group.leads:
                panels[split] = self.recorder.grade(problems, rollouts, scores, external)
        spent = self.progress
        self.progress = Progress(half=spent.half, measured=True, step=spent.step)
        if standing is not None:
            self.recorder.record(panels, spent, replace(standing, progress=self.progress))
        if self.config.stopping.rule != "none":
            self.settle()
            self._advise()

    def _measured_external(self, problems: Sequence[Problem]) -> External | None:
        with self.display.phase(f"epoch {self.epoch:g}: measuring external responses", None) as advance:
            return self.lab.external(problems, *self._external_now(), self._checked(advance))

    def _external_now(self) -> tuple[dict[str, Response], dict[str, Response]]:
        """External responses given so far, and those that arrive now; none arrive once the run is over."""
        given = self._timetable.given(self.epoch)
        over = self.progress.half == self.schedule.halves or self.progress.half % 2
        arriving = set() if over else self._timetable.given(self.epoch + 1) - given
        return {name: self._external[name] for name in given}, {name: self._external[name] for name in arriving}

    def _advise(self) -> None:
        """Say what is still to be gained, once it is less than ``stopping.min_gain``, or that the run collapses."""
        alarm = self._collapse()
        if alarm is not None:
            end = "; stopping here" if self.stops_early else ""
            self.display.say(f"collapse, since epoch {alarm.step:g}: {alarm.reason}{end}")
        gain = self._remaining_gain()
        if gain is not None and gain.value < self.config.stopping.min_gain:
            self.display.say(
                f"forecast: U_s will fall by {gain.value:.3f} nats more until epoch {self.config.epochs:g} (90 %: "
                f"{gain.low:.3f} to {gain.high:.3f})" + ("; stopping here" if self.stops_early else "")
            )

    def _remaining_gain(self) -> Gain | None:
        """None without this stopping rule, and where nothing can be said yet. What the first rank finds decides."""
        if self.config.stopping.rule != "forecast":
            return None
        gain = remaining_gain(self.run.trajectory.read(), self.config.epochs) if self.group.leads else None
        found = json.loads(self.group.gather(json.dumps(gain and asdict(gain)).encode())[0])
        return found and Gain(**found)

    def _collapse(self) -> Alarm | None:
        """None without this stopping rule, and where the run does not collapse. What the first rank finds decides."""
        if self.config.stopping.rule != "collapse":
            return None
        lines = self.run.trajectory.read() if self.group.leads else []
        alarm = collapse(lines, self.config.stopping.entropy)
        found = json.loads(self.group.gather(json.dumps(alarm and asdict(alarm)).encode())[0])
        return found and Alarm(**found)

    def _standing(self) -> Checkpoint | None:
        """Everything that the run needs to go on from here; for the first rank alone."""
        learner = self.lab.learner
        if not (self.group.leads or learner.sharded):
            return None
        weights, moments = learner.trained(), learner.optimizer_state()
        if not self.group.leads:
            return None
        return Checkpoint(self.progress, weights, moments, self._labels, self._queue, beside=self.lab.beside_weights)

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
            self._heard()

        return on_batch

    def _heard(self) -> None:
        """Raises Stopped once a signal asked for it."""
        if self._stop:
            raise self._stop.stopped(f"at epoch {self.epoch:g}")


def _workload(lab: Lab, schedule: Schedule, panels: Mapping[str, Sequence[Problem]]) -> Workload:
    config = lab.config
    measured = sum(map(len, panels.values())) * (config.measure.samples or config.n)
    reused = len(panels["train"]) / schedule.problems if config.measure.reuse else 0.0
    return Workload(schedule, config.n, measured, lab.in_pass is not None, 1 - reused)


def _panels(lab: Lab) -> dict[str, Sequence[Problem]]:
    """Fixed panels: a seeded choice of the training problems, and of the held-out ones."""
    sizes = {"train": lab.config.measure.train_prompts, "test": lab.config.measure.test_prompts}
    return {
        split: draw_panel(problems, sizes[split], lab.config.dataset.data_seed, split)
        for split, problems in (("train", lab.dataset.train), ("test", lab.dataset.test))
    }
