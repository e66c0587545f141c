"""Benchmarks take minutes to hours and hardly a test runs them; that what they import is there can be told at once."""

import ast
import importlib
from pathlib import Path

import external_curves
import numpy as np
import pandas as pd
import pytest
import simulated_curves

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_from_sivgap_is_there(path):
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    for node in nodes:
        if (node.module or "").partition(".")[0] == "sivgap":
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")


def test_curves_of_others_are_scored_from_a_file(tmp_path, monkeypatch):
    rng, t = np.random.default_rng(0), np.linspace(0, 1, 12)
    rows = [
        {"source": source, "run": f"{kind} {i}", "metric": "accuracy", "step": s, "value": v}
        for source, kind in (("one", "exponential"), ("other", "collapse"))
        for i in range(2)
        for s, v in zip(t, 0.1 + 0.5 * simulated_curves.shape(kind, t, rng), strict=True)
    ]
    rows += [{**row, "metric": "entropy", "value": 1 - row["value"]} for row in rows if row["source"] == "one"]
    pd.DataFrame(rows).to_csv(tmp_path / "curves.csv", index=False)
    published = {}
    monkeypatch.setattr(external_curves, "publish", lambda name, text, found: published.update(text=text, found=found))
    external_curves.main([str(tmp_path / "curves.csv"), "--simulated", "0", "--metrics", "accuracy"])
    for word in ("one, accuracy", "last value", "coverage", "chosen without it", "ceiling"):
        assert word in published["text"]
    assert {row["method"] for row in published["found"]["logged"]} == set(external_curves.METHODS)
    assert str(tmp_path) not in published["text"]
