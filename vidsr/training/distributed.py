"""Several processes on one run: torch's DistributedDataParallel, one process a GPU.

`launch` starts them on one machine; torchrun does on several. Each process learns from its share of
the very batch that a single process would take, gradients are averaged, and so all hold the same
weights. Process 0 alone validates, reports and writes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vidsr.errors import TrainingError
from vidsr.training.data import Batch
from vidsr.training.recipe import Recipe
from vidsr.training.resident import TensorBatch

__all__ = ["Team", "joined_team", "launch"]

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

    def share(self, batch: Batch | TensorBatch) -> tuple[Tensor, Tensor]:
        """Return this process's part of a batch, low and high, on its device."""
        low, high = (
            torch.as_tensor(x[self.rank :: self.size]).to(self.device, non_blocking=True)
            for x in (batch.low, batch.high)
        )
        return low, high

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
    """Join the processes that `launch` or torchrun started, if one did.

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


def launch(command: Sequence[str], processes: int) -> int:
    """Run a command in several processes that find each other; return the first failure's exit code, or 0.

    Process 0 writes to this terminal; what another one says is shown if it fails by itself.

    Args:
        command: Program and arguments.
        processes: How many.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with tempfile.TemporaryFile("w+") as said:
        team = [
            subprocess.Popen(
                command,
                env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=None if rank == 0 else subprocess.DEVNULL,
                stderr=None if rank == 0 else said,
            )
            for rank in range(processes)
        ]
        try:
            while (codes := [p.poll() for p in team]) and None in codes and not any(codes):
                time.sleep(0.05)
            if codes[0] is None:
                time.sleep(1.0)  # the others fail when the first does, and are sometimes seen earlier
                codes[0] = team[0].poll()
        except KeyboardInterrupt:  # they have had it as well: let the first save its checkpoint
            codes = [team[0].wait(), *[None] * (processes - 1)]
        finally:
            for process in team:
                process.terminate()
            for process in team:
                process.wait()
        failed = next((code for code in codes if code), 0)
        if failed and not codes[0]:
            said.seek(0)
            sys.stderr.write(said.read())
        return failed if failed >= 0 else 128 - failed
