"""Every setting of `sivgap.train`: its type, its bounds, its meaning. The YAML under ``conf/`` holds the values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from sivgap.tiny import EMBEDDED

Fraction = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _nameable(path: str) -> str:
    if "\0" in path or len(path) > 4000 or any(len(part.encode(errors="replace")) > 255 for part in path.split("/")):
        raise ValueError("expected a path, with names of at most 255 bytes")
    return path


FilePath = Annotated[str, AfterValidator(_nameable)]
"""A path that a file system can be asked for."""


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class ModelSource(Settings):
    """Where a model comes from, and how it is spoken to."""

    path: FilePath | None = None
    """Local folder or hub id. Embedded models (``tiny``, ``tiny_m``, ...) have none."""
    revision: str | None = None
    """Branch, tag or commit on the hub; the commit actually loaded is written to ``status.json``."""
    chat_template: bool = True
    """Put prompts into the tokenizer's chat template; false sends plain text, right for base models."""
    stop: list[Annotated[str, Field(min_length=1, max_length=40)]] = []
    """Texts that end a response besides the end-of-sequence token; base models need one, chat models none."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of weights and activations; ``auto`` is bfloat16 on a GPU that has it and float32 elsewhere."""


class ModelConfig(ModelSource):
    name: str = Field(pattern=r"^\w[\w.-]{0,79}$")
    """Name of the configuration; part of the run's identity, and of its directory's name."""
    lora_targets: list[str] = Field(min_length=1)
    """Names of the linear modules that get an adapter when ``update.parameters=lora``."""
    parameters: float = Field(gt=0)
    """Number of parameters, for the record and for cost estimates."""
    tokens: float | None = Field(default=None, gt=0)
    """Tokens D that pretraining read, for scaling against its FLOPs, 6 N D (MG); null where it was not published."""
    licence: str
    """Licence under which the weights are distributed, and what it asks of you."""


class DatasetConfig(Settings):
    name: Literal["arithmetic", "gsm8k", "math", "nq_open", "sudoku"]
    """Which task: how to read problems, and how to grade answers."""
    path: FilePath | None = None
    """A local ``.jsonl`` or ``.parquet`` file with the training problems, instead of the hub."""
    test_path: FilePath | None = None
    """Likewise for held-out problems; with ``path`` alone, ``test_share`` of the file is held out."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Share held out of ``path`` where no ``test_path`` is given, chosen by a hash of each problem."""
    hub_id: str | None = None
    """Dataset on the hub, read with the `datasets` library when no ``path`` is given."""
    hub_config: str | None = None
    """Its configuration (subset) on the hub; ``all`` joins every subset."""
    train_size: int | None = Field(default=None, ge=1)
    """Training problems to use, a seeded draw; null uses all. ``arithmetic`` generates this many;
    ``sudoku`` has 216 (and 72 held out)."""
    test_size: int | None = Field(default=None, ge=1)
    """Held-out problems to use, likewise."""
    data_seed: int = Field(default=0, ge=0)
    """Seed of the draw of problems. It does not follow ``seed``, so runs of several seeds share their panels."""
    prompt: FilePath
    """File under ``conf/prompts`` (or any path) with the solver's prompt; ``{question}`` is replaced."""
    few_shot: int = Field(default=0, ge=0, le=64)
    """Worked examples put before each question, taken from training problems that are then not trained on."""


