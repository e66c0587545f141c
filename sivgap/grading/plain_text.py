r"""Unicode and LaTeX spelling of numbers and sentences, written the plain way: ``9{,}500`` is ``9,500``."""

from __future__ import annotations

import re

_SPACES = dict.fromkeys(map(ord, "\u00a0\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t"), " ")
_NOTHING = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"))
_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "‒": "-", "﹣": "-", "‑": "-", "－": "-", "％": "%", "＄": "$", "，": ",", "。": ".",
     "：": ":", "＝": "=", "⁄": "/", "∕": "/", "✕": "×", "⋅": "·", "∙": "·", "“": '"', "”": '"', "‘": "'",
     "’": "'", "＋": "+", "．": ".", "￥": "¥"}
)  # fmt: skip
_FULL_WIDTH = {ord("０") + i: str(i) for i in range(10)}
TRANSLATION = {**_SPACES, **_NOTHING, **_SIGNS, **_FULL_WIDTH}

FRACTIONS = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
             "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8)}  # fmt: skip
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")

_FRAC = re.compile(r"\\[dtc]?frac\s*(?:\{\s*(-?[\d,.]{1,50})\s*\}|(\d))\s*(?:\{\s*([\d,.]{1,50})\s*\}|(\d))")
_STYLE = re.compile(
    r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|textrm|mbox|boxed|fbox|emph|underline)\s*\{([^{}]*)\}"
)
_WORDS = {
    r"\times": "×", r"\cdot": "·", r"\div": "÷", r"\approx": "≈", r"\quad": " ", r"\qquad": " ", r"\left": "",
    r"\right": "", r"\ ": " ", r"\(": " ", r"\)": " ", r"\[": " ", r"\]": " ", r"\$": "$", r"\%": "%", r"\#": "#",
    r"\,": "\u2009", r"\;": " ", r"\:": " ", r"\!": "", r"\displaystyle": "", r"\pounds": "£", r"\euro": "€",
    r"\dollar": "$", r"\newline": "\n", r"\\": "\n",
}  # fmt: skip
_COMMAND = re.compile(r"\\(?:[a-zA-Z]+|.)")


def plain(text: str) -> str:
    """The text as a plain reader wants it: ASCII signs and spaces, fractions as ``3/4``, no styles, no LaTeX space."""
    text = text.translate(TRANSLATION)
    text = re.sub(r"(?<!\w)—(?=[\d.$])", "-", text).replace("—", " , ")
    if not text.isascii():
        for character, (over, under) in FRACTIONS.items():
            text = re.sub(rf"(?<=\d)\s?{character}", f" {over}/{under}", text).replace(character, f"{over}/{under}")
        text = _RAISED.sub(lambda match: "^" + match[0].translate(SUPERSCRIPTS), text)
    text = re.sub(r"(?<=\d), (?=000(?!\d))", ",", text)
    if "\\" in text or "{" in text:
        text = _latex(text)
    return text


def _latex(text: str) -> str:
    text = re.sub(r",\s*\\!\s*", ",", text)
    text = re.sub(r"\s?\{\s*,\s*\}\s?", ",", text)
    text = re.sub(r"(?<=\d)\\[,:; ]\s?(?=\d{3})", "", text)
    text = re.sub(r"(\d*\.\d*)\\(?:overline|bar|dot)\s*\{?(\d{1,50})\}?", r"\1(\2)", text)
    text = re.sub(r"\^\s*\{\s*([+-]?\d{1,9})\s*\}", r"^\1", text)

    def fraction(match: re.Match[str]) -> str:
        over, under = match[1] or match[2], match[3] or match[4]
        lead = " " if match.start() and text[match.start() - 1].isdigit() else ""
        return f"{lead}{over}/{under}"

    text = _FRAC.sub(fraction, text)
    for _ in range(3):  # styles within styles
        text, changed = _STYLE.subn(r" \1 ", text)
        if not changed:
            break
    return _COMMAND.sub(lambda match: _WORDS.get(match[0], match[0]), text).replace("\u2009", " ")
