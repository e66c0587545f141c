"""``python -m sivgap.parallel FOLDER RANK``: one rank of a run, started by `launch`."""

import signal
import sys
from pathlib import Path

# Until the rank listens to signals itself, a Ctrl-C just ends it: where it was in its imports helps nobody.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from sivgap.parallel.worker import live  # noqa: E402

live(Path(sys.argv[1]), int(sys.argv[2]))
