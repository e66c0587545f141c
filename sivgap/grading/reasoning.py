"""What models that think write before their answer: ``<think> ... </think>`` and its kin. It is never the answer."""

from __future__ import annotations

import re

_END = re.compile(
    r"</(?:seed:)?think(?:ing)?>|</(?:reasoning|thought)>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|"
    r"<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)
"""What ends it: of Qwen, DeepSeek and most others, Seed, Magistral, Kimi, OpenThinker and gpt-oss. What begins it often
belongs to the prompt."""


def without_reasoning(text: str) -> str:
    """What stands behind the last mark that ends reasoning; the whole text where there is none."""
    ends = list(_END.finditer(text))
    return text[ends[-1].end() :] if ends else text
