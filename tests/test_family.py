import hashlib
import itertools
import json
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_config import composed

from sivgap.config.embedded import EMBEDDED, FAMILY
from sivgap.config.locate import read_prompt
from sivgap.core.rollout import FollowUp, Prompt, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.gap.auroc import auroc
from sivgap.models.load import load_model, pad_token
from sivgap.runs.identity import identity
from sivgap.runtime.rng import derive_key
from sivgap.tasks.arithmetic import Expression, Step, expressions, part_of
from sivgap.tiny import build, family
from sivgap.tiny.family_texts import agree, family_loss_weights, mark_text, points, shared_steps, tournament_text
from sivgap.tiny.texts import true_score
from sivgap.tiny.tokenizer import build_tokenizer
from sivgap.tiny.training import VERDICT_WEIGHT

RIGHT = "9*3=27, 27+34=61, Answer: 61"
CARRY = "9*3=27, 27+34=51, Answer: 51"  # a dropped carry in the second step
FIRST = "9*3=37, 37+34=71, Answer: 71"
COPY = "9*3=27, 27+34=61, Answer: 62"
SIZES = sorted(family.SIZES)
QUESTION = Expression(Step(9, "*", 3), "+", 34)
HEADINGS = {
    "qe": r"\nScore: (\d\.\d)",
    "tf": r"\nVerdict: (True|False)",
    "mc": r"\nCorrectness: (Correct|Incorrect)",
    "cot_binary": r"\nCheck: (?P<derivation>.*)\nCorrectness: (Correct|Incorrect)",
    "cot_score": r"\nReview: (?P<derivation>.*)\nScore: (\d+)",
    "tournament": r"\nCompare: (?P<derivation>.*)\nPreferred solution: (A|B)",
}


@pytest.fixture(scope="module")
def tokenizer():
    return family.family_tokenizer()


@pytest.fixture(scope="module")
def texts():
    batches = family.family_batches(3)
    return [text for step in range(12) for text in batches(step)]


def test_the_embedded_default_still_reads_what_it_read():
    batches = build.reading_batches(0, 96, facts=0.08, solutions=0.3)
    digest = hashlib.sha256("\x00".join(text for step in range(5) for text in batches(step)).encode())
    assert digest.hexdigest() == "1fd2872c7e5d90fdc95f6a0efc139b717a09c70ce4420c2fea2116836b73c748"
    assert len(build_tokenizer()) == 27
    shipped = json.loads((EMBEDDED["tiny"] / "tokenizer.json").read_text())
    assert shipped | {"padding": None} == json.loads(build_tokenizer().backend_tokenizer.to_str())


def test_identity_leaves_pretraining_tokens_out_and_the_default_is_the_run_that_it_was():
    assert identity(composed()) == identity(composed("+model.tokens=2e7")) == "314d8c3fa96dec88"


def test_texts_survive_a_round_trip_within_the_context(tokenizer, texts):
    for ids, text in zip(tokenizer(texts)["input_ids"], texts, strict=True):
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert len(ids) < 128 < tokenizer.model_max_length
    assert tokenizer("é")["input_ids"] == [tokenizer.bos_token_id, tokenizer.unk_token_id]
    padded = tokenizer(["1", "123"], padding=True)["input_ids"]
    assert padded[0][:2] == [tokenizer.pad_token_id] * 2  # on the left, as the embedded default's


def test_all_formats_occur_and_are_written_as_agreed(texts):
    shown = r"Question: \S+\nSolution: [^\n]*"
    both = r"Question: \S+\nSolution A: [^\n]*\nSolution B: [^\n]*"
    for form, heading in HEADINGS.items():
        pattern = re.compile((both if form == "tournament" else shown) + heading)
        assert any(pattern.fullmatch(text) for text in texts), form


def test_prompts_end_where_the_model_learnt_to_go_on(tokenizer, texts):
    for form in HEADINGS:
        template = read_prompt(f"tiny/{form}.txt")
        if form == "tournament":
            prompt = template.format(question="9*3+34", response_a=RIGHT, response_b=CARRY)
            whole = tournament_text(QUESTION, RIGHT, CARRY, np.random.default_rng(0))
        else:
            prompt = read_prompt("tiny/solve.txt").format(question="9*3+34") + RIGHT + template
            whole = mark_text(form, QUESTION, RIGHT, np.random.default_rng(0))
        asked, read = (tokenizer(text)["input_ids"] for text in (prompt, whole))
        assert read[: len(asked)] == asked
        assert len(read) > len(asked)


