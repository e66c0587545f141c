"""What a run leaves behind, graded and written by a thread of its own: measurements, and checkpoints.

No step of Algorithm 1 needs a grade or a file: it goes by scores. So while one panel is graded the next one is sampled,
and while a measurement is written the half epoch that follows is under way. `Recorder.settle` waits: before the next
measurement, and before anything is decided by the trajectory.

The order is samples, trajectory, W&B, checkpoint. A run that is killed goes on from the last checkpoint, and forgets
what was written after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from sivgap.core.problem import Problem
from sivgap.core.rollout import Rollouts
from sivgap.core.verification import Scores
from sivgap.cross.external import Timetable
from sivgap.gap.beware import beware, run_settings_of
from sivgap.gap.selection import Selection
from sivgap.loop.components import Components
from sivgap.loop.measurement import External, Panel, seen_in, summarise
from sivgap.loop.samples import sample_rows, write_samples
from sivgap.loop.schedule import Schedule
from sivgap.report.terminal import say_measurement
from sivgap.runs.checkpoint import Checkpoint, Progress, save
from sivgap.runs.names import epoch_name
from sivgap.runs.run import Run
from sivgap.runtime.background import Background
from sivgap.runtime.display import Display
from sivgap.tracking.wandb_tracker import WandbTracker

Line = dict[str, Any]


@dataclass(frozen=True)
class PendingPanel:
    """A panel that is being graded."""

    problems: Sequence[Problem]
    panel: Future[Panel]


class Recorder:
    """Owns the files of `run`; of several processes the first one alone is given anything."""

    def __init__(
        self,
        components: Components,
        run: Run,
        display: Display,
        tracker: WandbTracker,
        schedule: Schedule,
        timetable: Timetable,
    ) -> None:
        self._components, self._run, self._display, self._tracker = components, run, display, tracker
        self._schedule, self._timetable = schedule, timetable
        self._background = Background(components.comparer.cancel)

    def __enter__(self) -> Recorder:
        self._background.__enter__()
        return self

    def __exit__(self, *ended: Any) -> None:
        self._background.__exit__(*ended)

    def grade(
        self, problems: Sequence[Problem], rollouts: Rollouts, scores: Scores, external: External | None
    ) -> PendingPanel:
        """Begin to grade what was sampled on `problems`."""
        texts = self._components.writer.decode(rollouts.bodies)  # here: a tokenizer serves one thread at a time
        return PendingPanel(
            problems, self._background.later(self._components.panel, problems, rollouts, texts, scores, external)
        )

    def record(self, panels: dict[str, PendingPanel], spent: Progress, standing: Checkpoint) -> None:
        """Begin to write what was measured, by split, and the checkpoint that knows it; `spent` is what led there."""
        self._background.later(self._record, panels, spent, standing)

    def save(self, standing: Checkpoint) -> None:
        """Begin to write a checkpoint; it will know all that was measured before."""
        self._background.later(self._save, standing)

    def settle(self) -> None:
        """Wait until all that was begun is written.

        Raises:
            OSError: If it cannot be, or whatever else went wrong meanwhile.
        """
        left = self._background.left
        if left:
            with self._display.phase("grading and writing", left, "steps") as advance:
                self._background.settle(lambda: advance(1, 0))
        self._background.settle()

    def _record(self, panels: dict[str, PendingPanel], spent: Progress, standing: Checkpoint) -> None:
        epoch = spent.half / 2
        found = {split: graded.panel.result() for split, graded in panels.items()}
        rows = {split: sample_rows(epoch, split, panels[split].problems, panel) for split, panel in found.items()}
        write_samples(self._run.samples_path(epoch), [row for each in rows.values() for row in each], self._run.path)
        lines = [self._line(split, panel, spent) for split, panel in found.items()]
        for line in lines:
            self._run.trajectory.append(line)
        self._tracker.log(lines, rows.get("test", []))
        self._save(standing)
        say_measurement(self._display, lines[-1], self._components.config.epochs)
        if spent.half == 0:
            self._beware(found["test"])

    def _beware(self, panel: Panel) -> None:
        """Say what is wrong already, while little has been spent."""
        config, selection = self._components.config, Selection.of(self._components.config.selection)
        asked = run_settings_of(config.model_dump(mode="json"), selection, len(panel.rollouts.nll))
        for sentence in beware(seen_in(panel, selection), asked):
            self._display.say(f"beware: {sentence}")

    def _save(self, standing: Checkpoint) -> None:
        name = epoch_name(standing.progress.half / 2, standing.progress.step_in_half)
        save(self._run.checkpoints, name, replace(standing, trajectory=self._run.trajectory.text()))

    def _line(self, split: str, panel: Panel, done: Progress) -> Line:
        """A trajectory line; what training rounds cost since the last one is on the line of the training panel."""
        config, epoch = self._components.config, done.half / 2
        spent = done if split == "train" else Progress()
        before = max((half for half in range(done.half) if self._schedule.measures(half)), default=0)
        return {
            "epoch": epoch,
            "step": done.step,
            "split": split,
            **summarise(panel, Selection.of(config.selection), config.measure.pass_at),
            "external_new": self._timetable.share(epoch) - self._timetable.share(before / 2),
            "external_total": self._timetable.share(epoch),
            "train_loss": done.loss_sum / done.loss_steps if done.loss_steps else None,
            "tokens": spent.tokens + panel.rollouts.generated,
            "seconds_generate": spent.seconds_generate + panel.rollouts.seconds_generate,
            "seconds_verify": spent.seconds_verify + panel.rollouts.seconds_verify,
            "seconds_train": spent.seconds_train,
        }
