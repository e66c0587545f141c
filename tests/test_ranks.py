"""What the ranks of a run do together, in threads of this process, and how their ends are read."""

import copy
import json
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from transformers import AutoModelForCausalLM

from sivgap.config.embedded import WEIGHTS
from sivgap.config.model import ModelConfig
from sivgap.config.update import UpdateConfig
from sivgap.core.example import Example
from sivgap.core.rollout import FollowUp, Prompt, Rollouts, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.errors import ConfigError, RankDied, RunError, Stopped
from sivgap.parallel.deal import deal
from sivgap.parallel.engine import DataParallelEngine
from sivgap.parallel.group import Group, joined
from sivgap.parallel.launch import WorkerSpec
from sivgap.parallel.packing import arrays_of, pack, rollouts_of, unpack
from sivgap.parallel.verdict import End, conclude, end_file, log_file
from sivgap.runtime.rng import derive_key
from sivgap.runtime.signals import StopRequest
from sivgap.update.sft import Sft


@dataclass(frozen=True)
class Threads(Group):
    """Ranks that are threads; what they tell each other goes through a list."""

    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    said: list = field(default_factory=list)

    def gather(self, mine):
        self.said[self.rank] = mine
        self.meeting.wait(60)
        found = list(self.said)
        self.meeting.wait(60)
        return found

    def any(self, flag):
        return b"yes" in self.gather(b"yes" if flag else b"no")

    def add(self, tensors):
        for tensor in tensors:
            total = sum(self.gather(tensor.clone()))
            tensor.copy_(total)


def on_all_ranks(size: int, work) -> list:
    """What `work` returns, or raises, on each of `size` ranks."""
    meeting, said, found = threading.Barrier(size), [None] * size, [None] * size

    def one(rank: int) -> None:
        try:
            found[rank] = work(Threads(rank, size, meeting, said))
        except Exception as error:
            found[rank] = error
            if not isinstance(error, (RunError, Stopped)):
                meeting.abort()

    ranks = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    return found


@given(hnp.arrays(np.int64, st.integers(0, 60), elements=st.integers(0, 1000)), st.integers(1, 9))
def test_everything_is_dealt_once_and_evenly(costs, size):
    shares = deal(costs, size)
    assert len(shares) == size
    assert sorted(np.concatenate(shares)) == list(range(len(costs)))
    assert all((np.diff(share) > 0).all() for share in shares)
    counts, loads = [len(share) for share in shares], [int(costs[share].sum()) for share in shares]
    assert max(counts) - min(counts) <= 1
    assert max(loads) - min(loads) <= max(costs, default=0)


def test_rollouts_come_through_as_bytes():
    whole = Rollouts(
        tokens=[np.array([5, 6]), np.array([7]), np.array([8, 9, 2]), np.array([2])], nll=np.array([[1.5, 2], [3, 4]]),
        length=np.array([[2, 1], [3, 1]]), ending=np.array([[0, 0], [1, 1]]),
        verdicts=[np.array([], dtype=np.int64), np.array([4]), np.array([4, 5]), np.array([], dtype=np.int64)],
        answer_logprobs=np.arange(12.0).reshape(2, 2, 3), generated=9, seconds_generate=1.0, seconds_verify=0.5,
    )  # fmt: skip
    back = rollouts_of(unpack(pack(arrays_of(whole))))
    for name, value in vars(whole).items():
        np.testing.assert_equal(getattr(back, name), value, err_msg=name)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(WEIGHTS)


