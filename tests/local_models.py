"""Small random models with a byte tokenizer and a chat template, saved as any model from the hub is."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL = ["<|pad|>", "<|start|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", bos_token="<|start|>", eos_token="<|end|>", chat_template=CHAT
    )


def save_model(folder: Path, architecture: str, **changed: int) -> Path:
    """A random model (llama, mistral, phi3, gemma2, gemma3, qwen2 or qwen3) in `folder`, as transformers saves it."""
    tokenizer = byte_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    sizes = {**SIZES, "vocab_size": len(tokenizer), **ids, **changed}
    torch.manual_seed(0)
    if architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    elif architecture == "phi3":
        model = Phi3ForCausalLM(Phi3Config(**sizes, partial_rotary_factor=0.75))
    elif architecture == "gemma2":
        model = Gemma2ForCausalLM(Gemma2Config(**sizes, head_dim=8, attn_logit_softcapping=None))
    elif architecture == "mistral":
        model = MistralForCausalLM(MistralConfig(**sizes))
    elif architecture == "gemma3":
        model = Gemma3ForCausalLM(Gemma3TextConfig(**sizes, head_dim=8))
    elif architecture == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=16))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    for parameter in model.parameters():  # far from uniform, so that a mistake shows
        parameter.data.mul_(3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
