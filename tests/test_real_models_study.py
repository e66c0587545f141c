"""The study of real models: its commands are right, and its page can be made again from what was committed of it."""

import importlib
import re

import pytest
from hydra import compose, initialize_config_dir
from pyarrow import parquet

from sivgap.config.app import validate
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir
from sivgap.config.schema import TrainConfig

MOST = 20 * 2**20
"""Bytes of all that is committed."""
ABSOLUTE = re.compile(r"(?<![\w~])/[\w.-]+/")
"""A path from a machine's root, not from a home."""


@pytest.fixture
def study(monkeypatch):
    from commands import ROOT

    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("real_models")


@pytest.fixture
def kept(study):
    return study.RESULTS / "real_models"


def test_every_command_of_the_study_is_a_configuration(study):
    jobs = list(study.jobs())
    assert len({job.name for job in jobs}) == len(jobs)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for job in jobs:
            settings = job.words("MODELS", "DATA")
            for words in (settings, study.shortened(settings)):
                schema = {"train": TrainConfig, "evaluate": EvaluateConfig}[job.command]
                validate(compose(job.command, words), schema)


def test_its_page_follows_from_what_was_kept(study, kept, tmp_path, monkeypatch):
    tables = importlib.import_module("real_models_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    for name in ("draw", "draw_scaling"):
        monkeypatch.setattr(tables, name, lambda *_: None)
    tables.write([job.name for job in study.jobs()])
    for name in ("real_models.md", "real_models.json"):
        assert (tmp_path / name).read_text() == (study.RESULTS / name).read_text()


def test_what_was_kept_is_small_and_says_nothing_of_the_machine_it_ran_on(kept):
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST
    for path in files:
        if path.suffix in (".yaml", ".json", ".jsonl"):
            assert not ABSOLUTE.search(path.read_text()), path
        if path.suffix == ".parquet":
            assert "tokens" not in parquet.read_schema(path).names
