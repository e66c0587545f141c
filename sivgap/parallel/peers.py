"""The other machines of a run, as seen from one of them: what asks its ranks to stop, and what ends them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from signal import Signals
from typing import Any, Protocol

from sivgap.errors import RankDied, RunError
from sivgap.parallel.heartbeat import ARRIVAL, RUN, SILENCE, Heartbeat, machine, open_store
from sivgap.parallel.place import Place
from sivgap.parallel.verdict import End, end_file, log_file, read_end, read_tail
from sivgap.runtime.files import write_json
from sivgap.runtime.signals import StopRequest

_LOOK = 0.05


class Peers(Protocol):
    """What `launch` wants to know of other machines, and tells them."""

    def stop(self) -> Signals | None:
        """The signal that asked another machine to stop."""

    def ended(self) -> Sequence[int]:
        """Exit statuses of ranks that have ended elsewhere."""

    def gone(self) -> bool:
        """Whether the run is over on the machine that leads, or a machine is not heard of any more."""

    def tell(self, ended: Sequence[int], stop: int | None) -> None:
        """Exit statuses of this machine's ranks so far, and the signal that they were passed."""


class NoPeers:
    """No other machines."""

    def stop(self) -> Signals | None:
        return None

    def ended(self) -> Sequence[int]:
        return ()

    def gone(self) -> bool:
        return False

    def tell(self, ended: Sequence[int], stop: int | None) -> None:
        pass


class LeaderPeers:
    """The others as the first machine sees them."""

    def __init__(self, place: Place, line: Heartbeat) -> None:
        self._place, self._line, self._id = place, line, uuid.uuid4().hex
        self._nodes = range(1, place.nodes)

    @classmethod
    @contextmanager
    def open(cls, place: Place, stop: StopRequest) -> Iterator[LeaderPeers]:
        """For one run, once all machines have come.

        Raises:
            RunError: If one has not, after a time.
            Stopped: If a signal asked for it meanwhile.
        """
        line = Heartbeat(open_store(place), RUN, [machine(node) for node in range(1, place.nodes)])
        others, end = cls(place, line), time.monotonic() + ARRIVAL
        try:
            while absent := [node + 1 for node in others._nodes if "host" not in line.of(machine(node))]:
                if stop:
                    raise stop.stopped("before the run was under way")
                if time.monotonic() > end:
                    raise RunError(
                        f"machine {absent[0]} of {place.nodes} has not come within {ARRIVAL:.0f} seconds; start the "
                        f"same command on every machine, with {place.address} and port {place.port} open to it"
                    )
                time.sleep(_LOOK)
            yield others
        finally:
            line.say(over=True)
            line.flush(1)
            line.close()

    def hand_out(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Let all machines begin with `spec`; what of it is for this one."""
        here = [spec["here"], *(self._line.of(machine(n))["processes"] or 0 for n in self._nodes)]
        here = [count if count > 1 else spec["here"] for count in here]  # 1: one command a machine
        first = [0, *accumulate(here)]
        meeting = (self._place.address, self._place.port, f"sivgap/{self._place.attempt}/{self._id}")
        whole = {**spec, "size": first[-1], "meeting": meeting}
        shares = [{**whole, "first": f, "here": h} for f, h in zip(first, here, strict=False)]
        self._line.say(id=self._id, shares=shares, typed_in=str(Path.cwd()), ended=[], stop=None)
        return shares[0]

    def stop(self) -> Signals | None:
        asked = [word["stop"] for word in self._words() if word.get("stop")]
        return Signals(asked[0]) if asked else None

    def ended(self) -> Sequence[int]:
        return [status for word in self._words() for status in word["ended"]] + [
            1 for word in self._words() if "error" in (word["report"] or {})
        ]

    def gone(self) -> bool:
        return self._lost() is not None

    def tell(self, ended: Sequence[int], stop: int | None) -> None:
        self._line.say(ended=[*ended, *self.ended()], **({"stop": int(stop)} if stop else {}))

    def reports(self, folder: Path, patience: float) -> list[int | None]:
        """Exit statuses of all other machines' ranks; what they said is put into `folder` beside this machine's.

        Raises:
            RankDied: If a machine is not heard of any more, or does not end.
            RunError: If one could not begin.
        """
        end = time.monotonic() + patience + SILENCE
        while not all(self._word(node).get("report") for node in self._nodes):
            lost = self._lost()
            if lost is None and time.monotonic() > end:
                lost = next(node for node in self._nodes if not self._word(node).get("report"))
            if lost is not None:
                raise RankDied(self._why(lost))
            time.sleep(_LOOK)
        codes: list[int | None] = []
        for node in self._nodes:
            report = self._word(node)["report"]
            if "error" in report:
                raise RunError(report["error"])
            codes += report["codes"]
            for rank, told in report["ranks"].items():
                log_file(folder, int(rank)).write_text(told["tail"], encoding="utf-8")
                if told["end"] is not None:
                    write_json(end_file(folder, int(rank)), told["end"])
        return codes

    def _word(self, node: int) -> dict[str, Any]:
        """What machine `node` says of this run."""
        word = self._line.of(machine(node))
        return word if word.get("run") == self._id else {}

    def _words(self) -> list[dict[str, Any]]:
        return [word for node in self._nodes if (word := self._word(node))]

    def _lost(self) -> int | None:
        """A machine that can report no more."""
        silent = (node for node in self._nodes if not self._word(node).get("report") and self._is_away(node))
        return next(silent, None)

    def _is_away(self, node: int) -> bool:
        return "left" in self._line.of(machine(node)) or self._line.silence(machine(node)) > SILENCE

    def _why(self, node: int) -> str:
        host = self._line.of(machine(node)).get("host", "?")
        left = "left" in self._line.of(machine(node))
        how = "has ended by itself" if left else f"has not been heard of for {SILENCE:.0f} seconds"
        return f"machine {node + 1} of {self._place.nodes} ({host}) {how}; run the same command to go on"


class FollowerPeers:
    """The first machine as another one sees it."""

    def __init__(self, line: Heartbeat, run: str, first: int) -> None:
        self._line, self._run, self._first = line, run, first

    def stop(self) -> Signals | None:
        asked = self._word().get("stop")
        return Signals(asked) if asked else None

    def ended(self) -> Sequence[int]:
        return [int(status) for status in self._word().get("ended", ())]

    def gone(self) -> bool:
        return not self._word() or bool(self._word().get("over")) or self._line.silence(RUN) > SILENCE

    def tell(self, ended: Sequence[int], stop: int | None) -> None:
        self._line.say(ended=list(ended), **({"stop": int(stop)} if stop else {}))

    def report(self, codes: Sequence[int | None], folder: Path) -> None:
        """Tell how this machine's ranks ended, and what they said in `folder`."""
        ranks = range(self._first, self._first + len(codes))
        ends: dict[int, End | None] = {rank: read_end(folder, rank) for rank in ranks}
        told = {rank: {"end": end and asdict(end), "tail": read_tail(folder, rank)} for rank, end in ends.items()}
        self._line.say(report={"codes": list(codes), "ranks": json.loads(json.dumps(told))})

    def _word(self) -> dict[str, Any]:
        word = self._line.of(RUN)
        return word if word.get("id") == self._run else {}
