"""Rates of a plan by figures of the hardware: passes of an engine as it takes them, and ranks that share an engine."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_runs import SMALL, composed
from transformers import AutoModelForCausalLM

from sivgap.config.embedded import WEIGHTS
from sivgap.core.problem import Problem
from sivgap.core.rollout import Prompt, Sampling
from sivgap.engines.decoding import Decoding
from sivgap.engines.hf import TURN, HFEngine
from sivgap.models.shape import Shape
from sivgap.plan.hardware import Hardware, Link
from sivgap.plan.memory import Longest, Machine, cache_bytes, memory
from sivgap.plan.passes import Passes, a_batch, taken
from sivgap.plan.rates import agreeing, batch_rows
from sivgap.plan.roofline import Sampler, roofline
from sivgap.plan.team import part, shared, telling
from sivgap.plan.work import Lengths, VerifierWork
from sivgap.runtime.rng import derive_key
from sivgap.tasks.load import Dataset

SHAPE = Shape(layers=2, hidden=8, queries=8, keys=4, inner=20, vocabulary=10, parameters=1000.0, head=2)
DEVICE = Hardware("", flops=1e6, bandwidth=1e5, memory=1e9, link=Link(message=0.1, bandwidth=1000))
TEAM = ("engine=vllm", "launch.processes=8", "engine.tensor_parallel=4")


@pytest.mark.parametrize(("batch_size", "samples"), [(8, 1), (64, 4), (1000, 4)])
def test_an_engine_takes_the_steps_and_turns_that_its_lengths_say(monkeypatch, batch_size, samples):
    counted = {"step": 0, "turn": 0}

    def count(cls, name, what):
        method = getattr(cls, name)

        def counting(*arguments, **options):
            counted[what] += 1
            return method(*arguments, **options)

        monkeypatch.setattr(cls, name, counting)

    count(Decoding, "step", "step")
    count(HFEngine, "_read", "turn")
    rng = np.random.default_rng(0)
    asked = [Prompt(tuple(rng.integers(4, 27, int(rng.integers(3, 12))).tolist()), derive_key(i)) for i in range(48)]
    engine = HFEngine(AutoModelForCausalLM.from_pretrained(WEIGHTS), [2, 5, 9], 0, batch_size)
    length = engine.rollout(asked, Sampling(samples, 3.0, 48, 0)).length
    in_order = length[np.argsort([len(prompt.tokens) for prompt in asked], kind="stable")].ravel()
    assert taken(in_order, samples, batch_size, TURN) == Passes(counted["step"], counted["turn"])


@pytest.mark.parametrize(
    ("lengths", "samples", "places", "turn", "expected"),
    [
        ([3, 3, 5, 5], 2, 2, 4, Passes(3 + 5, 2)),  # one prompt after the other
        ([1, 1, 1, 20, 5], 1, 4, 4, Passes(20, 2)),  # three places idle from step 1 on: four passes lost after six
        ([1, 1, 1, 20, 16], 1, 4, 4, Passes(6 + 16, 2)),
        ([1, 3, 2, 2], 1, 2, 0, Passes(1 + 2 + 2, 3)),  # each place given away at once
    ],
)
def test_places_are_given_away_once_idle_ones_have_cost_a_turn(lengths, samples, places, turn, expected):
    assert taken(np.array(lengths), samples, places, turn) == expected


def test_responses_of_one_length_take_it_and_of_many_lengths_hardly_more_than_their_mean():
    assert a_batch([20], 4096, 8, 256, TURN) == Passes(20, 1)
    assert a_batch([20], 64, 8, 64, TURN) == Passes(20, 1)
    even = list(range(1, 129)) * 8
    np.random.default_rng(0).shuffle(even)
    assert a_batch(even, 256, 1, 256, TURN).steps == pytest.approx(128, abs=2)  # the longest of one batch
    assert 64.5 < a_batch(even, 4096, 1, 64, None).steps < 64.5 * 1.05
    assert a_batch(even, 4096, 1, 64, None).steps < a_batch(even, 4096, 1, 64, TURN).steps < 64.5 * 1.3


def test_one_of_a_team_has_its_part_of_weights_and_of_keys_a_head_at_least():
    two, four = part(SHAPE, 2), part(SHAPE, 4)
    assert (two.parameters, two.queries, two.keys, two.inner) == (500, 4, 2, 10)
    assert (four.parameters, four.queries, four.keys, four.inner) == (250, 2, 2, 5)
    assert (four.hidden, four.vocabulary, four.layers) == (8, 10, 2)
    assert part(SHAPE, 1) == SHAPE


def test_a_team_adds_up_twice_a_layer_and_behind_the_embedding_and_gathers_logits():
    # Of 4 a device sends 3/4 twice in each of 5 sums of 8 numbers a token, and 3/4 of 10 logits of 1 token; 2 bytes.
    sent = 2 * 0.75 * (2 * 5 * 8 * 3 + 10 * 1)
    assert telling(SHAPE, 2, 4, DEVICE.link, 3, 1, 2) == pytest.approx(2 * 6 * 0.1 + sent / 1000)
    assert telling(SHAPE, 2, 1, DEVICE.link, 3, 1, 2) == 0


def test_a_team_takes_its_share_of_a_whole_engines_time_and_that_of_its_messages():
    lengths, about, passes = Lengths(10, 20, 0, 3, 1, ""), VerifierWork(5, 0), Passes(24, 1)

    def rates(device, team):
        engine = Sampler(device, SHAPE, 2, team, a_layer=0.0)
        return np.array(roofline(engine, engine, lengths, about, 16, 4, passes, in_pass=True))

    silent = replace(DEVICE, link=Link(0, float("inf")))
    nothing_else = replace(DEVICE, flops=float("inf"), bandwidth=float("inf"))
    assert rates(silent, 4) == pytest.approx(rates(DEVICE, 1) / 4)
    assert rates(DEVICE, 4) == pytest.approx(rates(silent, 4) + rates(nothing_else, 4))
    drawn, read = telling(SHAPE, 2, 4, DEVICE.link, 320, 320, 24), telling(SHAPE, 2, 4, DEVICE.link, 40, 0, 1)
    assert rates(nothing_else, 4)[0] == pytest.approx((drawn + read) / 320)


def test_a_team_divides_matrices_and_each_of_it_does_the_rest():
    assert shared(alone=10, work=8, told=1, team=4) == 2 + 8 / 4 + 1
    assert shared(alone=10, work=12, told=1, team=4) == 10 / 4 + 1  # figures that say more than was measured
    assert shared(alone=10, work=8, told=0, team=1) == 10


def test_where_nothing_is_started_ahead_starting_comes_on_top():
    gpu = Sampler(DEVICE, SHAPE, 2, a_layer=1.0)
    processor = replace(gpu, device=replace(DEVICE, ahead=False))
    work = replace(gpu, a_layer=0.0).write(100, 20, 5)
    assert 0 < work < 10
    assert gpu.write(100, 20, 5) == 2 * 5  # two layers in five passes
    assert processor.write(100, 20, 5) == pytest.approx(work + 2 * 5)


def test_a_gpu_of_a_team_needs_a_part_of_engine_and_cache_and_trains_the_whole_model():
    whole = composed(
        "model=llama32_3b", "dataset=gsm8k", "engine=vllm", "launch.processes=8", "sampling.max_new_tokens=9"
    )
    shared = composed(
        "model=llama32_3b", "dataset=gsm8k", *TEAM, "sampling.max_new_tokens=9", "verifier.model.path=judge"
    )
    shape = replace(SHAPE, queries=16, keys=8)  # four heads of keys
    asked, gpu = Longest(prompt=10, question=5, in_pass=True, likelihoods=False), Machine(gpu=1e9)
    one, four = (memory(config, shape, 2, 32, asked, gpu) for config in (whole, shared))
    assert (one.engine, four.engine) == (2000, 500 + 2000)  # another judge is whole
    assert (four.learner, four.trained, four.activations) == (one.learner, one.trained, one.activations)
    assert (one.logits, one.copies, one.process) == (four.logits, 0, 0)
    assert four.cache == pytest.approx(one.cache / 4)
    places = 32 * (9 + whole.verifier.max_new_tokens + 5) + 32 / whole.n * 10  # a prompt is there once
    assert one.cache == cache_bytes(shape, 2, places)


def test_prompts_are_dealt_to_teams_and_a_run_of_whole_engines_says_nothing_of_teams():
    team, whole = composed(*TEAM), composed(*TEAM[:2])
    dataset = Dataset([Problem(str(i), "1 + 1", "2") for i in range(300)], [], [])
    assert batch_rows(team, dataset) == 256 / 2 * 8  # a panel of 256 problems for two teams, n = 8
    assert batch_rows(whole, dataset) == 256 / 8 * 8
    assert batch_rows(composed(*TEAM, "engine.batch_size=100"), dataset) == 96
    assert agreeing(team) != agreeing(whole)
    assert agreeing(team) == agreeing(composed(*TEAM, "engine.memory=0.7"))


def test_teams_are_planned_where_no_vllm_is_with_less_memory_and_longer_sampling(command, tmp_path):
    def plan(*more):
        done = command("train", "model=llama32_3b", "dataset=gsm8k", "plan=h100", *more, HF_HOME=str(tmp_path / "none"))
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        seconds = {p["name"]: p["seconds"] for p in found["phases"]}
        return found["memory_gib"], seconds, " ".join(done.stderr.split())

    memory_of_whole, whole, said = plan(*TEAM[:2], "engine.memory=0.05")
    assert "it would not start; raise engine.memory or engine.tensor_parallel" in said
    memory_of_team, team, said = plan(*TEAM)
    assert memory_of_team < memory_of_whole
    assert team["training"] == whole["training"]
    assert team["labels: sampling"] > whole["labels: sampling"]
    assert "1/4 of its matrices each, and messages" in said
    assert "vLLM is given" not in said


def test_processes_of_a_machine_are_planned_with_the_threads_that_each_will_have(command):
    done = command("train", *SMALL[:-1], "plan=true", "launch.processes=2", OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert "this processor, 1 threads" in " ".join(done.stderr.split())
