"""Update ``sft``: fine-tuning on the chosen responses, LoRA or all weights, through `accelerate`.

The loss is the mean negative log-likelihood over the response tokens of a step, end of sequence included. The trained
model is separate from the engine's: `merged_weights` hands over base + scale * B A, computed from pristine base weights
each time, because merging and unmerging in place drifts.

With several processes the examples of a step are dealt out, and the gradients of the ranks are added up after their
backward passes. Not by DDP: it averages over ranks, where the loss is a mean over tokens and the shares are uneven, and
it wants a backward pass of each, where a rank may have no example. Sharded (`shards`), every rank takes as many passes
as the others; one that has no example left takes part with one that counts nothing.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from sivgap.config.model import ModelConfig
from sivgap.config.update import UpdateConfig
from sivgap.core.example import Example
from sivgap.errors import RunError, Stopped
from sivgap.models.head import output_head, token_nll
from sivgap.models.packing import packed, read_packed
from sivgap.parallel.deal import deal
from sivgap.parallel.group import ALONE, Group
from sivgap.runtime.hardware import large_blocks_given_back
from sivgap.runtime.rng import derive_key
from sivgap.update.activations import kept_bytes, tokens_in_a_pass
from sivgap.update.micro_batches import micro_batches
from sivgap.update.shards import merged, part_of, shard_out, whole, without_weights

Shares = Sequence[NDArray[np.int64]]
"""For each rank its examples' places in a step."""
_SHORT = 64
"""Tokens by which the memory of longer texts is estimated."""


