"""Verdicts read from what a judge wrote: one parser, made from a verifier's YAML (`answers`, `heading`, `pattern`).

A verdict is read where the judge gives it: alone (``True``), behind the heading (``Correctness: Correct``), behind a
word like *verdict* or *answer*, in a box, or in a sentence about the solution (``The final answer is incorrect.``). A
text that offers a choice (``Correct or Incorrect?``), says both, or only mentions a number (``1. **Step 1**: The``) has
no verdict: it is unparsed, which is counted and never passes by itself. ``Not true`` is what it says, False.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sivgap.config.verifier import VerifierConfig
from sivgap.grading.reasoning import answer_part

Parser = Callable[[str], float | None]

LONGEST_VERDICT = 2_000
"""Characters from the end that are read: the verdict is the last line."""
LONGEST_REST = 200
"""Characters behind a heading that are read."""

_BOX = re.compile(r"\\(?:boxed|text|textbf|mathrm|fbox)\s*\{([^{}]{0,100})\}")
_NUMBER = r"[-+]?(?:\d{1,12}(?:\.\d{1,12})?|\.\d{1,12})"
_LABEL = (
    r"(?:final |overall |my )?(?:verdict|answer|score|rating|grade|quality|judge?ment|evaluation|conclusion|correctness"
    r"|result)"
)
_NOT = r"(?:\bnot\b|\bn't\b|n't\b|\bisn't\b|\bnever\b|\bfar from\b)"
_SUBJECT = r"(?:answer|solution|result|response|derivation|reasoning|statement|claim|conclusion|it|this|that)"
_IS = r"(?:is|was|are|seems|looks|appears(?: to be)?|must be|would be|'s)"
_CHOICE = r"\s*(?:,?\s*or\b|/|\||\bvs\b)\s*"


def verdict_parser(config: VerifierConfig) -> Parser:
    """The parser of a verifier's configuration: the value in [0, 1] of what was written, or None."""
    if config.pattern is not None:
        return _Pattern(re.compile(config.pattern, re.IGNORECASE | re.MULTILINE), _values(config)).parse
    numbers = _numeric(config.answers)
    if numbers is not None:
        return _Numbers(numbers, config.heading).parse
    values = _values(config)
    if config.name == "tournament":  # judges that were shown A and B speak of 1 and 2 as well
        values |= {str(place): value for place, value in enumerate(config.answers.values(), start=1)}
    return _Words(values, config.heading, lead="solution" if config.name == "tournament" else "").parse


def _values(config: VerifierConfig) -> dict[str, float]:
    return {text.strip().lower(): value for text, value in config.answers.items()}


def _numeric(answers: dict[str, float]) -> dict[float, float] | None:
    try:
        return {float(text): value for text, value in answers.items()} or None
    except ValueError:
        return None


def plain_verdict(text: str) -> str:
    """What a judge wrote, without its reasoning, boxes, stars and quotes; from its end."""
    text = answer_part(text)[-LONGEST_VERDICT:]
    for _ in range(3):
        text = _BOX.sub(r" \1 ", text)
    text = text.replace("’", "'").replace("_", " ")
    return re.sub(r"[*`\"“”$]|(?<!\w)'|'(?!\w)", "", text).strip()


@dataclass(frozen=True)
class _Pattern:
    """The last match of a pattern of one's own; its first group, where it has one, is the answer."""

    pattern: re.Pattern[str]
    values: dict[str, float]

    def parse(self, text: str) -> float | None:
        found = list(self.pattern.finditer(answer_part(text)[-LONGEST_VERDICT:]))
        if not found:
            return None
        said = (found[-1][1] if self.pattern.groups else found[-1][0]) or ""
        said = said.strip().lower()
        if said in self.values:
            return self.values[said]
        try:
            number = float(said)
        except ValueError:
            return None
        return next((value for text, value in self.values.items() if _float(text) == number), None)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class _Numbers:
    """Answers that are numbers: those listed, or where each stands for itself (.7 for 0.7) any between them."""

    values: dict[float, float]
    heading: str | None

    def parse(self, text: str) -> float | None:
        said = plain_verdict(text)
        if self.heading is not None:
            said = _behind(self.heading, said) or ""
            return self._value(said)
        label = list(re.finditer(rf"(?i)\b{_LABEL}\s*(?:is|of|would be|:|=|-)+\s*(?=[-+.\d])", said))
        if label:
            return self._value(said[label[-1].end() :])
        first, _, rest = said.partition("\n")
        if re.match(rf"\s*{_NUMBER}[.)]?\s+(?=\S*[A-Za-z#])", said) and not re.match(r"\s*[-+]?\d*\.\d", said):
            return None  # the first item of a list
        if re.fullmatch(rf"\s*{_NUMBER}(?:\s*/\s*{_NUMBER})?\s*%?[.!)\s]*", first) and not re.search(r"\d", rest):
            return self._value(first)
        if re.match(rf"(?i)\s*{_NUMBER}\s*out of\s*{_NUMBER}", first):
            return self._value(first)
        numbers = re.findall(rf"(?<![\w.]){_NUMBER}(?![\w])", first)
        inside = [n for n in numbers if "." in n]
        if len(numbers) == 1 and len(inside) == 1:
            return self._value(first[first.index(inside[0]) :])
        return self._value(said) if re.match(r"\s*[-+]?\d*\.\d", said) and len(numbers) == 1 else None

    def _value(self, text: str) -> float | None:
        """The number that `text` begins with; of the most (8/10) where that is the largest answer."""
        match = re.match(
            rf"\s*(?:is\s*)?[\[(]?\s*({_NUMBER})(?![\d.]*\d)\s*(?:(?:/|out of)\s*({_NUMBER})(?!\d))?\s*(%?)", text
        )
        if match is None or match[3] or (match[2] is not None and float(match[2]) != max(self.values)):
            return None
        if match[2] is None and re.match(r"\s*/", text[match.end() :]):
            return None
        if re.match(r"(?i)\s*(?:,|or|to|-|–|and)\s*\d", text[match.end() : match.end() + 12]):
            return None  # between two
        number = float(match[1])
        if number in self.values:
            return self.values[number]
        own = all(abs(value - key) < 1e-9 for key, value in self.values.items())
        return number if own and min(self.values) <= number <= max(self.values) else None


