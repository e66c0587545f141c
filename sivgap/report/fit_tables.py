"""A fit as tables and sentences on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.markup import escape
from rich.table import Table

from sivgap.dynamics.analysis import OVER_PROMPTS, Analysis
from sivgap.dynamics.arrivals import DirectGamma
from sivgap.dynamics.cross import FORMS
from sivgap.dynamics.fit import Estimate
from sivgap.runtime.display import Display
from sivgap.runtime.sanitize import sanitize

_ROWS = (
    ("solver_initial", "U_s at epoch 0 (nats)"),
    ("verifier_initial", "U_v at epoch 0 (nats)"),
    ("gap_limit", "gap in the end (nats)"),
    ("rate", "rate (an epoch)"),
    ("beta_over_alpha", "beta / alpha"),
)


def print_fit(found: Analysis, display: Display) -> None:
    """Parameters, limits, the forecast, and what to beware of; on standard error."""
    fit = found.fit if found.cross is None else found.cross
    both = found.of == OVER_PROMPTS
    table = Table(title=f"coupled law, {len(found.runs)} run(s), {len(found.mean.epoch)} epochs", title_justify="left")
    for column in ("", "value", "stderr", f"90 %, {found.of}", *(["90 %, this panel"] if both else [])):
        table.add_column(column, justify="left" if not column else "right")
    for name, label in _ROWS:
        table.add_row(label, *_cells(fit.parameters[name], both))
    for name in ("solver", "verifier"):
        table.add_row(f"{'U_s' if name == 'solver' else 'U_v'} in the end (nats)", *_cells(fit.limits[name], both))
    if found.cross is not None:
        for form, gamma in found.cross.gamma.items():
            share = f"support {found.cross.support[form]:.0%}"
            table.add_row(f"gamma, form '{form}' ({share})", *_cells(gamma, both))
    display.console.print(table)
    display.say(f"R^2: solver {fit.r2['solver']:.3f}, verifier {fit.r2['verifier']:.3f}, gap {fit.r2['gap']:.3f}")
    _print_claims(found, display)
    if found.arrivals is not None:
        _print_arrivals(found.arrivals, display)
    _print_forecast(found, display)
    for sentence in found.warnings:
        display.console.print(f"[yellow]beware[/yellow]  {escape(sanitize(sentence))}")


def _print_claims(found: Analysis, display: Display) -> None:
    """What the theory claims of self-improvement, and whether the run obeys."""
    if found.cross is not None:
        return
    table = Table(title=f"what the theory claims (tests of: {found.test.of})", title_justify="left")
    for column in ("claim", "found", "90 % interval", "p value"):
        table.add_column(column, justify="left" if column == "claim" else "right")
    for row in claims(found):
        table.add_row(*row)
    display.console.print(table)
    if found.exponent is not None:
        fixed, free = found.exponent.limits_fixed, found.exponent.limits_free
        gain = found.exponent.aicc_gain
        better = "" if gain is None else f"; AICc of p = 1 minus that of free p: {gain:+.1f}"
        display.say(
            f"in the end, p = 1: U_s {fixed['solver']:.3f}, U_v {fixed['verifier']:.3f}; "
            f"p = {found.exponent.value:.2f}: U_s {free['solver']:.3f}, U_v {free['verifier']:.3f}{better}"
        )
    if found.linearity.rate is not None:
        display.say(f"rate from dG/dt against G: {found.linearity.rate:.3g} an epoch (noise biases it towards 0)")


def claims(found: Analysis) -> list[tuple[str, str, str, str]]:
    """Claim, what was found, its 90 % interval, and the p value, as text."""
    phase, test, one = found.phase, found.test, found.exponent
    rows = [
        ("U_v is affine in U_s: bow (nats)", f"{phase.bend:.3g}", _span(phase.low, phase.high), _chance(phase.p_value)),
        ("one rate: solver's over verifier's", f"{test.ratio:.3g}", _span(test.low, test.high), _chance(test.p_value)),
    ]
    if one is not None:
        edge = " (not bounded)" if one.at_edge else ""
        rows.append(
            ("energy: exponent p = 1", f"{one.value:.3g}", _span(one.low, one.high) + edge, _chance(one.p_value))
        )
    if found.misfit is not None:
        rows.append(("the law, against any curves", "", "", _chance(found.misfit)))
    return rows


def _print_arrivals(found: DirectGamma, display: Display) -> None:
    """Gamma of every arrival beside the pooled one."""
    table = Table(title="gamma from the verifier's jump when data came (training panel)", title_justify="left")
    for column in ("arrival", "U_v before", "after", *FORMS):
        table.add_column(column, justify="left" if column == "arrival" else "right")
    for one, gamma in zip(found.arrivals, found.each, strict=True):
        label = escape(sanitize(f"{one.run}, epoch {one.epoch:g}, {one.eta:.3f} of prompts"))
        table.add_row(label, f"{one.before:.3f}", f"{one.after:.3f}", *(short(gamma[form]) for form in FORMS))
    if len(found.arrivals) > 1:
        table.add_row("all", "", "", *(short(found.pooled[form]) for form in FORMS))
        table.add_row("p value of one gamma", "", "", *(_chance(found.equal[form]) for form in FORMS))
    display.console.print(table)


def _print_forecast(found: Analysis, display: Display) -> None:
    said = found.forecast
    if not len(said.epoch):
        return
    table = Table(title=f"forecast ({found.runs[0].name})", title_justify="left")
    ends = "this panel" if found.limit is None else OVER_PROMPTS
    for column in ("", f"epoch {said.epoch[-1]:g}", "90 %, this panel", "in the end", f"90 %, {ends} "):
        table.add_column(column, justify="left" if not column else "right")
    for i, name in enumerate(("U_s", "U_v", "gap")):
        value, low, high = said.value[0, i, -1], said.low[0, i, -1], said.high[0, i, -1]
        end = said.limit[0, i] if found.limit is None else found.limit[i]
        table.add_row(
            name, f"{value:.3f}", f"{low:.3f} to {high:.3f}", f"{end[0]:.3f}", f"{end[1]:.3f} to {end[2]:.3f}"
        )
    display.console.print(table)


def _span(low: float | None, high: float | None) -> str:
    return "?" if low is None or high is None else f"{low:.3g} to {high:.3g}"


def _chance(p_value: float | None) -> str:
    return "?" if p_value is None else f"{p_value:.2g}"


def short(estimate: Estimate) -> str:
    """The value, with its interval in brackets where it has one."""
    known = estimate.low is not None and estimate.high is not None
    return f"{estimate.value:.3g}" + (f" ({_span(estimate.low, estimate.high)})" if known else "")


def _cells(estimate: Estimate, both: bool) -> tuple[str, ...]:
    def text(value: float | None) -> str:
        return "?" if value is None else f"{value:.4g}"

    spans = [(estimate.low, estimate.high), *([(estimate.panel_low, estimate.panel_high)] if both else [])]
    return text(estimate.value), text(estimate.stderr), *(f"{text(low)} to {text(high)}" for low, high in spans)


def claims_table(found: Analysis) -> pd.DataFrame:
    """`claims` as a table of a report, with both limits under p = 1 and free p."""
    rows = [dict(zip(("claim", "found", "90 % interval", "p value"), row, strict=True)) for row in claims(found)]
    if found.exponent is not None:
        for name, symbol in (("solver", "U_s"), ("verifier", "U_v")):
            low, high = found.exponent.limit_intervals.get(name, (None, None))
            fixed, free = found.exponent.limits_fixed[name], found.exponent.limits_free[name]
            rows.append({"claim": f"{symbol} in the end, p = 1 (nats)", "found": f"{fixed:.3f}"})
            rows.append(
                {
                    "claim": f"{symbol} in the end, free p (nats)",
                    "found": f"{free:.3f}",
                    "90 % interval": _span(low, high),
                }
            )
    return pd.DataFrame(rows)


def arrivals_table(found: DirectGamma) -> pd.DataFrame:
    """gamma of every arrival and pooled, by form; 90 % over prompts in brackets."""
    rows = [
        {"run": one.run, "epoch": f"{one.epoch:g}", "share given": f"{one.eta:.3f}", "U_v before": f"{one.before:.3f}",
         "U_v after": f"{one.after:.3f}", **{form: short(gamma[form]) for form in FORMS}}
        for one, gamma in zip(found.arrivals, found.each, strict=True)
    ]  # fmt: skip
    if len(rows) > 1:
        rows.append({"run": "all", **{form: short(found.pooled[form]) for form in FORMS}})
        rows.append({"run": "p value of one gamma", **{form: _chance(found.equal[form]) for form in FORMS}})
    return pd.DataFrame(rows)
