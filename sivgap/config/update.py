"""Settings of the update: ``conf/update``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from sivgap.config.locate import shipped
from sivgap.config.settings import Settings
from sivgap.registry import Axis, is_own

UPDATES = Axis("update", shipped("update"), "sivgap.update")


class UpdateConfig(Settings):
    name: Annotated[str, AfterValidator(UPDATES.check)] = "sft"
    """``sft``: fine-tuning on the chosen responses, loss on response tokens only. ``rpo``: DPO on chosen against
    rejected responses, with a likelihood term (MG). ``module:Name`` is one of your own."""
    settings: dict[str, JsonValue] | None = None
    """Of ``module:Name``: its own settings, as in ``update.settings={clip: 0.2}``."""
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
    """Examples in memory at once; gradients of a step are averaged by token over its micro-batches. Null: as many as
    there is room for (1 GiB of activations on a processor, 2 of one text's, four fifths of what a GPU has free)."""
    checkpointing: bool | None = None
    """Whether the backward pass computes activations again instead of keeping them: the same numbers, a third more
    time, a fraction of the memory. Null: where one text's would not fit otherwise."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """Share of training examples that are synthetic verification examples (a departure from the paper that keeps the
    verifier's calibration; only tasks that can make graded solutions have it: ``arithmetic``)."""

    @model_validator(mode="after")
    def _consistent(self) -> UpdateConfig:
        if self.settings is not None and not is_own(self.name):
            raise ValueError(f"settings: {self.name} has none; they are of an update of your own, module:Name")
        return self
