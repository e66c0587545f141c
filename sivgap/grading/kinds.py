r"""What a mathematical answer says: a number, an expression, a tuple, a set, an interval, an equation, a text ...

One reading an answer, chosen by its form; `sivgap.grading.compare` compares within the kind. Nothing is computed here.
"""

from __future__ import annotations

import re

from sivgap.grading.answer import Answer, Kind
from sivgap.grading.latex import spell
from sivgap.grading.leaves import AND, read_base, read_expression, read_plain, read_time, read_words, tight_text
from sivgap.grading.marks import closing

MOST_PARTS = 200
DEEPEST = 12
"""Sets within tuples within sets."""
_RELATION = re.compile(r"\\(?:le|ge|ne|equiv)(?![a-zA-Z])|[<>]")
_MATRIX = re.compile(
    r"\\begin\{(?P<name>[pbvBV]?(?:small)?matrix|array)\}(?:\{[^{}]*\})?(?P<rows>.*)\\end\{(?P=name)\}", re.DOTALL
)
_NAME = re.compile(
    r"\\?[a-zA-Z]+'*(?:_\{?[\w+\-]{1,6}\}?)?(?:\s*\(\s*\\?[a-zA-Z]{1,7}(?:\s*,\s*[a-zA-Z])*\s*\))?'*"
    r"|\([a-zA-Z](?:\s*,\s*[a-zA-Z])+\)"
    r"|\\(?:angle|triangle|measuredangle)\s*[A-Z]{1,3}|[A-Z]{2,3}|\\(?:overline|bar)\s*\{?[A-Z]{2}\}?|\|[A-Z]{2}\||f\^\{-1\}\([a-z]\)"
)
_SAYS = re.compile(r"^\\text\{[^{}]{0,60}(?:\bis|:|=)\s*\}(?=\s*\S)")
_NOTHING = re.compile(r"(?i)\\emptyset|(?:\\text\{\s*)?(?:no (?:real )?solutions?|none)\s*\}?")
_LABELLED = re.compile(r"(?:\\text\{\s*)?\(([A-F])\)\s*\}?\s*:?(?=\s*[\\\d$])")
_ALL_REALS = re.compile(r"(?:\\text\{\s*)?(?:\\mathbb\{R\}|\\mathbb R|all real numbers|\\R)\s*\}?", re.IGNORECASE)


def read(text: str) -> Answer | None:
    """The answer that a text is; None if it is empty."""
    spelled = spell(text)
    return _read(spelled, 0) if spelled else None


def _read(text: str, depth: int) -> Answer:
    text = text.strip()
    exact, *rounded = (side.strip() for side in split(text, r"\\approx(?![a-zA-Z])"))
    text = rounded[0] if rounded and (not exact or _NAME.fullmatch(exact)) else exact
    text = _SAYS.sub("", text)
    if depth > DEEPEST or not text:
        return Answer("unread", text)
    for bare in (_named_set, _labelled, read_time, read_base, _matrix, read_plain, read_words):
        if (found := bare(text)) is not None:
            return found
    for nested in (_membership, _union, _braced, _several, _relation, _equation, _bracketed, _plus_minus):
        if (found := nested(text, depth)) is not None:
            return found
    return read_expression(text)


def _named_set(text: str) -> Answer | None:
    if _ALL_REALS.fullmatch(text):
        return _read(r"(-\infty,\infty)", 1)
    return Answer("set", r"\emptyset") if _NOTHING.fullmatch(text) else None


def _labelled(text: str) -> Answer | None:
    r"""``\text{(C)} 12``: a choice and its value."""
    match = _LABELLED.match(text)
    if match is None or not text[match.end() :].strip():
        return None
    return Answer("text", match[1].lower(), (_read(text[match.end() :], 1),), sign="labelled")


def _matrix(text: str) -> Answer | None:
    bare = re.sub(r"^\s*[(\[|]\s*(?=\\begin\{array)", "", text)
    match = _MATRIX.match(bare)
    if match is None or bare[match.end() :].strip(" )]|") or r"\begin" in match["rows"]:
        return None
    rows = [
        row for row in re.split(r"\\cr(?![a-z])(?:\s*\[[^\]]*\])?", match["rows"].replace(r"\hline", "")) if row.strip()
    ]
    cells = [[_read(cell, DEEPEST - 1) for cell in row.split("&")] for row in rows]
    determinant = "|" if match["name"].startswith(("v", "V")) else ""
    parts = tuple(Answer("tuple", "", tuple(row)) for row in cells[:MOST_PARTS])
    return Answer("matrix", text, parts, sign=determinant)


