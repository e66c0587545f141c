"""Each sentence is said of what it is about, with its number and the setting to change, and of nothing else."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sivgap.gap.beware import RunSettings, beware, measured
from sivgap.gap.selection import Selection
from sivgap.report.beware import beware_of
from sivgap.report.record import Record
from sivgap.runs.load_curves import from_run

PROMPTS, SAMPLES = 400, 8
ASKED = RunSettings(
    Selection(0.5), "selection.quantile=0.25", "measure.test_prompts", PROMPTS, "qe", "sampled", 8, 512, learns=True
)


def panel(**changed):
    """A panel that nothing is wrong with, but for what is `changed`."""
    rng = np.random.default_rng(0)
    correct = (rng.random((PROMPTS, SAMPLES)) < rng.random((PROMPTS, 1))).astype(float)
    length = rng.integers(20, 200, correct.shape)
    arrays = {
        "correct": correct,
        "strict": correct,
        "scores": np.round(np.clip(0.3 + 0.4 * correct + 0.15 * rng.normal(size=correct.shape), 0, 1), 2),
        "unparsed": np.zeros(correct.shape),
        "nll": length * (1 - 0.1 * correct + 0.3 * rng.random(correct.shape)),
        "length": length,
        "finished": np.ones(correct.shape),
        **changed,
    }
    selection = arrays.pop("selection", ASKED.selection)
    return measured(**arrays, selection=selection)


def share(of: float, seed: int = 1):
    return (np.random.default_rng(seed).random((PROMPTS, SAMPLES)) < of).astype(float)


def test_nothing_is_said_of_a_panel_that_is_well():
    assert beware(panel(), ASKED) == []


def few_mixed(count: int) -> np.ndarray:
    """Half of the prompts' responses all right, the others' all wrong, but for `count` prompts with both."""
    correct = np.zeros((PROMPTS, SAMPLES))
    correct[: PROMPTS // 2] = 1
    correct[:count, : SAMPLES // 2] = 0
    return correct


def easy_half() -> np.ndarray:
    """Of the first half of the prompts most responses are right, of the others most wrong."""
    of_prompt = np.repeat([0.9, 0.1], PROMPTS // 2)[:, None]
    return (np.random.default_rng(7).random((PROMPTS, SAMPLES)) < of_prompt).astype(float)


WELL, SPREAD = panel(), 0.3 * share(0.5, seed=6)
CASES = {
    "constant": (panel(scores=np.ones((PROMPTS, SAMPLES))), "every response scores 1.00", "readout=expected"),
    "constant but for what was not read": (
        panel(scores=np.where(share(0.04), 0.5, 1.0), unparsed=share(0.04)), "every response scores 1.00",
        "verifier=mc",
    ),
    "constant of the few that were read": (
        panel(scores=np.where(share(0.9), 0.5, 1.0), unparsed=share(0.9)), "every verdict that could be read scores",
        "verifier=mc",
    ),
    "by prompt": (
        panel(scores=np.broadcast_to(np.linspace(0, 1, PROMPTS)[:, None], (PROMPTS, SAMPLES))),
        "scores differ between prompts alone", "readout=expected",
    ),
    "all pass": (panel(scores=0.55 + share(0.5) / 20), "of 100% of the prompts all", "selection.quantile=0.25"),
    "none pass": (panel(scores=0.35 + share(0.5) / 20), "of 100% of the prompts none", "selection.quantile=0.25"),
    "unparsed": (panel(unparsed=share(0.2)), "of the verdicts could not be read", "verifier.max_new_tokens=8"),
    "cut": (panel(finished=1 - share(0.3)), "were cut off at sampling.max_new_tokens=512", "raise it to 704"),
    "hardly any ends": (panel(finished=1 - share(0.99)), "99.2% of 3200 responses were cut off", "model.stop"),
    "chosen are cut": (
        panel(finished=1 - share(0.07), selection=Selection(0.5, finished="any")), "are learnt without an end",
        "sampling.max_new_tokens",
    ),
    "form": (panel(strict=np.zeros((PROMPTS, SAMPLES))), "0.0% in the form", "dataset.few_shot=4"),
    "hopeless": (panel(correct=share(0.01), strict=share(0.01)), "next to nothing to learn from", "dataset.prompt"),
    "solved": (panel(correct=share(0.99), strict=share(0.99)), "left to learn", "harder problems"),
    "few right": (
        panel(correct=share(0.002), strict=share(0.002)), "rests on 2 right and 3198 wrong", "measure.test_prompts",
    ),
    "no gap": (panel(scores=share(0.5, seed=5)), "is not told apart from 0", "measure.test_prompts=400"),
    "few informative": (
        panel(correct=few_mixed(5), strict=few_mixed(5)), "rests on 5 prompts that have right and wrong",
        "measure.test_prompts",
    ),
    "knows which prompts are easy": (
        panel(correct=easy_half(), strict=easy_half(), scores=np.repeat([0.6, 0], PROMPTS // 2)[:, None] + SPREAD),
        "within prompts it is", "readout=expected",
    ),
    "second": (replace(WELL, second=0.7), "prefers the second of two responses in 70.0%", "both_orders"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_with_its_number_and_the_setting_to_change(case):
    seen, what, setting = CASES[case]
    assert any(what in sentence and setting in sentence for sentence in beware(seen, ASKED)), beware(seen, ASKED)


def test_a_verifier_that_ranks_worse_than_the_likelihood_is_said_to():
    correct = share(0.5)
    nll = 100 * (2 - correct)  # the likelihood knows
    seen = panel(correct=correct, strict=correct, nll=nll, scores=share(0.5, seed=9))
    (sentence,) = [s for s in beware(seen, ASKED) if "likel" in s]
    assert "the verifier harms" in sentence


def test_of_ground_truth_nothing_is_said_that_concerns_a_verifier():
    correct = share(0.3)
    seen = panel(correct=correct, strict=correct, scores=correct)
    assert beware(seen, replace(ASKED, verifier="gold")) == []


def test_few_prompts_have_a_coarse_accuracy_and_as_many_as_are_needed_are_named():
    few = measured(*(np.tile([[1.0, 0], [0, 0]], (10, 1)) for _ in range(3)), np.zeros((20, 2)), np.ones((20, 2)),
                   np.ones((20, 2), dtype=int), np.ones((20, 2)), Selection(0.5))  # fmt: skip
    (sentence,) = [s for s in beware(few, replace(ASKED, prompts=20)) if "standard error" in s]
    assert "measure.test_prompts to about 165 for 0.02" in sentence  # .25 sqrt(20/19) / sqrt(20) = .0574
    assert not [s for s in beware(few, replace(ASKED, prompts=2000)) if "standard error" in s]


def test_sentences_need_no_torch():
    code = "import sys, sivgap.gap.beware; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False"] * 2


def recorded(**columns) -> Record:
    """A run whose first measurement has scores that are all 1."""
    frame = pd.DataFrame(
        {
            "problem_id": np.repeat(np.arange(50), 4),
            "nll": 1.0,
            "length": 10,
            "score": 1.0,
            "correct": [0, 1, 0, 0] * 50,
        }
    )
    verifier = {"name": "qe", "readout": "sampled", "max_new_tokens": 8}
    config = {"verifier": verifier, "selection": {"threshold": 0.5}, "sampling": {"max_new_tokens": 64}}
    return Record(Path("run"), [], {}, config, {0.0: frame.assign(**columns), 2.0: frame})


def test_a_page_says_it_of_the_runs_first_measurement_and_nothing_where_its_files_are_older():
    whole = {"correct_strict": 0, "finished": True, "unparsed": False}
    said = beware_of(recorded(**whole))
    assert any("every response scores 1.00" in sentence for sentence in said)
    assert any("25.0% of 200 responses are right, 0.0% in the form" in sentence for sentence in said)
    for missing in whole:
        assert beware_of(recorded(**{name: value for name, value in whole.items() if name != missing})) == []


def test_a_page_says_when_training_taught_the_model_not_to_end():
    def sentences(*shares):
        lines = [{"split": "test", "epoch": float(i), "chosen_cut_fraction": share} for i, share in enumerate(shares)]
        return beware_of(replace(recorded(), lines=lines))

    (said,) = sentences(0.01, 0.2, 0.12)
    assert said.startswith("at epoch 1 20.0% of the chosen responses are cut off (1.0% at first)")
    assert sentences(0.01, 0.04) == sentences(None, None) == sentences(0.2, 0.3) == []  # the last was said at first


def test_verdicts_of_an_ensemble_that_cannot_be_read_are_no_matter_of_a_length_that_it_has_not_got():
    seen = panel(unparsed=share(0.2))
    (said,) = [text for text in beware(seen, replace(ASKED, verifier="ensemble")) if "could not be read" in text]
    assert "verifier.members" in said
    assert "max_new_tokens" not in said


def test_a_fit_of_a_run_that_chose_cut_responses_says_so(tmp_path):
    def written(name, *shares):
        lines = [
            {"split": "test", "epoch": t / 2, "solver_uncertainty": 2 * 0.7**t, "verifier_uncertainty": 0.8**t,
             **({} if share is None else {"chosen_cut_fraction": share})}
            for t, share in enumerate(shares)
        ]  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "trajectory.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return from_run(tmp_path / name, "test", "response", "first").notes

    (said,) = written("loops", 0.0, 0.02, 0.3, 0.1)
    assert said.startswith("loops: up to 30.0% of the chosen responses (epoch 1) are cut off")
    assert written("well", 0.0, 0.02, 0.04, 0.05) == written("old", None, None, None, None) == ()
