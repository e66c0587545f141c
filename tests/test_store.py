"""Responses and verdicts that are kept: what a stop leaves; a verdict does not depend on when it is asked for."""

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from test_evaluate import FEW, generated, run, texts

from sivgap.config.app import validate
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir
from sivgap.engines import listener
from sivgap.engines.hf import HFEngine
from sivgap.errors import Stopped
from sivgap.evaluate import measure
from sivgap.runtime.display import Display
from sivgap.runtime.signals import StopRequest


class StopAfter(StopRequest):
    """A signal that comes once the run has looked for one so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def __bool__(self) -> bool:
        self._looks -= 1
        if self._looks <= 0:
            self._signal = "SIGTERM"
        return self._looks <= 0


def config(folder, *overrides: str) -> EvaluateConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return validate(compose("evaluate", [*FEW, f"runs_dir={folder}", *overrides]), EvaluateConfig)


@pytest.mark.parametrize("every", [0.0, 1e9])
def test_responses_that_ended_before_a_stop_are_kept_and_the_rest_is_what_it_would_have_been(
    tmp_path, every, monkeypatch
):
    monkeypatch.setattr(listener, "EVERY", every)
    settings = ("n=8", "model.stop=[' ']")  # at the first space: some responses end long before others
    whole = run(tmp_path / "whole", *settings)
    stopped = config(tmp_path / "stopped", *settings)
    for looks in (7, 9):
        folder = tmp_path / "stopped" / f"attempt{looks}"
        folder.mkdir(parents=True)
        with pytest.raises(Stopped, match="problems"):
            measure(stopped, folder, Display(quiet=True), StopAfter(looks))
    kept = texts(tmp_path / "stopped")
    assert 0 < len(kept) < 24 * 8
    again = run(tmp_path / "stopped", *settings)
    assert generated(again) < generated(whole)
    pd.testing.assert_frame_equal(texts(tmp_path / "stopped"), texts(tmp_path / "whole"))
    scores = [pd.read_parquet(each / "scores.parquet") for each in (whole, again)]
    assert scores[0]["score"].to_numpy() == pytest.approx(scores[1]["score"].to_numpy(), abs=1e-5)


@pytest.mark.parametrize("readout", ["sampled", "expected"])
def test_a_verdict_is_the_same_in_the_pass_that_samples_and_asked_for_later(tmp_path, readout):
    settings = ("n=4", f"verifier.readout={readout}", "sampling.verifier_temperature=1")
    at_once = run(tmp_path / "once", "verifier=tf", *settings)
    run(tmp_path / "later", "verifier=gold", "n=4")
    later = run(tmp_path / "later", "verifier=tf", *settings)
    scores = [pd.read_parquet(each / "scores.parquet")["score"].to_numpy() for each in (at_once, later)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert len(np.unique(scores[0])) > 1


def test_an_evaluation_judges_what_it_samples_without_reading_it_again(tmp_path, monkeypatch):
    asked = []
    likelihoods = HFEngine.answer_likelihoods

    def counting(self, prompts, *rest, **more):
        asked.append(len(prompts))
        return likelihoods(self, prompts, *rest, **more)

    monkeypatch.setattr(HFEngine, "answer_likelihoods", counting)
    run(tmp_path, "verifier=tf", "n=4")
    assert asked == []
    run(tmp_path, "verifier=tf", "n=8")  # four more of each, and their verdicts with them
    assert asked == []
