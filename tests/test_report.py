"""`python -m sivgap.report`: what a reader sees, in a real browser, and what hostile text cannot do to it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from commands import run_command
from markupsafe import escape

from sivgap.dynamics.closed_form import Coupled
from sivgap.errors import RunError
from sivgap.gap.selection import Selection
from sivgap.report.examples import examples, read_examples, write_examples
from sivgap.report.over_n import over_n
from sivgap.report.tables import write_table

LAW = Coupled(2.8, 1.2, 0.4, 0.45, 0.4)
HOSTILE = "<script>document.title = 'taken'; fetch('https://example.org')</script> =1+1 \x1b[31m ${7*7} {{ 7*7 }}"


def make_run(folder: Path, seed: int = 0, text: str = "Answer: 7") -> Path:
    """A small complete run directory, as training writes it."""
    rng = np.random.default_rng(seed)
    (folder / "samples").mkdir(parents=True)
    lines = []
    for epoch in np.arange(0, 4.5, 0.5):
        accuracy = 0.9 - 0.4 * np.exp(-epoch)
        for split in ("train", "test"):
            lines += [
                {"epoch": epoch, "split": split, "step": int(8 * epoch), "n_prompts": 20, "n_samples": 4,
                 "solver_uncertainty": float(LAW.solver(epoch)) + 0.01 * rng.standard_normal(),
                 "solver_uncertainty_se": 0.05,
                 "verifier_uncertainty": float(LAW.verifier(epoch)) + 0.01 * rng.standard_normal(),
                 "verifier_uncertainty_se": 0.03, "gap": float(LAW.gap(epoch)), "gap_se": 0.05,
                 "solver_accuracy": accuracy, "verifier_accuracy": accuracy + 0.05, "likeliest_accuracy": accuracy,
                 "score_auroc": 0.8, "solver_length": 20.0, "train_loss": None,
                 "pass_at_k": {"1": accuracy, "2": accuracy + 0.02, "4": accuracy + 0.03, "8": None}}
            ]  # fmt: skip
    for epoch in (0.0, 4.0):
        rows = [
            {"epoch": epoch, "split": "test", "problem_id": f"p{p:02d}", "question": f"{p}+1 {text}", "reference": text,
             "sample": n, "text": text, "nll": rng.gamma(2), "length": 10, "score": rng.uniform(), "answer": None,
             "correct": bool(rng.integers(2)), "selected": n == 0}
            for p in range(20) for n in range(4)
        ]  # fmt: skip
        pd.DataFrame(rows).to_parquet(folder / "samples" / f"epoch={epoch:06.2f}.parquet")
    (folder / "trajectory.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "status.json").write_text(json.dumps({"state": "complete", "seconds": 12.5, "reason": text}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed": seed, "selection": {"threshold": 0.5}, "note": text}))
    return folder


def report(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(folder, "report", *arguments, seconds=120)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    run = make_run(folder / "runs" / "one", text=HOSTILE)
    done = report(folder, "runs=runs/one")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "runs/one/report.html"
    return run


def test_a_run_gets_a_page_tables_and_figures(hostile):
    for name in ("report.html", "tables/trajectory_test.csv", "tables/trajectory_train.md", "tables/runs.csv",
                 "figures/trajectory.png", "figures/trajectory.pdf", "figures/fit.png", "figures/fit.pdf",
                 "figures/over_n.png"):  # fmt: skip
        assert (hostile / name).stat().st_size > 100, name
    table = pd.read_csv(hostile / "tables" / "trajectory_test.csv")
    assert list(table["epoch"]) == list(np.arange(0, 4.5, 0.5))
    assert "pass@4" in table
    assert "pass@8" not in table


def test_text_from_models_and_files_is_shown_not_run(hostile):
    page = (hostile / "report.html").read_text()
    assert "<script>document.title" not in page
    assert page.count("&lt;script&gt;document.title") > 10
    assert "{{ 7*7 }}" in page  # a template in an answer stays text


def test_several_runs_are_put_side_by_side(tmp_path):
    for seed in (0, 1):
        make_run(tmp_path / "runs" / f"run-seed{seed}", seed)
    done = report(tmp_path, "runs='runs/*'")
    assert done.stdout.strip() == "reports/run-seed/report.html", done.stderr
    assert len(pd.read_csv(tmp_path / "reports" / "run-seed" / "tables" / "runs.csv")) == 2


@pytest.mark.parametrize(
    ("breaking", "status", "said"),
    [
        (lambda run: shutil.rmtree(run), 2, "no run directory"),
        (lambda run: (run / "trajectory.jsonl").write_text(""), 1, "nothing has been measured"),
        (lambda run: (run / "status.json").write_text("{"), 1, "status.json"),
        (lambda run: (run / "samples" / "epoch=004.00.parquet").write_bytes(b"PAR1"), 1, "epoch=004.00.parquet"),
    ],
)
def test_a_run_that_cannot_be_read_is_one_sentence(tmp_path, breaking, status, said):
    breaking(make_run(tmp_path / "runs" / "one"))
    done = report(tmp_path, "runs=runs/one")
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("report.html"))


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_in_a_browser_draws_its_charts_asks_for_nothing_and_complains_of_nothing(hostile, tmp_path, width):
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path}/profile", f"--log-net-log={tmp_path}/net.json", "--enable-logging=stderr",
         f"--window-size={width},900", "--virtual-time-budget=8000", "--dump-dom", f"file://{hostile}/report.html"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    dom = done.stdout
    assert dom.count("main-svg") >= 5  # a chart each
    assert len(re.findall(r"<path[^>]*class=\"js-line\"", dom)) > 10
    assert "<title>one</title>" in dom
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said
    events = json.loads((tmp_path / "net.json").read_text())["events"]
    asked = {e["params"]["url"] for e in events if "url" in e.get("params", {})}
    own = re.compile(r"https?://[\w.-]*\.(google|googleapis|gstatic|gvt1)\.com/")  # the browser's, for itself
    assert not {url for url in asked if url.startswith("http") and not own.match(url)}
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', dom)
    assert policy is not None
    assert "default-src 'none'" in policy[1]  # what the page asked for all the same would be on the console


def test_over_n_begins_at_the_solver_and_ends_at_the_measurements_own_choice():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"problem_id": np.repeat(np.arange(50), 8), "nll": rng.gamma(2, 1, 400), "length": 10,
         "score": rng.uniform(size=400), "correct": rng.uniform(size=400) < 0.5}
    )  # fmt: skip
    table = over_n(frame, Selection(0.5))
    assert list(table["n"]) == [1, 2, 4, 8]
    assert table["verifier_uncertainty"][0] == pytest.approx(frame["nll"].mean())
    assert table["verifier_accuracy"][0] == pytest.approx(frame["correct"].mean())
    passed = frame[(frame["score"] >= 0.5) | (frame.groupby("problem_id")["score"].transform("max") < 0.5)]
    assert table["verifier_uncertainty"][3] == pytest.approx(passed.groupby("problem_id")["nll"].min().mean())


def test_examples_are_of_the_kind_they_are_said_to_be():
    frame = pd.DataFrame(
        {"problem_id": list("aabbcc"), "sample": [0, 1] * 3, "question": "q", "text": "t" * 9000, "reference": "r",
         "answer": None, "score": [0.9, 0.1, 0.8, 0.7, 0.2, 0.3], "correct": [1, 0, 0, 1, 0, 0], "nll": 1.0}
    )  # fmt: skip
    found = dict(examples(frame))
    assert [row["score"] for row in found["right, and scored highest"]] == [0.9, 0.7]
    assert [row["score"] for row in found["wrong, and scored highest: the verifier is fooled"]] == [0.8, 0.3, 0.1]
    assert 8000 <= len(found["right, and scored highest"][0]["text"]) < 8100
    assert "the verdict could not be read" not in found


def test_an_answer_or_verdict_that_is_missing_is_none_and_no_number(tmp_path):
    # fmt: off
    rows = {"problem_id": ["a", "b", "c", "c"], "sample": [0, 0, 0, -1], "question": "q", "text": "t", "reference": "r",
            "answer": [np.nan, "7", None, "8"], "score": [0.5, 0.5, 0.9, np.nan], "correct": [False, True, False, True],
            "unparsed": [True, False, False, False], "nll": 1.0, "length": 40, "finished": [False, True, True, True]}
    # fmt: on
    made = examples(pd.DataFrame(rows))
    found = dict(made)
    (unread,) = found["the verdict could not be read"]
    assert (unread["score"], unread["answer"], unread["finished"], unread["tokens"]) == (None, None, False, 40)
    assert [row["answer"] for row in found["right, and scored highest"]] == ["7"]  # not the external one
    write_examples(tmp_path, made)
    assert read_examples(tmp_path) == made
    (tmp_path / "examples.json").write_text('[{"kind": "right", "responses": [{"question": 1}]}]')
    with pytest.raises(RunError, match=r"examples\.json"):
        read_examples(tmp_path)


ANSWER = """First, let $x$ be the number of eggs:
$$\\frac{x}{2} + \\sqrt{9} = 10$$

