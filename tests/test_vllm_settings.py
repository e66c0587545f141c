"""What of engine vllm can be told without vLLM; ``make vllm-test`` runs it against a real one."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from test_config import composed

from sivgap.engines import vllm_start
from sivgap.engines.vllm_ask import AnswerTree
from sivgap.engines.vllm_handover import Canary, Reference
from sivgap.engines.vllm_queue import Queue, Request
from sivgap.errors import ConfigError, RunError
from sivgap.models.load import load_model
from sivgap.runs.identity import identity


def test_how_weights_are_handed_over_is_no_part_of_a_runs_identity_and_the_engine_is():
    plain = identity(composed("engine=vllm"))
    assert plain != identity(composed())
    for harmless in ("engine.handover=adapter", "engine.memory=0.8", "engine.batch_size=7"):
        assert identity(composed("engine=vllm", harmless)) == plain
    assert identity(composed("engine=vllm", "launch.processes=4", "engine.tensor_parallel=2")) == plain


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("engine.handover=adapter", "update.parameters=full"), "update.parameters=full has no adapters"),
        (("engine.memory=0",), "engine.memory"),
        (("engine.tensor_parallel=2", "launch.processes=3"), "divisor of launch.processes=3, got 2; set launch.proc"),
        (("engine.tensor_parallel=2", "engine.name=hf", "launch.processes=2"), "hf is whole in every process; set 1"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(wrong, said):
    with pytest.raises(ConfigError, match=said):
        composed("engine=vllm", *wrong)


@pytest.mark.parametrize("found", [None, "0.26.0", "0.33.0", "1.0"])
def test_a_missing_or_unknown_release_is_told_with_the_command_that_mends_it(found, monkeypatch):
    monkeypatch.setattr(vllm_start, "find_spec", lambda name: found)
    monkeypatch.setattr(vllm_start, "vllm_version", lambda: found)
    with pytest.raises(ConfigError, match=r"pip install 'sivgap\[vllm\]'"):
        vllm_start.require_vllm()


@pytest.mark.parametrize("found", ["0.27.0", "0.32.1", "0.32.0+cpu"])
def test_releases_that_fit_the_torch_of_sivgap_are_taken(found, monkeypatch):
    monkeypatch.setattr(vllm_start, "find_spec", lambda name: found)
    monkeypatch.setattr(vllm_start, "vllm_version", lambda: found)
    vllm_start.require_vllm()


def test_the_extra_and_the_check_have_the_same_bounds():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    (extra,) = project["optional-dependencies"]["vllm"]
    oldest, too_new = (".".join(map(str, bound)) for bound in (vllm_start.OLDEST, vllm_start.TOO_NEW))
    assert extra == f"vllm>={oldest},<{too_new}"


def test_a_run_does_not_import_vllm_before_it_is_asked_for():
    code = "import sys, sivgap.train, sivgap.loop.session, sivgap.engines.solver; sys.exit('vllm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Said:
    """What vLLM says to a question of an `AnswerTree`: log-likelihoods by token."""

    def __init__(self, logprobs: dict[int, float]) -> None:
        self.logprobs = [{token: type("Logprob", (), {"logprob": value}) for token, value in logprobs.items()}]


def test_answers_are_as_likely_as_their_tokens_together():
    answers = ((5,), (6, 7), (6, 8, 9), (6, 8, 10))
    tree = AnswerTree(answers)
    assert tree.nodes == [(), (6,), (6, 8)]
    found = np.zeros(4)
    for part, logprobs in enumerate(({5: -1.0, 6: -2.0}, {7: -4.0, 8: -8.0}, {9: -16.0, 10: -32.0})):
        tree.add(found, part, Said(logprobs))
    assert found.tolist() == [-1, -6, -26, -42]


def canary(rounding: float) -> Canary:
    known = np.array([-1.0, -2.0, -0.5])
    return Canary.begin((1, 2, 3, 4), 1, known + rounding, known, torch.float32)


def test_the_canary_tells_weights_that_stayed_from_weights_that_moved():
    bird = canary(1e-6)
    bird.check(bird.known + 1e-6, bird.known, "later")  # nothing has changed, and nothing is served but that
    moved = bird.known + 2e-5  # a small step, far below what rounding could be elsewhere
    with pytest.raises(RunError, match="stale"):
        bird.check(bird.known + 1e-6, moved, "after a step")
    bird.check(moved - 1e-6, moved, "after a step")
    with pytest.raises(RunError, match="stale"):
        bird.check(moved - 2e-5, moved + 2e-5, "after another")


def test_the_canary_wants_both_implementations_to_agree_from_the_start():
    with pytest.raises(RunError, match="wrong weights at the start"):
        canary(0.01)


def test_the_reference_is_the_model_with_what_training_changed_and_is_itself_left_alone():
    model = load_model(composed().model).model
    text, name = (1, 19, 7, 14, 8, 20, 7), "model.layers.0.self_attn.q_proj.weight"
    reference = Reference(model)
    before = reference.logprobs(text, 3, {})
    changed = {name: dict(model.named_parameters())[name].detach() * 1.5}
    after = reference.logprobs(text, 3, changed)
    assert np.abs(after - before).max() > 0.01
    assert (reference.logprobs(text, 3, {}) == before).all()
    own = dict(model.named_parameters())
    with torch.no_grad():
        own[name].copy_(changed[name])
    assert reference.logprobs(text, 3, {}) == pytest.approx(after, abs=1e-6)


class Slow:
    """An engine that completes the oldest request at each step."""

    def __init__(self) -> None:
        self.flying: list[str] = []
        self.most, self.order, self.aborted = 0, [], []

    def add_request(self, name, prompt, params, lora_request):
        self.flying.append(name)
        self.order.append(prompt["prompt_token_ids"])
        self.most = max(self.most, len(self.flying))

    def step(self):
        return [type("Out", (), {"request_id": self.flying.pop(0), "finished": True})]

    def abort_request(self, names):
        self.aborted += names


def test_a_queue_keeps_its_room_full_and_answers_what_follows_first():
    slow = Slow()
    queue = Queue(slow, 2, None, (Request([row], None, row, -1) for row in range(4)))
    seen = []
    for done in queue.steps():
        for asked, _ in done:
            seen.append((asked.row, asked.part))
            if asked.part == -1:
                queue.follow(Request([asked.row, 9], None, asked.row, 0))
    assert slow.most == 2
    assert slow.order[:3] == [[0], [1], [0, 9]]
    assert sorted(seen) == [(row, part) for row in range(4) for part in (-1, 0)]
    assert queue.seconds_respond > 0
    assert queue.seconds_ask > 0


def test_leaving_a_queue_early_forgets_what_is_in_flight():
    slow = Slow()
    steps = Queue(slow, 3, None, (Request([row], None, row) for row in range(9))).steps()
    next(steps)
    steps.close()
    assert slow.aborted == ["2", "3"]
