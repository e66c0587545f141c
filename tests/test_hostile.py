"""What strangers hand over (files, models, answers of models, command lines) is read or refused, and does no harm."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from commands import run_command
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_models import save_model
from verdicts import shipped_parsers

from sivgap.config.app import all_keys, explain_composition, validate
from sivgap.config.locate import conf_dir
from sivgap.config.model import ModelSource
from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.errors import ConfigError, RunError
from sivgap.grading.extract import final_number, last_boxed
from sivgap.grading.limits import acceptable
from sivgap.grading.number import to_fraction
from sivgap.grading.short_answer import matches, readings
from sivgap.models.load import load_model
from sivgap.models.prompts import PromptWriter
from sivgap.runs.identity import identity
from sivgap.runs.load_curves import from_csv
from sivgap.runs.trajectory import Trajectory
from sivgap.runtime.sanitize import no_formula, sanitize
from sivgap.tasks import arithmetic, gsm8k
from sivgap.tasks.grade import grade
from sivgap.tasks.source import read_problems

PIECES = ["#### ", "\\boxed{", "}", "{", "Answer: ", "answer is", "-", "\\frac{1}{0}", "e+999999999", "1e", "²",
          "True", "Score: ", "Correctness: Correct", "1 2 3 4\n", "\x00", "\x1b[2J", "\u202e", "\ud800", "=1+1",
          "../../x", "9" * 50, "^", " " * 50, ",111", "one", ". a", "<b>", "NaN", "[[[", '"', "\\u", "\n"]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join)


@settings(max_examples=80, deadline=None)
@given(TEXT, TEXT)
def test_any_text_is_graded_and_parsed_or_found_to_hold_nothing(response, reference):
    for dataset in ("arithmetic", "gsm8k", "nq_open", "prontoqa", "sudoku"):
        (found,) = grade(dataset, [response], [reference], None)  # type: ignore[arg-type]
        assert found.correct or not found.correct_strict
    last_boxed(response)
    to_fraction(response)
    acceptable(response)
    assert all(value is None or 0 <= value <= 1 for value in (parse(response) for parse in shipped_parsers()))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (acceptable, "^" + " " * 3990 + "x"),  # took ten minutes
        (lambda text: [matches(a, ["x"]) for a in readings(text)], "\\boxed{" + "a. " * 6600 + "}"),
        (to_fraction, "1e+999999999"),  # wrote out a billion digits
        (to_fraction, "1_0e99999999"),
        (final_number, "answer" + " :" * 19 + "\n" * 19000),
    ],
)
def test_no_text_takes_long_to_read(read, text):
    started = time.process_time()
    read(text)
    assert time.process_time() - started < 1


def test_exponents_mean_what_they_did():
    assert to_fraction("1.5e3") == to_fraction("1500") == to_fraction("1.5 x 10^3") == to_fraction("+1.5e+3")
    assert to_fraction("1e400") is None


def refusal(read) -> str:
    """The sentence of a refusal, empty without one; anything else is raised."""
    try:
        read()
    except (RunError, ConfigError) as error:
        return str(error)
    return ""


def composed(override: str):
    try:
        return compose("train", [override])
    except Exception as error:
        raise ConfigError(explain_composition(error, TrainConfig, [override])) from error


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 10**6), TEXT)
def test_any_file_is_read_or_refused_in_a_sentence(tmp_path, piece, place, text):
    record = json.dumps({"question": text or "?", "answer": "two\n#### 2"})
    line = {"epoch": 0.5, "split": "test", "solver_uncertainty": 1.0, "verifier_uncertainty": 0.5}
    rows = "".join(f"{i},{2 - i / 9},{1 - i / 9}\n" for i in range(6))
    table = f"epoch,solver_uncertainty,verifier_uncertainty\n{rows}"
    for name, whole, read in (
        ("data.jsonl", record, lambda p: read_problems(p, gsm8k.to_problem)),
        ("trajectory.jsonl", json.dumps(line) + "\n" + json.dumps(line) + "\n", lambda p: Trajectory(p).read()),
        ("curves.csv", table, lambda p: from_csv(p, "response", "first")),
    ):
        data = whole.encode("utf-8", "surrogatepass")
        at = place % (len(data) + 1)
        (tmp_path / name).write_bytes(data[:at] + piece + data[at:])
        assert len(refusal(lambda path=tmp_path / name, read=read: read(path))) < 1500


@pytest.mark.parametrize(
    "line",
    ['{"question": "\\ud800", "answer": "#### 1"}', '{"question": "a", "answer": ' + "9" * 5000 + "}", "[" * 5000,
     '{"question": "a", "answer": "#### 1", "id": "' + "x" * 5000 + '"}'],
)  # fmt: skip
def test_records_that_break_a_reader_are_named_with_their_line(tmp_path, line):
    (tmp_path / "d.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match="line 1"):
        read_problems(tmp_path / "d.jsonl", gsm8k.to_problem)


VALUES = ["nan", "-1", "1e308", "null", "[]", "{}", "???", "${nope}", "'a", "\x00", "9" * 5000, "abc", "[1,2",
          "/proc/self/mem", "x" * 3000, "true", "3"]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(all_keys(TrainConfig)), st.sampled_from(VALUES) | TEXT, st.sampled_from(["", "+", "~", "++"]))
def test_any_override_makes_a_run_or_a_sentence(key, value, sign):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        override = f"{sign}{key}={value}"
        assert len(refusal(lambda: identity(validate(composed(override), TrainConfig)))) < 1500


def test_overrides_that_were_tracebacks_end_with_status_2(command):
    for override in ("engine=2", f"n={'9' * 5000}"):
        done = command("train", override)
        assert done.returncode == 2, override
        assert "Traceback" not in done.stderr
        assert override.partition("=")[0].partition(".")[0] in done.stderr


NASTY = "\x1b[2J\x1b]0;owned\x07=cmd() \u202e<script>alert(1)</script>"


@given(TEXT)
def test_shown_text_obeys_nothing_and_loses_nothing_that_can_be_read(text):
    shown = sanitize(text)
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    assert sanitize(shown) == shown
    assert not no_formula(shown).lstrip().startswith(("=", "+", "-", "@"))
    if text.isprintable():
        assert shown == text


def test_hostile_answers_and_ids_are_harmless_wherever_a_command_puts_them(tmp_path):
    problems = arithmetic.generate(12, "train", 0)
    rows = [{"id": f"../../x{i}", "question": p.question, "answer": p.reference} for i, p in enumerate(problems)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run_command(tmp_path, "train", "experiment=smoke", "dataset.path=d.jsonl", "dataset.train_size=null",
                       "dataset.test_size=null", "dataset.test_share=0.5", "epochs=0.5", "prompts_per_epoch=2",
                       "measure.train_prompts=2", "measure.test_prompts=2", "engine.threads=1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = Path(tmp_path / done.stdout.splitlines()[-1])
    assert {p.name for p in tmp_path.iterdir()} == {"d.jsonl", "runs"}
    assert not list(tmp_path.parent.glob("x*"))
    for path in (run / "samples").glob("*.parquet"):  # as a model may answer
        frame = pd.read_parquet(path).assign(text=NASTY, answer=NASTY, question=NASTY)
        frame.to_parquet(path)
    (run / "checksums.txt").unlink()
    done = run_command(tmp_path, "report", f"runs={run}")
    assert done.returncode == 0, done.stderr
    page = (run / "report.html").read_text()
    assert "<script>alert" not in page
    assert not {"\x1b", "\x07", "\u202e"} & set(page.partition("<script>")[0])
    for path in (run / "tables").glob("*.csv"):
        assert not [c for row in path.read_text().splitlines() for c in row.split(",") if c.startswith(("=", "@", "+"))]


def test_errors_that_quote_a_stranger_do_not_reach_the_terminal_as_they_are(tmp_path):
    (tmp_path / "c.csv").write_text(f"{NASTY.replace(',', '')},b\n1,2\n")
    done = run_command(tmp_path, "fit", "csv=c.csv")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert "\\x1b[2J" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "good", "llama")


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def pickled(folder, name="pytorch_model.bin"):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Evil()))


def with_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def with_code(folder):
    with_config(folder, auto_map={"AutoConfig": "evil.X", "AutoModelForCausalLM": "evil.X"}, model_type="evil")
    (folder / "evil.py").write_text("open('pwned', 'w')\nclass X: pass\n")


def with_index(folder, name):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def with_link(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/etc/passwd")


def with_adapter(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Evil()))


def damaged_weights(folder, at, piece):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:at] + piece + data[at + len(piece) :])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pickled, "pickled"),
        (lambda f: pickled(f, "model.pt"), "pickled"),
        (with_adapter, "pickled"),
        (with_code, "custom code"),
        (lambda f: with_index(f, "../../../etc/passwd"), "expected \\*.safetensors"),
        (lambda f: with_index(f, "evil.bin"), "expected \\*.safetensors"),
        (with_link, "leads out"),
        (lambda f: damaged_weights(f, 0, (2**62).to_bytes(8, "little")), "cannot be loaded"),
        (lambda f: damaged_weights(f, 8, b"{{{{"), "cannot be loaded"),
        (lambda f: with_config(f, num_hidden_layers=10**9), "num_hidden_layers"),
        (lambda f: with_config(f, vocab_size=-1), "vocab_size"),
        (lambda f: (f / "config.json").write_text("[" * 10**5), "config.json"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "cannot be loaded"),
    ],
)
def test_a_model_of_a_stranger_is_refused_in_a_sentence_and_runs_nothing(good, tmp_path, monkeypatch, change, said):
    folder = shutil.copytree(good, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    change(folder)
    with pytest.raises(RunError, match=said):
        load_model(ModelSource(path=str(folder)))
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ cycler.__init__.__globals__.os.system('touch pwned') }}", "cannot be rendered"),
        ("{{ ''.__class__.__mro__ }}", "cannot be rendered"),
        ("{% include '/etc/passwd' %}", "cannot be rendered"),
        ("{% for", "cannot be rendered"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "ran for more"),
        ("{{ 'a' * 20000000000 }}", "asked for more"),
        ("{{ 'a' * 20000000 }}", "wrote more"),
    ],
)
def test_a_hostile_chat_template_is_stopped(good, tmp_path, monkeypatch, template, said):
    monkeypatch.setattr("sivgap.models.template.DEADLINE", 0.3)
    monkeypatch.chdir(tmp_path)
    tokenizer = load_model(ModelSource(path=str(good))).tokenizer
    tokenizer.chat_template = template
    with pytest.raises(RunError, match=said):
        PromptWriter(tokenizer, True, "{question}").solve(Problem("a", "1+1", "2"))
    assert not list(tmp_path.iterdir())


def test_no_name_leads_out_of_the_runs(command):
    done = command("train", "model.name=../../x")
    assert done.returncode == 2
    assert "model.name" in done.stderr
    fitted = command("fit", "wandb=me/sivgap/..")
    assert fitted.returncode == 2
    assert "wandb: " in fitted.stderr


def test_no_command_ends_in_a_traceback_whatever_breaks(tmp_path):
    code = (
        "from sivgap.config.app import run_app; from sivgap.fit import FitConfig\n"
        "def broken(config): raise ZeroDivisionError('\\x1b[2J')\n"
        "run_app('fit', FitConfig, broken)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code, "csv=x.csv"], capture_output=True, text=True, check=False,
                          cwd=tmp_path, env=environment)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    (log,) = tmp_path.glob("sivgap-*.log")
    assert "ZeroDivisionError" in log.read_text()
