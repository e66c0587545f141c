"""Update ``sft``: fine-tuning on the chosen responses, LoRA or all weights, through `accelerate`.

The loss is the mean negative log-likelihood over the response tokens of a step, end of sequence included. The trained
model is separate from the engine's: `merged_weights` hands over base + scale * B A, computed from pristine base weights
each time, because merging and unmerging in place drifts.

With several processes the examples of a step are dealt out, and the gradients of the ranks are added up after their
backward passes. Not by DDP: it averages over ranks, where the loss is a mean over tokens and the shares are uneven, and
it wants a backward pass of each, where a rank may have no example.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from sivgap.config.schema import ModelConfig, UpdateConfig
from sivgap.engines.noise import key_of
from sivgap.errors import RunError
from sivgap.parallel.deal import deal
from sivgap.parallel.group import ALONE, Group
from sivgap.update.example import Example

IGNORED = -100


class Sft:
    """The model in training and its optimiser.

    Args:
        model: Initial weights; they are copied, not changed.
        model_config: Names the modules that get adapters.
        config: Learning rate, rank, batch size and so on.
        seed: Of the adapters' initial weights and of dropout.
        pad_token: Any valid token id.
        group: The processes that share every step.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        model_config: ModelConfig,
        config: UpdateConfig,
        seed: int,
        pad_token: int,
        group: Group = ALONE,
    ) -> None:
        self._config, self._seed, self._pad, self._group = config, seed, pad_token, group
        own = copy.deepcopy(model)
        own.set_attn_implementation("sdpa")
        torch.manual_seed(key_of(seed, "adapter") % 2**63)
        if config.parameters == "lora":
            own = get_peft_model(own, _lora(model_config, config))  # type: ignore[assignment]
        else:
            own = own.float().requires_grad_(True)
        half = model.dtype == torch.bfloat16
        mixed = "bf16" if half and config.parameters == "full" else "no"
        self._accelerator = Accelerator(cpu=model.device.type == "cpu", mixed_precision=mixed)
        self._raw = own
        trained = [p for p in own.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._model, self._optimizer = self._accelerator.prepare(own, optimizer)

    def step(self, batch: Sequence[Example], number: int) -> float:
        """One optimiser step on `batch`, the same on every rank; its loss (of ``sft`` in nats a response token).

        Dropout draws by step and rank: with it, the masks depend on the number of processes, as they do on the size of
        micro-batches; without it, a step differs by rounding alone.

        Raises:
            RunError: If the loss is not finite; the weights are then unchanged.
        """
        rank = self._group.rank
        torch.manual_seed(key_of(self._seed, "dropout", number, *([rank] if rank else [])) % 2**63)
        self._model.train()
        total = self._count(batch)
        shares = deal([example.tokens for example in batch], self._group.size)
        mine = [batch[i] for i in shares[rank]]
        size = self._config.micro_batch_size or max(len(mine), 1)
        loss_sum = 0.0
        for start in range(0, len(mine), size):
            loss = self._loss(mine[start : start + size]) / total
            self._accelerator.backward(loss)
            loss_sum += float(loss.detach())
        loss_sum = self._over_ranks(loss_sum)
        norm = self._accelerator.clip_grad_norm_(self._model.parameters(), self._config.max_grad_norm)
        if not (torch.isfinite(torch.tensor(loss_sum)) and bool(torch.isfinite(torch.as_tensor(norm)))):
            self._optimizer.zero_grad(set_to_none=True)
            raise RunError(
                f"the training loss of step {number} is not finite; lower update.learning_rate "
                f"(now {self._config.learning_rate:g})"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss_sum

    def _count(self, batch: Sequence[Example]) -> int:
        """What the summed loss of a step is divided by: its response tokens."""
        return sum(len(example.response) for example in batch)

    def _over_ranks(self, loss: float) -> float:
        """Add up the gradients of all ranks, and `loss`; those of a rank without examples are zero."""
        if self._group.size == 1:
            return loss
        trained = [p for p in self._raw.parameters() if p.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        total = torch.tensor(loss, dtype=torch.float64)
        self._group.add([*(p.grad for p in trained if p.grad is not None), total])
        return float(total)

    def _loss(self, batch: Sequence[Example]) -> Tensor:
        """Summed negative log-likelihood of the response tokens."""
        return self._nll([(example.prompt, example.response) for example in batch], "sum")

    def _nll(self, texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], reduction: str) -> Tensor:
        """Negative log-likelihood of the tokens of responses behind prompts: their sum, or (``none``) each, (B, L)."""
        longest = max(len(prompt) + len(response) for prompt, response in texts)
        ids = torch.full((len(texts), longest), self._pad)
        labels = torch.full((len(texts), longest), IGNORED)
        mask = torch.zeros((len(texts), longest), dtype=torch.long)
        for row, (prompt, response) in enumerate(texts):
            text = torch.tensor(prompt + response)
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
            labels[row, len(prompt) : len(text)] = text[len(prompt) :]
        on = self._accelerator.device
        logits = self._model(input_ids=ids.to(on), attention_mask=mask.to(on)).logits[:, :-1]
        found = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(),
            labels[:, 1:].reshape(-1).to(on),
            ignore_index=IGNORED,
            reduction=reduction,
        )
        return found if reduction == "sum" else found.view(len(texts), -1)

    @torch.no_grad()
    def merged_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Weights that differ from the initial model's, by the names they have there."""
        if self._config.parameters == "full":
            yield from self._raw.named_parameters()
            return
        for name, module in self._raw.named_modules():
            if isinstance(module, LoraLayer):
                base = module.get_base_layer().weight
                merged = base.float() + module.get_delta_weight("default").float()
                yield name.removeprefix("base_model.model.") + ".weight", merged.to(base.dtype)

    @property
    def has_adapter(self) -> bool:
        return self._config.parameters == "lora"

    def write_adapter(self, folder: Path) -> None:
        """Write the adapter in training into `folder`, in peft's layout."""
        self._raw.save_pretrained(str(folder), save_embedding_layers=False)

    def trained(self) -> dict[str, Tensor]:
        """The trained tensors by name: adapters, or all weights."""
        return {n: p.detach().cpu().contiguous() for n, p in self._raw.named_parameters() if p.requires_grad}

    def optimizer_state(self) -> dict[str, Tensor]:
        """AdamW's moments and step counts as named tensors."""
        names = {p: n for n, p in self._raw.named_parameters()}
        return {
            f"{key}/{names[parameter]}": torch.as_tensor(value).detach().cpu().contiguous().clone()
            for parameter, state in self._optimizer.optimizer.state.items()
            for key, value in state.items()
        }

    @torch.no_grad()
    def restore(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        """Put back what `trained` and `optimizer_state` returned.

        Raises:
            RunError: If they are of another model or adapter.
        """
        own = {n: p for n, p in self._raw.named_parameters() if p.requires_grad}
        if own.keys() != weights.keys() or any(own[n].shape != w.shape for n, w in weights.items()):
            raise RunError("the checkpoint's weights do not fit this model; start over with fresh=true")
        for name, weight in weights.items():
            own[name].copy_(weight)
        state = self._optimizer.optimizer.state
        for full_name, value in optimizer.items():
            key, _, name = full_name.partition("/")
            on_device = value.clone() if key == "step" else value.to(own[name].device, copy=True)
            state[own[name]][key] = on_device


def _lora(model: ModelConfig, config: UpdateConfig) -> LoraConfig:
    everywhere = model.lora_targets == ["all-linear"]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=config.lora_dropout,
        target_modules="all-linear" if everywhere else list(model.lora_targets),
    )
