"""What ``model.path`` takes, and what a run leaves for other programs: PEFT folders, checkpoints, GGUF, exports."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from local_models import save_model
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from small_runs import composed, lines, numbers
from stop_at import StopAt
from test_resume import attempt, config
from transformers import AutoModelForCausalLM, AutoTokenizer

import sivgap.models.load
from sivgap.config.embedded import WEIGHTS
from sivgap.config.model import ModelSource, name_of
from sivgap.config.schema import TrainConfig
from sivgap.errors import ConfigError, RunError
from sivgap.export import ExportConfig, export
from sivgap.loop.components import open_components
from sivgap.models.load import load_model
from sivgap.models.source import lasting_name
from sivgap.runs.checkpoint import load_newest, read_weights
from sivgap.runs.identity import _source_identity, identity
from sivgap.runs.run import Run, run_directory
from sivgap.runtime.signals import StopRequest
from sivgap.tasks.load import load_dataset

IDS = torch.tensor([[1, 5, 9, 4, 7, 11]])


def weights_of(path, **settings):
    return dict(load_model(ModelSource(path=str(path), **settings)).model.named_parameters())


def small_run(folder: Path, *overrides: str) -> Path:
    done, _ = attempt(config(folder, "epochs=1", "update.learning_rate=1e-3", *overrides), StopRequest())
    assert done
    (run,) = folder.iterdir()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return small_run(tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    return small_run(tmp_path_factory.mktemp("full"), "update.parameters=full", "update.learning_rate=1e-4")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "base", "llama")


@pytest.fixture
def adapter(base, tmp_path) -> Path:
    return save_adapter(base, tmp_path / "adapter")


def save_adapter(base: Path, folder: Path, seed: int = 0, **settings) -> Path:
    """An adapter that changes `base` much, as peft writes it."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    made = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], **settings))
    for name, parameter in made.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3)
    made.save_pretrained(str(folder))
    return folder


def settings_of(adapter: Path, **changed) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


# --- checkpoints


def test_a_checkpoint_is_a_peft_folder_and_as_a_model_it_is_the_one_that_was_sampled_with(run):
    """What the engine had in the end, to the bit; and plain peft, which rounds otherwise, agrees."""
    settings = config(run.parent, "epochs=1", "update.learning_rate=1e-3")
    checkpoint = run / "checkpoints" / "epoch=001.00"
    found, _ = load_newest(run / "checkpoints")
    with open_components(settings, load_dataset(settings.dataset)) as components:
        components.learner.restore(found.weights, found.optimizer)
        components.hand_over()
        engine = components.engine.model
    loaded = weights_of(checkpoint, dtype="float32", chat_template=False)
    for name, weight in engine.named_parameters():
        assert torch.equal(weight, loaded[name]), name
    plain = AutoModelForCausalLM.from_pretrained(json.loads((checkpoint / "adapter_config.json").read_text())
                                                 ["base_model_name_or_path"])  # fmt: skip
    before = plain(IDS).logits
    after = PeftModel.from_pretrained(plain, str(checkpoint))(IDS).logits
    assert torch.allclose(after, engine(IDS).logits, atol=1e-4)
    assert not torch.allclose(after, before, atol=1e-2)


def test_a_checkpoint_of_all_weights_is_a_models_folder(full):
    checkpoint = full / "checkpoints" / "epoch=001.00"
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    trained = read_weights(checkpoint)
    assert tokenizer("1+2=")["input_ids"]
    for name, weight in model.named_parameters():
        assert torch.equal(weight, trained[name])
    for name, weight in weights_of(checkpoint, dtype="float32", chat_template=False).items():
        assert torch.equal(weight, trained[name])


def test_a_run_goes_on_from_a_checkpoint_of_an_earlier_version(tmp_path, whole):
    settings = config(tmp_path)
    attempt(settings, StopAt(9))
    (run,) = tmp_path.iterdir()
    for folder in (run / "checkpoints").glob("epoch=*"):
        save_file(read_weights(folder), folder / "weights.safetensors")
        for name in ("adapter_model.safetensors", "adapter_config.json", "checksums.txt"):
            (folder / name).unlink()
    assert attempt(settings, StopRequest()) == (True, whole)


# --- adapters


def test_a_peft_folder_is_merged_into_its_base(base, adapter):
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    expected = PeftModel.from_pretrained(plain, str(adapter))(IDS).logits
    found = load_model(ModelSource(path=str(adapter), dtype="float32")).model
    assert not hasattr(found, "peft_config")
    assert torch.allclose(found(IDS).logits, expected, atol=1e-4)


