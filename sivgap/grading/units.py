"""Units that are told apart: ``5 cm`` is not ``5 m``. Any other word behind a number is taken for its unit, too."""

from __future__ import annotations

import re

_GROUPS = (
    "mm millimeter millimetre", "cm centimeter centimetre", "m meter metre", "km kilometer kilometre", "in inch inche",
    "ft foot feet", "yd yard", "mi mile", "s sec second", "min minute", "h hr hour", "day", "week", "month", "year yr",
    "g gram", "kg kilogram", "mg milligram", "lb pound", "oz ounce", "l liter litre", "ml milliliter millilitre",
    "dollar buck usd", "cent penny pennie", "degree deg", "radian rad", "mph", "km/h kph", "m/s",
)  # fmt: skip
_GROUP_OF = {name: group.split()[0] for group in _GROUPS for name in group.split()}


def unit_of(text: str) -> str | None:
    """The name of the group that a unit belongs to, or None where it is unknown."""
    word = re.sub(r"\^.*|(?<=.)\.$", "", text.strip().lower())
    word = re.sub(r"^(?:square|cubic|sq|cu)\.?\s+", "", word)
    return _GROUP_OF.get(word) or _GROUP_OF.get(word.removesuffix("s"))
