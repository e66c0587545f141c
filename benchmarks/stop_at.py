"""A run that is stopped between two steps, at a moment that is counted and not timed."""

from sivgap.runtime.signals import StopRequest


class StopAt(StopRequest):
    """A signal that comes just before the run looks for one for the `moment`-th time."""

    def __init__(self, moment: int) -> None:
        super().__init__()
        self._left, self._signal = moment, "SIGTERM"

    def __bool__(self) -> bool:
        self._left -= 1
        return self._left == 0
