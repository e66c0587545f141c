"""One run on several processes: the numbers of one, whatever happens to its ranks."""

import copy
import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import run_command
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_runs import SEEDS, SMALL, TIMES, attempts, lines, start, worker
from transformers import AutoModelForCausalLM

from sivgap.config.schema import ModelConfig, UpdateConfig
from sivgap.engines.hf import HFEngine
from sivgap.engines.noise import key_of
from sivgap.engines.rollout import FollowUp, Prompt, Rollouts, Sampling
from sivgap.errors import ConfigError, RankDied, RunError, Stopped
from sivgap.parallel.deal import deal
from sivgap.parallel.engine import Dealt
from sivgap.parallel.group import Group
from sivgap.parallel.packing import arrays_of, pack, rollouts_of, unpack
from sivgap.parallel.verdict import End, conclude, end_file, log_file
from sivgap.signals import StopRequest
from sivgap.tiny import WEIGHTS
from sivgap.update.example import Example
from sivgap.update.sft import Sft

TWO = "launch.processes=2"


# What the ranks do, in threads of this process.


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
    return [Prompt(tuple(map(int, rng.integers(4, 27, n))), key_of(i)) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("count", [1, 7])
def test_ranks_together_sample_and_score_what_one_does(model, count):
    asked, sampling, ask = prompts(count), Sampling(3, 1.0, 20, key_of(1)), FollowUp((7, 8, 9), 0.5, 4)
    alone = HFEngine(model, [2], 0, 64)
    whole = alone.rollout(asked, sampling, ask)
    given_texts = whole.tokens[::3]
    engines = [HFEngine(copy.deepcopy(model), [2], 0, 64) for _ in range(3)]

    def work(group):
        shared = Dealt(engines[group.rank], group)
        return shared.rollout(asked, sampling, ask), shared.likelihood(asked, given_texts)

    for dealt, nll in on_all_ranks(3, work):
        np.testing.assert_equal(dealt.tokens, whole.tokens)
        np.testing.assert_equal(dealt.verdicts, whole.verdicts)
        assert dealt.generated == whole.generated
        assert dealt.nll == pytest.approx(whole.nll, abs=1e-4)
        assert nll == pytest.approx(alone.likelihood(asked, given_texts), abs=1e-4)


@pytest.mark.parametrize("kind", [Stopped, RunError])
def test_what_ends_one_rank_ends_all(model, kind):
    engines = [HFEngine(copy.deepcopy(model), [2], 0, 3) for _ in range(3)]

    def work(group):
        def on_batch(done: int, tokens: int) -> None:
            if group.rank == 1:
                raise kind("enough")

        return Dealt(engines[group.rank], group).rollout(prompts(7), Sampling(3, 1.0, 20, 1), None, on_batch)

    for error in on_all_ranks(3, work):
        assert type(error) is kind
        assert str(error) == "enough"


def learner(model, group: Group, **settings: object) -> Sft:
    config = UpdateConfig(lora_dropout=0.0, learning_rate=1e-6, max_grad_norm=1e9, **settings)
    names = ModelConfig(name="tiny", lora_targets=["q_proj", "v_proj"], parameters=1, licence="none")
    return Sft(model, names, config, 0, 0, group)


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


# What a user does.


def close(mine: Path, theirs: Path) -> None:
    """The same responses, chosen alike, and the same numbers to a millionth."""
    for x, y in zip(lines(mine), lines(theirs), strict=True):
        assert x.keys() == y.keys()
        for key in x.keys() - set(TIMES):
            assert x[key] == (pytest.approx(y[key], abs=1e-6, rel=1e-6) if isinstance(x[key], float) else y[key]), key
    for path in sorted((theirs / "samples").iterdir()):
        a, b = pd.read_parquet(mine / "samples" / path.name), pd.read_parquet(path)
        exact = ["problem_id", "sample", "text", "length", "finished", "correct", "selected"]
        pd.testing.assert_frame_equal(a[exact], b[exact])
        np.testing.assert_equal(list(a.tokens), list(b.tokens))
        assert a.nll.to_numpy() == pytest.approx(b.nll.to_numpy(), abs=1e-4)


def runs(sweep: Path) -> dict[str, Path]:
    return {job["name"]: sweep.parent / job["run"] for job in json.loads((sweep / "sweep.json").read_text())["jobs"]}


def test_a_sweep_of_runs_on_two_processes_has_the_numbers_of_one_though_a_rank_is_killed(tmp_path, undisturbed):
    command = start(tmp_path, *SEEDS, TWO)
    os.kill(ranks_of(worker(tmp_path))[0], signal.SIGKILL)
    out, err = command.communicate(timeout=240)
    assert command.returncode == 0, err
    assert out.count("\n") == 1
    sweep = tmp_path / out.strip()
    assert sorted(o for outcomes in attempts(sweep).values() for o in outcomes) == 2 * ["complete"] + ["killed"]
    found = runs(sweep)
    assert len(found) == 2
    for name, run in found.items():
        close(run, runs(undisturbed)[name])
        assert json.loads((run / "status.json").read_text())["hardware"]["processes"] == 2
    assert {p.name for p in tmp_path.iterdir()} == {"runs"}


def ranks_of(process: int) -> list[int]:
    """The ranks that a run's process has started."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_stopped_killed_and_gone_on_with_on_any_number_of_processes(tmp_path, undisturbed):
    for processes, how, after in ((2, "stop", "000.00"), (1, "stop", "000.50"), (2, "kill", "000.50")):
        command = start(tmp_path, *SMALL, f"launch.processes={processes}")
        assert worker(tmp_path) == command.pid
        while command.poll() is None and not list(tmp_path.glob(f"runs/tiny-*/checkpoints/epoch={after}")):
            time.sleep(0.01)
        ranks = ranks_of(command.pid) if processes > 1 else []
        if how == "kill":
            os.kill(ranks[1], signal.SIGKILL)
        else:
            command.terminate()
        asked = time.monotonic()
        out, err = command.communicate(timeout=60)
        assert command.returncode == (75 if how == "stop" else 1), err
        assert time.monotonic() - asked < 20
        assert not out
        assert "Traceback" not in err
        assert "the same command to go on" in err.splitlines()[-1]
        assert ("a rank died" in err.splitlines()[-1]) == (how == "kill")
        assert not [rank for rank in ranks if Path(f"/proc/{rank}").exists()]
    done = run_command(tmp_path, "train", *SMALL, TWO)
    assert done.returncode == 0, done.stderr
    assert "going on from epoch 0.5" in done.stderr
    close(tmp_path / done.stdout.strip(), runs(undisturbed)["seed=0"])


def test_ranks_do_not_outlive_the_run_that_started_them(tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = start(tmp_path, *SMALL, "epochs=50", TWO, TMPDIR=str(temporary))
    worker(tmp_path)
    ranks = ranks_of(command.pid)
    assert len(ranks) == 2
    command.kill()
    command.communicate()
    for _ in range(200):
        if not [rank for rank in ranks if Path(f"/proc/{rank}").exists()]:
            break
        time.sleep(0.1)
    assert not [rank for rank in ranks if Path(f"/proc/{rank}").exists()]
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("processes", ["0", "two"])
def test_a_number_of_processes_is_a_number(tmp_path, processes):
    done = run_command(tmp_path, "train", *SMALL, f"launch.processes={processes}")
    assert done.returncode == 2
    assert "launch.processes: input should be" in done.stderr
