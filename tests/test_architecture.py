"""docs/architecture.md is what the code is."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))


def test_the_table_of_rooms_is_made_from_the_code():
    import architecture

    page = (ROOT / "docs" / "architecture.md").read_text()
    kept = page.partition(architecture.BEGIN)[2].partition(architecture.END)[0].strip()
    without_sizes = [line.rsplit("|", 2)[0] for line in kept.splitlines()]
    assert without_sizes == [line.rsplit("|", 2)[0] for line in architecture.table().strip().splitlines()]


def test_imports_go_down():
    import architecture

    rows = architecture.layers()
    level = {room: i for i, row in enumerate(rows) for room in row}
    up = [(a, b) for a, b in architecture.imports(list(level)) if level[a] >= level[b]]
    assert up == [("sweep", "train")]  # a job of a sweep is a run in a process of its own


def test_the_steps_of_algorithm_1_are_where_the_page_says():
    from sivgap.loop.experiment import Experiment

    for step in ("sample", "verify", "select", "update", "measure"):
        assert f"run.{step}(" in (ROOT / "sivgap" / "train.py").read_text()
        assert hasattr(Experiment, step)
