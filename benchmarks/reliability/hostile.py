"""Texts and files that a stranger, or a model gone wrong, may hand over; seeded, some 20 microseconds each."""

import json
import random

FRAGMENTS = [
    # What answer patterns look for, and what nearly is it.
    "#### ", "####", "###", "####\n", "-", "−", "\\boxed{", "\\boxed", "\\fbox{", "}", "{", "</answer>", "<answer>",
    "Answer: ", "The answer is ", "answer is", "Final answer:", "answer", "=", ":", "Therefore ", "thus ", "so ", "\n",
    "\\frac{", "\\dfrac{1}{", "\\frac{1}{0}", "\\sqrt{", "sqrt(", "^", "^{", "^{^{", "**", "!", "!!", "%", "$", "\\$",
    "x 10^", "\\times 10^{", "e", "E-", "e+", "e999999999", "1e+999999999", "10**10**10", "9^{9^{9}}", "\\infty", "nan",
    "NaN", "Infinity", "-inf", "1/0", "0/0", "3/4", "1,234", ",111", "1.", ".5", "0", "1", "7", "18", "1_0", "١٢٣", "²",
    "½", "Ⅷ", "一", "99999999999999999999", "0" * 60, "1" * 300, "(a)", "(B) ", "one", "twenty", "step 3", "\\\\",
    # Verdicts.
    "True", "false", "TRUE.", "Correctness: Correct", "correctness : incorrect", "Score: 7", "score:10/10",
    "Score: 007", "Score: ٧", "Preferred solution: A", "preferred solution : (2", "Preferred solution: Solution B",
    "0.8", "8/10", "100%", "-0.3", "0.5.5", "1.0000000000000000001", "A", "B.",
    # Grids.
    "1 2 3 4\n", "1234", "| 1 | 2 | 3 | 4 |\n", "_ . ? 0\n", "Row 1: ", "<br>", "\\hline", "3 4 1 2\n2 1 4 3\n",
    # Encodings, controls, pages, tables, names of files.
    "\x00", "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\r", "\t", "\x08\x08", "\u202e", "\u2066", "\u2028", "\ufeff",
    "\u200d", "\ud800", "\udfff", "👩‍👩‍👧", "é", "e\u0301", "\u0130", "\ufdfa", "\U0001d7d9",
    "<script>alert(1)</script>", "</pre>",
    "<img src=x onerror=alert(1)>", "&lt;", "{{ 7*7 }}", "{% raw %}", "{question}", "{response}", "%s%n", "=1+1",
    "=cmd()", "+1", "@SUM(1)", "\uff1d1", "../../x", "C:\\x", "/etc/passwd", "'; DROP TABLE x; --",
    "\\input{/etc/passwd}",
    "\\def\\x{\\x\\x}\\x", " ", "  ", ",", ".", "?", "(", ")", "[", "]", "word", "a. ", "\\text{", "\\left(", "\\,",
]  # fmt: skip

_LONGEST = 30_000
PIECES = [b"\x00" * 9, b"\xff\xfe", b"[" * 3000, b"9" * 5000, b"\n", b'"', b"\\"]


def text(random_: random.Random) -> str:
    """A text of fragments, most of them short; one in twenty repeats a piece until it is long."""
    pieces = random_.choices(FRAGMENTS, k=min(1 + int(random_.expovariate(0.12)), 80))
    if random_.random() < 0.05:
        place = random_.randrange(len(pieces))
        pieces[place] *= min(int(10 ** random_.uniform(1, 4)), _LONGEST // len(pieces[place]))
    if random_.random() < 0.2:
        pieces.insert(random_.randrange(len(pieces)), "".join(chr(random_.randrange(1, 0x3000)) for _ in range(8)))
    return "".join(pieces)


def value(random_: random.Random, depth: int = 0) -> object:
    """Any JSON value, and what only Python's writer makes of one (NaN, half characters)."""
    kind = random_.randrange(12 if depth < 3 else 9)
    if kind < 4:
        return text(random_)[:400]
    if kind < 8:
        plain = [0, -1, 0.5, 1e308, 5e-324, True, None, 10**400, float("nan"), float("inf"), 2**63, "", " ", "1", []]
        return random_.choice(plain)
    if kind == 8:
        return random_.uniform(-10, 10)
    if kind == 9:
        return [value(random_, depth + 1) for _ in range(random_.randrange(4))]
    return {text(random_)[:20]: value(random_, depth + 1) for _ in range(random_.randrange(4))}


def changed(random_: random.Random, record: dict) -> dict:
    """A record that would do, with some of its fields gone, replaced or added."""
    found = dict(record)
    for _ in range(random_.randrange(3)):
        name = random_.choice([*record, "id", "extra"])
        if random_.random() < 0.3:
            found.pop(name, None)
        else:
            found[name] = value(random_)
    return found


def damaged(random_: random.Random, data: bytes) -> bytes:
    """Bytes cut short, with bits flipped, with pieces put in or doubled."""
    found = bytearray(data)
    for _ in range(random_.randrange(1, 4)):
        if not found:
            break
        place = random_.randrange(len(found))
        kind = random_.randrange(5)
        if kind == 0:
            found[place] ^= 1 << random_.randrange(8)
        elif kind == 1:
            del found[place:]
        elif kind == 2:
            found[place:place] = random_.choice(PIECES)
        elif kind == 3:
            del found[place : place + random_.randrange(1, 40)]
        else:
            found[place:place] = found[place : place + random_.randrange(1, 200)]
    return bytes(found)


def json_lines(random_: random.Random, record: dict, most: int = 4) -> bytes:
    """A file of records, some odd, one file in three damaged."""
    records = [changed(random_, record) if random_.random() < 0.4 else record for _ in range(random_.randint(1, most))]
    lines = [json.dumps(r, ensure_ascii=random_.random() < 0.7).encode("utf-8", "surrogatepass") for r in records]
    data = random_.choice([b"\n", b"\r\n", b"\n\n"]).join(lines) + b"\n"
    return damaged(random_, data) if random_.random() < 0.35 else data
