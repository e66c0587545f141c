r"""Gold answers of MATH's kinds, what makes them wrong, and what leaves them right; written for this project.

`golds` gives as many as asked for by a seed: numbers, expressions, tuples, sets, intervals, equations, matrices, texts,
times and bases in the shares that competition problems have, about a third of them integers.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Gold:
    kind: str
    text: str


def _digit(r: random.Random) -> int:
    return r.choice([2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 17])


def _fraction(r: random.Random) -> str:
    over, under = r.sample([2, 3, 5, 7, 11, 13, 17], 2)
    return rf"\frac{{{over}}}{{{under}}}"


def _root(r: random.Random) -> str:
    return rf"{_digit(r)}\sqrt{{{r.choice([2, 3, 5, 6, 7, 10])}}}"


def _polynomial(r: random.Random) -> str:
    a, b, c = (_digit(r) for _ in range(3))
    return r.choice(
        [
            f"{a}x^2 - {b}x + {c}",
            f"x^3 + {a}x - {b}",
            f"(x - {a})(x + {b})",
            f"{a}z^{{7}} + {b}",
            f"x^5 - x^4 + {a}x - {b}",
            f"{a}(x + {b})^2 - {c}",
            f"{a}x + {b}y",
            f"{a}ab - {b}b^2",
            f"t^2 - {a}t + {b}",
            f"{a}n + {b}",
        ]
    )


def _value(r: random.Random) -> str:
    return r.choice([str(_digit(r)), f"-{_digit(r)}", _fraction(r), _root(r)])


def _interval(r: random.Random) -> str:
    low, high = sorted(r.sample(range(-9, 20), 2))
    return r.choice(
        [
            f"[{low},{high}]",
            f"({low},{high}]",
            f"[{low},{high})",
            rf"(-\infty,{high}]",
            rf"[{low},\infty)",
            rf"({low},\infty)",
            rf"\left[{low}, {high}\right)",
        ]
    )


def _union(r: random.Random) -> str:
    a, b, c = sorted(r.sample(range(-9, 20), 3))
    return r.choice(
        [rf"(-\infty, {a}) \cup ({b}, \infty)", rf"(-\infty,{a}] \cup [{b},{c})", rf"[{a},{b}) \cup ({b},{c}]"]
    )


def _inequality(r: random.Random) -> str:
    a, b = sorted(r.sample(range(1, 30), 2))
    return r.choice([rf"x \geq {a}", f"x < {a}", rf"{a} < x \le {b}", rf"x \le -{a}", f"y > {a}"])


def _equation(r: random.Random) -> str:
    a, b, c = (_digit(r) for _ in range(3))
    return r.choice(
        [
            f"y = {a}x + {b}",
            f"{a}x - {b}y + {c} = 0",
            f"x^2 + y^2 = {a}",
            f"y = -{a}x + {b}",
            f"{a}x + {b}y - {c}z + 100 = 0",
            rf"\frac{{x^2}}{{{a}}} + \frac{{y^2}}{{{b + 20}}} = 1",
        ]
    )


def _matrix(r: random.Random) -> str:
    a, b, c, d = (r.randint(-9, 9) for _ in range(4))
    return r.choice(
        [
            rf"\begin{{pmatrix}} {a} & {b} \\ {c} & {d} \end{{pmatrix}}",
            rf"\begin{{pmatrix}} {a} \\ {b} \\ {c + 20} \end{{pmatrix}}",
        ]
    )


def _several(r: random.Random) -> str:
    values = r.sample(range(-12, 40), r.choice([2, 3, 3, 4]))
    return r.choice(
        [", ".join(map(str, values)), r"\{" + ",".join(map(str, values)) + r"\}", ",".join(map(str, values))]
    )


def _names(r: random.Random) -> str:
    return r.choice(
        [
            "Evelyn",
            "Maria",
            "Saturday",
            "June",
            "odd",
            "even",
            "ellipse",
            "parabola",
            "two lines",
            "Navin",
            "Yes",
            "red",
        ]
    )


KINDS: dict[str, tuple[int, Callable[[random.Random], str]]] = {
    "integer": (34, lambda r: str(r.choice([r.randint(1, 99), r.randint(100, 2050), -r.randint(1, 60)]))),
    "large": (2, lambda r: rf"{r.randint(1, 99)},\!{r.randint(100, 999)}"),
    "fraction": (11, lambda r: r.choice(["", "-"]) + _fraction(r)),
    "decimal": (4, lambda r: f"{r.randint(0, 40)}.{r.randint(1, 99):02d}"),
    "root": (7, _root),
    "root_sum": (3, lambda r: rf"{_digit(r)} {r.choice('+-')} {_root(r)}"),
    "root_fraction": (2, lambda r: rf"\frac{{{_root(r)}}}{{{_digit(r)}}}"),
    "pi": (
        3,
        lambda r: r.choice(
            [rf"{_digit(r)}\pi", rf"\frac{{{_digit(r)}\pi}}{{{r.choice([5, 7, 19])}}}", rf"{_digit(r)} - \pi"]
        ),
    ),
    "complex": (3, lambda r: f"{_digit(r)} {r.choice('+-')} {_digit(r)}i"),
    "polynomial": (8, _polynomial),
    "tuple": (4, lambda r: f"({_value(r)}, {_value(r)})"),
    "triple": (2, lambda r: rf"\left({_value(r)}, {_value(r)}, {_value(r)}\right)"),
    "set": (4, _several),
    "interval": (3, _interval),
    "union": (1, _union),
    "inequality": (2, _inequality),
    "equation": (3, _equation),
    "matrix": (2, _matrix),
    "text": (2, lambda r: rf"\text{{{_names(r)}}}"),
    "choice": (1, lambda r: rf"\text{{({r.choice('ABCDE')})}}"),
    "time": (1, lambda r: f"{r.randint(1, 12)}:{r.randint(0, 58):02d}"),
    "base": (1, lambda r: f"{r.randint(1, 6)}{r.randint(0, 6)}{r.randint(0, 5)}_{r.choice([7, 8])}"),
    "degrees": (2, lambda r: rf"{r.randint(10, 170)}^\circ"),
    "percent": (1, lambda r: rf"{r.randint(2, 90)}\%"),
    "money": (1, lambda r: rf"\${r.randint(1, 60)}.{r.randint(1, 99):02d}"),
    "unit": (2, lambda r: rf"{r.randint(2, 90)}\text{{ cm}}"),
    "plus_minus": (1, lambda r: rf"{r.choice(['', str(_digit(r)) + ' '])}\pm {_digit(r)}"),
    "power": (1, lambda r: rf"{_digit(r)}^{{{r.choice([14, 20, 97, 2025])}}}"),
    "function": (1, lambda r: rf"f(x) = {_digit(r)}x - {_digit(r)}"),
    "trigonometry": (1, lambda r: rf"{_digit(r)}\sin x \cos {_digit(r)}y"),
    "logarithm": (1, lambda r: rf"\log_{{{_digit(r)}}} {r.choice([10, 15, 19])}"),
}


def golds(count: int, seed: int = 0) -> list[Gold]:
    r = random.Random(seed)
    kinds = r.choices(list(KINDS), [share for share, _ in KINDS.values()], k=count - len(KINDS))
    return [Gold(kind, KINDS[kind][1](r)) for kind in [*KINDS, *kinds]]


_NUMBER = re.compile(r"\d+")
_IN_FRACTION = re.compile(r"\\frac\{[^{}]*$")


def wrongs(gold: Gold) -> Iterator[tuple[str, str]]:
    """Simple changes that make an answer wrong, each with its name."""
    text = gold.text
    numbers = list(_NUMBER.finditer(text))
    if numbers:
        last, first = numbers[-1], numbers[0]
        yield "last number + 1", text[: last.start()] + str(int(last[0]) + 1) + text[last.end() :]
        if len(numbers) > 1 and gold.kind not in ("large", "decimal", "money"):
            yield "first number + 1", text[: first.start()] + str(int(first[0]) + 1) + text[first.end() :]
        if first[0] != text.strip("$\\% ") and gold.kind not in ("large", "degrees", "percent", "unit", "text"):
            yield "first number alone", first[0]
            yield "last number alone", last[0]
    yield from _signs(gold)
    if gold.kind == "inequality":
        turned = {r"\geq": r"\leq", r"\le": r"\ge", "<": ">", ">": "<"}
        yield "direction", re.sub(r"\\geq|\\le|<|>", lambda match: turned[match[0]], text)
        yield (
            "strictness",
            re.sub(
                r"\\geq|\\le|<|>", lambda m: {r"\geq": ">", r"\le": "<", "<": r"\le", ">": r"\ge"}[m[0]], text, count=1
            ),
        )
    if gold.kind == "interval":
        yield (
            "bracket",
            text[:-1] + (")" if text[-1] == "]" else "]")
            if r"\infty" not in text[-8:]
            else text.replace("[", "(", 1)
            if "[" in text
            else text.replace("(", "[", 1),
        )
    if gold.kind in ("tuple", "triple"):
        inside = re.sub(r"\\left|\\right", "", text)[1:-1].split(", ")
        if len(set(inside)) == len(inside):
            yield "order", f"({', '.join(reversed(inside))})"
        yield "an element less", f"({', '.join(inside[:-1])})"
    if gold.kind == "set":
        yield "an element more", text.replace(r"\}", "") + ",77" + (r"\}" if r"\}" in text else "")
        yield "an element less", re.sub(r",\s*-?\d+(?=\\\}|$)", "", text)
    if gold.kind == "text":
        yield "another text", r"\text{Quentin}"
        yield "longer text", text[:-1] + "s and more}"
    if gold.kind == "choice":
        yield "another choice", r"\text{(F)}"
    if gold.kind in ("root", "pi", "root_sum"):
        yield "what makes it irrational left out", re.sub(r"\\sqrt\{\d+\}|\\pi", "", text).strip(" +-") or "1"
    if gold.kind in ("polynomial", "function"):
        yield "another variable", re.sub(r"[xztnb](?!\w*\{)", "w", text)
    if gold.kind == "plus_minus":
        yield "one sign alone", text.replace(r"\pm", "-" if text.startswith("\\") else "+")


def _signs(gold: Gold) -> Iterator[tuple[str, str]]:
    text = gold.text
    if gold.kind in (
        "integer",
        "fraction",
        "root",
        "pi",
        "decimal",
        "polynomial",
        "unit",
        "degrees",
        "logarithm",
        "power",
    ):
        body = f"({text})" if gold.kind in ("polynomial", "pi") else text
        yield "sign", text[1:] if text.startswith("-") and gold.kind != "polynomial" else f"-{body}"
    for match in list(re.finditer(r" ([+-]) ", text))[:2]:
        if gold.kind in ("root_sum", "complex", "polynomial", "equation", "function"):
            swapped = " - " if match[1] == "+" else " + "
            yield "inner sign", text[: match.start()] + swapped + text[match.end() :]


def rights(gold: Gold) -> Iterator[tuple[str, str]]:
    """Other ways to write the same answer, each with its name."""
    text = gold.text
    yield "dollars", f"${text}$"
    yield "full stop", f"{text}."
    yield "display", rf"\[ {text} \]"
    if gold.kind != "text":
        yield "thin spaces", re.sub(r"(?<=[+=,]) ", r"\\,", text)
    if r"\frac" in text:
        yield "dfrac", text.replace(r"\frac", r"\dfrac")
        yield "tfrac", text.replace(r"\frac", r"\tfrac")
    if gold.kind in ("integer", "fraction", "decimal", "root"):
        yield "name", f"x = {text}"
        yield "unit", rf"{text} \text{{ units}}"
        yield "style", rf"\displaystyle {text}"
    if gold.kind == "fraction":
        yield "slash", re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text)
        yield "minus in front", text.replace(r"-\frac{", r"\frac{-")
        yield "short", re.sub(r"\\frac\{(\d)\}\{(\d)\}$", r"\\frac\1\2", text)
    if gold.kind == "integer":
        yield "decimal", f"{text}.0"
        yield "bold", rf"\mathbf{{{text}}}"
        yield "coloured", rf"\color{{red}}{{{text}}}"
        if len(text) == 4:
            yield "thousands", f"{text[0]},{text[1:]}"
    if gold.kind == "large":
        yield "without comma", text.replace(r",\!", "")
        yield "comma", text.replace(r",\!", ",")
        yield "braces", text.replace(r",\!", "{,}")
        yield "thin", text.replace(r",\!", r"\,")
    if gold.kind in ("tuple", "triple", "interval", "union"):
        yield (
            "left and right",
            re.sub(r"(?<![\w\\])([(\[])", r"\\left\1", re.sub(r"\\left|\\right", "", text))
            .replace(")", r"\right)")
            .replace("]", r"\right]"),
        )
        yield "tight", re.sub(r"\\left|\\right| (?![a-z])", "", text)
    if gold.kind == "set":
        values = re.findall(r"-?\d+", text)
        yield "order", ", ".join(reversed(values))
        yield "braces", r"\{" + ", ".join(values) + r"\}"
        yield "and", ", ".join(values[:-1]) + r" \text{ and } " + values[-1]
        yield "names", ", ".join(f"x = {value}" for value in values)
    if gold.kind == "union":
        yield "order", r" \cup ".join(reversed(text.split(r" \cup ")))
    if gold.kind == "complex":
        yield "order", re.sub(r"^(\d+) ([+-]) (\d+i)$", r"\2\3 + \1", text).lstrip("+")
    if gold.kind == "root":
        yield "product", text.replace(r"\sqrt", r"\cdot \sqrt")
        yield "bare root", re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", text)
        yield "squared in", rf"\sqrt{{{int(text.split(chr(92))[0]) ** 2 * int(re.search(r'{(.*)}', text)[1])}}}"
    if gold.kind == "pi":
        yield "unicode", text.replace(r"\pi", "π")
    if gold.kind == "polynomial" and "(" not in text and "{" not in text:
        terms = re.findall(r"[+-]?[^+-]+", text.replace(" ", ""))
        yield "order", "".join(term if term[0] in "+-" else f"+{term}" for term in reversed(terms)).lstrip("+")
        yield "name", f"f(x) = {text}"
    if gold.kind == "inequality":
        sides = re.fullmatch(r"(\w) (\\geq|<|>|\\le) (\S+)", text)
        if sides:
            turned = {r"\geq": r"\leq", r"\le": r"\ge", "<": ">", ">": "<"}[sides[2]]
            yield "turned", f"{sides[3]} {turned} {sides[1]}"
        yield "unicode", text.replace(r"\geq", "≥").replace(r"\le", "≤")
    if gold.kind == "equation":
        left, right = text.split(" = ")
        yield "turned", f"{right} = {left}"
        yield "to zero", f"{left} - ({right}) = 0"
        yield "scaled", f"2({left}) = 2({right})"
    if gold.kind == "matrix":
        yield "bmatrix", text.replace("pmatrix", "bmatrix")
        yield "tight", text.replace(" ", "")
    if gold.kind == "text":
        yield "bare", text[6:-1]
        yield "lower case", text.lower()
        yield "bold", rf"\textbf{{{text[6:-1]}}}"
    if gold.kind == "choice":
        yield "letter", text[7]
        yield "bold", rf"\textbf{{({text[7]})}}"
        yield "bare", f"({text[7]})"
    if gold.kind == "degrees":
        yield "number", text.removesuffix(r"^\circ")
        yield "unicode", text.replace(r"^\circ", "°")
        yield "word", text.replace(r"^\circ", r"\text{ degrees}")
    if gold.kind == "percent":
        yield "number", text.removesuffix(r"\%")
        yield "word", text.replace(r"\%", r" \text{ percent}")
    if gold.kind == "money":
        yield "number", text.removeprefix(r"\$")
        yield "word", text.removeprefix(r"\$") + r"\text{ dollars}"
    if gold.kind == "unit":
        yield "number", text.split("\\")[0]
        yield "spelled", text.replace(" cm", " centimeters")
        yield "mathrm", text.replace(r"\text{ cm}", r"\ \mathrm{cm}")
    if gold.kind == "plus_minus":
        before, after = text.split(r"\pm ")
        before = before.strip()
        yield "both", f"{before or ''}+{after}, {before or ''}-{after}".lstrip("+")
    if gold.kind == "base":
        yield "braces", re.sub(r"_(\d)", r"_{\1}", text)
        yield "word", re.sub(r"_(\d)", lambda m: r"_{\text{" + {"7": "seven", "8": "eight"}[m[1]] + "}}", text)
    if gold.kind == "function":
        yield "value", text.split("= ")[1]
        yield "y", "y = " + text.split("= ")[1]
    if gold.kind == "logarithm":
        yield "quotient", re.sub(r"\\log_\{(\d+)\} (\d+)", r"\\frac{\\ln \2}{\\ln \1}", text)
    if gold.kind == "trigonometry":
        yield "order", re.sub(r"^(\d+)(\\sin x) (.*)$", r"\1 \3 \2", text)
