"""Draw docs/architecture.png and write the table of docs/architecture.md from the code.

    python tools/architecture.py

Rooms are the packages and commands of sivgap, in the import order that pyproject.toml states and ``make lint`` keeps.
"""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "architecture.png"
BEGIN, END = "<!-- rooms -->", "<!-- end of rooms -->"


def layers() -> list[list[str]]:
    """Rooms by layer, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rows = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[name.strip().removeprefix("sivgap.") for name in row.split("|")] for row in rows]


def files(room: str) -> list[Path]:
    path = ROOT / "sivgap" / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def says(room: str) -> str:
    """The first sentence of a room's docstring."""
    path = ROOT / "sivgap" / room
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    text = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    return re.split(r"(?<=[a-z)`])(?<!Sec)\. ", text.rstrip("."))[0]


def imports(rooms: list[str]) -> Counter[tuple[str, str]]:
    """How many modules of one room import another, leaving out imports for types alone."""
    found: Counter[tuple[str, str]] = Counter()
    for room in rooms:
        for file in files(room):
            for node in ast.walk(_without_types(ast.parse(file.read_text()))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sivgap."):
                    other = (node.module or "").split(".")[1]
                    if other != room and other in rooms:
                        found[room, other] += 1
    return found


def reduced(arrows: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those between rooms that no way through other rooms joins as well."""
    below: dict[str, set[str]] = {}

    def reach(room: str) -> set[str]:
        if room not in below:
            direct = {other for one, other in arrows if one == room}
            below[room] = direct | {far for other in direct for far in reach(other)}
        return below[room]

    return sorted((a, b) for a, b in arrows if not any(b in reach(c) for one, c in arrows if one == a and c != b))


def _without_types(tree: ast.Module) -> ast.Module:
    class Drop(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node

    return Drop().visit(tree)


def table() -> str:
    """Rooms from the top down, with what each is for, what it reads, and its size."""
    rows = layers()
    rooms = [room for row in rows for room in row]
    arrows = imports(rooms)
    lines = ["| room | what is in it | imports | lines |", "|---|---|---|---|"]
    for row in rows:
        for room in row:
            name = f"`sivgap/{room}/`" if (ROOT / "sivgap" / room).is_dir() else f"`sivgap/{room}.py`"
            size = sum(len(file.read_text().splitlines()) for file in files(room))
            reads = ", ".join(other for other in rooms if arrows[room, other])
            lines.append(f"| {name} | {says(room).replace('|', '/')} | {reads} | {size:,} |")
    return "\n".join(lines) + "\n"


def draw() -> None:
    rows = layers()
    rooms = [room for row in rows for room in row]
    places: dict[str, tuple[float, float]] = {}
    for y, row in enumerate(rows):
        for x, room in enumerate(row):
            beside = 0.07 * (-1) ** y if len(row) == 1 else 0  # so that arrows pass by
            places[room] = ((x + 0.5) / len(row) + beside, len(rows) - y)
    figure, axis = plt.subplots(figsize=(12, 10))
    for room, other in reduced(set(imports(rooms)) - {("sweep", "train")}):
        (x0, y0), (x1, y1) = places[room], places[other]
        axis.annotate("", (x1, y1 + 0.24), (x0, y0 - 0.24), arrowprops={"arrowstyle": "-|>", "color": "0.4", "lw": 0.9})
    for room, (x, y) in places.items():
        command = not (ROOT / "sivgap" / room).is_dir() or room == "preflight"
        axis.text(
            x, y, room, ha="center", va="center", fontsize=10,
            bbox={"boxstyle": "round,pad=0.35", "fc": "#fff4d6" if command else "#e3eefb", "ec": "0.3"},
        )  # fmt: skip
    axis.set_xlim(0, 1)
    axis.set_ylim(0.4, len(rows) + 0.6)
    axis.axis("off")
    axis.set_title("Each room imports from those below it; arrows that a longer way implies are left out", fontsize=12)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


def main() -> None:
    draw()
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
