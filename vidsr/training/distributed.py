"""Several processes on one run: torch's DistributedDataParallel, started by torchrun.

    torchrun --nproc-per-node 4 -m vidsr train recipe.toml --data pictures

Each process learns from its share of the very batch that a single process would take, gradients are
averaged, and so all hold the same weights. Process 0 alone validates, reports and writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vidsr.errors import TrainingError
from vidsr.training.data import Batch
from vidsr.training.recipe import Recipe

__all__ = ["Team", "joined_team"]

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Team:
    """Who trains: this process's device and its place among the others."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """Return this process's part of a batch."""
        if self.size == 1:
            return batch
        return Batch(batch.step, batch.low[self.rank :: self.size], batch.high[self.rank :: self.size])

    def spread(self, module: M) -> M | DistributedDataParallel:
        """Return the module with its gradients averaged over the team."""
        if self.size == 1:
            return module
        ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids)

    def after_leader(self, work: Callable[[], T]) -> T:
        """Do some work in process 0 first, then in the others, which find its files."""
        if self.size == 1:
            return work()
        if not self.leads:
            torch.distributed.barrier()
            return work()
        try:
            return work()
        finally:
            torch.distributed.barrier()

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a number over the team."""
        if self.size > 1:
            torch.distributed.all_reduce(value)
            value = value / self.size
        return value


@contextmanager
def joined_team(recipe: Recipe) -> Iterator[Team]:
    """Join the processes that torchrun started, if it did.

    Raises:
        TrainingError: There is no GPU where the recipe wants one, or the batch cannot be shared evenly.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if recipe.run.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "torch sees no NVIDIA GPU here", hint="set run.device to auto or cpu in the recipe"
        )
    if recipe.data.batch % size:
        raise TrainingError(
            f"a batch of {recipe.data.batch} cannot be shared by {size} processes",
            hint="choose a number of processes that divides data.batch",
        )
    device = torch.device("cpu")
    if recipe.run.device != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if size == 1:
        yield Team(device)
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(device, rank, size)
    finally:
        torch.distributed.destroy_process_group()
