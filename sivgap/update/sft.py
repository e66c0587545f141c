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
import warnings
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
from sivgap.models.head import output_head, token_nll
from sivgap.parallel.deal import deal
from sivgap.parallel.group import ALONE, Group
from sivgap.update.example import Example
from sivgap.update.micro_batches import micro_batches


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
        self._head = output_head(own)
        self._at_once = config.micro_batch_size or config.batch_size
        self._checkpointing = False
        if config.checkpointing:
            self._compute_activations_twice()
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
        seed = key_of(self._seed, "dropout", number, *([rank] if rank else [])) % 2**63
        self._model.train()
        total = self._count(batch)
        shares = deal([example.tokens for example in batch], self._group.size)
        mine = [batch[i] for i in shares[rank]]
        loss_sum = self._over_ranks(self._backward(mine, total, seed))
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

    def _backward(self, examples: Sequence[Example], total: int, seed: int) -> float:
        """The loss of `examples` over `total`; its gradients are left in the parameters.

        What does not fit into memory is tried again, from now on with activations computed twice, then by halves.
        """
        torch.manual_seed(seed)
        try:
            loss_sum = 0.0
            for part in micro_batches(examples, self._at_once):
                loss = self._loss(part) / total
                self._accelerator.backward(loss)
                loss_sum += float(loss.detach())
            return loss_sum
        except torch.OutOfMemoryError as error:
            self._make_room(max(example.tokens for example in examples), error)
        return self._backward(examples, total, seed)

    def _make_room(self, longest: int, error: torch.OutOfMemoryError) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        if self._config.checkpointing is None and not self._checkpointing:
            self._compute_activations_twice()
        elif self._at_once > 1:
            self._at_once = -(-self._at_once // 2)
        else:
            raise RunError(
                f"one example of {longest} tokens does not fit the GPU's memory for training; "
                + ("leave update.checkpointing=null, " if self._config.checkpointing is False else "")
                + "lower sampling.max_new_tokens or update.lora_rank, or take a smaller model"
            ) from error

    def _compute_activations_twice(self) -> None:
        """Keep only the layers' inputs for the backward pass, which computes the rest again, to the same bits."""
        self._checkpointing = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its new name, and the old one's warning, are of 5.23
            self._raw.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

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
        return self._nll([(example.prompt, example.response) for example in batch]).sum()

    def _nll(self, texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Tensor:
        """Negative log-likelihood of the tokens of responses behind prompts, one response after the other."""
        shape = len(texts), max(len(prompt) + len(response) for prompt, response in texts)
        ids, mask = torch.full(shape, self._pad), torch.zeros(shape, dtype=torch.long)
        wanted = torch.zeros(shape, dtype=torch.bool)
        for row, (prompt, response) in enumerate(texts):
            text = torch.tensor(prompt + response)
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
            wanted[row, len(prompt) : len(text)] = True
        on = self._accelerator.device
        return token_nll(self._model, self._head, ids.to(on), mask.to(on), wanted.to(on))

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
