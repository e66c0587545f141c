"""What a run will cost: counted exactly where it can be, and held against real runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from local_models import save_model
from small_runs import SMALL, composed, lines

from sivgap.config.app import validate
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir
from sivgap.config.members import asking
from sivgap.config.verifier import VerifierConfig
from sivgap.engines.prefix_cache import PrefixCache
from sivgap.models.load import load_model
from sivgap.models.shape import of_parameters, shape_of
from sivgap.plan.memory import adapters, cache_bytes
from sivgap.plan.texts import Texts, about_responses, assumed, seen, texts
from sivgap.plan.work import Lengths, measurements, phases, verifier_work
from sivgap.runs.identity import evaluation_directory
from sivgap.tasks.load import load_dataset
from sivgap.update.sft import Sft

LENGTHS = Lengths(prompt=10, response=20, question=5, verdict=3, examples=1, source="")


def plans(done) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def seconds(plan: dict, ending: str) -> float:
    return sum(phase["seconds"] for phase in plan["phases"] if phase["name"].endswith(ending))


def held_against(plan: dict, run) -> None:
    """Tokens to a tenth, seconds of each phase within a factor of three."""
    measured = lines(run)
    assert plan["tokens"] == pytest.approx(sum(line["tokens"] for line in measured), rel=0.1)
    for ending, column in (("sampling", "generate"), ("verifying", "verify"), ("training", "train")):
        real = sum(line[f"seconds_{column}"] for line in measured)
        assert real / 3 < seconds(plan, ending) < real * 3, column


def test_a_plan_by_an_earlier_run_comes_to_what_that_run_took(command, undisturbed):
    run = undisturbed.parent / json.loads((undisturbed / "sweep.json").read_text())["jobs"][0]["run"]
    before = sorted(undisturbed.parent.iterdir())
    done = command("train", *SMALL, "seed=0", "plan=true", f"runs_dir={undisturbed.parent}")
    (plan,) = plans(done)
    assert "times: run tiny-arithmetic-qe" in done.stderr
    held_against(plan, run)
    total = json.loads((run / "status.json").read_text())["seconds"]
    assert total / 3 < plan["seconds"] < total * 3
    assert sorted(undisturbed.parent.iterdir()) == before


def test_a_plan_by_a_measurement_has_the_tokens_of_the_run_and_leaves_nothing_behind(command, undisturbed, tmp_path):
    done = command("train", *SMALL, "seed=0", "plan=true")
    (plan,) = plans(done)
    assert "measured now" in done.stderr
    run = undisturbed.parent / json.loads((undisturbed / "sweep.json").read_text())["jobs"][0]["run"]
    assert plan["tokens"] == pytest.approx(sum(line["tokens"] for line in lines(run)), rel=0.15)
    assert not list(tmp_path.iterdir())


def test_an_evaluation_is_planned_with_the_tokens_it_takes_and_leaves_nothing_behind(command, tmp_path):
    few = ("panel.prompts=48", "n=4", "engine.threads=1", "verifier=tf")
    (plan,) = plans(command("evaluate", *few, "plan=true"))
    assert not list(tmp_path.iterdir())
    work = {phase["name"]: phase for phase in plan["phases"]}
    assert set(work) == {"test panel: sampling", "test panel: verifying"}
    assert work["test panel: sampling"]["items"] == 48 * 4
    done = command("evaluate", *few)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    status = json.loads((tmp_path / folder / "status.json").read_text())
    assert plan["tokens"] == pytest.approx(status["tokens_generated"], rel=0.2)
    found = Texts(10, 12, {}, counted=True)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        other = validate(compose("evaluate", ["seed=7", "n=2", f"runs_dir={tmp_path / 'runs'}"]), EvaluateConfig)
    lengths = seen(other, found)
    assert lengths is not None
    assert lengths.source == f"evaluation {folder.name}"
    assert len(lengths.each) == 48 * 4
    assert seen(other.model_copy(update={"sampling": other.sampling.model_copy(update={"top_p": 0.5})}), found) is None


def test_a_plan_changes_no_evaluations_place():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        one, other = (validate(compose("evaluate", [f"plan={p}"]), EvaluateConfig) for p in ("false", "true"))
    assert evaluation_directory(one) == evaluation_directory(other)


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_a_model_too_large_to_be_tried_is_planned_by_layers_of_its_size_and_not_loaded(command, tmp_path, name):
    folder = save_model(tmp_path / "model", "llama")
    (folder / "model.safetensors").unlink()  # nothing could be loaded
    settings = json.loads((folder / "config.json").read_text())
    wide = {"hidden_size": 640, "intermediate_size": 1280, "num_hidden_layers": 24, "num_attention_heads": 10}
    wide |= {"num_key_value_heads": 5, "head_dim": 64, "max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps(settings | wide))
    own = ("model=custom", "model.path=model", "sampling.max_new_tokens=400")
    few = ("n=4", "engine.threads=1", "engine.batch_size=64", "plan=true", "dataset.train_size=64", "update.replay=0")
    done = command(name, *own, *(few if name == "train" else few[:-1]))
    (plan,) = plans(done)
    assert "timing a few layers of the model's size" in done.stderr
    taken = {phase["name"]: phase["seconds"] for phase in plan["phases"]}
    assert all(seconds > 0 for seconds in taken.values())
    assert ("training" in taken) == (name == "train")
    weights = 24 * (2 * 640 * 640 + 2 * 640 * 320 + 3 * 640 * 1280) * 4
    assert plan["memory_gib"] > weights / 2**30


def test_a_sweep_is_planned_job_by_job_and_in_all(command, tmp_path):
    *jobs, total = plans(command("train", "-m", *SMALL, "seed=0,1", "plan=h100"))
    assert [job["plan"] for job in jobs] == ["seed=0", "seed=1"]
    assert total["seconds"] == pytest.approx(sum(job["seconds"] for job in jobs), rel=0.1)
    assert not list(tmp_path.iterdir())


def test_a_model_and_a_dataset_that_are_not_here_are_planned_on_named_hardware(command, tmp_path):
    done = command("train", "model=llama32_3b", "dataset=gsm8k", "plan=h100", HF_HOME=str(tmp_path / "none"))
    (plan,) = plans(done)
    work = {phase["name"]: phase for phase in plan["phases"]}
    assert work["labels: sampling"]["items"] == 10 * 7473 * 16
    assert work["test panel: sampling"]["items"] == 21 * 1319 * 16  # before the first half epoch and after each
    assert work["training"]["items"] == 10 * 7473
    assert plan["memory_gib"] > 2 * 2 * 3.21e9 / 2**30  # two copies in bfloat16
    assert "not here" in done.stderr


def test_work_is_counted_as_the_schedule_has_it():
    config = composed("experiment=smoke", "refresh=epoch", "measure.every=1", "measure.samples=2", "epochs=2")
    dataset = load_dataset(config.dataset)
    shape = shape_of(config.model)
    found = {
        p.name: p for p in phases(config, dataset, shape, LENGTHS, verifier_work(config.verifier, LENGTHS, 4, True))
    }
    assert measurements(config, dataset) == 3
    assert (found["labels: sampling"].items, found["test panel: sampling"].items) == (2 * 32 * 4, 3 * 16 * 2)
    assert found["labels: sampling"].read == 2 * 32 * 10  # a prompt is read once for its responses
    assert found["labels: sampling"].written == 2 * 32 * 4 * 20
    replay = config.update.replay
    assert found["training"].items == pytest.approx(2 * 32 / (1 - replay))
    reused = composed("experiment=smoke", "measure.reuse=true", "measure.train_prompts=null", "update.replay=0")
    found = {
        p.name: p for p in phases(reused, dataset, shape, LENGTHS, verifier_work(reused.verifier, LENGTHS, 4, True))
    }
    assert (found["labels: sampling"].items, found["training"].items) == (0, 32)  # the panel has them all
    given = composed("experiment=smoke", "cross.strategy=early", "cross.budget=64", "epochs=2", "update.replay=0")
    found = {p.name: p for p in phases(given, dataset, shape, LENGTHS, verifier_work(given.verifier, LENGTHS, 4, True))}
    assert (found["labels: sampling"].items, found["training"].items) == (0, 64)  # all have an external response


@pytest.mark.parametrize(("rounds", "questions"), [(None, 4 + 2 + 1), (1, 4), (2, 4 + 2)])
def test_an_elimination_of_8_asks_about_as_many_pairs_as_it_plays(rounds, questions):
    verifier = composed("verifier=tournament", "update.replay=0").verifier
    one_way = verifier.model_copy(update={"rounds": rounds, "both_orders": False})
    does = verifier_work(one_way, LENGTHS, 8, False)
    assert does.written * 8 == pytest.approx(questions * 3)
    assert does.read * 8 == pytest.approx(questions * (10 + 5 + 2 * 20))
    assert (
        verifier_work(one_way.model_copy(update={"both_orders": True}), LENGTHS, 8, False).written == 2 * does.written
    )


def test_a_question_behind_the_response_reads_itself_alone_and_repetitions_share_what_is_read():
    verifier: VerifierConfig = composed("verifier.readout=sampled").verifier
    assert verifier_work(verifier, LENGTHS, 8, True).read == 5
    several = verifier_work(verifier.model_copy(update={"repetitions": 4}), LENGTHS, 8, True)
    assert (several.read, several.written) == (5 + 10 + 20, 4 * 3)


def test_what_stands_before_responses_is_read_once_for_all_of_a_problem():
    verifier: VerifierConfig = composed("verifier=mc").verifier
    shared = replace(LENGTHS, shared=12)
    assert verifier_work(verifier, shared, 8, False).read == 10 + 5 - 12 + 12 / 8 + 20


def test_few_shot_examples_are_not_read_again_for_a_verdict_that_stands_alone(tmp_path):
    read = []
    for shots in (0, 8):
        model = ["model=custom", f"model.path={save_model(tmp_path / str(shots), 'qwen2')}", "update.replay=0"]
        config = composed(*model, "verifier=mc", "verifier.prompt=chat/mc.txt", f"dataset.few_shot={shots}")
        found = texts(config, load_dataset(config.dataset))
        read.append(about_responses(config, found, assumed(config, found)).read)
    assert read[0] == pytest.approx(read[1], abs=3)  # means over other problems


def test_ground_truth_asks_nobody_and_an_ensemble_asks_through_its_members():
    assert asking(composed("verifier=gold", "update.replay=0").verifier, "arith") == []
    ensemble = composed("verifier=ensemble", "verifier.members=[qe,gold]", "update.replay=0").verifier
    assert [verifier.name for verifier in asking(ensemble, "arith")] == ["qe"]


def test_dimensions_of_a_model_that_is_here_are_its_own():
    for name in ("tiny", "tiny_xs", "tiny_l"):
        config = composed(f"model={name}")
        loaded, shape = load_model(config.model), shape_of(config.model)
        assert not shape.assumed
        norms = sum(p.numel() for n, p in loaded.model.named_parameters() if "norm" in n)
        assert shape.parameters == loaded.model.num_parameters() - norms
        learner = Sft(loaded.model, config.model, config.update, 0)
        assert adapters(config, shape) == sum(tensor.numel() for tensor in learner.trained().values())
        heads = loaded.model.config.num_key_value_heads
        prefix = [(torch.zeros(2, heads, 3, shape.keys // heads),) * 2] * shape.layers
        cache = PrefixCache(prefix, torch.ones(2, 3, dtype=torch.bool), 8, 7)
        cache.open_slots(7)
        held = cache.texts.nbytes
        assert cache_bytes(shape, 4, 8 * 7) == held


LLAMA_3 = [(3.21e9, 28, 3072), (8.03e9, 32, 4096), (70.6e9, 80, 8192)]


@pytest.mark.parametrize(("parameters", "layers", "hidden"), LLAMA_3)
def test_the_rule_for_unknown_models_has_llama_3s_dimensions_to_a_fifth(parameters, layers, hidden):
    shape = of_parameters(parameters)
    assert (shape.layers, shape.hidden) == (pytest.approx(layers, rel=0.2), pytest.approx(hidden, rel=0.2))
    in_layers = shape.layers * sum(i * o for i, o in shape.targets(["all-linear"]))
    assert in_layers == pytest.approx(0.9 * parameters, rel=0.01)


def test_longer_texts_and_more_epochs_cost_in_proportion():
    config = composed("experiment=smoke")
    dataset, shape = load_dataset(config.dataset), shape_of(config.model)
    about = verifier_work(config.verifier, LENGTHS, 4, True)
    one = phases(config, dataset, shape, LENGTHS, about)
    twice = phases(config, dataset, shape, replace(LENGTHS, response=40), about)
    assert twice[0].written == 2 * one[0].written
    assert twice[0].flops > 2 * one[0].flops * 0.8
    longer = phases(config.model_copy(update={"epochs": 3.0}), dataset, shape, LENGTHS, about)
    assert longer[2].items == pytest.approx(3 * one[2].items)
