"""The tables of `wordings.py`: results/wordings.json, and wordings.md with a table for each task and verifier."""

import json
from collections.abc import Sequence
from typing import Any

from study import RESULTS

from sivgap.config.locate import conf_dir, task_prompt
from sivgap.report.tables import markdown
from sivgap.runtime.hardware import describe_hardware

HEAD = """# Wordings of prompts, on real models

`python benchmarks/wordings.py`; words in [wordings/](../wordings). Solvers sample at temperature 1, verifiers at
.1. {about}

*accuracy* grades the answer however it is written, +- its standard error over problems; *in the form asked for* demands
it behind the mark that the prompt names (or the examples show). AUROC is of the score, and of the response's own
likelihood a token, -U/|y|, which costs nothing. *commonest* is the score that most responses got, and their share.
Problems are problems x responses x most tokens. Bold is what is shipped.
"""


def write(cells: Sequence[dict[str, Any]], about: str) -> None:
    """Both files, of all `cells` measured so far; `about` is what a reader must know of models and machine."""
    parts = [HEAD.format(about=about)]
    for kind in dict.fromkeys(cell["kind"] for cell in cells):
        for task in dict.fromkeys(cell["task"] for cell in cells if cell["kind"] == kind):
            some = [cell for cell in cells if (cell["kind"], cell["task"]) == (kind, task)]
            table = solver_table(some) if kind == "solver" else verifier_table(some)
            parts.append(f"\n## {'Solver' if kind == 'solver' else 'Verifier ' + kind}, {task}\n\n{table}")
    (RESULTS / "wordings.md").write_text("".join(parts))
    found = {"hardware": describe_hardware(), "about": about, "cells": list(cells)}
    (RESULTS / "wordings.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def solver_table(cells: Sequence[dict[str, Any]]) -> str:
    heads = ["model", "problems", "wording", "accuracy", "in the form asked for", "form used", "tokens", "cut off"]
    rows = [
        [
            cell["model"], _problems(cell), _name(cell), f"{cell['accuracy']:.3f} +- {cell['accuracy_se']:.3f}",
            f"{cell['strict']:.3f}", f"{cell['in_form']:.0%}", f"{cell['length']:.0f}", f"{cell['cut']:.0%}",
        ]
        for cell in sorted(cells, key=lambda cell: (cell["model"], _problems(cell), -cell["accuracy"]))
    ]  # fmt: skip
    return markdown(heads, rows)


def verifier_table(cells: Sequence[dict[str, Any]]) -> str:
    heads = ["model", "responses (right)", "wording", "readout", "AUROC", "of -U/|y|", "unparsed", "commonest"]
    rows = [
        [
            cell["model"], f"{cell['right'] + cell['wrong']} ({cell['right']})", _name(cell), cell["readout"],
            _share(cell["auroc"]), _share(cell["auroc_likelihood"]), f"{cell['unparsed']:.0%}",
            f"{cell['commonest']:.2f} ({cell['commonest_share']:.0%})",
        ]
        for cell in sorted(cells, key=lambda cell: (cell["model"], cell["readout"], -(cell["auroc"] or 0)))
    ]  # fmt: skip
    return markdown(heads, rows)


def _problems(cell: dict[str, Any]) -> str:
    shots = f", {cell['few_shot']}-shot" if cell["few_shot"] else ""
    return f"{cell['problems']}, {cell['prompts']} x {cell['samples']} x {cell['tokens']}{shots}"


def _name(cell: dict[str, Any]) -> str:
    """The wording's name, in bold where a shipped prompt has these words."""
    file = f"{cell['style']}/{'solve' if cell['kind'] == 'solver' else cell['kind']}.txt"
    path = conf_dir() / "prompts" / task_prompt(file, cell["task"])
    shipped = path.is_file() and path.read_text().strip() == cell["words"].strip()
    return f"**`{cell['wording']}`**" if shipped else f"`{cell['wording']}`"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
