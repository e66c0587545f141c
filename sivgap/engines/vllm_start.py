"""Starting vLLM inside this process: its environment, its settings, and what to say where it cannot be had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from sivgap.config.embedded import located
from sivgap.config.engine import EngineConfig
from sivgap.config.model import ModelSource
from sivgap.errors import ConfigError, RunError
from sivgap.parallel.group import ALONE, Group
from sivgap.runtime.versions import vllm_version

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.v1.executor import Executor

OLDEST, TOO_NEW = (0, 27), (0, 33)
"""Releases that work with sivgap's torch; the extra ``vllm`` in pyproject.toml has the same bounds."""
LOGPROBS_MODE = "raw_logprobs"
"""Likelihoods at temperature 1 of the whole distribution, whatever is sampled from (SV Eq. 3)."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 512)
"""Ranks that vLLM makes room for."""

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # weights are handed over within the process
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # of vLLM on a processor: training uses the same threads
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


def require_vllm() -> None:
    """Raises ConfigError where vLLM is not installed, or is a release that sivgap was not made for."""
    found = vllm_version() if find_spec("vllm") else None
    if found is None or not OLDEST <= tuple(int(part) for part in found.split(".")[:2]) < TOO_NEW:
        state = "it is not installed" if found is None else f"{found} is installed"
        oldest, too_new = (".".join(map(str, bound)) for bound in (OLDEST, TOO_NEW))
        raise ConfigError(
            f"engine=vllm needs vLLM {oldest} or later, below {too_new}, and {state}; "
            "install it with pip install 'sivgap[vllm]', or use engine=hf"
        )


def start_vllm(
    source: ModelSource,
    name: str,
    dtype: torch.dtype,
    config: EngineConfig,
    adapter_rank: int | None,
    texts: bool,
    group: Group = ALONE,
) -> LLM:
    """A vLLM of the model that `source` names (the embedded `name` where it has no path).

    Args:
        source: The model.
        name: Of the embedded model.
        dtype: Precision of the weights; sivgap's own, so that both engines agree.
        config: Its ``batch_size`` is the number of sequences at once.
        adapter_rank: Rank of the adapters that will be handed over; None where merged weights are.
        texts: Whether responses must be read as text while they are written, for stop texts.
        group: Ranks that all start one at the same time: whole, or ``config.tensor_parallel`` of them a part each.

    Raises:
        RunError: If it does not start.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from vllm import LLM

    gpu = torch.cuda.is_available()
    adapters = {} if adapter_rank is None else {
        "enable_lora": True,
        "max_lora_rank": next(rank for rank in _RANKS if rank >= adapter_rank),
        "max_loras": 1,
        "max_cpu_loras": 1,
    }  # fmt: skip
    try:
        with _told(group, gpu) as together:
            llm = LLM(
                model=located(source.path or name),
                revision=source.revision,
                tokenizer_revision=source.revision,
                dtype=str(dtype).removeprefix("torch."),
                max_model_len=-1,  # the model's own, or what memory has room for
                max_num_seqs=config.batch_size,
                tensor_parallel_size=config.tensor_parallel,
                gpu_memory_utilization=config.memory,
                enable_sleep_mode=gpu,
                enforce_eager=not gpu,  # CUDA graphs; on a processor it would compile for minutes
                enable_prefix_caching=True,
                enable_chunked_prefill=gpu,  # on a processor vLLM fails at a seed whose prompt is read in two parts
                skip_tokenizer_init=not texts,
                generation_config="vllm",  # not the sampling defaults that come with the model
                logprobs_mode=LOGPROBS_MODE,
                max_logprobs=-1,
                use_tqdm_on_load=False,
                seed=0,
                **adapters,
                **together,
            )
    except (ValueError, RuntimeError, AssertionError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(
            f"vLLM did not start ({reason}); with too little memory lower engine.memory or engine.batch_size; "
            "engine=hf runs every model that transformers has"
        ) from error
    if config.tensor_parallel > 1:
        from vllm.distributed import get_tp_group

        get_tp_group().mq_broadcaster = None  # shared memory that nothing here uses, and Python finds leaked at the end
    return llm


@contextmanager
def _told(group: Group, gpu: bool) -> Iterator[dict[str, object]]:
    """Within, vLLM finds its rank where a launcher would have put it, and no other library does later; yields settings
    by which it joins the process group that is there."""
    if group.size == 1:
        yield {}
        return
    told = {"RANK": str(group.rank), "LOCAL_RANK": str(group.rank % group.here)}
    before = {key: os.environ.get(key) for key in told}
    os.environ |= told
    try:
        yield {"distributed_executor_backend": "external_launcher" if gpu else _by_gloo()}
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


def _by_gloo() -> type[Executor]:
    """vLLM's ``external_launcher`` for processors, whose ranks talk by gloo.

    By themselves they would talk through shared memory, under a name that is the same for all runs of a machine: one
    that was killed leaves it behind for the next to fail at, and whoever waits for a dead rank there waits for ever.
    """
    from vllm.v1.executor.uniproc_executor import ExecutorWithExternalLauncher

    class ByGloo(ExecutorWithExternalLauncher):  # type: ignore[misc]
        def _distributed_args(self) -> tuple[str, int, int]:
            method, rank, local_rank = super()._distributed_args()
            return f"{method}:{rank}", rank, local_rank  # the name comes from it: ranks that disagree use gloo

    return ByGloo
