"""Every setting of `sivgap.train`: its type, its bounds, its meaning. The YAML under ``conf/`` holds the values.

Those of a model, dataset, verifier, engine, update and of external data each have a file beside this one.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sivgap.config.cross import CrossConfig
from sivgap.config.dataset import DatasetConfig
from sivgap.config.embedded import EMBEDDED
from sivgap.config.engine import EngineConfig
from sivgap.config.model import ModelConfig
from sivgap.config.settings import FilePath, Settings
from sivgap.config.update import UpdateConfig
from sivgap.config.verifier import VerifierConfig
from sivgap.registry import is_own


class SamplingConfig(Settings):
    solver_temperature: float = Field(default=1.0, ge=0, le=10)
    """Temperature of responses (SV Table 3: 1)."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Responses are drawn from the fewest tokens that hold this share of the distribution at ``solver_temperature``
    (MG: 0.9); 1 is all tokens. Likelihoods are those of the whole distribution at temperature 1 all the same."""
    verifier_temperature: float = Field(default=0.1, ge=0, le=10)
    """Temperature of sampled verdicts (SV Table 3: 0.1)."""
    verifier_top_p: float = Field(default=1.0, gt=0, le=1)
    """Likewise of sampled verdicts, as ``top_p`` of responses (MG: 0.9 at temperature 0.7)."""
    max_new_tokens: int = Field(default=512, ge=1)
    """Longest response."""


class SelectionConfig(Settings):
    threshold: float = Field(default=0.5, ge=0, le=1)
    """tau: responses scored below it are dropped."""
    quantile: float | None = Field(default=None, gt=0, le=1)
    """Instead of tau, the share of each prompt's responses that passes, the best-scored ones (MG); for scores that are
    all high or all low. Ties at its boundary pass together. Null selects by ``threshold``."""
    fallback: Literal["likeliest", "drop"] = "likeliest"
    """A prompt none of whose responses pass: train on its likeliest response (the paper), or leave the prompt out of
    this round. Measurement always keeps all N for such prompts, as U_v is defined (THEORY section 1). With a quantile
    that is a prompt none of whose verdicts could be read."""
    keep: Literal["likeliest", "all"] = "likeliest"
    """What is trained on of the responses that pass: the likeliest a token (SV Eq. 5), or all (rejection sampling, MG
    Section 3)."""
    finished: Literal["first", "any"] = "first"
    """Responses cut off at ``sampling.max_new_tokens``: chosen only for a prompt none of whose responses ended by
    itself (beyond SV: their uncertainty is a lower bound, and the likeliest a token are often loops), or like the
    others (``any``, SV Eq. 5)."""


class MeasureConfig(Settings):
    every: float = Field(default=0.5, gt=0, le=1e6)
    """Epochs between measurements."""
    train_prompts: int | None = Field(default=None, ge=1)
    """Prompts of the fixed training panel; null measures all."""
    test_prompts: int | None = Field(default=None, ge=1)
    """Prompts of the held-out panel; null measures all."""
    samples: int | None = Field(default=None, ge=1)
    """Responses a prompt; null is ``n``."""
    pass_at: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 2, 4, 8, 16])
    """k of pass@k; those above the number of samples are null in the trajectory."""
    reuse: bool = False
    """Read the training curve off the rollouts that training then learns from, instead of sampling those prompts twice:
    the same labels for less. Unbiased, but the panel's noise is a new one at each measurement."""


class StoppingConfig(Settings):
    rule: Literal["none", "forecast", "collapse"] = "none"
    """``forecast``: after each measurement, forecast how far the held-out U_s will still fall until ``epochs``.
    ``collapse``: watch the held-out panel for an accuracy that comes down, and for an entropy below ``entropy`` or a
    length that runs away while accuracy is not at its best."""
    action: Literal["advise", "stop"] = "advise"
    """``advise`` says so once the expected gain is below ``min_gain``, or the run collapses; ``stop`` ends the run once
    the whole 90 % interval of the gain is below, or it collapses."""
    min_gain: float = Field(default=0.05, gt=0)
    """Nats a response."""
    entropy: float = Field(default=0.05, ge=0)
    """Nats a token, for ``collapse``."""


class WandbConfig(Settings):
    mode: Literal["offline", "online", "disabled"] = "offline"
    """Where metrics stream. A failing W&B never stops a run; the run directory has everything anyway."""
    project: str = "sivgap"
    entity: str | None = None
    group: str | None = None
    """Null: a sweep is a group, a single run is in none."""
    name: str | None = None
    """Null: a run of a sweep is called by what differs, any other by its directory."""
    tags: list[str] = Field(default=[])
    table_rows: int = Field(default=32, ge=0)
    """Responses shown in the table of samples of each measurement."""
    timeout: float = Field(default=30, gt=0)
    """Seconds that a W&B which does not answer may hold up a run: once at its start, and once at its end."""


class TrackingConfig(Settings):
    wandb: WandbConfig = WandbConfig()


class ProcessesConfig(Settings):
    processes: int = Field(default=1, ge=1, le=1024)
    """Processes of each machine that share the work of one run; with GPUs, one each. Numbers do not depend on it."""


class LaunchConfig(ProcessesConfig):
    shard: bool = False
    """Share out the weights in training, their gradients and AdamW's moments among the processes (FSDP2), too, for
    models that no GPU holds with all of these. Numbers do not depend on it."""


