"""What the theory predicts of a sweep, on runs that obey it."""

import numpy as np
import pytest

from sivgap.dynamics.initial_gap import initial_gap
from sivgap.dynamics.population import PromptCurves

EPOCH = np.arange(0, 6.5, 0.5)
RHO, RATE, SOLVER = 0.6, 0.8, 2.0


def curves(rng, gap, prompts=200, noise=0.02, ratio=RHO):
    """A run of `prompts` whose levels differ and stay: the law with the initial `gap`, and a little that is new."""
    fall = (gap - 0.3) / (1 - ratio) * (1 - np.exp(-RATE * EPOCH))
    level = rng.gamma(4, 0.25, (prompts, 1))
    fresh = noise * rng.standard_normal((2, prompts, len(EPOCH)))
    ids = tuple(map(str, range(prompts)))
    return PromptCurves(level * (SOLVER - fall) + fresh[0], level * (SOLVER - gap - ratio * fall) + fresh[1], ids)


def panel(seed, gaps, ratio=RHO):
    return [[curves(np.random.default_rng(seed), gap, ratio=ratio)] for gap in gaps]


def test_the_limit_falls_by_one_over_one_less_rho_a_nat_of_initial_gap():
    found = initial_gap(EPOCH, panel(0, (0.8, 1.0, 1.2)))
    assert found.slope.value == pytest.approx(-1 / (1 - RHO), rel=0.05)
    assert found.predicted.value == pytest.approx(-1 / (1 - RHO), rel=0.05)
    assert found.difference.low < 0 < found.difference.high
    assert [one["beta_over_alpha"].value for one in found.settings] == pytest.approx([RHO] * 3, rel=0.03)


def test_another_slope_is_told_apart():
    rng = np.random.default_rng(1)
    settings = [[curves(rng, gap)] for gap in (0.8, 1.0, 1.2)]
    lifted = []
    for extra, seeds in zip((0.0, 0.3, 0.6), settings, strict=True):
        level = seeds[0].solver[:, :1] / SOLVER
        rise = extra * level * (1 - np.exp(-RATE * EPOCH))
        lifted.append([PromptCurves(seeds[0].solver + rise, seeds[0].verifier + rise, seeds[0].ids)])
    found = initial_gap(EPOCH, lifted)
    assert found.difference.low > 0


def test_one_setting_other_panels_or_equal_gaps_say_nothing():
    (one,) = panel(2, (1.0,))
    assert initial_gap(EPOCH, [one]) is None
    other = [PromptCurves(one[0].solver, one[0].verifier, ("other", *one[0].ids[1:]))]
    assert initial_gap(EPOCH, [one, other]) is None
    assert initial_gap(EPOCH, [one, one]) is None
