"""The ranks of a run, and the one place that talks to torch.distributed. With one rank every method is an identity."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class World:
    """Which rank this process is, of how many."""

    rank: int = 0
    size: int = 1

    @classmethod
    def from_env(cls) -> World:
        """Join the process group that torchrun describes in the environment; alone where there is none."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size > 1 and not dist.is_initialized():
            dist.init_process_group("gloo")
        return cls(rank=int(os.environ.get("RANK", "0")), size=size)

    def sum_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Add the gradients of all ranks in place: losses are divided by global counts, so no average is taken."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