class VerifierConfig(Settings):
    name: Literal["qe", "tf", "mc", "cot_binary", "cot_score", "tournament", "ensemble", "gold"]
    """``qe`` asks for a score in [0, 1], ``tf`` for True or False (SV); ``mc`` reads Correct against Incorrect,
    ``cot_binary`` and ``cot_score`` justify their verdict first, ``tournament`` compares in pairs, ``ensemble`` joins
    several, ``gold`` is ground truth (MG Appendix C)."""
    prompt: FilePath
    """File with the verifier's prompt; of a shipped one its variant for the dataset, ``mc_sudoku.txt`` for ``mc.txt``,
    where there is one. It follows the response in the same conversation, or stands alone if it has
    ``{question}`` and ``{response}`` (a tournament: ``{response_a}`` and ``{response_b}``)."""
    answers: dict[str, Fraction] = {}
    """Allowed answers and the score each stands for; ``readout=expected`` averages over exactly these."""
    readout: Literal["sampled", "expected"] = "sampled"
    """``sampled``: one answer at ``sampling.verifier_temperature``, as in the paper; unparsable is 0.5.
    ``expected``: the mean score under the model's likelihoods of the allowed answers."""
    max_new_tokens: int = Field(default=8, ge=1, le=4096)
    """Longest sampled answer, justification included."""
    heading: str | None = Field(default=None, min_length=1, max_length=80)
    """What stands before the verdict where a justification comes first; null where the answer is the verdict."""
    repetitions: int = Field(default=1, ge=1, le=1024)
    """m: answers asked for about each response (or pair), of which the score is the mean."""
    model: ModelSource = ModelSource()
    """Another model that judges, by its ``path``, and is never trained; without one the solver judges itself."""
    rounds: int | None = Field(default=None, ge=1)
    """Rounds of a tournament; null plays until one response is left."""
    both_orders: bool = True
    """Ask about each pair both ways round: judges prefer a place."""
    pairing: Literal["elimination", "swiss"] = "elimination"
    """Who meets in a tournament: the winners of the last round, or (ours) always responses of like strength."""
    members: list[Literal["qe", "tf", "mc", "cot_binary", "cot_score", "tournament", "gold"]] = []
    """Of an ensemble: its verifiers."""
    accept: list[Fraction] = Field(default=[0.5], min_length=1)
    """The score from which on each member accepts a response: one for all, or one each."""
    combine: Literal["and", "mean"] = "and"
    """An ensemble accepts what all members accept (the paper), or scores by the mean of their scores (ours)."""

    @model_validator(mode="after")
    def _consistent(self) -> VerifierConfig:
        if self.name == "ensemble" and not self.members:
            raise ValueError("members: expected verifiers, such as [mc,cot_score]")
        if len(set(self.members)) < len(self.members):
            raise ValueError("members: expected each verifier once")
        if self.members and len(self.accept) not in (1, len(self.members)):
            raise ValueError(f"accept: expected one score, or one for each of {len(self.members)} members")
        if self.name not in ("ensemble", "gold") and len(self.answers) < 2:
            raise ValueError(f"answers: {self.name} needs at least two allowed answers with their scores")
        return self


class EngineConfig(Settings):
    name: Literal["hf", "vllm"] = "hf"
    """What samples: ``hf``, transformers' forward pass with a shared prompt cache, or ``vllm``. Other models than the
    solver (``verifier.model``, ``cross.model``) answer with ``hf``."""
    batch_size: int = Field(default=256, ge=1)
    """Responses sampled at once; more is faster until memory ends. Responses do not depend on it."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of each process; null takes what is fastest when a run begins, measured in a fifth of a second, up to
    torch's choice shared out among ``launch.processes``; ``status.json`` names it, and the run keeps it."""
    handover: Literal["merged", "adapter"] = "merged"
    """Of ``vllm``: how it gets the trained weights, all of them merged or as an adapter under a new id. Numbers differ
    by rounding alone."""
    memory: float = Field(default=0.5, gt=0, lt=1)
    """Of ``vllm``: share of a GPU's memory that it takes while it samples; most of it is free while training."""


