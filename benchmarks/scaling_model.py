"""How a run scales from 1 to 8 to 64 GPUs, by arithmetic: the cost model of `sivgap.plan`, and what does not divide.

    python benchmarks/scaling_model.py [--train FILE --test FILE]

The work of a run on GSM8K (lengths assumed, as in a plan) on one H100 comes from ``plan=h100``. To it is added what
dividing that leaves out: prompts come in batches, a step has 16 examples however many GPUs there are, gradients and
sharded weights cross a network, and one rank alone writes checkpoints. Sharded, each machine has all rows: weights are
gathered within it, and an eighth of the gradients goes between machines for each of its GPUs.
Writes benchmarks/results/scaling_model.md and .json.
"""

import argparse
import json
import math
import subprocess
import sys

from study import publish

from sivgap.models.shape import Shape, of_parameters
from sivgap.plan.hardware import NAMED, OF_BANDWIDTH
from sivgap.report.tables import markdown

H100 = NAMED["h100"]
NODE = 8
NVLINK = 450e9
"""Bytes a second and direction of a GPU within a node (NVIDIA's data sheet of the H100 SXM: 900 GB/s both ways)."""
NETWORKS = {"400 Gb/s a GPU": 50e9, "100 Gb/s a node": 12.5e9 / 8, "10 Gb/s a node": 1.25e9 / 8}
"""Bytes a second between nodes of each GPU."""
DISK = 2e9
"""Bytes a second that one process writes to a shared file system."""
A_LAYER = 0.8e-3
"""Seconds that a layer takes to be started from Python in training, once forward and twice as long backward."""
EXAMPLES, ROWS, HALVES = 16, 256, 20
"""Of SV Table 3: examples a step, half epochs; and responses sampled at once."""


MODELS = [
    ("llama32_3b", 3.21e9, "lora"),
    ("llama31_8b", 8.03e9, "lora"),
    ("llama31_8b", 8.03e9, "full"),
]


def planned(model: str, update: str, files: list[str]) -> dict:
    """What ``plan=h100`` says of one GPU."""
    own = [f"model={model}", "dataset=gsm8k", "plan=h100", f"update.parameters={update}", *files]
    done = subprocess.run([sys.executable, "-m", "sivgap.train", *own], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def batched(seconds: float, prompts: float, times: float, n: int, gpus: int) -> float:
    """Seconds of a phase that one GPU takes `seconds` for: `prompts` prompts, `times` times, in batches of ROWS."""
    at_once = ROWS / n
    return seconds / math.ceil(prompts / at_once) * math.ceil(prompts / gpus / at_once)


def step(one: float, shape: Shape, trained: float, sharded: bool, gpus: int, between: float) -> dict[str, float]:
    """Seconds of an optimiser step that one GPU takes `one` for: computing, and on the network."""
    share = math.ceil(EXAMPLES / gpus) / EXAMPLES
    reading = 3 * 2 * shape.parameters / (OF_BANDWIDTH * H100.bandwidth)  # forward, and backward twice over the weights
    started = 3 * shape.layers * A_LAYER
    size, here, machines = 4 * trained, min(gpus, NODE), max(1, gpus // NODE)
    if sharded:  # gathered twice and reduced once within a machine, then a part of it between machines
        within = 3 * (here - 1) / here * size / NVLINK
        across = 2 * (machines - 1) / machines * size / NODE / between
    else:
        within = 2 * (gpus - 1) / gpus * size / NVLINK
        across = 2 * (machines - 1) / machines * size / NODE / between  # a tree of machines, each GPU with its part
    return {"computing": max(one * share, reading, started), "network": within + across}


def scaled(plan: dict, shape: Shape, trained: float, sharded: bool, gpus: int, between: float, n: int) -> dict:
    """Hours of each part of the run."""
    part = dict.fromkeys(("sampling", "verifying"), 0.0)
    times = {"labels": HALVES, "train panel": HALVES + 1, "test panel": HALVES + 1}
    steps = one = 0.0
    for phase in plan["phases"]:
        what, _, kind = phase["name"].partition(": ")
        if what == "training":
            steps = phase["items"] / EXAMPLES
            one = phase["seconds"] / steps
        else:
            prompts = phase["items"] / n / times[what]
            part[kind] += batched(phase["seconds"], prompts, times[what], n, gpus)
    each = step(one, shape, trained, sharded, gpus, between)
    state = 12 * trained  # weights and two moments in single precision
    written = (2 * HALVES + 1) * state / DISK
    found = {
        **part,
        "training": steps * each["computing"],
        "gradients": steps * each["network"],
        "checkpoints": written,
    }
    return {**{key: value / 3600 for key, value in found.items()}, "all": sum(found.values()) / 3600}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train")
    parser.add_argument("--test")
    a = parser.parse_args()
    files = [f"dataset.path={a.train}"] * bool(a.train) + [f"dataset.test_path={a.test}"] * bool(a.test)
    rows, found = [], []
    for name, parameters, update in MODELS:
        shape, plan = of_parameters(parameters), planned(name, update, files)
        n = 16
        trained = parameters if update == "full" else adapters(shape)
        cases = [(1, "-", 1.0), (8, "NVLink", 1.0), *((64, net, rate) for net, rate in NETWORKS.items())]
        for gpus, net, between in cases:
            hours = scaled(plan, shape, trained, update == "full" and gpus > 1, gpus, between, n)
            base = found[-1]["base"] if gpus > 1 else hours["all"]
            found.append({"model": name, "update": update, "gpus": gpus, "net": net, "base": base, **hours})
            shown = [f"{hours[key]:.2f}" for key in hours]
            rows.append([f"{name}, {update}", str(gpus), net, *shown, f"{base / hours['all'] / gpus:.2f}"])
    head = ["", "GPUs", "between nodes", *(key for key in hours), "efficiency"]
    text = (
        "# Hours of a run on GSM8K, SV's Table 3, by arithmetic\n\nH100, engine=hf, every half epoch measured on all "
        "problems; nothing here was measured. Full fine-tuning is sharded (FSDP2) from 8 GPUs on.\n\n"
        + markdown(head, rows)
    )
    publish("scaling_model", text, found)


def adapters(shape: Shape, rank: int = 16) -> float:
    """Parameters of LoRA on all linear modules."""
    return shape.layers * rank * sum(i + o for i, o in shape.targets(["all-linear"]))


if __name__ == "__main__":
    main()
