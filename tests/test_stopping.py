import numpy as np
import pytest
from stop_at import StopAt
from test_resume import attempt, config

from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.collapse import Alarm
from sivgap.loop.early_stopping import collapse, remaining_gain
from sivgap.runs.identity import identity
from sivgap.runtime.signals import StopRequest


def lines(law: Coupled, until: float, noise: float = 0.0) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "epoch": t,
            "split": "test",
            "solver_uncertainty_all": float(law.solver(t)) + noise * rng.standard_normal(),
            "verifier_uncertainty": float(law.verifier(t)) + noise * rng.standard_normal(),
        }
        for t in np.arange(0, until + 0.1, 0.5)
    ]


def test_the_expected_gain_is_what_the_law_has_still_to_fall():
    law = Coupled(2.8, 1.2, 0.4, 0.45, 0.4)
    early, late = (remaining_gain(lines(law, until, 0.01), 10.0) for until in (3.0, 9.0))
    for gain, until in ((early, 3.0), (late, 9.0)):
        assert gain.low <= float(law.solver(until) - law.solver(10.0)) <= gain.high
        assert gain.low <= gain.value <= gain.high
    assert late.value < early.value / 3


def test_nothing_is_expected_from_too_little_or_at_the_end():
    law = Coupled(2.8, 1.2, 0.4, 0.45, 0.4)
    assert remaining_gain(lines(law, 1.0), 10.0) is None
    assert remaining_gain(lines(law, 10.0), 10.0) is None


def test_a_run_stops_where_the_forecast_says_so_and_again_when_it_is_resumed(tmp_path):
    long = ("epochs=4", "stopping.rule=forecast", "stopping.action=stop", "stopping.min_gain=100")
    _, whole = attempt(config(tmp_path / "whole", *long), StopRequest())
    assert whole[-1]["epoch"] == 2.0  # the fifth measurement is the first that a forecast can be made from
    settings, done, tries = config(tmp_path / "stopped", *long), False, 0
    while not done:
        tries += 1
        assert tries < 40
        done, found = attempt(settings, StopAt(100))
    assert found == whole


@pytest.mark.parametrize(("overrides", "same"), [(("stopping.rule=forecast",), True),
                         (("stopping.rule=forecast", "stopping.action=stop"), False)])  # fmt: skip
def test_advice_does_not_make_another_run(tmp_path, overrides, same):
    assert (identity(config(tmp_path)) == identity(config(tmp_path, *overrides))) is same


def falling(until: float, **columns) -> list[dict]:
    """Held-out lines of a run whose accuracy rises until epoch 3 and is lost after it."""
    return [
        {"epoch": t, "split": "test", "solver_accuracy": 0.3 + 0.1 * min(t, 3) - 0.2 * max(t - 3, 0), **columns}
        for t in np.arange(0, until + 0.1, 0.5)
    ]


def test_a_collapse_is_told_while_it_happens():
    assert collapse(falling(3.5), 0.05) is None
    found = collapse(falling(6), 0.05)
    assert 3.5 < found.step <= 5
    assert "accuracy has come down" in found.reason
    assert collapse([{"epoch": 0.0, "split": "test"}], 0.05) is None
    dip = [{**line, "solver_accuracy": min(line["solver_accuracy"], 0.55)} for line in falling(3.5, token_entropy=0.01)]
    assert collapse(dip, 0.05) is None  # at its best, whatever its entropy


def test_a_run_that_collapses_is_ended_where_that_is_asked(tmp_path, monkeypatch):
    heard = Alarm(1.0, "accuracy has come down from 0.500 to 0.300")
    monkeypatch.setattr(
        "sivgap.loop.early_stopping.collapse", lambda lines, entropy: heard if lines[-1]["epoch"] >= 1 else None
    )
    told = ("epochs=2", "stopping.rule=collapse")
    _, stopped = attempt(config(tmp_path / "stopped", *told, "stopping.action=stop"), StopRequest())
    assert stopped[-1]["epoch"] == 1.0
    _, advised = attempt(config(tmp_path / "advised", *told), StopRequest())
    assert advised[-1]["epoch"] == 2.0


def test_settings_that_a_rule_does_not_read_make_no_other_run(tmp_path):
    stop = "stopping.action=stop"
    for rule, unread, read in (("collapse", "min_gain", "entropy"), ("forecast", "entropy", "min_gain")):
        plain = identity(config(tmp_path, f"stopping.rule={rule}", stop))
        assert identity(config(tmp_path, f"stopping.rule={rule}", stop, f"stopping.{unread}=0.2")) == plain
        assert identity(config(tmp_path, f"stopping.rule={rule}", stop, f"stopping.{read}=0.2")) != plain
