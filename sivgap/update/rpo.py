"""Update ``rpo``: preference optimisation with a likelihood term (MG Section 3; Pang et al. 2024).

    loss = - log sigmoid( beta [ log p(y+)/p(y-) - log p_ref(y+)/p_ref(y-) ] ) - lambda log p(y+) / |y+|

averaged over the pairs of a step. The reference is the model that drew the pair. An example without a rejected response
(a replayed verdict, an external response, a prompt all of whose responses passed) has the likelihood term alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sivgap.core.example import Example
from sivgap.update.sft import Sft


class Rpo(Sft):
    """As `Sft`, with the loss above: ``update.beta`` is beta, ``update.sft_weight`` lambda."""

    paired = True

    def count(self, batch: Sequence[Example]) -> int:
        """The loss is a mean over examples."""
        return len(batch)

    def loss(self, batch: Sequence[Example]) -> Tensor:
        """Summed over `batch`; chosen and rejected responses go through the model together."""
        pairs = [i for i, example in enumerate(batch) if example.rejected]
        texts = [(example.prompt, example.response) for example in batch]
        texts += [(batch[i].prompt, batch[i].rejected) for i in pairs]
        by_text = torch.split(self.token_nll(texts), [len(text) for _, text in texts])
        nll = torch.stack([tokens.sum() for tokens in by_text])
        chosen, rejected = nll[: len(batch)], nll[len(batch) :]
        lengths = torch.tensor([len(example.response) for example in batch], device=nll.device)
        likelihood = self.config.sft_weight * (chosen / lengths).sum()
        if not pairs:
            return likelihood
        reference = torch.tensor([batch[i].margin for i in pairs], device=nll.device, dtype=nll.dtype)
        margin = rejected - chosen[pairs] - reference
        return likelihood - logsigmoid(self.config.beta * margin).sum()