```python
def eggs(x):
    return x / 2  # half of them
```
所以答案是 14。\\boxed{14}
"""


def test_the_page_shows_latex_code_and_chinese_as_written_and_no_nan(tmp_path):
    run = make_run(tmp_path / "run", text=ANSWER)
    last = run / "samples" / "epoch=004.00.parquet"
    rows = pd.read_parquet(last)
    rows.assign(answer=np.nan, unparsed=rows["sample"] == 1, length=500, finished=False).to_parquet(last)
    done = report(tmp_path, "runs=run")
    assert done.returncode == 0, done.stderr
    page = (run / "report.html").read_text(encoding="utf-8")
    shown = page[: page.index("<script>")]
    assert str(escape(ANSWER)) in shown
    assert not re.search(r"\bnan\b", shown, re.IGNORECASE)
    for text in ("verdict unparsed · answer none", "500 tokens, cut off", "solver accuracy, all N samples"):
        assert text in shown


def test_no_formula_reaches_a_spreadsheet(tmp_path):
    write_table(
        pd.DataFrame({"name": ["=cmd()", "+1", "fine", "-x", "@y"], "value": [-1.0, 2, 3, 4, 5]}), tmp_path / "t"
    )
    read = pd.read_csv(tmp_path / "t.csv")
    assert list(read["name"]) == ["'=cmd()", "'+1", "fine", "'-x", "'@y"]
    assert list(read["value"]) == [-1, 2, 3, 4, 5]
