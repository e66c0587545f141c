"""Ten thousand odd command lines: each composes to a run that could start, or is told in a sentence what is wrong.

    python benchmarks/reliability/fuzz_config.py [--cases 10000] [--seed 0]

In one process, by the same calls as a command makes (`sivgap.config.app`): Hydra composes, pydantic validates, and for
what passes, the run's identity and the prompts are found, which read files that overrides name. Resumable by blocks.
Writes benchmarks/results/reliability/fuzz_config.md and .json; ends with status 1 if anything else was raised.
"""

import argparse
import json
import random
import re
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import hostile
from hydra import compose, initialize_config_dir
from rich.progress import track

from sivgap.config.app import all_keys, explain_composition, validate
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir, read_prompt
from sivgap.config.schema import TrainConfig
from sivgap.errors import ConfigError
from sivgap.fit import FitConfig
from sivgap.report.tables import markdown
from sivgap.runs.identity import evaluation_directory, identity

RESULTS = Path(__file__).parents[1] / "results" / "reliability"
BLOCK = 250
LONGEST = 1_500
"""Characters of a sentence: a list of all models is long."""
SCHEMAS = {"train": TrainConfig, "evaluate": EvaluateConfig, "fit": FitConfig}
VALUES = [
    "0", "1", "-1", "2", "0.5", "1.5", "1e308", "-0.0", "nan", "inf", "-inf", "1e-400", "1e400", "null", "true",
    "false", "''", '""', "[]", "{}", "[1]", "[1,2", "{a:1}", "[[[[[]]]]]", "[0.1,0,0.05]", "[mc,cot_score]",
    "{True:1,False:0}", "9" * 30, "9" * 5000, "0x10", "1_000", "٣", "abc", "gsm8k", "math", "tiny", "qe", "tf", "late",
    "early", "custom", "reference", "file", "api", "model", "vllm", "hf", "full", "rpo", "step", "never", "half_epoch",
    "${seed}", "${nope}", "${oc.env:HOME}", "${oc.env:NOPE}", "${a.${b}}", "${", "$", "???", "../../x", "/",
    "/dev/null", "x.jsonl", "~", "/proc/self/mem", "a b", "a,b", "a=b", "a:b", "'a", "\\", "\x00", "\n", "é", "\ud800",
    "[[", "@", "!!python/object:os", "choice(1,2)", "range(1,3)", "glob(*)", "shuffle(1,2)", "sort(2,1)", "tag(a,1)",
    "int(3)", "float(x)", "str(1)", "extend_list(1)", "null,null", "'" + "x" * 3000 + "'", "[" * 200, "(" * 200,
]  # fmt: skip


def groups() -> dict[str, list[str]]:
    return {g.name: sorted(p.stem for p in g.glob("*.yaml")) for g in sorted(conf_dir().iterdir()) if g.is_dir()}


def override(random_: random.Random, keys: list[str], options: dict[str, list[str]]) -> str:
    """One word of a command line: mostly a real key with an odd value."""
    kind = random_.random()
    if kind < 0.2:
        group = random_.choice([g for g in options if options[g]])
        name = random_.choice(options[group]) if random_.random() < 0.8 else hostile.text(random_)[:20]
        return f"{random_.choice(['', '', '+', '~', '++'])}{group}={name}"
    key = random_.choice(keys)
    if kind > 0.9:  # misspelt, or nothing of the kind
        place = random_.randrange(len(key))
        key = random_.choice(
            [key[:place] + key[place + 1 :], key + ".x", key.replace(".", "..", 1), key.upper(), "@" + key]
        )
    value = random_.choice(VALUES) if random_.random() < 0.85 else hostile.text(random_)[:40]
    if kind < 0.22:
        return hostile.text(random_)[:40]
    return f"{random_.choice(['', '', '', '', '+', '++', '~'])}{key}={value}"


def case(random_: random.Random) -> tuple[str, list[str]]:
    name = random_.choices(list(SCHEMAS), weights=(6, 2, 1))[0]
    keys, options = all_keys(SCHEMAS[name]), groups()
    return name, [override(random_, keys, options) for _ in range(random_.choice([1, 1, 1, 2, 3]))]


def outcome(name: str, overrides: list[str]) -> str:
    """``runs`` or the sentence; anything else that is raised is a hole."""
    schema = SCHEMAS[name]
    try:
        try:
            raw = compose(name, overrides)
        except Exception as error:
            raise ConfigError(explain_composition(error, schema, overrides)) from error
        config = validate(raw, schema)
        if isinstance(config, TrainConfig):
            identity(config)
        elif isinstance(config, EvaluateConfig):
            evaluation_directory(config)
        if isinstance(config, TrainConfig | EvaluateConfig):
            read_prompt(config.dataset.prompt)
        return "runs"
    except ConfigError as error:
        said = str(error)
    assert 0 < len(said) < LONGEST, f"{len(said)} characters: {said[:200]}"
    if len(overrides) == 1:
        key = overrides[0].lstrip("+~").partition("=")[0].strip()
        parts = [part for part in re.split(r"[.@/\s]", key) if part.isascii() and part.isalnum()]
        # What does not fit with another setting may be told by that setting's key.
        keys = [*parts, *all_keys(TrainConfig), *all_keys(schema)]
        assert not parts or any(part in said for part in keys), f"no key: {said}"
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "fuzz_config.json"
    done: dict[str, dict] = json.loads(file.read_text()) if file.exists() else {}
    planned = [str(a.seed + i) for i in range(-(-a.cases // BLOCK))]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for seed in track([s for s in planned if s not in done], "fuzzing"):
            found: dict = {"runs": 0, "refused": 0, "longest": 0, "slowest": 0.0, "wrong": []}
            for i in range(BLOCK):
                name, overrides = case(random.Random(f"{seed} {i}"))
                started = time.process_time()
                try:
                    said = outcome(name, overrides)
                    found["runs" if said == "runs" else "refused"] += 1
                    found["longest"] = max(found["longest"], len(said))
                except Exception as error:
                    trace = "".join(traceback.format_exception(error)[-2:])[-700:]
                    found["wrong"].append([name, [ascii(o)[:200] for o in overrides], ascii(trace)])
                found["slowest"] = max(found["slowest"], time.process_time() - started)
            done[seed] = found
            file.write_text(json.dumps(done, indent=0) + "\n")
    blocks = list(done.values())
    count = len(blocks) * BLOCK
    wrong = [w for b in blocks for w in b["wrong"]]
    row = [f"{count:,}", str(sum(b["runs"] for b in blocks)), str(sum(b["refused"] for b in blocks)), str(len(wrong)),
           str(max(b["longest"] for b in blocks)), f"{max(b['slowest'] for b in blocks):.2f}"]  # fmt: skip
    head = ["cases", "could start", "refused in a sentence", "anything else", "longest sentence", "slowest (s)"]
    (RESULTS / "fuzz_config.md").write_text(f"# Odd command lines\n\n{markdown(head, [row])}")
    print(markdown(head, [row]))
    for name, overrides, trace in wrong[:25]:
        print(name, overrides, trace.encode().decode("unicode_escape"), sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