def test_the_recipe_is_deterministic_and_of_the_pretraining_part():
    one, other = family.family_batches(0), family.family_batches(0)
    assert [one(step) for step in range(3)] == [other(step) for step in range(3)]
    asked = [match[1] for text in one(3) if (match := re.match(r"Question: (\S+)\n", text))]
    assert len(asked) > family.BATCH / 2
    assert {part_of(question) for question in asked} == {"pretrain"}


def test_marks_follow_the_truth_and_verdicts_the_derivation(texts):
    found = dict.fromkeys(HEADINGS, 0)
    disagreements = 0
    for text in texts:
        for form, heading in HEADINGS.items():
            match = re.fullmatch(r"Question: (?P<q>\S+)\nSolution(?: A)?: (?P<a>[^\n]*)(?:\nSolution B: (?P<b>[^\n]*))?" + heading, text)  # fmt: skip # noqa: E501
            if match is None:
                continue
            found[form] += 1
            right = {key: bool(re.search(f"Answer: {eval(match['q'])}$", match[key] or "")) for key in ("a", "b")}
            verdict = match[len(match.groups())]
            if form in ("tf", "mc"):
                assert verdict in (("True", "Correct") if right["a"] else ("False", "Incorrect"))
            elif form == "qe":
                assert (verdict == "1.0") == right["a"]
            else:
                said = match["derivation"].rpartition("Answer: ")[2]
                same = {key: (match[key] or "").rpartition("Answer: ")[2] == said for key in ("a", "b")}
                disagreements += same["a"] != right["a"]
                if form == "cot_binary":
                    assert (verdict == "Correct") == same["a"]
                elif form == "cot_score":
                    assert (verdict == "10") == same["a"]
                elif same["a"] != same["b"]:
                    assert (verdict == "A") == same["a"]
    assert min(found.values()) > 20
    assert 0 < disagreements < 0.3 * sum(found.values())  # a careful reviewer, not an infallible one


@pytest.mark.parametrize(("solution", "shared", "score"), [(RIGHT, 2, 10), (CARRY, 1, 5), (FIRST, 0, 1), (COPY, 2, 9)])
def test_points_count_the_steps_that_the_derivation_confirms(solution, shared, score):
    assert agree(solution, RIGHT) == (solution == RIGHT)
    assert (shared_steps(solution, RIGHT), points(solution, RIGHT)) == (shared, score)


def test_of_two_wrong_solutions_the_one_with_more_right_steps_is_preferred_and_else_a_coin_decides():
    def preferred(a, b):
        said = (tournament_text(QUESTION, a, b, np.random.default_rng(seed)) for seed in range(200))
        kept = [text[-1] for text in said if f"Compare: {RIGHT}\n" in text]
        assert len(kept) > 100
        return kept.count("A") / len(kept)

    assert (preferred(CARRY, FIRST), preferred(FIRST, CARRY), preferred(RIGHT, COPY)) == (1, 0, 1)
    assert 0.3 < preferred(RIGHT, RIGHT) < 0.7


def test_what_is_learnt_is_what_the_writer_writes_and_verdicts_above_all(tokenizer):
    def learnt(text, **options):
        ids = tokenizer([text + tokenizer.eos_token, "9" * 90], padding=True, padding_side="right", return_tensors="pt")
        weights = family_loss_weights(ids["input_ids"], tokenizer, **options)[0]
        tokens = [tokenizer.decode([i]) for i in ids["input_ids"][0].tolist()]
        return tuple(
            "".join(t for t, w in zip(tokens, weights, strict=True) if w == weight) for weight in (1, VERDICT_WEIGHT)
        )

    shown = f"Question: 9*3+34\nSolution: {CARRY}"
    both = f"Question: 9*3+34\nSolution A: {CARRY}\nSolution B: {RIGHT}"
    assert learnt(shown) == (f"{CARRY}<eos>", "")
    assert learnt(f"{shown}\nScore: 0.4") == ("", "0.4<eos>")
    assert learnt(f"{shown}\nCorrectness: Incorrect") == ("", "Incorrect<eos>")
    assert learnt(f"{shown}\nCheck: {RIGHT}\nCorrectness: Incorrect") == (f"{RIGHT}\nCorrectness: ", "Incorrect<eos>")
    assert learnt(f"{shown}\nReview: {RIGHT}\nScore: 10") == (f"{RIGHT}\nScore: ", "10<eos>")
    assert learnt(f"{both}\nCompare: {RIGHT}\nPreferred solution: B") == (f"{RIGHT}\nPreferred solution: ", "B<eos>")
    assert learnt("9*3=27, 27+34=61") == ("27, 61<eos>", "")
    # Of a marked solution never the heading behind it: else the solver would learn to go on there.
    assert learnt(f"{shown}\nScore: 0.4", solutions=True) == (CARRY, "0.4<eos>")
    assert learnt(shown, solutions=True) == learnt(shown)
    judged = f"{both}\nCompare: {RIGHT}\nPreferred solution: B"
    assert learnt(judged, solutions=True) == (f"{CARRY}{RIGHT}{RIGHT}\nPreferred solution: ", "B<eos>")


