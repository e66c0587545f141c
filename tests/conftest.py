import os
from pathlib import Path

import pytest
from commands import run_command
from hypothesis import settings
from small_runs import SEEDS

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
# The models are tiny: a second thread gains little here, and costs much when another process has the other core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples each time: new ones are looked for by the campaigns in benchmarks/reliability.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

SHARED = Path(__file__).parents[2] / "shared" / "data"

LONGEST = ("sweep", "cross", "notebooks", "train", "processes", "evaluate", "upload", "resume", "plan", "hostile")
"""Files whose tests start whole runs, longest first: started first, no worker is left alone with them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data beside the checkout; tests that use it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("needs the project's shared data")
    return SHARED


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """A complete sweep of two seeds by the basic launcher."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run_command(folder, "train", *SEEDS)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> list[dict]:
    """The numbers of `test_resume.config` when nothing happens to the run."""
    from test_resume import attempt, config

    from sivgap.runtime.signals import StopRequest

    return attempt(config(tmp_path_factory.mktemp("whole")), StopRequest())[1]


@pytest.fixture
def command(tmp_path):
    """Run ``python -m sivgap.COMMAND ...`` in an empty folder, as a user does."""

    return lambda name, *arguments, **env: run_command(tmp_path, name, *arguments, **env)
