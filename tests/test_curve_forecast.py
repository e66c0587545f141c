"""Forecasts of a single curve of any kind, whether it is of a known kind, the alarm, and the entropy law."""

import numpy as np
import pandas as pd
import pytest
from simulated_curves import KINDS, shape

from sivgap.dynamics.collapse import Watched, alarm, first_alarm
from sivgap.dynamics.curve_analysis import forecast_with_kind
from sivgap.dynamics.curve_forecast import forecast_curves
from sivgap.dynamics.entropy_law import fit_entropy_law
from sivgap.dynamics.forecast import combination
from sivgap.dynamics.local import damped_slope, level
from sivgap.dynamics.orientation import orient
from sivgap.dynamics.pair_forecast import adaptive_pair
from sivgap.dynamics.shape import jumps, noise_of, turns

T = np.arange(40.0)
RISING = 0.8 - 0.6 * np.exp(-T / 12)


def noisy(curve: np.ndarray, noise: float = 0.01, count: int = 1, seed: int = 0) -> np.ndarray:
    return curve + noise * np.random.default_rng(seed).standard_normal((count, curve.shape[-1]))


def kinds(kind: str, count: int, noise: float, points: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and `count` curves of a kind in [0, 1]."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, points)
    exact = np.array([0.2 + 0.5 * shape(kind, t, rng) for _ in range(count)])
    return 100 * t, np.clip(exact + noise * rng.standard_normal(exact.shape), 0, 1)


def rmse(forecast: np.ndarray, later: np.ndarray) -> float:
    return float(np.mean(np.sqrt(np.mean((forecast - later) ** 2, axis=-1))))


# --- members ---------------------------------------------------------------------------------------------------------


def test_a_level_with_noise_alone_is_its_mean_and_a_walk_is_where_it_is():
    still = noisy(np.zeros(60), 1.0, 50)
    assert np.abs(level(still, np.array([5.0])).mean).mean() < 0.3
    walk = np.cumsum(still, axis=1)
    found = level(walk, np.array([1.0, 16.0, np.inf]))
    assert np.abs(found.mean[:, 0] - walk[:, -1]).mean() < 0.5
    assert np.isfinite(found.variance).all()
    assert 2.5 < np.sqrt(found.variance[:, 1] / found.variance[:, 0]).mean() < 4.5  # a walk spreads as the root of time


def test_a_slope_goes_on_and_dies_out():
    line = np.arange(30.0)[None]
    found = damped_slope(line, np.array([1.0, 1000.0, np.inf])).mean[0]
    assert found[0] == pytest.approx(30, abs=0.5)
    assert 32 < found[1] < 60
    assert found[2] == pytest.approx(found[1], rel=1e-6)


def test_curves_are_turned_and_turned_back():
    curves = np.stack([RISING, 1 - RISING, 10 * RISING, -10 * RISING])
    found = orient(curves)
    falling = found.turned(curves)
    assert (falling[:, 0] > falling[:, -1]).all()
    assert (falling >= 0).all()
    assert found.back(falling) == pytest.approx(curves)
    assert found.back(np.full((4, 1), -1e9))[:2] == pytest.approx(np.array([[1.0], [0.0]]))  # a share stays one


# --- forecasts -------------------------------------------------------------------------------------------------------


def test_the_default_of_a_falling_curve_is_that_of_solver_and_verifier():
    falling = (3 - RISING)[None, :20] + 0.01 * np.sin(7 * T[:20])
    said = forecast_curves(T[:20], falling, T[20:]).value
    assert said == pytest.approx(combination(T[:20], falling[:, None], T[20:])[:, 0], rel=1e-9)


@pytest.mark.parametrize("method", ["default", "adaptive"])
@pytest.mark.parametrize("scale", [1.0, -1.0, 40.0])
def test_an_exponential_is_found_rising_or_falling_share_or_not(method, scale):
    curve = noisy(scale * RISING, abs(scale) * 0.002)
    said = forecast_curves(T[:20], curve[:, :20], T[20:], method)
    assert said.value[0] == pytest.approx(scale * RISING[20:], abs=0.06 * abs(scale))
    assert (said.low <= said.value).all()
    assert (said.value <= said.high).all()
    assert ((said.low[0] <= scale * RISING[20:]) & (scale * RISING[20:] <= said.high[0])).mean() > 0.9


@pytest.mark.parametrize("method", ["default", "adaptive"])
def test_neither_the_unit_of_time_nor_its_start_matters(method):
    curve = noisy(RISING[:15])
    ahead = np.arange(15.0, 30.0)
    here = forecast_curves(T[:15], curve, ahead, method)
    there = forecast_curves(500 + 60 * T[:15], curve, 500 + 60 * ahead, method)
    for end in ("value", "low", "high", "limit"):
        assert getattr(there, end) == pytest.approx(getattr(here, end), rel=1e-6)


@pytest.mark.parametrize("method", ["default", "adaptive"])
def test_a_share_stays_one_and_too_little_is_refused(method):
    curves = np.clip(noisy(RISING[:12], 0.2, 20), 0, 1)
    said = forecast_curves(T[:12], curves, np.arange(12.0, 100.0, 4), method)
    for ends in (said.value, said.low, said.high, said.limit):
        assert ((ends >= 0) & (ends <= 1)).all()
    with pytest.raises(ValueError, match="at least 4"):
        forecast_curves(T[:3], curves[:, :3], T[3:], method)


@pytest.mark.parametrize("kind", ["exponential", "power law", "S-shape", "late start", "noise", "random walk"])
def test_the_adaptive_forecast_is_no_worse_than_the_last_value(kind):
    step, curves = kinds(kind, 60, 0.03)
    seen = curves[:, :20]
    said = forecast_curves(step[:20], seen, step[20:], "adaptive").value
    assert rmse(said, curves[:, 20:]) < 1.05 * rmse(seen[:, -1:], curves[:, 20:])


@pytest.mark.parametrize(("kind", "least"), [("exponential", 0.85), ("power law", 0.85), ("random walk", 0.75)])
def test_nine_in_ten_of_what_follows_is_in_the_interval(kind, least):
    step, curves = kinds(kind, 60, 0.03, seed=1)
    said = forecast_curves(step[:20], curves[:, :20], step[20:], "adaptive")
    assert least < np.mean((curves[:, 20:] >= said.low) & (curves[:, 20:] <= said.high)) <= 1


def test_what_moves_by_jumps_keeps_its_last_value():
    curve = np.where(T[:20] < 9, 0.2, 0.7)[None]
    said = forecast_curves(T[:20], curve, T[20:], "adaptive")
    assert said.value == pytest.approx(np.full((1, 20), 0.7))
    assert jumps(curve).all()
    assert not jumps(RISING[None]).any()


def test_solver_verifier_and_gap_can_be_forecast_adaptively():
    pair = np.stack([3 - RISING, 2 - 1.5 * RISING])[None] + noisy(np.zeros(40), 0.005, 2)
    said = adaptive_pair(T[:20], pair[..., :20], T[20:])
    assert said.value[:, 2] == pytest.approx(said.value[:, 0] - said.value[:, 1])
    assert said.value[:, :2] == pytest.approx(pair[..., 20:], abs=0.1)
    assert (said.low <= said.value).all()
    assert (said.value <= said.high).all()


def test_on_logged_runs_it_beats_the_last_value_in_every_source(shared):
    path = shared / "curves" / "logged_runs.csv"
    if not path.is_file():
        pytest.skip("needs the logged runs")
    table = pd.read_csv(path)
    errors: dict[str, list[list[float]]] = {}
    for (source, _), one in table[table["metric"] == "accuracy"].groupby(["source", "run"]):
        step, value = one["step"].to_numpy(float), one["value"].to_numpy(float)
        n = len(step) // 2
        if n >= 4 and np.ptp(value[:n]) > 0:
            said = forecast_curves(step[:n], value[None, :n], step[n:], "adaptive").value
            both = [rmse(forecast, value[n:]) / np.ptp(value) for forecast in (said, value[n - 1])]
            errors.setdefault(str(source), []).append(both)
    for source, found in errors.items():
        mine, last = np.mean(found, axis=0)
        assert mine < 1.05 * last, source


# --- not my kind -----------------------------------------------------------------------------------------------------


def test_a_turn_is_told_from_noise():
    peaked = 0.2 + 0.5 * np.exp(-(((T - 18) / 8) ** 2))
    found = turns(noisy(peaked, 0.01, 20))
    assert found.turned.all()
    assert found.peak.all()
    assert not turns(noisy(RISING, 0.05, 20)).turned.any()
    assert noise_of(noisy(RISING, 0.05, 50)).mean() == pytest.approx(0.05, rel=0.15)


def test_a_curve_of_an_unknown_kind_is_told_of_and_its_interval_is_wider():
    peaked = noisy(0.2 + 0.5 * np.exp(-(((T - 12) / 6) ** 2)))[0, :25]
    found, kind = forecast_with_kind(T[:25], peaked, T[25:], "adaptive")
    plain = forecast_curves(T[:25], peaked[None], T[25:], "adaptive")
    assert "fell after a rise" in kind.sentence
    assert kind.sentence.startswith("Not a kind of curve that the forecast knows")
    width, narrower = found.high - found.low, plain.high - plain.low
    assert width.mean() > 1.2 * narrower.mean()
    assert found.value == pytest.approx(plain.value)


def test_curves_of_known_kinds_are_hardly_ever_called_unknown():
    unknown = 0
    for kind in ("exponential", "power law"):
        step, curves = kinds(kind, 5, 0.02)
        unknown += sum(not forecast_with_kind(step[:24], c[:24], step[24:], "adaptive")[1].known for c in curves)
    assert unknown <= 1


# --- the alarm -------------------------------------------------------------------------------------------------------


def test_a_collapse_is_heard_before_half_of_it_is_over():
    heard = 0
    for seed in range(10):
        fall = 1 / (1 + np.exp(-(T - 26) / 2.5))
        accuracy = noisy(RISING - 0.6 * fall, 0.01, seed=seed)[0]
        found = first_alarm(Watched((T, accuracy)))
        heard += found is not None and 20 < found.step <= 26 and "come down" in found.reason
    assert heard >= 9


def test_at_most_one_healthy_run_in_twenty_raises_it():
    runs = [
        curve for kind in ("exponential", "power law", "S-shape", "straight line") for curve in kinds(kind, 5, 0.03)[1]
    ]
    assert sum(first_alarm(Watched((T, curve))) is not None for curve in runs) <= 1


def test_entropy_and_length_count_where_accuracy_is_not_at_its_best():
    low = (T, np.linspace(1.0, 0.01, 40))
    long = (T, np.linspace(300, 1500, 40))
    best, below = (T, RISING), (T, RISING - 0.08 * (T > 30))
    assert alarm(Watched(best, low)) is None
    assert alarm(Watched(best, None, long)) is None
    assert "token entropy has fallen" in alarm(Watched(below, low))
    assert "tokens" in alarm(Watched(below, None, long))
    assert alarm(Watched(below, low), entropy=0.001) is None
    nothing = (np.array([]), np.array([]))
    assert "token entropy" in alarm(Watched(nothing, low))


# --- the entropy law -------------------------------------------------------------------------------------------------


def test_an_exact_entropy_law_gives_its_constants_back():
    entropy = np.linspace(1.0, 0.1, 30)
    found = fit_entropy_law(entropy, 0.9 - 0.25 * np.exp(entropy))
    assert (found.a, found.b, found.r2) == pytest.approx((0.25, 0.9, 1.0))
    assert found.ceiling == pytest.approx(0.65)
    assert found.early == pytest.approx(0.65)


def test_the_ceilings_interval_holds_it_nine_times_in_ten():
    rng = np.random.default_rng(0)
    entropy = np.linspace(1.0, 0.1, 20)
    held = 0
    for _ in range(300):
        found = fit_entropy_law(entropy, 0.9 - 0.25 * np.exp(entropy) + 0.02 * rng.standard_normal(20))
        held += found.low <= 0.65 <= found.high
    assert 255 <= held <= 285  # binomial: 270 +- 3 standard errors of 5.2


def test_no_entropy_law_is_drawn_through_nothing():
    entropy = np.linspace(1.0, 0.1, 30)
    assert fit_entropy_law(entropy[:4], entropy[:4]) is None
    assert fit_entropy_law(np.ones(30), entropy) is None
    assert fit_entropy_law(np.where(entropy > 0.5, np.nan, entropy), np.ones(30)) is None


def test_every_kind_of_simulated_curve_is_a_curve():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        assert np.isfinite(shape(kind, np.linspace(0, 1, 20), rng)).all()
