"""What a W&B server holds of a run: the question that W&B's own client asks when it goes on with one."""

from __future__ import annotations

import base64
import json
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

_QUERY = """query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) { historyLineCount summaryMetrics }
  }
}"""

_LONGEST = 2**24
"""Bytes of an answer: one row of a summary, which holds some hundred numbers."""


@dataclass(frozen=True)
class Held:
    """Measurements that W&B has: as many from the run's start as it has rows.

    Some servers do not count rows; on these, all until the epoch of the run's summary, which arrives with its rows.
    """

    rows: int = 0
    epoch: float = -1.0

    def has(self, number: int, epoch: float) -> bool:
        """Whether the measurement with this number, from 1 on, at this epoch, is there."""
        return number <= self.rows if self.rows else epoch <= self.epoch


def ask(run: Any, timeout: float) -> Held:
    """What the server holds of an online `run` (wandb's own object).

    Raises:
        Exception: Whatever urllib or wandb raise, within `timeout` seconds.
    """
    import wandb

    key = wandb.Api(timeout=max(1, round(timeout))).api_key
    if key is None:  # an identity token, with which W&B's client alone can ask, and has, on opening the run
        return Held(run.starting_step)
    body = {
        "query": _QUERY,
        "operationName": "RunResumeStatus",
        "variables": {"project": run.project, "entity": run.entity, "name": run.id},
    }
    address = f"{run.settings.base_url.rstrip('/')}/graphql"
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 - wandb checks that it is http
    request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}")

    def answered() -> Any:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return json.loads(answer.read(_LONGEST))  # half of one that is longer is no JSON

    model = (_within(timeout, answered).get("data") or {}).get("model") or {}
    bucket = model.get("bucket") or {}
    summary = json.loads(bucket.get("summaryMetrics") or "{}")
    epoch = summary.get("epoch")
    rows = max(int(bucket.get("historyLineCount") or 0), run.starting_step)
    return Held(rows, float(epoch) if isinstance(epoch, int | float) else -1.0)


def _within(seconds: float, question: Callable[[], Any]) -> Any:
    """What `question` returns or raises; a TimeoutError after `seconds`, though bytes may still trickle in, each of
    which begins the time-out of a connection anew."""
    found: Future[Any] = Future()

    def work() -> None:
        try:
            found.set_result(question())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return found.result(seconds)
