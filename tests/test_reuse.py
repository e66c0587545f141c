"""The training curve read off the labels' own rollouts: what changes, and what must not."""

import pytest
from small_runs import TIMES, composed, lines

from sivgap.errors import ConfigError
from sivgap.loop.session import open_experiment
from sivgap.runs.run import Run
from sivgap.runtime.display import Display
from sivgap.runtime.signals import handle_signals
from sivgap.train import improve

SMOKE = ("experiment=smoke", "epochs=1.5", "tracking.wandb.mode=disabled", "engine.threads=1", "measure.test_prompts=8")


def trained(folder, *overrides: str) -> list[dict]:
    run = Run(composed(*SMOKE, f"runs_dir={folder}", *overrides))
    with handle_signals() as stop, open_experiment(run, Display(quiet=True), stop) as job:
        improve(job)
    run.close()
    return lines(run.path)


@pytest.mark.parametrize(("refresh", "panel", "saved"), [("half_epoch", "24", 18 / 176), ("epoch", "null", 48 / 336)])
def test_the_labels_are_the_same_and_cost_nothing_where_they_were_measured(refresh, panel, saved, tmp_path):
    overrides = (f"refresh={refresh}", f"measure.train_prompts={panel}")
    plain, reused = (trained(tmp_path, *overrides, f"measure.reuse={reuse}") for reuse in ("false", "true"))
    costs = (*TIMES, "tokens")
    for one, other in zip(plain, reused, strict=True):
        assert one["train_loss"] == other["train_loss"]
        if one["split"] == "test":
            assert {k: v for k, v in one.items() if k not in costs} == {
                k: v for k, v in other.items() if k not in costs
            }
    spent = [sum(line["tokens"] for line in those) for those in (plain, reused)]
    assert 1 - spent[1] / spent[0] == pytest.approx(saved, abs=0.04)  # of responses; their lengths differ


@pytest.mark.parametrize("overrides", [("refresh=step",), ("refresh=never",), ("measure.samples=8",)])
def test_labels_of_other_weights_or_numbers_of_responses_cannot_be_measured(overrides):
    with pytest.raises(ConfigError, match=r"measure\.reuse: .* expected refresh=half_epoch or epoch"):
        composed(*SMOKE, "measure.reuse=true", *overrides)
