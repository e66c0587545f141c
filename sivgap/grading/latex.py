r"""One spelling for mathematical answers: Unicode, LaTeX's synonyms and plain text, without a change of meaning.

``\dfrac12``, ``½`` and ``\tfrac{1}{2}`` are ``\frac{1}{2}``; ``(-∞, 2)`` is ``(-\infty,2)``; ``10\,000`` is ``10000``.
"""

from __future__ import annotations

import re

from sivgap.grading.marks import closing
from sivgap.grading.plain_text import FRACTIONS, SUPERSCRIPTS, TRANSLATION

LONGEST_ANSWER = 4_000
"""Characters read, from the end: the longest gold answer of MATH has 160."""

_UNICODE = {
    "∞": r"\infty ", "π": r"\pi ", "√": r"\sqrt ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ", "×": r"\times ",
    "·": r"\cdot ", "÷": r"\div ", "°": r"^\circ ", "∘": r"^\circ ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "φ": r"\phi ", "ω": r"\omega ",
    "⟨": r"\langle ", "⟩": r"\rangle ", "〈": r"\langle ", "〉": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⌈": r"\lceil ", "⌉": r"\rceil ", "≈": r"\approx ", "≡": r"\equiv ", "…": r"\ldots ",
    "⋯": r"\ldots ", "∠": r"\angle ",
    "ⅈ": "i", "ℯ": "e", "（": "(", "）": ")", "［": "[", "］": "]", "、": ",", "；": ";", "′": "'", "∶": ":",
}  # fmt: skip
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_LOWER = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")

_SYNONYMS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:displaystyle|textstyle|limits|nolimits|scriptstyle|Large|large|rm|bf|it)(?![a-zA-Z])", " "),
        (
            r"\\(?:m?left|m?right|[bB]igg?[lrm]?)(?=\\?[()\[\]{}|./<>]|\\[lr](?:angle|vert|floor|ceil|brace"
            r"|brack)|\\[Vv]ert)\.?",
            " ",
        ),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\[dt]?binom(?![a-zA-Z])", r"\\binom"),
        (r"\\(?:le|leq|leqslant|leqq)(?![a-zA-Z])|<=|=<", r"\\le "),
        (r"\\(?:ge|geq|geqslant|geqq)(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\(?:ne|neq)(?![a-zA-Z])|!=|\\not\s*=", r"\\ne "),
        (r"\\lt(?![a-zA-Z])|&lt;", "<"),
        (r"\\gt(?![a-zA-Z])|&gt;", ">"),
        (r"\\(?:lbrace)(?![a-zA-Z])", r"\\{"),
        (r"\\(?:rbrace)(?![a-zA-Z])", r"\\}"),
        (r"\\(?:lbrack)(?![a-zA-Z])", "["),
        (r"\\(?:rbrack)(?![a-zA-Z])", "]"),
        (r"\\(?:[lr]?vert|mid)(?![a-zA-Z])", "|"),
        (r"\\(?:ldots|dots|cdots|dotsc|dotsb)(?![a-zA-Z])|\.\.\.", r"\\ldots "),
        (r"\\(?:degree|degrees)(?![a-zA-Z])", r"^\\circ "),
        (r"\^\s*\{\s*\\circ\s*\}", r"^\\circ "),
        (r"\\(?:imath|mathrm\{i\}|text\{i\}|mathbf\{i\})(?![a-zA-Z])", "i"),
        (r"\\(?:arcsin|asin)(?![a-zA-Z])", r"\\arcsin "),
        (r"\\(?:cdotp|ast|bullet)(?![a-zA-Z])", r"\\cdot "),
        (r"\\(?:varnothing|emptyset|O)(?![a-zA-Z])|\\\{\s*\\\}", r"\\emptyset "),
        (r"\\(?:bigcup)(?![a-zA-Z])", r"\\cup "),
        (r"\\(?:var)(theta|phi|epsilon)(?![a-zA-Z])", r"\\\1"),
        (r"\\(?:infin|infinity)(?![a-zA-Z])|(?<![a-zA-Z\\])(?:infinity|Infinity)(?![a-zA-Z])", r"\\infty "),
        (r"(?<![a-zA-Z\\])pi(?![a-zA-Z])", r"\\pi "),
        (r"(?<![a-zA-Z\\])(sqrt|sin|cos|tan|log|ln|exp)(?=\s*[({])", r"\\\1"),
        (r"\\(?:langle|lang)(?![a-zA-Z])", r"\\langle "),
        (r"\\(?:rangle|rang)(?![a-zA-Z])", r"\\rangle "),
    )
]
_COLOUR = re.compile(r"\\(?:text)?color(?:box)?\s*(?:\[[^\]]{0,20}\])?\s*\{[^{}]{0,40}\}")
_FONT = re.compile(
    r"\\(?:mathbf|mathit|boldsymbol|bm|mathsf|mathtt|mathnormal|pmb|mathop|vec|hat|underline|boxed|fbox"
    r"|displaylines|ensuremath"
    r"|overrightarrow|phantom|cancel)\s*\{"
)
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|textnormal|mbox|hbox|mathrm|operatorname\*?|emph)\s*\{"
)
_FUNCTIONS = (
    "sin",
    "cos",
    "tan",
    "cot",
    "sec",
    "csc",
    "log",
    "ln",
    "exp",
    "max",
    "min",
    "gcd",
    "lcm",
    "arctan",
    "arccos",
)