@pytest.mark.parametrize("settings", [{"use_rslora": True}, {"alpha_pattern": {"q_proj": 3}, "lora_alpha": 16}])
def test_scales_are_those_of_peft(base, tmp_path, settings):
    adapter = save_adapter(base, tmp_path / "adapter", **settings)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).merge_and_unload()
    found = weights_of(adapter, dtype="float32")
    for name, weight in merged.named_parameters():
        assert torch.allclose(weight, found[name], atol=1e-5), name


def test_an_adapter_on_an_adapter_is_merged_after_it(base, adapter, tmp_path):
    second = save_adapter(base, tmp_path / "second", seed=1)
    settings_of(second, base_model_name_or_path=str(adapter))
    alone = {path: weights_of(path, dtype="float32") for path in (base, adapter)}
    name = "model.layers.0.self_attn.q_proj.weight"
    both = weights_of(second, dtype="float32")[name]
    settings_of(second, base_model_name_or_path=str(base))
    first_step, second_step = alone[adapter][name] - alone[base][name], weights_of(second, dtype="float32")[name]
    assert torch.allclose(both, second_step + first_step, atol=1e-5)


def test_the_base_is_found_beside_the_adapter_when_both_have_moved(base, adapter, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    settings_of(adapter, base_model_name_or_path="/was/once/here/base")
    assert load_model(ModelSource(path=str(adapter)))


def test_what_is_trained_on_names_a_model_that_others_can_load(base, monkeypatch):
    """A relative path, which looks like a hub id, is none once the command is typed elsewhere."""
    monkeypatch.chdir(base.parent.parent)
    relative = base.relative_to(base.parent.parent)
    assert len(relative.parts) == 2
    assert load_model(ModelSource(path=str(relative))).model.name_or_path == str(base.resolve())
    assert load_model(ModelSource(chat_template=False)).model.name_or_path == str(WEIGHTS)
    assert lasting_name("OWNER/NAME") == "OWNER/NAME"


def deeper(adapter):
    settings_of(adapter, base_model_name_or_path=str(adapter))


def of_another_size(adapter):
    other = save_model(adapter.parent / "other", "llama", hidden_size=64)
    settings_of(adapter, base_model_name_or_path=str(other))


def of_another_depth(adapter):
    other = save_model(adapter.parent / "other", "llama", num_hidden_layers=1)
    settings_of(adapter, base_model_name_or_path=str(other))


def with_a_tensor(adapter):
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors["base_model.model.model.norm.weight"] = torch.ones(32)
    save_file(tensors, adapter / "adapter_model.safetensors")


def cut_short(adapter):
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of_another_size, "an adapter of another base model .* is of another size"),
        (of_another_depth, "an adapter of another base model .* does not exist"),
        (lambda a: settings_of(a, base_model_name_or_path="/nowhere"), "no folder here and no hub id"),
        (lambda a: settings_of(a, base_model_name_or_path=None), "which model the adapter belongs to"),
        (deeper, "without a base model"),
        (lambda a: settings_of(a, peft_type="LOHA"), "found peft_type=LOHA"),
        (lambda a: settings_of(a, use_dora=True), "found use_dora"),
        (lambda a: settings_of(a, modules_to_save=["lm_head"]), "found modules_to_save"),
        (lambda a: settings_of(a, init_lora_weights="pissa"), "found init_lora_weights=pissa"),
        (lambda a: settings_of(a, alpha_pattern={"(a+)+$": 3}), "not patterns of names"),
        (lambda a: settings_of(a, lora_alpha="8"), "must be numbers"),
        (with_a_tensor, "expected LoRA matrices"),
        (cut_short, "cannot be read"),
        (lambda a: (a / "adapter_config.json").write_text("[]"), "expected an object"),
    ],
)
def test_an_adapter_that_is_not_what_is_expected_is_refused_in_a_sentence(adapter, change, said):
    change(adapter)
    with pytest.raises(RunError, match=said):
        load_model(ModelSource(path=str(adapter)))


def test_a_runs_directory_or_an_old_checkpoint_as_a_model_says_what_to_give(run, tmp_path):
    with pytest.raises(RunError, match=r"give one of its checkpoints, for example .*epoch=001\.00"):
        load_model(ModelSource(path=str(run)))
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(RunError, match=r"sivgap\.export"):
        load_model(ModelSource(path=str(tmp_path)))


# --- GGUF files


