"""What a user is told before the first long phase: what was loaded, what it is asked, how much is to come."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sivgap.core.problem import Problem
from sivgap.models.load import Loaded, context_length
from sivgap.models.prompts import PromptWriter
from sivgap.runtime.display import Display

_LONGEST = 3_000
"""Characters of a prompt that are shown; the middle of a longer one, few-shot examples mostly, is left out."""


def introduce(
    display: Display, name: str, loaded: Loaded, writer: PromptWriter, problems: Sequence[Problem], work: str
) -> None:
    """Say what was loaded, the first of `problems` as the model gets it, and the `work` to come."""
    display.say(f"model: {describe_model(name, loaded)}")
    tokens = writer.solve(problems[0]).tokens
    display.say(f"first prompt, {len(tokens)} tokens: {one_line(loaded, tokens)}")
    display.say(f"to come: {work}")


def describe_model(name: str, loaded: Loaded) -> str:
    """``tiny, 1.2 M parameters, float32, cpu, threads 2, context 256 tokens, a response ends with <eos>``."""
    model = loaded.model
    parameters = sum(weight.numel() for weight in model.parameters())
    size = f"{parameters / 1e9:.2f} G" if parameters >= 1e9 else f"{parameters / 1e6:.3g} M"
    device = model.device.type
    where = f"cpu, threads {torch.get_num_threads()}" if device == "cpu" else torch.cuda.get_device_name(model.device)
    context = context_length(model)
    ends = " or ".join(loaded.tokenizer.convert_ids_to_tokens(list(loaded.end_tokens)))
    return (
        f"{name}, {size} parameters, {str(model.dtype).removeprefix('torch.')}, {where}, "
        f"{'context not stated' if context is None else f'context {context:,} tokens'}, a response ends with {ends}"
    )


def one_line(loaded: Loaded, tokens: Sequence[int]) -> str:
    """The text of `tokens` in one line, special tokens included, line ends as ``\\n``."""
    text = str(loaded.tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]} ... ({len(text) - 2 * half:,} characters left out) ... {text[-half:]}"
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def tokens_at_most(responses: float, max_new_tokens: int) -> str:
    """``64 responses of up to 200 tokens, at most 12,800``."""
    return f"{responses:,.0f} responses of up to {max_new_tokens:,} tokens, at most {responses * max_new_tokens:,.0f}"