class Sft:
    """The model in training and its optimiser. Another update is a subclass with a `loss` of its own, summed over a
    micro-batch, and `count`, by which the sum over a step is divided; `config` has its settings.

    Attributes:
        paired: Whether it learns from pairs: an example comes with a rejected response, where its prompt has one.

    Args:
        model: Initial weights; they are copied, not changed, those without an adapter of their own shared.
        model_config: Names the modules that get adapters.
        config: Learning rate, rank, batch size and so on.
        seed: Of the adapters' initial weights and of dropout.
        group: The processes that share every step.
        sharded: Whether they share the weights in training, too.
    """

    paired: ClassVar[bool] = False

    def __init__(
        self,
        model: PreTrainedModel,
        model_config: ModelConfig,
        config: UpdateConfig,
        seed: int,
        group: Group = ALONE,
        sharded: bool = False,
    ) -> None:
        self.config, self._seed, self._group = config, seed, group
        self.sharded = sharded
        lora = config.parameters == "lora"
        own = without_weights(model) if sharded or lora else copy.deepcopy(model)
        read_packed(own)
        torch.manual_seed(derive_key(seed, "adapter") % 2**63)
        if lora:
            own = get_peft_model(own, _lora(model_config, config))  # type: ignore[assignment]
            if not sharded:
                _leave_shared(own)
        elif not sharded:
            own = own.float().requires_grad_(True)
        if sharded:
            shard_out(own, {*(model._no_split_modules or ())}, group, all_trained=config.parameters == "full")
        self._accelerator = _accelerator(model, mixed=config.parameters == "full")
        self._raw = own
        self._head = replace(output_head(model), module=own.get_output_embeddings())
        self._at_once = config.micro_batch_size or config.batch_size
        self._checkpointing = False
        self._most_tokens: float | None = None  # of a pass; known once a text has been seen
        if config.checkpointing:
            self._compute_activations_twice()
        trained = [p for p in own.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._model, self._optimizer = self._accelerator.prepare(own, optimizer)

    def step(self, batch: Sequence[Example], number: int, heard: Callable[[], None] = lambda: None) -> float:
        """One optimiser step on `batch`, the same on every rank; its loss (of ``sft`` in nats a response token).

        Dropout draws by step and rank: with it, the masks depend on the number of processes, as they do on the size of
        micro-batches; without it, a step differs by rounding alone.

        Args:
            batch: Its examples.
            number: Of the step in the run.
            heard: Called before each pass where no other rank waits for this one; what it raises ends the step, which
                then has changed nothing.

        Raises:
            RunError: If the loss is not finite; the weights are then unchanged.
        """
        rank = self._group.rank
        seed = derive_key(self._seed, "dropout", number, *([rank] if rank else [])) % 2**63
        self._model.train()
        if self._most_tokens is None:
            self._most_tokens = self._fit(batch)
        total = self.count(batch)
        shares = deal([example.tokens for example in batch], self._group.size)
        little = sum(example.tokens for example in batch) < self._most_tokens / 4
        with nullcontext() if little else large_blocks_given_back():  # of a small model page faults would take time
            loss = self._backward(batch, shares, total, seed, heard)
        loss_sum = self._over_ranks(loss)
        norm = whole(self._accelerator.clip_grad_norm_(self._model.parameters(), self.config.max_grad_norm))
        if not (torch.isfinite(torch.tensor(loss_sum)) and bool(torch.isfinite(torch.as_tensor(norm)))):
            self._optimizer.zero_grad(set_to_none=True)
            raise RunError(
                f"the training loss of step {number} is not finite; lower update.learning_rate "
                f"(now {self.config.learning_rate:g})"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss_sum

    def _backward(
        self, batch: Sequence[Example], shares: Shares, total: int, seed: int, heard: Callable[[], None]
    ) -> float:
        """The loss of this rank's share of `batch` over `total`; its gradients are left in the parameters.

        What does not fit into memory is tried again, from now on with activations computed twice, then by halves.
        """
        torch.manual_seed(seed)
        try:
            loss_sum = 0.0
            for part, counts in self._parts(batch, shares):
                if self._group.size == 1:
                    heard()
                loss = counts * self.loss(part) / total
                self._accelerator.backward(loss)
                loss_sum += float(loss.detach())
            return loss_sum
        except Stopped:
            self._optimizer.zero_grad(set_to_none=True)
            raise
        except torch.OutOfMemoryError as error:
            self._make_room(max(example.tokens for example in batch), error)
        return self._backward(batch, shares, total, seed, heard)

    def _parts(self, batch: Sequence[Example], shares: Shares) -> list[tuple[Sequence[Example], int]]:
        """This rank's micro-batches, each counted once. Sharded, as many as any rank has: the rest are not counted."""
        most = self._most_tokens or 0.0
        each = [micro_batches([batch[i] for i in share], self._at_once, most) for share in shares]
        mine: list[tuple[Sequence[Example], int]] = [(part, 1) for part in each[self._group.rank]]
        passes = max(map(len, each)) if self.sharded else 0
        return mine + [(batch[:1], 0)] * (passes - len(mine))

    def _fit(self, batch: Sequence[Example]) -> float:
        """Tokens of a pass whose activations there is room for; where that is no more than one text has, activations
        are computed twice from now on.
        """
        device, longest = self._device, max(len(e.prompt) + len(e.response) for e in batch)
        most = tokens_in_a_pass(device, *self._kept_bytes(batch), longest)
        if self.config.checkpointing is None and not self._checkpointing and most < longest:
            self._compute_activations_twice()
            most = tokens_in_a_pass(device, *self._kept_bytes(batch), longest)
        return min(float(told) for told in self._group.gather(str(most).encode()))

    def _kept_bytes(self, batch: Sequence[Example]) -> tuple[float, float]:
        """What a pass keeps for its backward pass: of a token, and whatever it reads, which are the copies of weights
        that autocast makes. By two short texts; every rank takes the same."""
        text = ((*batch[0].prompt, *batch[0].response) * _SHORT)[:_SHORT]
        some, half = (
            kept_bytes(self._model, partial(token_nll, self._model, self._head, packed([few], [1], self._device)))
            for few in (text, text[: _SHORT // 2])
        )
        each = (some - half) / (_SHORT - _SHORT // 2)
        return each, max(0.0, some - _SHORT * each)

    @property
    def _device(self) -> torch.device:
        return torch.device(self._accelerator.device)

    def _make_room(self, longest: int, error: torch.OutOfMemoryError) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        if self.sharded:  # the other ranks wait in the same pass, and cannot try again with this one
            raise RunError(
                f"examples of up to {longest} tokens do not fit the GPU's memory for training; set "
                "update.checkpointing=true, lower update.micro_batch_size or sampling.max_new_tokens"
            ) from error
        if self.config.checkpointing is None and not self._checkpointing:
            self._compute_activations_twice()
        elif self._at_once > 1:
            self._at_once = -(-self._at_once // 2)
        else:
            raise RunError(
                f"one example of {longest} tokens does not fit the GPU's memory for training; "
                + ("leave update.checkpointing=null, " if self.config.checkpointing is False else "")
                + "lower sampling.max_new_tokens or update.lora_rank, or take a smaller model"
            ) from error

    def _compute_activations_twice(self) -> None:
        """Keep only the layers' inputs for the backward pass, which computes the rest again, to the same bits."""
        self._checkpointing = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its new name, and the old one's warning, are of 5.23
            self._raw.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def count(self, batch: Sequence[Example]) -> int:
        """What the summed loss of a step is divided by: its response tokens."""
        return sum(len(example.response) for example in batch)

    def _over_ranks(self, loss: float) -> float:
        """Add up `loss` of all ranks, and gradients, unless FSDP has; those of a rank without examples are zero."""
        if self._group.size == 1:
            return loss
        trained = [p for p in self._raw.parameters() if p.requires_grad and not self.sharded]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        total = torch.tensor(loss, dtype=torch.float64)
        self._group.add([*(p.grad for p in trained if p.grad is not None), total])
        return float(total)

    def loss(self, batch: Sequence[Example]) -> Tensor:
        """Summed negative log-likelihood of the response tokens."""
        return self.token_nll([(example.prompt, example.response) for example in batch]).sum()

    def token_nll(self, texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Tensor:
        """Negative log-likelihood of the tokens of responses behind prompts, one response after the other."""
        together, counted = [prompt + response for prompt, response in texts], [len(response) for _, response in texts]
        return token_nll(self._model, self._head, packed(together, counted, self._device))

    @torch.no_grad()
    def merged_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Weights that differ from the initial model's, by the names they have there."""
        if self.config.parameters == "full":
            for name, parameter in self._raw.named_parameters():
                yield name, whole(parameter)
            return
        for name, module in self._raw.named_modules():
            if isinstance(module, LoraLayer):
                base, own_name = module.get_base_layer().weight, name.removeprefix("base_model.model.") + ".weight"
                if self.sharded:
                    down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
                    yield own_name, merged(base, down, up, module.scaling["default"])
                else:
                    yield own_name, (base.float() + module.get_delta_weight("default").float()).to(base.dtype)

    @property
    def has_adapter(self) -> bool:
        return self.config.parameters == "lora"

    @property
    def adapter_config(self) -> LoraConfig | None:
        """Settings of the adapter in training; None where all weights are trained."""
        return self._raw.peft_config["default"] if self.has_adapter else None  # type: ignore[no-any-return]

    def write_adapter(self, folder: Path) -> None:
        """Write the adapter in training into `folder`, in peft's layout."""
        self._raw.save_pretrained(str(folder), save_embedding_layers=False)

    def trained(self) -> dict[str, Tensor]:
        """Copies of the trained tensors, adapters or all weights. Sharded, all ranks ask, the first one gets them."""
        return self._gathered((n, p) for n, p in self._raw.named_parameters() if p.requires_grad)

    def optimizer_state(self) -> dict[str, Tensor]:
        """AdamW's moments and step counts as named tensors, as `trained`."""
        names = {p: n for n, p in self._raw.named_parameters()}
        return self._gathered(
            (f"{key}/{names[parameter]}", torch.as_tensor(value))
            for parameter, state in self._optimizer.optimizer.state.items()
            for key, value in state.items()
        )

    def _gathered(self, tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        found = {}
        for name, tensor in tensors:
            full = whole(tensor.detach())
            if self._group.leads or not self.sharded:
                found[name] = full.to("cpu", copy=True).contiguous()
        return found

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
            own[name].copy_(part_of(weight, own[name]))
        state = self._optimizer.optimizer.state
        for full_name, value in optimizer.items():
            key, _, name = full_name.partition("/")
            state[own[name]][key] = value.clone() if key == "step" else part_of(value, own[name])


def _accelerator(model: PreTrainedModel, mixed: bool) -> Accelerator:
    """For float32 weights whose products are to be of `model`'s precision if `mixed`.

    accelerate keeps that of a process's first one, and a sweep's run before this one may have had another.
    """
    AcceleratorState._reset_state()
    precision = "bf16" if mixed and model.dtype == torch.bfloat16 else "no"
    return Accelerator(cpu=model.device.type == "cpu", mixed_precision=precision)


def _leave_shared(model: torch.nn.Module) -> None:
    """Copy the weights that adapters belong to, which the initial model will have merged; all others, embeddings for
    one, never change and stay the same tensors."""
    for module in model.modules():
        if isinstance(module, LoraLayer):
            base = module.get_base_layer()
            base.weight = torch.nn.Parameter(base.weight.detach().clone(), requires_grad=False)


def _lora(model: ModelConfig, config: UpdateConfig) -> LoraConfig:
    everywhere = model.lora_targets == ["all-linear"]
    return LoraConfig(
        task_type="CAUSAL_LM",
        revision=model.revision,
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=config.lora_dropout,
        target_modules="all-linear" if everywhere else list(model.lora_targets),
    )