@dataclass(frozen=True)
class _Words:
    """Answers that are words."""

    values: dict[str, float]
    heading: str | None
    lead: str = ""

    def parse(self, text: str) -> float | None:
        said = plain_verdict(text)
        alone = self._at_start(said, whole=True)
        if alone is not None:
            return alone
        if self.heading is not None:
            rest = _behind(self.heading, said)
            return None if rest is None else self._at_start(rest)
        labelled = list(re.finditer(rf"(?i)\b{_LABEL}\s*(?:is\s*:?|:|=)\s*", said))
        for match in reversed(labelled):
            if (value := self._at_start(said[match.end() :])) is not None:
                return value
        return self._agreed(said)

    def _answer(self) -> str:
        return "|".join(re.escape(text) for text in sorted(self.values, key=len, reverse=True))

    def _at_start(self, text: str, whole: bool = False) -> float | None:
        """The answer that a text begins with; with `whole`, is."""
        lead = rf"(?:{self.lead}\s+)?" if self.lead else ""
        begins = rf"(?i)[\s\[(:]*(?P<no>(?:{_NOT})\s+)?{lead}[\[(]?(?P<said>{self._answer()})(?![\w+-])[\])]?"
        match = re.match(begins, text[:LONGEST_REST])
        if match is None:
            return None
        rest = text[match.end() :]
        if re.match(rf"(?i){_CHOICE}(?:{self._answer()}|not)\b|\s*\?", rest):
            return None
        if whole and re.search(r"\w", rest):
            return None
        return self._value(match["said"], bool(match["no"]))

    def _agreed(self, text: str) -> float | None:
        """The answer of all sentences that say one; None where they differ."""
        answer = self._answer()
        choice = rf"(?i)\b(?:{answer}){_CHOICE}(?:{answer}|not)\b"
        about = (
            rf"(?i)\b(?:{_SUBJECT}\s*(?:[a-z]+\s+)?{_IS}|i (?:think|believe|say)|yes,?|no,?|therefore,?|so,?|thus,?)\s*"
            r"(?:indeed |also |therefore |definitely |clearly |actually |completely |it's )?"
        )
        said: set[float | None] = set()
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
            if not re.search(rf"(?i)\b(?:{answer})\b", sentence):
                continue
            if re.search(choice, sentence) or sentence.rstrip().endswith("?"):
                return None
            own = self._at_start(sentence, whole=True)
            if own is None:
                own = self._opening(sentence)
            if own is not None:
                said.add(own)
                continue
            for match in re.finditer(rf"{about}(?P<no>(?:{_NOT})\s*)?(?P<said>{answer})(?![\w-])", sentence):
                said.add(self._value(match["said"], bool(match["no"])))
            for match in re.finditer(rf"(?i)(?:is|was|does)(?P<no>n't)\s+(?P<said>{answer})(?![\w-])", sentence):
                said.add(self._value(match["said"], True))
        return said.pop() if len(said) == 1 else None

    def _opening(self, sentence: str) -> float | None:
        """``True, because ...``, ``Incorrect: the sum is 7.``"""
        match = re.match(
            rf"(?i)\W*(?P<no>(?:{_NOT})\s+)?(?P<said>{self._answer()})\s*(?:[,:;.(–-]|because\b|since\b|as\b)",
            sentence,
        )
        return self._value(match["said"], bool(match["no"])) if match and len(match["said"]) > 1 else None

    def _value(self, said: str, negated: bool) -> float | None:
        value = self.values[said.lower()]
        if not negated:
            return value
        others = set(self.values.values()) - {value}
        return others.pop() if len(others) == 1 else None


def _behind(heading: str, text: str) -> str | None:
    """The rest of the line behind the last heading, whatever its case, spaces and colon, or the next line."""
    words = r"\s+".join(map(re.escape, heading.rstrip(": ").split()))
    colon = r"\s*[:：=]" if heading.rstrip().endswith(":") else ""
    found = list(re.finditer(rf"(?i){words}{colon}\s*", text))
    return text[found[-1].end() : found[-1].end() + LONGEST_REST].partition("\n")[0] if found else None
