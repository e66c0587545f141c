"""What ends a response: the end-of-sequence tokens that a model names, and the one that its chat template writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sivgap.errors import RunError
from sivgap.models.template import render

_QUESTION, _ANSWER = "[[sivgap question]]", "[[sivgap answer]]"


def end_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    chat: bool,
    variables: Mapping[str, object] | None = None,
) -> tuple[int, ...]:
    """Every token that ends a response, the one that ends a text which somebody else wrote first.

    That one is the chat template's end of a turn where prompts are chats (Phi-3 writes ``<|end|>``, Gemma
    ``<end_of_turn>``, and the tokenizer's end of sequence is another), else the tokenizer's end of sequence. The
    template is told `variables`, as in every conversation.

    Raises:
        RunError: If the chat template cannot be rendered.
    """
    generation = getattr(model, "generation_config", None)
    named = _numbers(getattr(generation, "eos_token_id", None))
    of_turn = end_of_turn(tokenizer, variables) if chat else None
    first = next((token for token in (of_turn, tokenizer.eos_token_id, *named) if token is not None), None)
    if first is None:
        return ()
    every = {first, *named, *_numbers(tokenizer.eos_token_id)}
    return (int(first), *sorted(every - {first}))


def end_of_turn(tokenizer: PreTrainedTokenizerBase, variables: Mapping[str, object] | None = None) -> int | None:
    """The token that the chat template writes behind an answer; None where it writes none, or ordinary text."""
    messages = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
    before, found, behind = render(tokenizer, messages, variables, answer=False).rpartition(_ANSWER)
    token = _first_added(tokenizer, behind) if found else None
    # A template that always opens the next answer would have this one end with what opens answers.
    opening = _added(tokenizer, before.rpartition(_QUESTION)[2])
    return None if opening and token == opening[-1] else token


def check_vocabulary(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ends: Iterable[int]
) -> None:
    """Raises RunError if `tokenizer` can write a token that `model` has no embedding for.

    Special tokens that no text holds may lie beyond it (Gemma 3's placeholder for images does), but none that ends a
    response. An embedding with rows to spare is fine.
    """
    rows = embedding_rows(model)
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    beyond = {number for number in tokenizer.get_vocab().values() if number >= rows} - special
    beyond |= {number for number in ends if number >= rows}
    if beyond:
        raise RunError(
            f"{name}: its tokenizer has {len(beyond)} tokens (up to number {max(beyond)}) beyond the {rows} of the "
            "model's embedding; take tokenizer and weights of one model, or resize the embedding where it was made"
        )


def embedding_rows(model: PreTrainedModel) -> int:
    """Tokens that `model` can read."""
    return int(model.get_input_embeddings().weight.shape[0])


def _first_added(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    """The token that `text` begins with, space aside, if it is one added to the vocabulary."""
    for number in tokenizer(text, add_special_tokens=False)["input_ids"]:
        if tokenizer.decode([number]).strip():
            return int(number) if number in tokenizer.added_tokens_decoder else None
    return None


def _added(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    numbers = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [number for number in numbers if number in tokenizer.added_tokens_decoder]


def _numbers(stated: int | list[int] | None) -> list[int]:
    return stated if isinstance(stated, list) else [] if stated is None else [stated]
