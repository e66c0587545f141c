r"""What is reasoning, and what follows it; and where a response ends that goes on to a question of its own.

Reasoning models think aloud first: what stands before ``</think>`` and its kin is never the answer. Base models answer
and go on: what follows the end of their turn, or the next ``Question:``, answers something else.
"""

from __future__ import annotations

import re

LONGEST_RESPONSE = 20_000
"""Characters from the end of a response that are read; an answer stands at the end, and patterns stay fast."""

_NAMES = "think|thinking|thought|thoughts|reasoning|reason|reflection|scratchpad|analysis|internal_monologue|seed:think"
_OPENING = (
    rf"<(?:{_NAMES})>|◁think▷|\[THINK\]|<\|begin_of_thought\|>|<\|START_THINKING\|>|<\|thinking\|>|<unused94>|"
    r"<\|channel\|>\s*(?:analysis|commentary)\b[^<]{0,40}<\|message\|>"
)
_CLOSING = (
    rf"</(?:{_NAMES})>|◁/think▷|\[/THINK\]|<\|end_of_thought\|>|<\|END_THINKING\|>|<\|/thinking\|>|<unused95>|"
    r"<\|channel\|>\s*final\b[^<]{0,40}<\|message\|>|\bassistantfinal\b"
)
_TAG = re.compile(f"(?P<opening>{_OPENING})|(?P<closing>{_CLOSING})", re.IGNORECASE)

_END_OF_TURN = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end_of_text|endoftext|end_of_turn|end|return|user|eos)\|>|<\|im_start\|>|"
    r"</s>|<end_of_turn>|<start_of_turn>|<eos>|<｜end▁of▁sentence｜>|<\|END_OF_TURN_TOKEN\|>|\[/?INST\]"
)
_SPACES = re.compile(r"\n{5,}|[^\S\n]{9,}")
"""Runs that say nothing more than a few of them would, and that patterns would try every way to share out."""
_MOST_HEADINGS = 200
_NEXT = re.compile(
    r"(?im)^[ \t>#*_\[]{0,8}(?:(?:new |next |another )?(?:question|problem|exercise|instruction|input)"
    r"(?:[ \t]{0,2}#?\d{1,4})?|q\d{0,3}|user|human)[\])]?[ \t*_]{0,4}[:.：](?!\w)"
    r"|^[ \t>#*_]{0,8}here(?:'s| is) (?:another|a new|the next|one more) (?:question|problem|exercise|example)\b"
    r"|^[ \t>#*_]{0,8}(?:question|problem|exercise) #?\d{1,4}[ \t*_]{0,4}$"
)
_RESTATED = re.compile(r"(?i)^\W{0,8}(?:question|problem|exercise|q|given|input|user|human|instruction)\b")
_ANNOUNCES = re.compile(r"(?i)(?::|\b(?:restate|rephrase|problem|question|let's|let me)\b[^\n]*)\s*$")
"""A line before a question that is about the question."""
_HEADING_OF_RESPONSE = re.compile(
    r"<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<\|assistant\|>|<\|start\|>\s*assistant"
)
ANSWERED = re.compile(
    r"(?im)\\(?:boxed|fbox)|^[ \t]{0,8}####?#?[ \t]{0,8}\S{0,40}\d|\banswer\b[^\n]{0,60}?(?:\bis\b|:|=)|</answer>"
    r"|^[ \t]{0,8}A[ \t]{0,2}:"
)
"""Some explicit final answer."""


def without_reasoning(text: str) -> str:
    """What follows the reasoning, and stands around it; empty where the reasoning never ends."""
    kept: list[str] = []
    depth = at = 0
    for tag in _TAG.finditer(text):
        if depth == 0:
            kept.append(text[at : tag.start()])
        if tag["opening"] is not None:
            depth += 1
        elif depth:
            depth -= 1
        else:
            kept.clear()  # a template may open the reasoning itself, and only its end is in the response
        at = tag.end()
    return "".join(kept) if depth else "".join(kept) + text[at:]


def answer_part(response: str) -> str:
    """The part of a response that answers: behind its reasoning, before the end of its turn or a next question."""
    text = _SPACES.sub(lambda run: run[0][:4], without_reasoning(response)[-LONGEST_RESPONSE:])
    text = _HEADING_OF_RESPONSE.sub("", text)
    end = next((match.start() for match in _END_OF_TURN.finditer(text) if text[: match.start()].strip()), len(text))
    text = _END_OF_TURN.sub("", text[:end])
    return _before_next_question(text)


def _before_next_question(text: str) -> str:
    restated = _RESTATED.match(text)
    answered = ANSWERED.search(text)
    begins = len(text) - len(text.lstrip())
    for heading in list(_NEXT.finditer(text))[:_MOST_HEADINGS]:
        place = heading.start()
        if place <= begins:
            continue
        if answered and answered.end() <= place:
            return text[:place]
        if not restated and not _ANNOUNCES.search(text[max(0, place - 200) : place]):
            return text[:place]
    return text
