"""Findings for readers: on a terminal, and as a page in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from sivgap.gap.estimate import Estimate, too_few
from sivgap.preflight.conversation import Conversation
from sivgap.preflight.findings import Findings
from sivgap.runtime.display import Display
from sivgap.runtime.sanitize import sanitize
from sivgap.runtime.time_left import duration

_BAR = 24
"""Characters of the longest bar."""
_SHOWN = 4000
"""Characters of a prompt or a response on a terminal; the page has all of them."""


def show(found: Findings, display: Display) -> None:
    """On standard error: conversations first, what is wrong last, where a reader looks."""
    console = display.console
    for i, each in enumerate(found.conversations, 1):
        console.rule(escape(sanitize(f"conversation {i}: {each.problem}")), align="left")
        for label, text in _parts(each):
            console.print(f"[bold]{label}[/bold]")
            console.print(escape(sanitize(_short(text))))
    console.rule(escape(sanitize(found.name)), align="left")
    lines = Table(show_header=False, box=None, pad_edge=False)
    for label, text in _numbers(found):
        lines.add_row(label, escape(sanitize(text)))
    console.print(lines)
    if not found.sentences:
        display.say("nothing is wrong that these responses could show")
    for sentence in found.sentences:
        display.say(f"beware: {sentence}")


def markdown_of(found: Findings) -> str:
    """The page: what is wrong first."""
    parts = [f"# Preflight: {_inline(found.name)}", ""]
    parts += [f"- {_inline(sentence)}" for sentence in found.sentences] or ["Nothing is wrong that this could show."]
    parts += ["", "| | |", "|---|---|"]
    parts += [f"| {_inline(label)} | {_inline(text).replace(chr(10), '<br>')} |" for label, text in _numbers(found)]
    for i, each in enumerate(found.conversations, 1):
        parts += ["", f"## Conversation {i}: {_inline(each.problem)}"]
        for label, text in _parts(each):
            parts += ["", f"**{label}**", "", *_fenced(text)]
    return "\n".join(parts) + "\n"


def _parts(each: Conversation) -> Iterator[tuple[str, str]]:
    yield "prompt, as sent", each.prompt
    right = "right" if each.correct_strict else "right, in another form than asked for" if each.correct else "wrong"
    read = "no answer was found in it" if each.answer is None else f"read as {each.answer}"
    cut = "" if each.finished else ", cut off"
    yield f"response{cut} ({read}, expected {each.reference}: {right})", each.response
    for verdict in each.verdicts:
        yield f"the judge is asked ({verdict.verifier})", verdict.question
        value = "which could not be read" if verdict.value is None else f"verdict {verdict.value:.3f}"
        read_off = "read off the likelihoods of its answers" if verdict.said is None else verdict.said
        yield f"it answers ({value})", read_off
    yield "score", f"{each.score:.3f}"


def _numbers(found: Findings) -> Iterator[tuple[str, str]]:
    seen, cost, rival = found.measured, found.cost, found.measured.rival
    fewer = "" if seen.prompts == found.wanted else f" (of {found.wanted}: no time for more on this machine)"
    yield "tried", f"{seen.prompts} problems{fewer} x {seen.samples} responses, in {duration(found.seconds)}"
    yield "accuracy", f"{_with_interval(seen.accuracy)}; in the form asked for {seen.strict:.3f}"
    yield "problems with a right response", f"{found.solved:.0%}"
    yield "length", f"{seen.length:.0f} tokens in the mean, 90 % below {found.length90:.0f}; the most {found.longest}"
    yield "cut off", f"{seen.cut:.1%}, of the chosen ones {seen.chosen_cut:.1%}"
    yield "verdicts that could not be read", f"{seen.unparsed:.1%}"
    if seen.score is not None:
        yield "scores", f"{seen.score:.3f} ± {seen.spread:.3f}; different within {seen.varied:.0%} of the problems"
        yield "", "\n".join(_bars(found))
    wrong = seen.prompts * seen.samples - seen.right
    yield "AUROC of the score, within prompts", _with_interval(rival.score_auroc_within)
    yield "AUROC of the score, pooled", f"{_with_interval(rival.score_auroc)} (of {seen.right} right, {wrong} wrong)"
    yield "AUROC of the likelihood, within prompts", _with_interval(rival.likelihood_auroc_within)
    yield "AUROC of the likelihood, pooled", _with_interval(rival.likelihood_auroc)
    yield (
        f"best of {seen.samples}",
        f"by the verifier {_with_interval(rival.verifier_accuracy)}, by likelihood alone "
        f"{_with_interval(rival.likeliest_accuracy)}",
    )
    yield (
        f"selection, {found.selection}",
        f"no response passes of {seen.none_pass:.0%} of the problems, all of {seen.all_pass:.0%}",
    )
    yield "responses ended by", ", ".join(f"{end!r} {count}" for end, count in found.ends.items())
    context, needed = found.context
    yield "context", f"{'not stated' if context is None else context} tokens; the longest prompt needs {needed}"
    loaded, stored = found.dtype
    yield "weights", loaded if stored in (None, loaded) else f"{loaded}, stored as {stored}"
    held = f"this process has held {_gib(cost.so_far)}" + ("" if cost.gpu is None else f", the GPU {_gib(cost.gpu)}")
    yield "memory", f"{_gib(cost.memory)} predicted at the run's peak, of {_gib(cost.room)}; {held}"
    yield "rates", ", ".join(f"{rate:.3g} {what}" for what, rate in cost.rates.items() if rate is not None)
    without = "" if cost.complete else " without training, which there was no time to try"
    yield "the whole run", f"about {duration(3600 * cost.hours)}{without}, at the speed of these few responses at once"


def _bars(found: Findings) -> Iterator[str]:
    """A text histogram of the scores."""
    most = max(1, *(each["right"] + each["wrong"] for each in found.histogram))
    for each in found.histogram:
        bar = "#" * math.ceil(_BAR * (each["right"] + each["wrong"]) / most)
        counts = f"{each['right']:4.0f} right {each['wrong']:4.0f} wrong"
        yield f"{each['low']:.1f}-{each['high']:.1f} {bar:<{_BAR}} {counts}"


def _with_interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined: all are right, or all wrong"
    if estimate.informative is not None and estimate.hidden:
        return too_few(estimate.informative)
    ends = "" if estimate.low is None else f" (90 %: {estimate.low:.2f} to {estimate.high:.2f})"
    return f"{estimate.value:.2f}{ends}"


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}\n[...]\n{text[-_SHOWN // 2 :]}"


def _inline(text: str) -> str:
    """Text that is no markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", sanitize(text))


def _fenced(text: str) -> list[str]:
    """A block that nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, sanitize(text), fence]
