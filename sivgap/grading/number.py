r"""Numbers as people and models write them, read exactly: what each form means is in ``docs/grading.md``.

``1,234.50``, ``70 000``, ``9{,}500``, ``1,00,000``, ``3/4``, ``2 1/2``, ``\frac{3}{4}``, ``½``, ``1.5 x 10^3``,
``$2 million``, ``12.5 %``, ``seven hundred``, ``two dozen``, ``negative 5``, ``0.\overline{3}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from sivgap.grading.number_words import SCALES, WORD, words_value
from sivgap.grading.plain_text import plain

LONGEST_NUMBER = 200
"""Characters; a longer one is no answer to any of the tasks, and exact arithmetic on it costs time."""
LARGEST_EXPONENT = 300

_DIGITS = (
    r"\d{1,3}(?:,\d{3})++(?!\d|,\d)|"  # 1,234,567
    r"\d{1,2}(?:,\d{2}){1,6},\d{3}(?!\d|,\d)|"  # 1,00,000
    r"\d{1,3}(?:[ '’]\d{3})++(?![\d-])|"  # 70 000
    r"\d{1,200}"
)
_SCALE = "hundred|thousand|million|billion|trillion|dozen"
NUMBER = re.compile(
    r"(?P<minus>(?<![\w)\]}%.])-\s?(?=[\d.$€£¥₹])|\b(?:negative|minus)\s(?=\s?[\d.$€£¥₹]))?"
    r"(?P<money>(?<!\w)(?:US|A|C)?\$|[€£¥₹]|\b(?:Rs\.?|USD|EUR|GBP))?(?:(?<=[$€£¥₹.DRP])\s)?(?P<minus2>(?<=[$€£])-)?"
    r"(?<![\w.^])(?:"
    rf"(?P<whole>{_DIGITS})(?P<places>\.\d{{1,200}}|\.(?=\())?|(?P<only>\.\d{{1,200}}))"
    r"(?(places)(?P<repeated>\(\d{1,50}\))?)"
    r"(?:\s?/(?P<under>\d{1,50})(?![\d/.,]\d)|(?:[ ]| and )(?P<over2>\d{1,9})/(?P<under2>\d{1,9})(?![\d/])"
    r"|(?:\s?(?:x|×|·|\*)\s?10\^|[eE])[({]?(?P<power>[+-]?\d{1,9})[)}]?)?"
    rf"(?:\s?(?P<scale>(?:{_SCALE})\b)|(?P<short>[kK](?![\w])))?"
    r"(?P<percent>\s?%|[ -]per ?cent(?:age points?)?\b)?"
)
"""One number, in text as `plain` leaves it."""

_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_IN_A_NAME = re.compile(
    r"(?i)\b(?:steps?|parts?|cases?|methods?|options?|figures?|equations?|questions?|problems?)\s*\(?$"
)
_ITEM = re.compile(r"(?m)^[^\S\n]*(?:[#>*-]+[^\S\n]*)?\d{1,2}[.)](?=\s)")
_UNITS = re.compile(r"\s?[€£¥₹$]?(?:[\s-]*[A-Za-zµ°'][A-Za-z°²³'/.-]*(?:\^\d)?){0,6}[\s.!]*")
_LEADING = re.compile(
    r"(?i)^(?:[\s:=≈~]|(?:about|approximately|around|roughly|exactly|only|just|a total of|equal to"
    r"|\([a-z]\)(?=\s))\s*)+"
)
_SUBUNITS = {
    ("hour", "minute"): 60, ("minute", "second"): 60, ("dollar", "cent"): 100, ("foot", "inch"): 12,
    ("feet", "inch"): 12, ("feet", "inche"): 12, ("pound", "ounce"): 16, ("week", "day"): 7, ("year", "month"): 12,
}  # fmt: skip
"""How many of the second unit make one of the first: ``5 hours and 30 minutes`` are 5.5."""
_AND_MORE = re.compile(r"\s*([a-z]+?)s?,?\s+(?:and\s+)?(\d{1,6})\s*([a-z]+?)s?\b")


@dataclass(frozen=True)
class Number:
    """A number as it was written.

    Attributes:
        value: Exact; of ``12 %`` it is 12.
        percent: Whether it was written as a percentage.
        places: Decimals written, None without a point.
        money: Whether a currency sign stands before it.
        start, end: Where in the text.
    """

    value: Fraction
    percent: bool = False
    places: int | None = None
    money: bool = False
    start: int = 0
    end: int = 0


def same_number(one: Number, other: Number) -> bool:
    """Whether two numbers are equal. A percentage also equals its share, and the bare number that a question about
    percent asks for: 50 % is .5 and 50; but .5 is not 50."""
    if one.value == other.value:
        return True
    if one.percent != other.percent:
        share, bare = (one, other) if one.percent else (other, one)
        return share.value / 100 == bare.value
    return False


def to_fraction(text: str) -> Fraction | None:
    """The exact value of a text that is a number and nothing else, or None."""
    found = read_number(text, units=False)
    return None if found is None else found.value


def read_number(text: str, units: bool = True) -> Number | None:
    """A text that is one number, with `units` also one that has its unit behind it: ``18 dollars``, ``4%``."""
    if len(text) > 2 * LONGEST_NUMBER:
        return None
    line = _LEADING.sub("", plain(text)).strip().strip("*_`\"'").strip()
    line = re.sub(r"^-\s+", "-", line)
    if line.startswith(("{", "(")) and line.endswith(("}", ")")):
        line = line[1:-1].strip()
    line = line.removeprefix("+").rstrip(" .!")
    if not line or len(line) > LONGEST_NUMBER:
        return None
    match = NUMBER.match(line)
    found = _value(match) if match else None
    if found is None:
        return _in_words(line, units)
    rest = line[found.end :]
    if not rest.strip():
        return found
    if not units:
        return None
    return _with_unit(found, rest)


def _with_unit(found: Number, rest: str, whole: bool = True) -> Number | None:
    more = _AND_MORE.match(rest.lower())
    if more and (not whole or not rest[more.end() :].strip(" .")):
        parts = _SUBUNITS.get((more[1], more[3]))
        if parts:
            return Number(found.value + Fraction(more[2]) / parts)
    if not whole:
        return None
    return found if _UNITS.fullmatch(rest) else None


def _in_words(line: str, units: bool) -> Number | None:
    match = re.match(r"(?:negative|minus)\s+", line.lower())
    said = words_value(line[match.end() :] if match else line)
    if said is None:
        return None
    value, rest, _ = said
    if rest.strip() and not (units and _UNITS.fullmatch(rest)):
        return None
    return Number(-value if match else value, percent=rest.strip().lower() in ("percent", "per cent"))


def numbers_in(text: str) -> list[Number]:
    """The numbers of a text as `plain` leaves it, in order: not exponents, ordinals, list items or names (Step 2)."""
    items = {match.end() - 1 for match in _ITEM.finditer(text)}
    found = []
    for match in NUMBER.finditer(text):
        before, after = text[max(0, match.start() - 16) : match.start()], text[match.end() : match.end() + 3]
        if match.end() in items or _IN_A_NAME.search(before) or before.endswith(("^", "^{", "_", "^(")):
            continue
        if re.match(r":\d\d", after) or re.search(r"\d:$", before):
            continue  # a time, or a ratio
        if _ORDINAL.match(after) or after.startswith("^") or (number := _value(match)) is None:
            continue
        found.append(number)
    return _compounds(found, text)


def _compounds(numbers: list[Number], text: str) -> list[Number]:
    """Two numbers that make one: ``5 hours and 30 minutes``."""
    joined: list[Number] = []
    for number in numbers:
        before = joined[-1] if joined else None
        if before and (made := _with_unit(before, text[before.end : number.end + 12].partition(".")[0], whole=False)):
            joined[-1] = replace(made, start=before.start, end=number.end)
        else:
            joined.append(number)
    return joined


def word_numbers_in(text: str) -> Iterator[Number]:
    """Numbers written as words, in order."""
    at = 0
    while match := WORD.search(text, at):
        said = words_value(text[match.start() :])
        if said is None:
            at = match.end()
            continue
        value, _, length = said
        negative = re.search(r"(?i)\b(?:negative|minus)\s+$", text[: match.start()])
        yield Number(-value if negative else value, start=match.start(), end=match.start() + length)
        at = match.start() + length


def _value(match: re.Match[str]) -> Number | None:
    digits = re.sub(r"[ ,'’]", "", match["whole"] or "")
    places = match["places"] or match["only"] or ""
    try:
        value = Fraction(f"{digits or '0'}{places if places != '.' else ''}")
        if match["repeated"]:
            shift, cycle = len(places.strip(".")), match["repeated"][1:-1]
            value += Fraction(int(cycle), (10 ** len(cycle) - 1) * 10**shift)
        if match["under"]:
            value /= int(match["under"])
        if match["under2"]:
            if not match["places"] and int(match["over2"]) < int(match["under2"]):
                value += Fraction(int(match["over2"]), int(match["under2"]))
            else:
                return Number(value, money=bool(match["money"]), start=match.start(), end=match.end("whole"))
        if match["power"]:
            if abs(int(match["power"])) > LARGEST_EXPONENT:
                return None
            value *= Fraction(10) ** int(match["power"])
    except (ValueError, ZeroDivisionError):
        return None
    scale = match["scale"] or ("thousand" if match["short"] else None)
    value *= SCALES[scale.lower()] if scale else 1
    written = len(places.strip(".")) if places and not match["repeated"] and not scale and not match["power"] else None
    negative = bool(match["minus"]) != bool(match["minus2"])
    return Number(
        -value if negative else value, bool(match["percent"]), written, bool(match["money"]), match.start(), match.end()
    )