def spell(text: str) -> str:
    """The text of an answer in one spelling; dollar signs, styles, and what ends a sentence are gone."""
    text = text[-LONGEST_ANSWER:].translate(TRANSLATION).replace("—", "-").replace("\x08oxed", r"\boxed")
    if not text.isascii():
        text = _ascii(text)
    rows = r"\begin" in text
    text = re.sub(r"\\\\", r"\\cr ", text) if rows else re.sub(r"\\\\(?=[a-zA-Z{}])", r"\\", text)
    text = re.sub(r"\\\$|\\(?:dollar|pounds|euro)(?![a-zA-Z])|[$€£¥₹]", " ", text)
    text = re.sub(r"(?<!\\)\\[()]|(?<!\\)\\[\[\]]", " ", text)
    text = _unspaced(text)
    text = _COLOUR.sub(" ", text)
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    text = _unwrapped(text, _FONT)
    text = _texts(text)
    text = _arguments(text)
    text = re.sub(r"\*\*(?=[^*]*\*\*\s*$)|\*\*\s*$", " ", text) if text.count("**") == 2 else text
    text = text.replace("**", "^")
    return _end(re.sub(r"\s+", " ", text))


def _ascii(text: str) -> str:
    for character, (over, under) in FRACTIONS.items():
        text = text.replace(character, rf"\frac{{{over}}}{{{under}}}")
    text = _RAISED.sub(lambda match: "^{" + match[0].translate(SUPERSCRIPTS) + "}", text)
    text = _LOWERED.sub(lambda match: "_{" + match[0].translate(_LOWER) + "}", text)
    return "".join(_UNICODE.get(character, character) for character in text)


def _unspaced(text: str) -> str:
    text = re.sub(r",\s*\\!\s*|\s?\{\s*,\s*\}\s?", ",", text) if re.search(r"\d(?:,\s*\\!|\s?\{\s*,)", text) else text
    text = re.sub(r"(?<=\d)\\[,:; ]\s?(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\\!", "", text)
    text = re.sub(
        r"\\(?:[,:;> ]|quad(?![a-zA-Z])|qquad(?![a-zA-Z])|hspace\*?\{[^{}]*\}|hfill(?![a-zA-Z]))|~", " ", text
    )
    return re.sub(r"\\(?=\s|$)", " ", text)


def _unwrapped(text: str, command: re.Pattern[str]) -> str:
    """The text with what `command` wraps set bare in its place."""
    for _ in range(20):
        match = command.search(text)
        end = closing(text, match.end() - 1) if match else None
        if match is None or end is None:
            return text
        inside = text[match.end() : end]
        bare = inside if re.fullmatch(r"\s*\w\s*", inside) else f"{{{inside}}}"
        text = f"{text[: match.start()]} {bare}{text[end + 1 :]}"
    return text


def _texts(text: str) -> str:
    r"""All words in ``\text{...}``; a function's name as its command, one letter as itself."""
    found, at = [], 0
    while match := _TEXT.search(text, at):
        end = closing(text, match.end() - 1)
        if end is None:
            break
        inside = " ".join(text[match.end() : end].split())
        if inside in _FUNCTIONS:
            word = f"\\{inside} "
        elif match[0].startswith(("\\mathrm", "\\operatorname")) and len(inside) == 1:
            word = inside
        else:
            word = rf"\text{{{_TEXT.sub('{', inside)}}}"
        before = text[at : match.start()]
        found.append(before + (" " if text[match.end() :].startswith(" ") else "") + word)
        at = end + 1
    return "".join(found) + text[at:]


def _arguments(text: str) -> str:
    r"""Braces around the arguments of ``\frac`` and ``\sqrt`` that go without: ``\frac12``, ``\sqrt5``."""
    text = re.sub(r"\\(frac|binom)\s*(?=[\d\w])(\w)\s*(\w)(?!\})", r"\\\1{\2}{\3}", text)
    text = re.sub(r"\\(frac|binom)\s*(\w)\s*(?=\{)", r"\\\1{\2}", text)
    text = re.sub(r"(\\(?:frac|binom)\s*\{[^{}]*\})\s*(\w)", r"\1{\2}", text)
    text = re.sub(r"\\sqrt\s*(\d{1,20}|[a-zA-Z])", r"\\sqrt{\1}", text) if not re.search(r"\\sqrt\d{2}", text) else (
        re.sub(r"\\sqrt\s*(\w)", r"\\sqrt{\1}", text)
    )  # fmt: skip
    return re.sub(r"\\sqrt\s*\(", r"\\sqrt(", text)


def _end(text: str) -> str:
    text = text.strip()
    while True:
        shorter = text.rstrip(" ,;:!?" if not re.search(r"[\w)]!$", text) else " ,;:?").removesuffix(".").strip()
        if re.fullmatch(r"[*_`\"].*[*_`\"]", shorter):
            shorter = shorter.strip('*_`"')
        if shorter.startswith("{") and closing(shorter, 0) == len(shorter) - 1 and "," not in shorter:
            shorter = shorter[1:-1].strip()
        if shorter == text:
            return text
        text = shorter
