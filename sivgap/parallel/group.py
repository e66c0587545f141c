"""The ranks of a run, and what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sivgap.errors import ConfigError
from sivgap.parallel.heartbeat import interface_towards

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import ProcessGroup, Store

    from sivgap.parallel.launch import WorkerSpec

_PATIENCE = timedelta(days=7)
"""How long a rank waits for the others: as long as the first one collects external responses. A rank that died is
noticed by the run's own process, not by this."""

_BUCKET = 2**26
"""Numbers added up in one message: a second copy of this many gradients is in memory."""


@dataclass(frozen=True)
class Group:
    """The process `rank` of `size`. Every method is called by all ranks, in the same order; alone it does nothing.

    `here` of them share this machine; `among` is what torch knows them by, where they are not all.
    """

    rank: int = 0
    size: int = 1
    here: int = field(default=1, kw_only=True)
    among: ProcessGroup | None = field(default=None, kw_only=True)

    @property
    def leads(self) -> bool:
        """Whether this is the rank that owns the run's directory, the display and W&B."""
        return self.rank == 0

    def teams(self, size: int) -> Group:
        """The `size` consecutive ranks that this one is of, as a group of their own."""
        if size == 1:
            return ALONE
        from torch import distributed

        own, _ = distributed.new_subgroups(size, timeout=_PATIENCE, backend="gloo")  # type: ignore[no-untyped-call]
        return Group(self.rank % size, size, here=size, among=own)

    def gather(self, mine: bytes) -> list[bytes]:
        """What every rank has to say, in the order of ranks."""
        if self.size == 1:
            return [mine]
        import torch
        from torch import distributed

        lengths = [torch.zeros(1, dtype=torch.long) for _ in range(self.size)]
        distributed.all_gather(lengths, torch.tensor([len(mine)]), group=self.among)
        longest = max(int(length) for length in lengths)
        padded = torch.from_numpy(np.frombuffer(mine.ljust(longest, b"\0"), dtype=np.uint8).copy())
        found = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(found, padded, group=self.among)
        return [text[: int(n)].numpy().tobytes() for text, n in zip(found, lengths, strict=True)]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any rank."""
        if self.size == 1:
            return flag
        import torch
        from torch import distributed

        said = torch.tensor(int(flag))
        distributed.all_reduce(said, distributed.ReduceOp.MAX, group=self.among)
        return bool(said)

    def wait(self) -> None:
        """Until every rank has come here."""
        self.any(False)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of `tensors` by its sum over ranks, which then has the same bits on all of them."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            distributed.all_reduce(flat, group=self.among)
            for tensor, total in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                tensor.copy_(total.view_as(tensor))


ALONE = Group()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """`tensors` in portions of one type and device, and of a bounded size."""
    bucket: list[Tensor] = []
    count = 0
    for tensor in tensors:
        alike = not bucket or (bucket[0].dtype, bucket[0].device) == (tensor.dtype, tensor.device)
        if bucket and (not alike or count + tensor.numel() > _BUCKET):
            yield bucket
            bucket, count = [], 0
        bucket.append(tensor)
        count += tensor.numel()
    if bucket:
        yield bucket


@contextmanager
def joined(spec: WorkerSpec, meeting: Path, rank: int) -> Iterator[Group]:
    """Meet the other ranks of `spec`: on one machine through the file `meeting`, no port that another run could have
    taken; with several machines through their store.

    With GPUs each rank has one of its own; gradients then go by NCCL, everything else by gloo.

    Raises:
        ConfigError: If there are fewer GPUs than ranks.
    """
    import torch
    from torch import distributed

    backend = "gloo"
    if torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if gpus < spec.here:
            raise ConfigError(
                f"launch.processes={spec.here}: each process needs a GPU of its own, and there are {gpus}; "
                f"set launch.processes={gpus}, or CUDA_VISIBLE_DEVICES= to use processors alone"
            )
        torch.cuda.set_device(rank - spec.first)
        backend = "cpu:gloo,cuda:nccl"
    store = _store(spec, meeting)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=spec.size, timeout=_PATIENCE)
    yield Group(rank, spec.size, here=spec.here)


def _store(spec: WorkerSpec, meeting: Path) -> Store:
    from torch import distributed

    if spec.meeting is None:
        return distributed.FileStore(str(meeting), spec.size)  # type: ignore[attr-defined, no-any-return]
    address, port, name = spec.meeting
    interface = interface_towards(address)
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    whole = distributed.TCPStore(address, port, is_master=False, timeout=_PATIENCE)  # type: ignore[attr-defined]
    return distributed.PrefixStore(name, whole)  # type: ignore[attr-defined, no-any-return]