class SolverConfig(Settings):
    """A model, the problems it solves, and who judges its responses: what every run has."""

    model: ModelConfig
    dataset: DatasetConfig
    verifier: VerifierConfig
    engine: EngineConfig
    sampling: SamplingConfig
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of everything random in the run."""
    n: int = Field(default=16, ge=1)
    """N: responses a prompt among which the verifier chooses."""
    runs_dir: FilePath = "runs"
    """Where run directories live."""
    fresh: bool = False
    """Start over beside an existing run of the same identity."""
    launch: ProcessesConfig = ProcessesConfig()
    plan: Literal[False, True, "l40s", "a100", "h100", "h200"] = False
    """Do not run; say what it would cost in tokens, FLOPs, memory and hours: ``true`` on this machine, or on a GPU by
    its name. Rates are those of an earlier run here, else measured in seconds, else by the hardware's figures."""

    @model_validator(mode="after")
    def _fits(self) -> SolverConfig:
        if not self.model.path and self.model.name not in EMBEDDED:
            raise ValueError("model.path: expected a local folder or a hub id")
        if not self.model.path and self.dataset.name != "arithmetic" and not is_own(self.dataset.name):
            raise ValueError(
                f"dataset: the embedded {self.model.name} model reads arithmetic only, not {self.dataset.name}; "
                "choose a model, for example model=llama32_3b, or model.path=FOLDER"
            )
        generated = self.dataset.name in ("arithmetic", "prontoqa", "sudoku") or is_own(self.dataset.name)
        if not generated and not self.dataset.path and not self.dataset.hub_id:
            raise ValueError("dataset.path: expected a file, since dataset.hub_id is empty")
        if self.dataset.test_path and not self.dataset.path:
            raise ValueError("dataset.test_path: needs dataset.path as well")
        for key in ("path", "test_path"):
            path = getattr(self.dataset, key)
            if path and Path(path).suffix not in (".jsonl", ".parquet"):
                raise ValueError(f"dataset.{key}: expected a .jsonl or .parquet file, got {path}")
        if self.engine.name == "hf" and self.engine.tensor_parallel > 1:
            raise ValueError("engine.tensor_parallel: engine=hf is whole in every process; set 1, or engine=vllm")
        if self.launch.processes % self.engine.tensor_parallel:
            raise ValueError(
                f"engine.tensor_parallel: expected a divisor of launch.processes={self.launch.processes}, got "
                f"{self.engine.tensor_parallel}; set launch.processes to a multiple of it"
            )
        if self.verifier.name == "tournament" and self.verifier.pairing == "elimination":
            most = self.n.bit_length() - 1
            if self.n != 2**most or self.n < 2:
                raise ValueError(f"n: single elimination needs a power of two, from 2 on, got {self.n}")
            if (self.verifier.rounds or 0) > most:
                raise ValueError(f"verifier.rounds: {self.n} responses meet in {most} rounds at most")
        return self


class TrainConfig(SolverConfig):
    """One run of `sivgap.train`."""

    update: UpdateConfig
    selection: SelectionConfig
    measure: MeasureConfig
    stopping: StoppingConfig
    cross: CrossConfig
    tracking: TrackingConfig
    launch: LaunchConfig = LaunchConfig()
    epochs: float = Field(default=10, gt=0, le=1e6)
    """Length of the run; a multiple of half an epoch."""
    prompts_per_epoch: int | None = Field(default=None, ge=2)
    """Prompts in an epoch; null is all training problems. With fewer, epochs walk through a shuffled training set, so
    prompts are fresh until it has been used up."""
    refresh: Literal["step", "half_epoch", "epoch", "never"] = "half_epoch"
    """When pseudo-labels are drawn anew with the current model; ``never`` keeps the initial model's."""

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        from sivgap.config.allocation import planned

        halves = self.epochs * 2
        if not math.isclose(halves, round(halves)):
            raise ValueError(f"epochs: expected a multiple of 0.5, got {self.epochs:g}")
        ratio = self.measure.every * 2
        if not math.isclose(ratio, round(ratio)):
            raise ValueError(f"measure.every: expected a multiple of 0.5, got {self.measure.every:g}")
        if self.measure.reuse and (
            self.refresh not in ("half_epoch", "epoch") or self.measure.samples not in (None, self.n)
        ):
            raise ValueError(
                "measure.reuse: labels and measurements must be of the same weights and number of responses; expected "
                "refresh=half_epoch or epoch, and measure.samples=null"
            )
        planned(self.cross, self.epochs)
        most = self.dataset.train_size
        if self.cross.strategy != "none" and most is not None and self.cross.budget > max(most, 1):
            raise ValueError(f"cross.budget: {self.cross.budget:g} prompts, but the training set has {most}")
        if self.cross.strategy != "none" and self.measure.every > 1:
            raise ValueError(
                "measure.every: expected at most 1 with external data, whose arrivals a fit reads from measurements, "
                f"got {self.measure.every:g}"
            )
        if self.engine.name == "vllm":
            if self.launch.shard:
                raise ValueError("launch.shard: engine=vllm takes weights from one process; set false, or engine=hf")
            if self.engine.handover == "adapter" and self.update.parameters == "full":
                raise ValueError("engine.handover: update.parameters=full has no adapters; set merged")
        if self.update.replay > 0 and self.dataset.name != "arithmetic":
            raise ValueError(
                f"update.replay: {self.dataset.name} has no synthetic verification examples; set update.replay=0"
            )
        if self.update.replay > 0 and self.verifier.name not in ("qe", "tf", "mc"):
            raise ValueError(
                f"update.replay: {self.verifier.name} has no verification examples, qe, tf and mc have; "
                "set update.replay=0"
            )
        return self
