"""`python -m sivgap.fit csv=FILE curve=COLUMN`: one column of anybody's run, as a user types it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command
from test_fit import STREAMED, fit, result

from sivgap.dynamics.curve import Curve, read_curve
from sivgap.dynamics.curve_analysis import analyse_curve
from sivgap.errors import RunError

STEP = np.arange(0, 200, 8.0)


def accuracy(seed: int = 0, top: float = 0.7) -> np.ndarray:
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(STEP))
    return np.clip(0.05 + (top - 0.05) * -np.expm1(-STEP / 40) + noise, 0, 1)


def table(**columns) -> pd.DataFrame:
    value = accuracy()
    frame = pd.DataFrame({"global_step": STEP, "eval/accuracy": value, "entropy": np.log((0.9 - value) / 0.2).clip(0)})
    return frame.assign(**columns)


def test_a_csv_becomes_a_page_in_one_command(tmp_path):
    table().to_csv(tmp_path / "log.csv", index=False)
    done = fit(tmp_path, "csv=log.csv", "curve=eval/accuracy", "until=100", "horizon=400")
    found = result(tmp_path, done)
    folder = tmp_path / "fits" / "log-eval_accuracy"
    said = found["forecast"]
    assert said["horizon"] == 400
    assert said["curve"][-1]["step"] == 400
    assert set(STEP[STEP > 100]) <= {point["step"] for point in said["curve"]}
    assert all(0 <= point["low"] <= point["value"] <= point["high"] <= 1 for point in said["curve"])
    assert set(said["limit"]["curve"]) == {"value", "low", "high"}
    at = {point["step"]: point for point in said["curve"]}
    assert at[192]["low"] < 0.7 < at[192]["high"]
    assert found["runs"] == ["log.csv"]
    one = found["curves"]["log.csv"]
    assert one["known_kind"]
    assert one["collapse"] is None
    assert one["entropy_law"]["ceiling"] == pytest.approx(0.7, abs=0.05)
    page = (folder / "report.html").read_text()
    assert "eval/accuracy" in page
    assert "Entropy law" in page
    assert (folder / "figures" / "curve.png").is_file()
    assert (folder / "figures" / "curve.pdf").is_file()
    assert (folder / "tables" / "forecast.csv").is_file()
    assert "in the end" in done.stderr


def test_several_runs_in_one_file_have_one_table_and_one_page(tmp_path):
    runs = [table(run_name=name, **{"eval/accuracy": accuracy(i, 0.6)}) for i, name in enumerate("ab")]
    lost = accuracy(2) - 0.6 / (1 + np.exp((110 - STEP) / 8))
    falling = table(run_name="c", **{"eval/accuracy": lost})
    frame = pd.concat([*runs, falling])
    frame["eval/accuracy"] = frame["eval/accuracy"].clip(0, 1)
    frame.to_csv(tmp_path / "log.csv", index=False)
    done = fit(tmp_path, "csv=log.csv", "curve=eval/accuracy", "run=run_name", "forecast.method=adaptive")
    found = result(tmp_path, done)
    assert found["runs"] == ["a", "b", "c"]
    assert found["forecast"]["method"].startswith("adaptive")
    assert set(found["forecast"]["curve"]) == set(found["forecast"]["limit"]["curve"]) == {"a", "b", "c"}
    assert found["forecast"]["curve"]["a"][-1]["step"] == 2 * STEP[-1]
    assert sum(member["weight"] for member in found["curves"]["a"]["members"].values()) == pytest.approx(1)
    lost = found["curves"]["c"]
    assert not lost["known_kind"]
    assert "come down" in lost["collapse"]["reason"]
    told = done.stderr.index("c: Not a kind of curve")
    assert told < done.stderr.index("forecast of eval/accuracy")  # before a number is printed
    assert "Collapse" in (tmp_path / "fits" / "log-eval_accuracy" / "report.html").read_text()


def test_a_column_of_a_run_on_wandb(tmp_path):
    (tmp_path / "wandb.py").write_text(STREAMED)  # the service's own client needs the service
    history = [{"_step": int(s), "reward": v} for s, v in zip(STEP, accuracy(), strict=True)]
    (tmp_path / "history.json").write_text(json.dumps([*history, {"_step": 500, "other": 1}]))
    path = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"}
    done = run_command(tmp_path, "fit", "wandb=me/sivgap/good", "curve=reward", **path)
    assert done.stdout.strip() == "fits/good-reward/fit.json", done.stderr
    assert result(tmp_path, done)["curves"]["me/sivgap/good"]["points"] == len(STEP)


def test_a_column_of_a_run_directory(tmp_path):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    lines = [{"epoch": s / 8, "split": "test", "solver_accuracy": v} for s, v in zip(STEP, accuracy(), strict=True)]
    (tmp_path / "runs" / "one" / "trajectory.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = result(tmp_path, fit(tmp_path, "runs=runs/one", "curve=solver_accuracy"))
    assert found["runs"] == ["one"]
    assert found["curves"]["one"]["steps"] == [0, STEP[-1] / 8]


@pytest.mark.parametrize(
    ("column", "step", "said"),
    [
        ("acc", None, "no column acc; found global_step"),
        ("eval/accuracy", "when", "no column when; found"),
        ("words", None, "words is 'one', expected a number"),
        ("nothing", None, "nothing holds no number"),
        ("single", None, "1 point of single; a forecast needs at least 4"),
        ("endless", None, "endless holds infinite values"),
        ("flat", None, "flat never changes"),
        ("eval/accuracy", "flat", "step 1 comes more than once"),
    ],
)
def test_a_column_that_cannot_be_forecast_is_one_sentence(column, step, said):
    single, endless = np.where(STEP == 0, 0.5, np.nan), np.where(STEP == 8, np.inf, 0.5)
    with pytest.raises(RunError) as raised:
        read_curve(
            table(words="one", nothing=np.nan, single=single, flat=1.0, endless=endless), column, step, "log.csv"
        )
    assert str(raised.value).startswith("log.csv")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("curve=eval/accuracy", "run=name"), 1, "no column name; found"),
        (("curve=eval/accuracy", "until=10"), 1, "2 points up to until=10"),
        (("run=name",), 2, "needs curve=COLUMN"),
    ],
)
def test_what_cannot_be_done_ends_with_one_line(tmp_path, arguments, status, said):
    table().to_csv(tmp_path / "log.csv", index=False)
    done = fit(tmp_path, "csv=log.csv", *arguments)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "fits").exists()


def test_gaps_disorder_and_rows_without_steps_are_put_right_with_a_note():
    frame = table().drop(columns="global_step").sample(frac=1, random_state=0)
    frame = frame.assign(epoch=STEP[frame.index] / 8)
    frame.loc[3, "eval/accuracy"] = np.nan
    found = read_curve(frame, "eval/accuracy", None, "log.csv")
    assert len(found.step) == len(STEP) - 1
    assert (np.diff(found.step) > 0).all()
    assert len(found.entropy[0]) == len(STEP)
    assert any("1 of 25 rows have no eval/accuracy" in note for note in found.notes)
    assert any("were sorted" in note for note in found.notes)
    counted = read_curve(frame.drop(columns="epoch"), "eval/accuracy", None, "log.csv")
    assert any("rows are counted" in note for note in counted.notes)


def test_ten_thousand_points_are_forecast_and_watched_in_blocks():
    step = np.linspace(0, 1, 10_000)
    value = 0.7 - 0.5 * np.exp(-4 * step)
    found = analyse_curve(Curve("log", "accuracy", step, value, (step, 1 - value), (step, 300 + step)), horizon=2)
    assert found.forecast.value[0, -1] == pytest.approx(0.7, abs=0.01)
    assert found.alarm is None
