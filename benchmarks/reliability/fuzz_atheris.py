"""Answer extraction and verdict parsers under atheris, which finds inputs by the code that they reach.

    python benchmarks/reliability/fuzz_atheris.py -max_total_time=600 -max_len=4000 -timeout=5

Needs an environment with atheris (``pip install atheris``, built for few Pythons and so no dependency) and this
checkout on PYTHONPATH; arguments are libFuzzer's. An exception or five seconds on one input end it with that input.
"""

import sys
from typing import get_args

import atheris

with atheris.instrument_imports():
    from targets import parsers

    from sivgap.grading import expression, extract, forms, grids, limits, lm_eval, number, short_answer, votes
    from sivgap.runtime.sanitize import no_formula, sanitize


def one_input(data: bytes) -> None:
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(len(data))
    for read in (extract.final_number, extract.last_boxed, lm_eval.strict_match, lm_eval.flexible_extract):
        found = read(text)
        if found is not None:
            number.to_fraction(found)
    number.to_fraction(text)
    grids.last_grid(text)
    for form in get_args(forms.Form):
        forms.in_form(text, form)
    if limits.acceptable(text):
        votes.vote_key(expression.answer_of(text))
    accepted = short_answer.accepted_answers(text)
    [short_answer.matches(answer, accepted) for answer in short_answer.readings(text)]
    if any(value is not None and not 0 <= value <= 1 for value in (parse(text) for parse in parsers())):
        raise AssertionError("a verdict outside of [0, 1]")
    no_formula(sanitize(text)).encode()


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
