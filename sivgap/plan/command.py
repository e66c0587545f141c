"""``plan=true``: the table, and one line of JSON for programs."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from sivgap.config.schema import SolverConfig
from sivgap.plan.work import Phase
from sivgap.runtime.display import Display
from sivgap.runtime.time_left import duration


@dataclass(frozen=True)
class Plan:
    """What a run will cost.

    Attributes:
        phases: Work, each with its seconds.
        rest: Seconds of loading, grading and writing; None where nothing is known of them.
        memory: Bytes a device at the peak, by part and together.
        room: Bytes that the device has.
        notes: Where all that is from, in sentences.
    """

    phases: list[tuple[Phase, float]]
    rest: float | None
    memory: dict[str, float]
    room: float
    notes: list[str]

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.phases) + (self.rest or 0.0)

    @property
    def written(self) -> float:
        return sum(phase.written for phase, _ in self.phases)

    @property
    def flops(self) -> float:
        return sum(phase.flops for phase, _ in self.phases)


def show_plan(config: SolverConfig, name: str = "plan") -> Plan:
    """Print the plan of one run: a table for people on standard error, a line of JSON on standard output.

    Raises:
        RunError: If the problems are neither here nor known.
    """
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")  # a plan downloads nothing
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft|accelerate")
    started = time.perf_counter()
    display = Display()
    with display.phase("loading torch and transformers", None):
        import sivgap.loop.session  # noqa: F401 - what a run loads, to know how long it takes
        from sivgap.plan.estimate import estimate
    with display.phase("planning", None):
        plan = estimate(config, started, display.say)
    display.console.print(_table(plan, name))
    parts = ", ".join(f"{part} {_gib(size)}" for part, size in plan.memory.items() if part != "peak" and size)
    display.say(f"memory a device: {_gib(plan.memory['peak'])} of {_gib(plan.room)} ({parts})")
    if plan.memory["peak"] > plan.room:
        display.say(
            "it does not fit: lower engine.batch_size or update.micro_batch_size, set update.checkpointing=true, "
            "or take a larger device"
        )
    for note in plan.notes:
        display.say(note)
    print(json.dumps({"plan": name, **_record(plan)}), flush=True)
    return plan


def show_plans(jobs: Sequence[tuple[str, SolverConfig]]) -> None:
    """The plan of each job of a sweep, and of all of them one after the other."""
    plans = [show_plan(config, name) for name, config in jobs]
    total = sum(plan.seconds for plan in plans)
    Display().say(f"{len(plans)} jobs one after the other: {duration(total)}, {sum(p.flops for p in plans):.3g} FLOPs")
    totals = {"tokens": round(sum(p.written for p in plans)), "flops": sum(p.flops for p in plans), "seconds": total}
    print(json.dumps({"plan": "total", **totals, "jobs": len(plans)}))


def _table(plan: Plan, name: str) -> Table:
    table = Table(title=f"{name}: what the run will cost", title_justify="left")
    table.add_column("")
    for column in ("responses, examples", "tokens read", "tokens written", "FLOPs", "time"):
        table.add_column(column, justify="right")
    for phase, seconds in plan.phases:
        table.add_row(phase.name, f"{phase.items:,.0f}", f"{phase.read:,.0f}", f"{phase.written:,.0f}",
                      f"{phase.flops:.2g}", _time(seconds))  # fmt: skip
    if plan.rest is not None:
        table.add_row("loading, grading, writing", "", "", "", "", _time(plan.rest))
    read = sum(phase.read for phase, _ in plan.phases)
    table.add_row("all", "", f"{read:,.0f}", f"{plan.written:,.0f}", f"{plan.flops:.2g}", _time(plan.seconds))
    return table


def _record(plan: Plan) -> dict[str, object]:
    return {
        "tokens": round(plan.written),
        "flops": plan.flops,
        "seconds": round(plan.seconds, 1),
        "memory_gib": round(plan.memory["peak"] / 2**30, 3),
        "phases": [{**asdict(phase), "seconds": round(seconds, 2)} for phase, seconds in plan.phases],
        "rest": plan.rest and round(plan.rest, 1),
    }


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
