"""What else draws samples, beside `generate`: transformers' continuous batching, and the rollout of TRL's GRPO."""

import tempfile
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


def continuous_batching(
    model: PreTrainedModel, asked: Sequence[Sequence[int]], longest: int, ends: list[int], pad: int
) -> int:
    """Answers each of `asked` by transformers' paged, continuous batching; the tokens it generated."""
    settings = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, max_new_tokens=longest, eos_token_id=ends, pad_token_id=pad
    )
    made = model.generate_batch(
        inputs=[list(tokens) for tokens in asked], generation_config=settings, progress_bar=False
    )
    return sum(len(one.generated_tokens) for one in made.values())


class Grpo:
    """TRL's GRPOTrainer without vLLM, of which only the rollout is asked: responses, and a reward of nothing."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: int, longest: int) -> None:
        from trl import GRPOConfig, GRPOTrainer

        self._samples = samples
        with tempfile.TemporaryDirectory() as folder:
            settings = GRPOConfig(
                output_dir=folder, per_device_train_batch_size=samples, num_generations=samples, temperature=1.0,
                max_completion_length=longest, top_k=0, beta=0.0, report_to=[], use_cpu=True, bf16=False,
                save_strategy="no", logging_strategy="no", disable_tqdm=True,
            )  # fmt: skip
            self._trainer = GRPOTrainer(
                model, _nothing, settings, Dataset.from_list([{"prompt": "?"}]), processing_class=tokenizer
            )

    def rollout(self, texts: Sequence[str]) -> int:
        """Responses to each of `texts` at once; the tokens it generated."""
        inputs = [{"prompt": text} for text in texts for _ in range(self._samples)]
        made: dict[str, Any] = self._trainer._generate_and_score_completions(inputs)
        return int(made["completion_mask"].sum())


def _nothing(completions: Sequence[str], **_: object) -> list[float]:
    return [0.0] * len(completions)