def _membership(text: str, depth: int) -> Answer | None:
    match = re.match(r"\s*[a-zA-Z](?:_\d)?\s*\\in(?![a-zA-Z])\s*", text)
    return _read(text[match.end() :], depth + 1) if match else None


def _union(text: str, depth: int) -> Answer | None:
    parts = split(text, r"\\cup(?![a-zA-Z])")
    if len(parts) == 1:
        return None
    read_parts = tuple(_as_interval(_read(part, depth + 1)) for part in parts)
    return Answer("union", text, tuple(_flat(read_parts, "union")))


def _as_interval(answer: Answer) -> Answer:
    return Answer("interval", answer.text, answer.parts, sign=answer.sign) if _could_be_interval(answer) else answer


def _could_be_interval(answer: Answer) -> bool:
    return answer.kind == "tuple" and len(answer.parts) == 2 and answer.sign in ("()", "[]")


def _braced(text: str, depth: int) -> Answer | None:
    r"""``\{1, 2\}``, and ``{1, 2}`` of those who forget the backslash."""
    inside = None
    if text.startswith(r"\{") and _closing_set(text) == len(text) - 2:
        inside = text[2:-2]
    elif text.startswith("{") and closing(text, 0) == len(text) - 1:
        inside = text[1:-1]
    if inside is None or re.search(r"\\text\{ ?such that|\|", inside):
        return None
    parts = _flat([_read(part, depth + 1) for part in _elements(inside)], "set")
    return Answer("set", text, tuple(parts[:MOST_PARTS]), sign="{}")


def _closing_set(text: str) -> int | None:
    level = 0
    for match in re.finditer(r"\\[{}]", text):
        level += 1 if match[0] == r"\{" else -1
        if level == 0:
            return match.start()
    return None


def _elements(text: str) -> list[str]:
    return [part.strip() for part in split(AND.sub(" , ", text), r"[,;]") if part.strip()]


def _several(text: str, depth: int) -> Answer | None:
    """``1, 2 and 3``: a set, with the name before it (``x = 1, 2``) left out."""
    parts = _elements(text)
    if len(parts) < 2 or r"\begin" in text:
        return None
    name = re.match(r"(.{1,20}?)=", parts[0])
    if (
        name
        and _NAME.fullmatch(name[1].strip())
        and not any("=" in part or _RELATION.search(part) for part in parts[1:])
    ):
        parts[0] = parts[0][name.end() :]
    found = _flat([_read(part, depth + 1) for part in parts], "set")
    found = [item for item in found if item.text or item.parts]
    unit = next((item.unit for item in reversed(found) if item.unit), "")
    if found and all(item.kind in ("interval", "union") for item in found) and re.search(r"\bor\b", text):
        return Answer("union", text, tuple(_flat(found, "union")))
    if found and all(item.kind == "text" for item in found):
        return Answer("set", text, tuple(found[:MOST_PARTS]))
    return Answer("set", text, tuple(found[:MOST_PARTS]), unit=unit)


def _relation(text: str, depth: int) -> Answer | None:
    sides = split(text, _RELATION.pattern, keep=True)
    if len(sides) == 1:
        return None
    terms, signs = sides[0::2], [sign.strip() for sign in sides[1::2]]
    if "=" in text or len(terms) > 3 or (r"\ne" in signs and len(signs) > 1):
        return Answer("unread", tight_text(text))
    if "\\equiv" in signs:
        return Answer("unread", tight_text(text))
    interval = _interval_of(terms, signs, depth)
    if interval is not None:
        return interval
    parts = tuple(read_expression(term.strip()) for term in terms)
    return Answer("relation", text, parts, sign=" ".join(signs))


def _interval_of(terms: list[str], signs: list[str], depth: int) -> Answer | None:
    """The interval that ``x < 2``, ``3 < x \\le 5`` or ``5 \\ge x`` says of a variable."""
    terms = [term.strip() for term in terms]
    low = high = None
    if len(terms) == 2 and "\\ne" not in signs:
        variable, bound, sign = (
            (terms[0], terms[1], signs[0]) if _is_variable(terms[0]) else (terms[1], terms[0], _turned(signs[0]))
        )
        if _is_variable(variable) and not _is_variable(bound) and bound:
            if sign in ("<", r"\le"):
                high = (bound, sign)
            else:
                low = (bound, sign)
    elif len(terms) == 3 and _is_variable(terms[1]):
        up = all(sign in ("<", r"\le") for sign in signs)
        down = all(sign in (">", r"\ge") for sign in signs)
        if up:
            low, high = (terms[0], signs[0]), (terms[2], signs[1])
        elif down:
            low, high = (terms[2], signs[1]), (terms[0], signs[0])
    if low is None and high is None:
        return None
    opening = "[" if low and low[1] in (r"\le", r"\ge") else "("
    closing_ = "]" if high and high[1] in (r"\le", r"\ge") else ")"
    ends = (low[0] if low else r"-\infty", high[0] if high else r"\infty")
    variable = next(term for term in terms if _is_variable(term))
    return Answer(
        "interval",
        f"{variable} in {opening}{ends[0]},{ends[1]}{closing_}",
        tuple(_read(end, depth + 1) for end in ends),
        sign=opening + closing_,
    )


