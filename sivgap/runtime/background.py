"""Work that need not be waited for, in one thread and in order: grading and writing, while a model samples.

What takes long there (comparing answers, in processes of their own; writing files) lets other threads run meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import ParamSpec, TypeVar

from sivgap.errors import Stopped

P = ParamSpec("P")
T = TypeVar("T")


class Background:
    """A context: what was begun within it has been done when it ends.

    An interruption, and a stop that has not settled what matters, drops what has not begun, and asks by `give_up` that
    what has ends soon; it is waited for, since nobody else may come to files that are still being written.
    """

    def __init__(self, give_up: Callable[[], None] = lambda: None) -> None:
        self._give_up = give_up
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sivgap")
        self._left: deque[Future[object]] = deque()
        self._failure: BaseException | None = None

    def later(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """`work` behind what was asked for before; where that failed, this fails alike and nothing is done."""

        def run() -> T:
            if self._failure is not None:
                raise self._failure
            try:
                return work(*args, **kwargs)
            except BaseException as error:
                self._failure = error
                raise

        future = self._thread.submit(run)
        self._left.append(future)  # type: ignore[arg-type]
        return future

    @property
    def left(self) -> int:
        """How many works `settle` would wait for; 0 once all are done."""
        return len(self._left) if self._left and not self._left[-1].done() else 0

    def settle(self, advance: Callable[[], None] = lambda: None) -> None:
        """Wait until all is done, calling `advance` after each. Raises what the first failure raised."""
        while self._left:
            wait([self._left.popleft()])
            advance()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Something else that ended the block is what is told."""
        if isinstance(error, KeyboardInterrupt | Stopped):
            self._drop()
            return
        try:
            self._thread.shutdown()
        except KeyboardInterrupt:
            self._drop()
            raise
        if error is None:
            self.settle()

    def _drop(self) -> None:
        self._give_up()
        self._thread.shutdown(cancel_futures=True)
