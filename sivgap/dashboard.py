"""``python -m sivgap.dashboard entity=ME project=sivgap``: a W&B dashboard made by code (`wandb-workspaces`).

It has the panels that a reader of the papers asks for, runs grouped by when external data came.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sivgap.config.app import run_app
from sivgap.config.settings import Settings
from sivgap.errors import ConfigError, RunError

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace


class DashboardConfig(Settings):
    """Whose runs to show."""

    entity: str
    """User or team on W&B."""
    project: str = "sivgap"
    group: str | None = None
    """Show one sweep: its directory's name. Null shows every run of the project."""
    out: str | None = None
    """Write the dashboard's description to this file, and do not touch W&B."""


_SECTIONS: dict[str, dict[str, list[str]]] = {
    "Uncertainty, held out (SV Eq. 3 to 8)": {
        "U_s, nats a response": ["test/solver_uncertainty_all"],
        "U_v, nats a response": ["test/verifier_uncertainty"],
        "gap U_s - U_v": ["test/gap"],
        "nats a token": ["test/solver_uncertainty_per_token", "test/verifier_uncertainty_per_token"],
    },
    "Accuracy, held out": {
        "solver": ["test/solver_accuracy"],
        "best of N by the verifier, and the likeliest of N": ["test/verifier_accuracy", "test/likeliest_accuracy"],
        "pass@k": [f"test/pass_at_k/{k}" for k in (1, 2, 4, 8, 16)],
        "GV-gap (MG Def. 2.1), and as a share of the missing accuracy": [
            "test/gv_gap",
            "test/gv_gap_aggregate_relative",
            "test/saturated_fraction",
        ],
    },
    "External data (SV Sec. 5)": {
        "share of prompts given": ["train/external_total"],
        "U_v, training panel, and as data arrive": ["train/verifier_uncertainty", "train/verifier_uncertainty_given"],
    },
    "Health": {
        "AUROC within prompts, of score and likelihood": ["test/score_auroc_within", "test/likelihood_auroc_within"],
        "AUROC pooled, of score and likelihood": ["test/score_auroc", "test/likelihood_auroc"],
        "false and true positives": ["test/false_positive_rate", "test/true_positive_rate"],
        "prompts without an accepted response": ["test/fallback_fraction"],
        "unparsed verdicts": ["test/unparsed_fraction"],
        "chosen responses cut off": ["test/chosen_cut_fraction"],
        "response length": ["test/solver_length", "test/verifier_length"],
        "training loss": ["train/train_loss"],
    },
}


def main() -> None:
    run_app("dashboard", DashboardConfig, dashboard)


def dashboard(config: DashboardConfig) -> None:
    """Save the dashboard; prints its address, or the file it was written to.

    Raises:
        ConfigError: Without `wandb-workspaces`.
        RunError: If W&B refuses it.
    """
    try:
        made = workspace(config)
    except ImportError as error:
        raise ConfigError("a dashboard needs wandb-workspaces: pip install 'sivgap[dashboard]'") from error
    if config.out is not None:
        from sivgap.runtime.files import write_text

        write_text(Path(config.out), made._to_model().model_dump_json(by_alias=True, indent=1) + "\n")
        print(config.out)
        return
    try:
        made.save()
    except Exception as error:  # its client raises many kinds
        reason = " ".join(str(error).split())[:160]
        raise RunError(f"W&B did not take the dashboard ({reason}); is entity={config.entity} right?") from error
    print(made.url)


def workspace(config: DashboardConfig) -> Workspace:
    """The dashboard as an object: a section a question, a panel a column, epochs along the axis."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    sections = [
        ws.Section(name=name, is_open=True, panels=[_panel(wr, title, columns) for title, columns in panels.items()])
        for name, panels in _SECTIONS.items()
    ]
    runs: dict[str, Any] = {"groupby": [ws.Config("cross.strategy")]}
    if config.group is not None:
        runs["filters"] = [ws.Metric("group") == config.group]
    return ws.Workspace(
        entity=config.entity,
        project=config.project,
        name=f"sivgap {config.group or 'all runs'}",
        sections=sections,
        runset_settings=ws.RunsetSettings(**runs),
    )


def _panel(reports: Any, title: str, columns: list[str]) -> Any:
    return reports.LinePlot(
        title=title, x="epoch", y=columns, groupby_aggfunc="mean", groupby_rangefunc="stddev", max_runs_to_show=50
    )


if __name__ == "__main__":
    main()