def _is_variable(text: str) -> bool:
    return bool(re.fullmatch(r"[a-zA-Z](?:_\{?\d\}?)?|\\(?:theta|alpha|beta|lambda)|[fgh]\([a-z]\)", text.strip()))


def _turned(sign: str) -> str:
    return {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}.get(sign, sign)


def _equation(text: str, depth: int) -> Answer | None:
    sides = [side.strip() for side in split(text, "=")]
    if len(sides) == 1 or not all(sides):
        return None if len(sides) == 1 else _read(text.strip("= "), depth + 1)
    first, last = sides[0], sides[-1]
    if _NAME.fullmatch(first):
        name = re.sub(r"\\angle|\\triangle|[\s{}]", "", first)
        return Answer("assignment", f"{first}={last}", (_read(last, depth + 1), read_expression(first)), sign=name)
    if len(sides) == 2 and _NAME.fullmatch(last):
        name = re.sub(r"\\angle|\\triangle|[\s{}]", "", last)
        return Answer("assignment", f"{last}={first}", (_read(first, depth + 1), read_expression(last)), sign=name)
    return Answer("equation", text, (read_expression(first), read_expression(last)))


def _bracketed(text: str, depth: int) -> Answer | None:
    """``(1, 2)``, ``[3, 5)``, ``\\langle 1, 2 \\rangle``."""
    opening = r"\langle" if text.startswith(r"\langle") else text[0]
    ends = {"(": (")", "]"), "[": ("]", ")"), r"\langle": (r"\rangle",)}.get(opening, ())
    closing_ = next((end for end in ends if text.endswith(end)), None)
    if closing_ is None:
        return None
    inside = text[len(opening) : -len(closing_)]
    if _unbalanced(inside):
        return None
    parts = [part.strip() for part in split(inside, r"[,;]")]
    if len(parts) < 2 or not all(parts):
        return None
    found = tuple(_read(part, depth + 1) for part in parts[:MOST_PARTS])
    sign = "<>" if opening == r"\langle" else opening + closing_
    interval = len(parts) == 2 and (sign in ("(]", "[)") or any(r"\infty" in part for part in parts))
    return Answer("interval" if interval else "tuple", text, found, sign=sign)


def _unbalanced(text: str) -> bool:
    level = 0
    for character in re.sub(r"\\[{}]", "", text):
        level += (character in "([{") - (character in ")]}")
        if level < 0:
            return True
    return level != 0


def _plus_minus(text: str, depth: int) -> Answer | None:
    if r"\pm" not in text and r"\mp" not in text:
        return None
    either = [
        re.sub(r"\\mp(?![a-zA-Z])", minus, re.sub(r"\\pm(?![a-zA-Z])", plus, text))
        for plus, minus in (("+", "-"), ("-", "+"))
    ]
    parts = tuple(_read(re.sub(r"^\s*\+", "", part), depth + 1) for part in either)
    return Answer("set", text, parts)


def split(text: str, separator: str, keep: bool = False) -> list[str]:
    """A text at its separators outside of all brackets; with `keep` these stand between the pieces."""
    pieces, start, level, at = [], 0, 0, 0
    pattern = re.compile(
        rf"(?P<set>\\[{{}}])|(?P<bracket>[()\[\]{{}}]|\\[lr]angle)|(?P<separator>{separator})|(?P<other>\\.|.)",
        re.DOTALL,
    )
    for match in pattern.finditer(text):
        if match["separator"] is not None and level == 0:
            pieces.append(text[start : match.start()])
            if keep:
                pieces.append(match[0])
            start = match.end()
        elif match["bracket"] is not None:
            level += 1 if match[0] in ("(", "[", "{", r"\langle") else -1
        elif match["set"] is not None:
            level += 1 if match[0] == r"\{" else -1
        at = match.end()
    del at
    return [*pieces, text[start:]]


def _flat(parts: list[Answer] | tuple[Answer, ...], kind: Kind) -> list[Answer]:
    flat: list[Answer] = []
    for part in parts:
        flat += part.parts if part.kind == kind and part.sign != "{}" else (part,)
    return flat