def write_gguf(file: Path) -> None:
    """A random Llama of one layer with a vocabulary of letters."""
    gguf = pytest.importorskip("gguf")
    writer, rng = gguf.GGUFWriter(file, "llama"), np.random.default_rng(0)
    alphabet = sorted(chr(i) for i in range(97, 123))
    tokens = ["<s>", "</s>", *alphabet, "ab"]
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * 27])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    square = dict.fromkeys((f"blk.0.attn_{name}" for name in ("q", "k", "v", "output")), (16, 16))
    shapes = {"token_embd": (len(tokens), 16), "blk.0.ffn_gate": (32, 16), "blk.0.ffn_up": (32, 16)}
    shapes |= {"blk.0.ffn_down": (16, 32), **square}
    norms = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")
    for name, shape in {**shapes, **dict.fromkeys(norms, (16,))}.items():
        writer.add_tensor(f"{name}.weight", rng.normal(0, 1, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_a_model_and_can_be_written_as_any_other(tmp_path):
    file = tmp_path / "letters.gguf"
    write_gguf(file)
    loaded = load_model(ModelSource(path=str(file), dtype="float32", chat_template=False))
    assert loaded.end_tokens == (1,)
    assert loaded.model.name_or_path == str(file)
    loaded.model.save_pretrained(tmp_path / "again")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert torch.equal(again(IDS).logits, loaded.model(IDS).logits)
    file.write_bytes(file.read_bytes()[: -file.stat().st_size // 2])
    with pytest.raises(RunError, match="broken, or a GGUF file of a kind"):
        load_model(ModelSource(path=str(file), chat_template=False))


def test_a_file_that_is_no_gguf_or_cannot_be_read_here_is_refused_in_a_sentence(tmp_path, monkeypatch):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"PK\3\4")
    with pytest.raises(RunError, match="does not begin with GGUF"):
        load_model(ModelSource(path=str(file)))
    with pytest.raises(RunError, match=r"expected a folder or a \.gguf file"):
        load_model(ModelSource(path=str(Path(__file__))))
    file.write_bytes(b"GGUF" + bytes(100))
    monkeypatch.setattr(sivgap.models.load, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'sivgap\[gguf\]'"):
        load_model(ModelSource(path=str(file)))
    if importlib.util.find_spec("gguf"):
        monkeypatch.undo()
        with pytest.raises(RunError, match="broken"):
            load_model(ModelSource(path=str(file)))


# --- identity and names


def source(path) -> object:
    return _source_identity(ModelSource(path=str(path)))["path"]


def test_sources_are_told_apart_by_what_they_hold_and_not_by_where_they_lie(base, adapter, run, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(adapter, moved / "adapter")
    shutil.copytree(base, moved / "base")
    settings_of(moved / "adapter", base_model_name_or_path="/gone/base")
    assert source(moved / "adapter") == source(adapter) != source(base)
    assert source(save_adapter(base, tmp_path / "second", seed=1)) != source(adapter)
    shutil.rmtree(moved / "base")
    save_model(moved / "base", "llama", num_hidden_layers=3)
    assert source(moved / "adapter") != source(adapter)
    checkpoint = shutil.copytree(run / "checkpoints" / "epoch=001.00", tmp_path / "epoch=001.00")
    before = source(checkpoint)
    for name in ("state.json", "optimizer.safetensors", "trajectory.jsonl", "checksums.txt"):
        (checkpoint / name).unlink()  # as when later checkpoints are there
    assert source(checkpoint) == before != source(run / "checkpoints" / "epoch=000.50")
    one, two = tmp_path / "one.gguf", tmp_path / "two.gguf"
    one.write_bytes(bytes(10**7))
    two.write_bytes(bytes(5 * 10**6) + b"1" * 200_000 + bytes(48 * 10**5))
    assert source(one) != source(two)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models/qwen25_coder_0_5b", "qwen25_coder_0_5b"),
        ("models/qwen25_coder_0_5b/", "qwen25_coder_0_5b"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("m/Smol LM, q4.gguf", "Smol_LM__q4"),
        ("runs/m-gsm8k-qe-seed0-abc/checkpoints/epoch=002.50", "m-gsm8k-qe-seed0-abc-epoch002.50"),
        (f"runs/{'m' * 99}/checkpoints/epoch=002.50", f"{'m' * 68}-epoch002.50"),
        ("..", "custom"),
        (".hidden", "hidden"),
    ],
)
def test_a_custom_model_is_called_by_its_path(path, name):
    assert name_of(path) == name
    assert composed("model=custom", f"model.path='{path}'", "dataset=gsm8k").model.label == name


def test_a_name_that_was_given_stays_and_the_identity_is_what_it_was(base, tmp_path):
    custom = ("model=custom", f"model.path={base}", "dataset=gsm8k", f"runs_dir={tmp_path}")
    settings, named = composed(*custom), composed(*custom, "model.name=mine")
    assert (settings.model.label, named.model.label) == ("base", "mine")
    assert identity(TrainConfig.model_validate(settings.model_dump(mode="json"))) == identity(settings)  # a job's
    assert len({identity(s) for s in (settings, named, composed(*custom, "model.name=base"))}) == 3
    key = identity(settings)
    assert run_directory(settings, key).name.startswith("base-gsm8k-qe-seed0-")
    earlier = tmp_path / run_directory(settings, key).name.replace("base-", "custom-", 1)
    earlier.mkdir()
    opened = Run(settings)
    assert (opened.path, opened.id) == (earlier, key)
    opened.close()


# --- export


def exported(run: Path, out: Path, **settings) -> Path:
    export(ExportConfig(run=str(run), out=str(out), **settings))
    return out


def test_an_adapter_is_exported_as_a_peft_folder_with_a_card_of_what_was_measured(run, tmp_path, capsys):
    out = exported(run, tmp_path / "out", epoch=0.5)
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    halfway = run / "checkpoints" / "epoch=000.50"
    for name, weight in weights_of(halfway, chat_template=False).items():
        assert torch.equal(weights_of(out, chat_template=False)[name], weight)
    card = (out / "README.md").read_text()
    first, last = [line for line in lines(run) if line["split"] == "test" and line["epoch"] in (0, 0.5)]
    for line in (first, last):
        assert f"| test | {line['epoch']:g} | {line['n_prompts']} | {line['solver_uncertainty']:.3f} ± " in card
    assert 'base_model: "tiny"' in card
    assert "library_name: peft" in card
    assert "model=tiny dataset=arithmetic verifier=qe" in card
    assert str(Path.home()) not in card
    assert "None" not in card


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_the_exported_model_is_the_one_that_was_sampled_with_for_any_program(run, full, kind, tmp_path):
    ran = run if kind == "lora" else full
    out = exported(ran, tmp_path / "out", merged=kind == "lora")  # of all weights there is no adapter to ask for
    names = {file.name for file in out.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert not names & {"state.json", "optimizer.safetensors", "adapter_config.json"}
    plain = AutoModelForCausalLM.from_pretrained(out)
    own = weights_of(ran / "checkpoints" / "epoch=001.00", dtype="float32", chat_template=False)
    assert all(torch.equal(weight, own[name]) for name, weight in plain.named_parameters())
    assert "library_name: transformers" in (out / "README.md").read_text()


def test_a_checkpoint_of_an_earlier_version_is_exported_alike(run, tmp_path):
    old = shutil.copytree(run, tmp_path / "old")
    folder = old / "checkpoints" / "epoch=001.00"
    save_file(read_weights(folder), folder / "weights.safetensors")
    for name in ("adapter_model.safetensors", "adapter_config.json", "checksums.txt"):
        (folder / name).unlink()
    expected = weights_of(run / "checkpoints" / "epoch=001.00", chat_template=False)
    for merged in (False, True):
        found = weights_of(exported(old, tmp_path / f"out-{merged}", merged=merged), chat_template=False)
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_an_export_writes_over_nothing_and_leaves_nothing_behind(run, tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    exported(run, there)  # an empty folder is none
    kept = sorted(file.read_bytes() for file in there.iterdir())
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(there)
    for name in ("there", "file", "link"):
        with pytest.raises(ConfigError, match="something is there already"):
            exported(run, tmp_path / name)
    assert sorted(file.read_bytes() for file in there.iterdir()) == kept

    def meanwhile(*ignored: object) -> str:
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "mine").write_text("mine")
        return ""

    monkeypatch.setattr("sivgap.export.model_card", meanwhile)
    with pytest.raises(ConfigError, match="something is there already"):
        exported(run, tmp_path / "late")
    assert (tmp_path / "late" / "mine").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_an_export_of_what_is_not_there_or_damaged_is_a_sentence(run, tmp_path):
    for settings, said in (
        ({"run": str(tmp_path)}, "no run's directory"),
        ({"epoch": 7.0}, r"no such checkpoint; there are epoch=000.00, epoch=000.50, epoch=001.00"),
        ({"out": str(tmp_path / "no" / "out")}, "its folder does not exist"),
    ):
        with pytest.raises(ConfigError, match=said):
            export(ExportConfig(**{"run": str(run), "out": str(tmp_path / "out"), **settings}))
    broken = shutil.copytree(run, tmp_path / "broken")
    cut_short(broken / "checkpoints" / "epoch=001.00")
    with pytest.raises(RunError, match=r"damaged .* export another epoch"):
        exported(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert exported(broken, tmp_path / "out", epoch=0.5).is_dir()
    (broken / "config.yaml").write_text("model: 3\n")
    with pytest.raises(RunError, match=r"config\.yaml"):
        exported(broken, tmp_path / "again")


def test_the_command_prints_its_path_last_and_a_checkpoint_is_a_model_on_the_command_line(run, command, tmp_path):
    done = command("export", f"run={run}", "out=out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "out"
    small = ("experiment=smoke", "epochs=0.5", "tracking.wandb.mode=disabled", "engine.threads=1")
    done = command("train", *small, f"model.path={run / 'checkpoints' / 'epoch=001.00'}")
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "runs").iterdir()
    before = next(line for line in numbers(made) if line["split"] == "test")
    assert before["epoch"] == 0