class UpdateConfig(Settings):
    name: Literal["sft", "rpo"] = "sft"
    """``sft``: fine-tuning on the chosen responses, loss on response tokens only. ``rpo``: DPO on chosen against
    rejected responses, with a likelihood term (MG)."""
    beta: float = Field(default=0.05, gt=0)
    """Of ``rpo``: how sharply the model may move away from the one that drew the pairs."""
    sft_weight: float = Field(default=1.0, ge=0)
    """Of ``rpo``: weight of the chosen response's likelihood a token."""
    parameters: Literal["lora", "full"] = "lora"
    """What is trained: adapters, or all weights."""
    lora_rank: int = Field(default=16, ge=1)
    """Rank of the adapters (SV Table 3: 16)."""
    lora_alpha: float = Field(default=32, gt=0)
    """Scale: the adapter's product is multiplied by alpha / rank."""
    lora_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout on the adapters' input while training (SV Table 3: 0.5); never while sampling."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Constant learning rate of AdamW (SV Table 3: 1e-5)."""
    weight_decay: float = Field(default=0.01, ge=0)
    """SV Table 3: 0.01."""
    batch_size: int = Field(default=16, ge=1)
    """Examples a step."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Examples in memory at once; gradients of a step are averaged by token over its micro-batches. Null: all. They
    are halved where they do not fit a GPU's memory."""
    checkpointing: bool | None = None
    """Whether the backward pass computes activations again instead of keeping them: the same numbers, a third more
    time, a fraction of the memory. Null: from the first step on that does not fit the GPU's memory otherwise."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """Share of training examples that are synthetic verification examples (a departure from the paper that keeps the
    verifier's calibration; only tasks that can make graded solutions have it: ``arithmetic``)."""


class SamplingConfig(Settings):
    solver_temperature: float = Field(default=1.0, ge=0, le=10)
    """Temperature of responses (SV Table 3: 1)."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Responses are drawn from the fewest tokens that hold this share of the distribution at ``solver_temperature``
    (MG: 0.9); 1 is all tokens. Likelihoods are those of the whole distribution at temperature 1 all the same."""
    verifier_temperature: float = Field(default=0.1, ge=0, le=10)
    """Temperature of sampled verdicts (SV Table 3: 0.1)."""
    max_new_tokens: int = Field(default=512, ge=1)
    """Longest response."""


class SelectionConfig(Settings):
    threshold: float = Field(default=0.5, ge=0, le=1)
    """tau: responses scored below it are dropped."""
    fallback: Literal["likeliest", "drop"] = "likeliest"
    """A prompt whose responses all fall below tau: train on its likeliest response (the paper), or leave the prompt out
    of this round. Measurement always keeps all N for such prompts, as U_v is defined (THEORY section 1)."""
    keep: Literal["likeliest", "all"] = "likeliest"
    """What is trained on of the responses that pass: the likeliest a token (SV Eq. 5), or all (rejection sampling, MG
    Section 3)."""


class MeasureConfig(Settings):
    every: float = Field(default=0.5, gt=0, le=1e6)
    """Epochs between measurements."""
    train_prompts: int | None = Field(default=None, ge=1)
    """Prompts of the fixed training panel; null measures all."""
    test_prompts: int | None = Field(default=None, ge=1)
    """Prompts of the held-out panel; null measures all."""
    samples: int | None = Field(default=None, ge=1)
    """Responses a prompt; null is ``n``."""
    pass_at: list[Annotated[int, Field(ge=1)]] = [1, 2, 4, 8, 16]
    """k of pass@k; those above the number of samples are null in the trajectory."""
    reuse: bool = False
    """Read the training curve off the rollouts that training then learns from, instead of sampling those prompts twice:
    the same labels for less. Unbiased, but the panel's noise is a new one at each measurement."""


class StoppingConfig(Settings):
    rule: Literal["none", "forecast"] = "none"
    """``forecast``: after each measurement, forecast how far the held-out U_s will still fall until ``epochs``."""
    action: Literal["advise", "stop"] = "advise"
    """``advise`` says so once the expected gain is below ``min_gain``; ``stop`` ends the run once its whole 90 %
    interval is."""
    min_gain: float = Field(default=0.05, gt=0)
    """Nats a response."""


class ApiConfig(Settings):
    model: str | None = None
    """Name of the model at the endpoint."""
    base_url: str | None = None
    """An OpenAI-compatible endpoint; null is OpenAI's own."""
    key_env: str = Field(default="OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)
    """Environment variable that holds the key; the key itself never enters a configuration or a log."""
    input_price: float | None = Field(default=None, ge=0)
    """US dollars a million tokens sent; 0 for a server of your own."""
    output_price: float | None = Field(default=None, ge=0)
    """US dollars a million tokens received; 0 for a server of your own."""
    max_cost: float = Field(default=10.0, ge=0)
    """US dollars that one collection may cost at most; it stops before it would exceed them."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Requests under way at once."""
    retries: int = Field(default=6, ge=0, le=20)
    """Attempts after the first, with growing pauses, at what may pass: 429, 5xx, time-outs, cut connections."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds that one attempt may take."""
    cache: FilePath = "~/.cache/sivgap/api"
    """Folder of the answers that were paid for, shared by all runs."""

    @field_validator("base_url")
    @classmethod
    def _without_secret(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            raise ValueError("expected an address without name and password; the key belongs in the environment")
        return value


class CrossConfig(Settings):
    """External data (SV Sec. 5): which prompts get an external response, and when."""

    strategy: Literal["none", "early", "uniform", "late", "custom"] = "none"
    """``early`` gives all in epoch 1, ``uniform`` equal shares over the first ``cross.epochs``, ``late`` all in the
    last of these, ``custom`` what ``cross.schedule`` says."""
    budget: float = Field(default=0.25, gt=0)
    """H: share of the training prompts that get an external response, up to 1; above 1 their number."""
    epochs: int = Field(default=8, ge=1)
    """Epochs of ``uniform``, and the epoch of ``late``."""
    schedule: list[Annotated[float, Field(ge=0)]] | None = None
    """For ``custom``: what is given in epochs 1, 2, ..., adding up to ``budget``; or the path of an ``allocation.json``
    of `sivgap.allocate`, whose best plan is taken."""
    source: Literal["reference", "file", "model", "api"] = "reference"
    """Where external responses come from: the dataset's solutions, ``cross.file``, ``cross.model``, ``cross.api``."""
    file: FilePath | None = None
    """A .jsonl or .parquet file whose records have ``response``, and ``id`` or ``question``."""
    model: ModelSource = ModelSource()
    api: ApiConfig = ApiConfig()
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Of the responses of ``model`` and ``api``."""

    @field_validator("schedule", mode="before")
    @classmethod
    def _from_file(cls, value: object) -> object:
        from sivgap.cross.allocation import read_schedule

        return read_schedule(Path(value)) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> CrossConfig:
        if self.budget > 1 and not float(self.budget).is_integer():
            raise ValueError(f"budget: expected a share up to 1, or a whole number of prompts, got {self.budget:g}")
        if self.strategy == "none":
            return self
        needs = {
            "file": ("file", self.file),
            "model": ("model.path", self.model.path),
            "api": ("api.model", self.api.model),
        }
        key, value = needs.get(self.source, ("", "given"))
        if not value:
            raise ValueError(f"source={self.source} needs cross.{key}")
        if self.source == "file" and Path(self.file or "").suffix not in (".jsonl", ".parquet"):
            raise ValueError(f"file: expected a .jsonl or .parquet file, got {self.file}")
        if self.source == "api" and (self.api.input_price is None or self.api.output_price is None):
            raise ValueError(
                "source=api needs cross.api.input_price and cross.api.output_price, US dollars a million tokens (0 for "
                "a server of your own), to keep cross.api.max_cost"
            )
        return self


class WandbConfig(Settings):
    mode: Literal["offline", "online", "disabled"] = "offline"
    """Where metrics stream. A failing W&B never stops a run; the run directory has everything anyway."""
    project: str = "sivgap"
    entity: str | None = None
    group: str | None = None
    """Null: a sweep is a group, a single run is in none."""
    name: str | None = None
    """Null: a run of a sweep is called by what differs, any other by its directory."""
    tags: list[str] = []
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

    @model_validator(mode="after")
    def _fits(self) -> SolverConfig:
        if not self.model.path and self.model.name not in EMBEDDED:
            raise ValueError("model.path: expected a local folder or a hub id")
        if not self.model.path and self.dataset.name != "arithmetic":
            raise ValueError(
                f"dataset: the embedded {self.model.name} model reads arithmetic only, not {self.dataset.name}; "
                "choose a model, for example model=llama32_3b, or model.path=FOLDER"
            )
        generated = self.dataset.name in ("arithmetic", "sudoku")
        if not generated and not self.dataset.path and not self.dataset.hub_id:
            raise ValueError("dataset.path: expected a file, since dataset.hub_id is empty")
        if self.dataset.test_path and not self.dataset.path:
            raise ValueError("dataset.test_path: needs dataset.path as well")
        for key in ("path", "test_path"):
            path = getattr(self.dataset, key)
            if path and Path(path).suffix not in (".jsonl", ".parquet"):
                raise ValueError(f"dataset.{key}: expected a .jsonl or .parquet file, got {path}")
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
    plan: Literal[False, True, "l40s", "a100", "h100", "h200"] = False
    """Do not run; say what it would cost in tokens, FLOPs, memory and hours: ``true`` on this machine, or on a GPU by
    its name. Rates are those of an earlier run here, else measured in seconds, else by the hardware's figures."""

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        from sivgap.cross.allocation import planned

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
            if self.launch.processes > 1:
                raise ValueError("launch.processes: engine=vllm works in one process; set 1, or use engine=hf")
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