def test_own_samples_come_right_and_wrong_by_turns_with_a_rival(monkeypatch):
    def sampled(model, tokenizer, batch, temperature, stream):
        return [(e, f"Answer: {e.value + (i % 2 == 0)}") for e in batch[:40] for i in range(4)]

    monkeypatch.setattr(family, "own_samples", sampled)
    draw = family.own_solutions(torch.nn.Linear(1, 1), None, 0)
    rng = np.random.default_rng(0)
    drawn = [draw(step, rng) for step in range(2 * family.REDRAW)]
    right = [true_score(expression, solution)[1] for expression, solution, _ in drawn]
    assert 0.4 < np.mean(right) < 0.6
    assert all(true_score(e, a)[1] != true_score(e, b)[1] for e, a, b in drawn)


@pytest.mark.parametrize("size", SIZES)
def test_shipped_sizes_are_what_their_configuration_says(size):
    name = f"tiny_{size}"
    config = composed(f"model={name}")
    loaded = load_model(config.model)
    took = json.loads((FAMILY / size / "pretraining.json").read_text())
    assert loaded.model.num_parameters() == config.model.parameters == took["parameters"]
    assert took["tokens"] == config.model.tokens
    assert took["flops"] == 6 * took["parameters"] * took["tokens"]
    assert loaded.model.dtype == torch.float32
    built = family.family_tokenizer()
    assert loaded.tokenizer.get_vocab() == built.get_vocab()
    assert loaded.end_tokens == (built.eos_token_id,)
    with safe_open(FAMILY / size / "model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"BF16"}  # noqa: SIM118


def test_the_family_differs_in_size_alone():
    took = [json.loads((FAMILY / size / "pretraining.json").read_text()) for size in ("xs", "s", "m", "l")]
    parameters = [one["parameters"] for one in took]
    assert all(b / a > 3 for a, b in itertools.pairwise(parameters))
    assert all(one["steps"] == took[0]["steps"] and one["batch"] == took[0]["batch"] for one in took)
    tokens = [one["tokens"] for one in took]
    assert max(tokens) / min(tokens) < 1.02  # the same texts, but for their own samples


def test_a_run_of_the_family_is_identified_by_its_weights(monkeypatch, tmp_path):
    config = composed("model=tiny_m")
    plain = identity(config)
    assert len({plain, *(identity(composed(f"model=tiny_{size}")) for size in SIZES)}) == len(SIZES)
    copy = tmp_path / "m"
    copy.mkdir()
    for file in EMBEDDED["tiny_m"].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    monkeypatch.setitem(EMBEDDED, "tiny_m", copy)
    assert identity(config) == plain
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert identity(config) != plain


def test_the_largest_solves_and_verifies_what_it_never_saw():
    loaded = load_model(composed("model=tiny_l").model)
    tokenizer = loaded.tokenizer
    engine = HFEngine(loaded.model, loaded.end_tokens, pad_token(loaded), batch_size=2048)
    stream = expressions(np.random.default_rng(9), "test")
    asked = [next(stream) for _ in range(48)]
    texts = [read_prompt("tiny/solve.txt").replace("{question}", e.text) for e in asked]
    prompts = [
        Prompt(tuple(ids), derive_key(text)) for ids, text in zip(tokenizer(texts)["input_ids"], texts, strict=True)
    ]

    def said(text):
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    judge = FollowUp(said(read_prompt("tiny/mc.txt")), 0.1, 4, (said("Correct"), said("Incorrect")))
    rollouts = engine.rollout(prompts, Sampling(4, 1.0, 48, 0), judge)
    solutions = tokenizer.batch_decode(rollouts.bodies)
    right = np.array([true_score(asked[i // 4], solution)[1] for i, solution in enumerate(solutions)])
    assert right.mean() > 0.3
    assert auroc(rollouts.answer_logprobs[..., 0].ravel(), right.astype(float)) > 0.6
    check = FollowUp(said(read_prompt("tiny/cot_binary.txt")), 0.1, 48)
    verdicts = tokenizer.batch_decode(engine.rollout(prompts, Sampling(4, 1.0, 48, 0), check).verdicts)
    assert all("\nCorrectness: " in verdict for verdict in verdicts)
    passed = np.array([verdict.endswith("\nCorrectness: Correct") for verdict in verdicts])
    assert auroc(passed.astype(float), right.astype(float)) > 0.6
