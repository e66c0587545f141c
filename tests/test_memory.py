"""Memory: what was needed once is given back, and no more of it is needed for a longer run or a larger panel."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from small_runs import SMALL, composed

from sivgap.config.app import validate
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir
from sivgap.loop.session import open_experiment
from sivgap.models.shape import shape_of
from sivgap.plan.estimate import _longest, needed_memory
from sivgap.plan.memory import memory, this_kind
from sivgap.plan.texts import texts
from sivgap.runs.run import Run
from sivgap.runtime.display import Display
from sivgap.runtime.hardware import MUCH, keep_freed_memory
from sivgap.runtime.signals import handle_signals
from sivgap.tasks.load import load_dataset

MIB = 2**20

EVALUATE = """
import json, re, sys
from pathlib import Path
from hydra import compose, initialize_config_dir
import sivgap.evaluate as command, sivgap.report.evaluation as report, sivgap.loop.scoring as scoring
from sivgap.config.app import validate
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir

report.report_evaluation = lambda folder, display: None  # the page reads all responses, whatever was judged at once
found = []
for at_once, overrides in (argument.split(" ", 1) for argument in sys.argv[1:]):
    scoring.RESPONSES_AT_ONCE = int(at_once)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = validate(compose("evaluate", ["model=tiny", "engine.threads=1", *overrides.split()]), EvaluateConfig)
    command.evaluate(config)
    status = Path("/proc/self/status").read_text()
    found.append({key: int(re.search(rf"{key}:\\s+(\\d+)", status)[1]) * 1024 for key in ("VmRSS", "VmHWM")})
print(json.dumps(found))
"""


def evaluated(folder: Path, *each: str) -> list[dict[str, int]]:
    """Bytes in memory, now and at most, after each evaluation ("RESPONSES_AT_ONCE OVERRIDES") by one process."""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", EVALUATE, *each], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def test_an_evaluation_needs_what_it_judges_at_once_and_gives_that_back(tmp_path):
    settings = "n=16 engine.batch_size=256 panel.prompts"
    few, bounded, unbounded = evaluated(
        tmp_path, f"256 {settings}=64", f"256 {settings}=960", f"1000000 {settings}=960 seed=1"
    )
    responses = (960 - 64) * 16
    assert bounded["VmHWM"] - few["VmHWM"] < 12 * 1024 * responses
    assert bounded["VmHWM"] - few["VmHWM"] < 0.75 * (unbounded["VmHWM"] - few["VmHWM"])
    assert unbounded["VmRSS"] - few["VmRSS"] < 0.85 * (unbounded["VmHWM"] - few["VmRSS"])


def test_an_evaluation_needs_the_memory_that_is_planned(tmp_path):
    settings = ["n=16", "engine.batch_size=256", "panel.prompts=64"]
    (measured,) = evaluated(tmp_path, f"4096 {' '.join(settings)}")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = validate(compose("evaluate", ["model=tiny", "engine.threads=1", *settings]), EvaluateConfig)
    dataset = load_dataset(config.dataset)
    planned = needed_memory(config, dataset, shape_of(config.model), texts(config, dataset), None)
    if not torch.cuda.is_available():
        assert planned.peak == pytest.approx(measured["VmHWM"], rel=0.25)


def test_no_tensor_is_left_over_from_one_epoch_to_the_next(tmp_path):
    run, held = Run(composed(*SMALL, "epochs=3", f"runs_dir={tmp_path}")), []
    with handle_signals() as stop, open_experiment(run, Display(quiet=True), stop) as job:
        job.resume()
        while not job.finished:
            for problems in job.batches():
                rollouts = job.sample(problems)
                job.update(job.select(problems, rollouts, job.verify(problems, rollouts)))
            job.measure()
            job.recorder._background.later(gc.collect)  # behind its turn the thread holds nothing of what came before
            job.settle()
            held.append(sum(thing.nbytes for thing in gc.get_objects() if type(thing) is torch.Tensor))
    run.close()
    assert held[1] > 0
    assert held[1:] == [held[1]] * (len(held) - 1)


def test_of_products_of_many_shapes_few_are_kept_ready_unless_a_user_says_how_many(monkeypatch):
    for said, kept in ((None, "64"), ("7", "7")):
        monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
        if said is not None:
            monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", said)
        keep_freed_memory()
        assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == kept


def test_a_plan_counts_what_a_processor_keeps_of_freed_memory_and_a_gpu_has_nothing_of_it():
    config = composed("model=tiny", "engine.batch_size=4096", "sampling.max_new_tokens=200")
    dataset, shape = load_dataset(config.dataset), shape_of(config.model)
    asked = _longest(config, texts(config, dataset))
    few, many = (memory(config, shape, 4, rows, asked, this_kind(None, named=False)) for rows in (8, 4096))
    assert few.freed == few.cache + few.logits + few.reading < many.freed == MUCH
    assert memory(config, shape, 4, 4096, asked, this_kind(8e10, named=True)).freed == 0
