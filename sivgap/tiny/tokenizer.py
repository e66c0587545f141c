"""The embedded models' tokenizers: one token a digit or sign, one a word of the format. Text survives a round trip."""

from __future__ import annotations

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
WORDS = ("Question: ", "\nSolution: ", ", ", "Answer: ", "\nScore: ", "\nVerdict: ", "True", "False")
SIGNS = tuple("0123456789+-*=.")
FAMILY_WORDS = (
    *WORDS, "\nCorrectness: ", "Correct", "Incorrect", "\nCheck: ", "\nReview: ", "\nSolution A: ", "\nSolution B: ",
    "\nCompare: ", "\nPreferred solution: ", "A", "B",
)  # fmt: skip
"""Words of the family (`sivgap.tiny.family`); none begins a later one, so the first that matches is the whole word."""


def build_tokenizer(words: tuple[str, ...] = WORDS, context: int = 256) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over digits, signs and `words`. Anything else becomes ``<unk>``, which the task layer
    refuses. `context` is the longest text in tokens."""
    vocabulary = {token: i for i, token in enumerate((PAD, BOS, EOS, UNKNOWN, *SIGNS, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    pattern = "|".join(re.escape(word) for word in words) + r"|[\s\S]"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