def prompts(count: int) -> list[Prompt]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 12, count)
    return [Prompt(tuple(map(int, rng.integers(4, 27, n))), derive_key(i)) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("count", [1, 7])
def test_ranks_together_sample_and_score_what_one_does(model, count):
    asked, sampling, ask = prompts(count), Sampling(3, 1.0, 20, derive_key(1)), FollowUp((7, 8, 9), 0.5, 4)
    alone = HFEngine(model, [2], 0, 64)
    whole = alone.rollout(asked, sampling, ask)
    given_texts = whole.tokens[::3]
    engines = [HFEngine(copy.deepcopy(model), [2], 0, 64) for _ in range(3)]

    def work(group):
        shared = DataParallelEngine(engines[group.rank], group)
        return shared.rollout(asked, sampling, ask), shared.likelihood(asked, given_texts)

    for dealt, nll in on_all_ranks(3, work):
        np.testing.assert_equal(dealt.tokens, whole.tokens)
        np.testing.assert_equal(dealt.verdicts, whole.verdicts)
        assert dealt.generated == whole.generated
        assert dealt.nll == pytest.approx(whole.nll, abs=1e-4)
        assert nll == pytest.approx(alone.likelihood(asked, given_texts), abs=1e-4)


def in_teams(size: int, ranks: int, work) -> list:
    """As `on_all_ranks`; `work` is handed the rank's team as well."""
    meetings = [(threading.Barrier(size), [None] * size) for _ in range(ranks // size)]

    def one(group):
        return work(group, Threads(group.rank % size, size, *meetings[group.rank // size]))

    return on_all_ranks(ranks, one)


def test_teams_sample_and_score_what_one_does_and_their_ranks_are_asked_the_same(model):
    asked, sampling, ask = prompts(7), Sampling(3, 1.0, 20, derive_key(1)), FollowUp((7, 8, 9), 0.5, 4)
    alone = HFEngine(model, [2], 0, 64)
    whole = alone.rollout(asked, sampling, ask)
    given_texts = whole.tokens[::3]
    engines = [HFEngine(copy.deepcopy(model), [2], 0, 64) for _ in range(4)]

    def work(group, team):
        shared, heard = DataParallelEngine(engines[group.rank], group, team), []
        drawn = shared.rollout(asked, sampling, ask, lambda *counts: heard.append(counts))
        return drawn, shared.likelihood(asked, given_texts), heard

    found = in_teams(2, 4, work)
    for drawn, nll, _ in found:
        np.testing.assert_equal(drawn.tokens, whole.tokens)
        np.testing.assert_equal(drawn.verdicts, whole.verdicts)
        assert drawn.generated == whole.generated
        assert nll == pytest.approx(alone.likelihood(asked, given_texts), abs=1e-4)
    heard = [told for _, _, told in found]
    assert heard[::2] == heard[1::2]


def test_a_team_leaves_its_engine_together(model):
    engines = [HFEngine(copy.deepcopy(model), [2], 0, 3) for _ in range(2)]
    heard = [0, 0]

    def work(group, team):
        def on_batch(done: int, tokens: int) -> None:
            heard[group.rank] += 1
            if group.rank == 1 and heard[1] == 2:
                raise Stopped("enough")

        return DataParallelEngine(engines[group.rank], group, team).rollout(
            prompts(7), Sampling(3, 1.0, 20, 1), None, on_batch
        )

    for error in in_teams(2, 2, work):
        assert type(error) is Stopped
    assert heard == [2, 2]


@pytest.mark.parametrize("kind", [Stopped, RunError])
def test_what_ends_one_rank_ends_all(model, kind):
    engines = [HFEngine(copy.deepcopy(model), [2], 0, 3) for _ in range(3)]

    def work(group):
        def on_batch(done: int, tokens: int) -> None:
            if group.rank == 1:
                raise kind("enough")

        return DataParallelEngine(engines[group.rank], group).rollout(
            prompts(7), Sampling(3, 1.0, 20, 1), None, on_batch
        )

    for error in on_all_ranks(3, work):
        assert type(error) is kind
        assert str(error) == "enough"


def learner(model, group: Group, **settings: object) -> Sft:
    config = UpdateConfig(lora_dropout=0.0, learning_rate=1e-6, max_grad_norm=1e9, **settings)
    names = ModelConfig(name="tiny", lora_targets=["q_proj", "v_proj"], parameters=1, licence="none")
    return Sft(model, names, config, 0, group)


@pytest.mark.parametrize("lengths", [[30, 2, 1, 9, 4], [3], [17, 17]], ids=str)
@pytest.mark.parametrize("settings", [{}, {"parameters": "full"}, {"micro_batch_size": 2}], ids=str)
def test_a_step_is_a_mean_over_tokens_however_uneven_the_shares(model, settings, lengths):
    rng = np.random.default_rng(1)
    batch = [Example(tuple(rng.integers(4, 27, 5)), tuple(rng.integers(4, 27, n)), str(n)) for n in lengths]
    alone = learner(model, Group(), **settings)
    loss, moments = alone.step(batch, 0), alone.optimizer_state()
    learners = [learner(model, Group(rank, 3), **settings) for rank in range(3)]

    def work(group):
        learners[group.rank]._group = group
        return learners[group.rank].step(batch, 0)

    for said, one in zip(on_all_ranks(3, work), learners, strict=True):
        assert said == pytest.approx(loss, rel=1e-6)
        for name, moment in one.optimizer_state().items():  # the gradients, which the weights show up to scale alone
            assert float((moment - moments[name]).norm()) <= 2e-6 * float(moments[name].norm()), name
        for name, weight in one.trained().items():
            assert torch.equal(weight, learners[0].trained()[name]), name  # or replicas would drift apart


def test_fewer_gpus_than_processes_is_a_wrong_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    two = WorkerSpec("train", {}, "", "", here=2, size=2)
    with pytest.raises(ConfigError, match=r"launch\.processes=2: .* there are 1"), joined(two, tmp_path / "meeting", 0):
        pass


LOST = End(1, 2.0, "unexpected RuntimeError: connection closed by peer", "...")
SAID = {"cause": End(1, 1.0, "no memory", "..."), "wrong": End(2, 1.0, "wrong"), "stopped": End(75, 1.0, "stopped")}


@pytest.mark.parametrize(
    ("codes", "ends", "kind", "told"),
    [
        ([1, -9], {0: LOST}, RankDied, "process 2 of 2 was ended by SIGKILL"),
        ([-6, -9], {}, RankDied, "process 2 of 2 was ended by SIGKILL"),
        ([-6, None], {}, RankDied, "process 1 of 2 was ended by SIGABRT"),
        ([-6, 1], {1: SAID["cause"]}, RunError, "no memory"),
        ([1, 1], {0: LOST, 1: SAID["cause"]}, RunError, "no memory"),
        ([2, None], {0: SAID["wrong"]}, ConfigError, "wrong"),
        ([1, 75], {0: LOST, 1: SAID["stopped"]}, Stopped, "stopped"),
        ([3, None], {}, RunError, "process 1 of 2 ended with status 3"),
    ],
)
def test_the_verdict_on_ranks_names_the_cause_not_what_followed(tmp_path, codes, ends, kind, told):
    for rank in range(2):
        log_file(tmp_path, rank).touch()
    for rank, end in ends.items():
        end_file(tmp_path, rank).write_text(json.dumps(vars(end)))
    with pytest.raises(kind, match=told) as found:
        conclude(codes, tmp_path, StopRequest())
    assert type(found.value) is kind


def test_a_run_is_complete_once_any_rank_has_come_to_its_end(tmp_path):
    end_file(tmp_path, 1).write_text(json.dumps(vars(End(0, 1.0, "stopped early"))))
    assert conclude([-6, 0], tmp_path, StopRequest()) == "stopped early"
