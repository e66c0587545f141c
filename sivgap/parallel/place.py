"""Where this process stands: what torchrun, accelerate or SLURM has told it of the machines that work together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from sivgap.config.schema import LaunchConfig, ProcessesConfig
from sivgap.errors import ConfigError

Launch = TypeVar("Launch", bound=ProcessesConfig)

_PORTS = 20_000, 12_000
"""First port, and how many, for machines that SLURM has started: below those that systems give away by themselves."""

_OF_LAUNCHERS = re.compile(
    r"(ACCELERATE|FSDP|TORCHELASTIC|GROUP|ROLE)_.*|(LOCAL_|LOCAL_WORLD_|WORLD_)?(RANK|SIZE)|MASTER_(ADDR|PORT)"
)
"""What a launcher says to the processes that it starts; libraries would take it for theirs in ranks that it did not."""


@dataclass(frozen=True)
class Place:
    """One of the processes that a launcher has started; without one, the only process.

    Attributes:
        node: Which machine it is on; the first one leads.
        nodes: Machines that work together.
        local: Which of the processes that were started on this machine. The first one starts the ranks itself, as
            without a launcher; the others wait for it.
        processes: Ranks of this machine, where the launcher says how many.
        address, port: Where the machines meet.
        attempt: Which start of the same job this is.
        served: Whether the launcher keeps a store at that address; otherwise the first machine does.
        shard: Whether the launcher asks for FSDP.
    """

    node: int = 0
    nodes: int = 1
    local: int = 0
    processes: int | None = None
    address: str = ""
    port: int = 0
    attempt: str = "0"
    served: bool = False
    shard: bool = False

    def settle(self, launch: Launch) -> Launch:
        """`launch` with what the launcher has decided.

        Raises:
            ConfigError: If both have been told, and not the same.
        """
        processes = launch.processes
        if self.processes is not None and self.processes > 1:
            if processes not in (1, self.processes):
                raise ConfigError(
                    f"launch.processes={processes}: the launcher has started {self.processes} processes on this "
                    "machine; leave launch.processes out, or let the launcher start one process a machine"
                )
            processes = self.processes
        shard = {"shard": launch.shard or self.shard} if isinstance(launch, LaunchConfig) else {}
        return launch.model_copy(update={"processes": processes, **shard})


def find_place(told: Mapping[str, str]) -> Place:
    """What the environment `told` says.

    Raises:
        ConfigError: If it was made by a launcher that says too little.
    """
    if told.get("ACCELERATE_USE_DEEPSPEED") == "true" or told.get("ACCELERATE_USE_MEGATRON_LM") == "true":
        raise ConfigError("accelerate was told to use DeepSpeed or Megatron; sivgap shards with FSDP: use_fsdp")
    shard = told.get("ACCELERATE_USE_FSDP") == "true"
    if _number(told, "WORLD_SIZE", 1) > 1:
        return _of_torchrun(told, shard)
    if _number(told, "SLURM_STEP_NUM_NODES", 1) > 1:
        return _of_slurm(told)
    return Place(shard=shard)


def bare(told: Mapping[str, str]) -> dict[str, str]:
    """The environment `told` without the words of launchers, for ranks that are told by us."""
    kept = {name: value for name, value in told.items() if not _OF_LAUNCHERS.fullmatch(name)}
    if told.get("ACCELERATE_USE_CPU") == "true":
        kept["CUDA_VISIBLE_DEVICES"] = ""
    return kept


def _of_torchrun(told: Mapping[str, str], shard: bool) -> Place:
    needed = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if any(name not in told for name in needed):
        raise ConfigError(
            "this is one of several processes (WORLD_SIZE) of a launcher that does not say where they are; use "
            "torchrun, accelerate launch or srun, or start one process and set launch.processes=N"
        )
    return Place(
        node=int(told["GROUP_RANK"]),
        nodes=int(told["GROUP_WORLD_SIZE"]),
        local=int(told["LOCAL_RANK"]),
        processes=int(told["LOCAL_WORLD_SIZE"]),
        address=told["MASTER_ADDR"],
        port=int(told["MASTER_PORT"]),
        attempt=told.get("TORCHELASTIC_RESTART_COUNT", "0"),
        served=told.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        shard=shard,
    )


def _of_slurm(told: Mapping[str, str]) -> Place:
    """One process of a step of SLURM over several machines."""
    nodes = int(told["SLURM_STEP_NUM_NODES"])
    if _number(told, "SLURM_STEP_NUM_TASKS", nodes) != nodes:
        raise ConfigError(
            f"srun has started {told['SLURM_STEP_NUM_TASKS']} processes on {nodes} machines; start one on each, which "
            "starts the others: srun --ntasks-per-node=1 ... launch.processes=GPUS_A_MACHINE"
        )
    first, count = _PORTS
    port = first + (int(told["SLURM_JOB_ID"]) * 10 + int(told["SLURM_STEP_ID"])) % count
    return Place(
        node=int(told["SLURM_NODEID"]),
        nodes=nodes,
        address=told.get("MASTER_ADDR") or _first_host(told["SLURM_STEP_NODELIST"]),
        port=_number(told, "MASTER_PORT", port),
        attempt=f"{told['SLURM_JOB_ID']}.{told['SLURM_STEP_ID']}.{told.get('SLURM_RESTART_COUNT', '0')}",
    )


def _first_host(listed: str) -> str:
    """The first name of SLURM's list of hosts: ``gpu[003-005,9],cpu1`` begins with gpu003."""
    found = re.match(r"(?:[^\[,]|\[[^\]]*\])+", listed)
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", found[0]) if found else listed


def _number(told: Mapping[str, str], name: str, default: int) -> int:
    text = told.get(name, "")
    return int(text) if text.isdigit() else default
