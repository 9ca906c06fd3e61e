"""The ranks of a run, and the one place that talks to torch.distributed. With one rank every method is an identity.

Every rank sees the definition of the whole batch and passes its own share of the rows through the model. Weights are
sharded by FSDP2. Sums and counts cross ranks, means do not: losses are divided by counts over the whole batch, and
gradients are added, never averaged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from alignloop.errors import ConfigError, RunError

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)

CPU = torch.device("cpu")


def take_device() -> torch.device:
    """Compute on this process's GPU from here on, where torchrun has numbered it and there is one; else on the CPU."""
    if "LOCAL_RANK" not in os.environ or not torch.cuda.is_available():
        return CPU
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    torch.set_default_device(device)  # tensors are made where they are needed
    return device


@dataclass(frozen=True, slots=True)
class World:
    """Which rank this process is, of how many, and where it computes."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @classmethod
    def from_env(cls) -> World:
        """Join the ranks that torchrun describes in the environment; alone, on the CPU, where there is none.

        Under torchrun each rank takes the GPU of its number on the machine, if the machine has GPUs.

        Raises:
            ConfigError: the environment speaks of several ranks, and does not say which one this is.
        """
        size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if size > 1 and not {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
            raise ConfigError(
                f"WORLD_SIZE is {size}, but RANK, MASTER_ADDR or MASTER_PORT is not set: start with torchrun, "
                "or unset WORLD_SIZE"
            )
        device = take_device()
        if size > 1 and not dist.is_initialized():
            # Numbers and objects always go by way of gloo; weights and gradients stay on their device.
            dist.init_process_group("gloo" if device == CPU else "cpu:gloo,cuda:nccl")
        return cls(rank, size, device)

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that logs, writes and decides."""
        return self.rank == 0

    # Numbers and rows ---------------------------------------------------------------------------------------------

    def sum(self, value: float) -> float:
        """The sum of every rank's number, the same on all ranks."""
        return self.sums({"": value})[""]

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """`sum` of several numbers at once; every rank gives the same names."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=CPU)
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def largest(self, value: float) -> float:
        """The largest of every rank's numbers."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64, device=CPU)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return float(found)

    def add(self, tensor: Tensor) -> Tensor:
        """The sum of every rank's tensor: where each filled in its own rows of zeros, all rows."""
        if self.size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def shard(self, rows: Sequence[T]) -> list[T]:
        """This rank's share of the rows: every `size`-th."""
        return list(rows[self.rank :: self.size])

    def gather(self, mine: Sequence[T]) -> list[T]:
        """All rows in their order, from the shares that `shard` gave; they travel as pickles, so small ones."""
        if self.size == 1:
            return list(mine)
        shares: list[list[T]] = [[] for _ in range(self.size)]
        dist.all_gather_object(shares, list(mine))
        rows: list[Any] = [None] * sum(map(len, shares))
        for rank, share in enumerate(shares):
            rows[rank :: self.size] = share
        return rows

    def from_main(self, make: Callable[[], T]) -> T:
        """What rank 0 makes; the others get it as a pickle."""
        if self.size == 1:
            return make()
        box: list[Any] = [make() if self.is_main else None]
        dist.broadcast_object_list(box)
        return box[0]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.largest(0)

    # Weights and gradients ----------------------------------------------------------------------------------------

    def sharded(self, model: M, units: Sequence[nn.Module], entry: str) -> M:
        """Split the model's weights over the ranks, each of `units` by itself and the rest together.

        A unit's weights are brought together when its forward or backward pass needs them, and its gradient is added up
        over the ranks and split again. So all ranks have to make the same number of passes.

        Args:
            entry: name under which the model's `base_model` is to be called, so that the rest is there as well.
        """
        model.to(self.device)
        if self.size == 1:
            return model
        for unit in [*units, model]:
            fully_shard(
                unit,
                mesh=_mesh(self.device.type, self.size),
                reshard_after_forward=unit is not model,
            )
            sharding = cast(FSDPModule, unit)
            sharding.set_gradient_divide_factor(1.0)
            sharding.set_force_sum_reduction_for_comms(True)  # gloo knows no other
        base: Callable[..., Any] = cast(Any, model).base_model
        setattr(model, entry, lambda *inputs, **named: base(*inputs, **named))
        register_fsdp_forward_method(model, entry)
        return model

    @contextmanager
    def gathered(self, *models: nn.Module) -> Iterator[None]:
        """Within the block every rank has all weights of the models, and passes need no other rank; no gradients."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            for model in models:
                stack.enter_context(_whole(model))
            yield

    def norm(self, tensors: Sequence[Tensor]) -> Tensor:
        """L2 norm of gradients, over all ranks' shards of them."""
        if self.size == 1:
            return nn.utils.get_total_norm(tensors)
        squares = {True: 0.0, False: 0.0}
        for tensor in tensors:
            squares[is_sharded(tensor)] += float((own(tensor).double() ** 2).sum())
        total = self.sum(squares[True]) + squares[False]
        return torch.tensor(total, dtype=torch.float64).sqrt().float()

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up over the ranks the gradients of weights that are not sharded: FSDP has done so with the others."""
        for parameter in parameters:
            if self.size > 1 and parameter.grad is not None and not is_sharded(parameter):
                dist.all_reduce(parameter.grad)


ALONE = World()
"""One rank, on the CPU."""


@contextmanager
def lost_ranks_told() -> Iterator[None]:
    """Within the block the end of another rank is an error of one line: what that rank said is the reason.

    Raises:
        RunError: a rank that this one waited for has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "by peer" not in str(error):
            raise
        raise RunError("another rank ended before this one; what it said is the reason") from error


def is_sharded(tensor: Tensor) -> bool:
    """Whether a weight or gradient is split over the ranks."""
    return isinstance(tensor, DTensor)


def own(tensor: Tensor) -> Tensor:
    """This rank's part of a weight or gradient, in the same memory; all of it where nothing is sharded."""
    if not isinstance(tensor, DTensor):
        return tensor
    with torch.no_grad():
        return cast(DTensor, tensor.detach()).to_local()


@cache
def _mesh(device: str, size: int) -> DeviceMesh:
    return init_device_mesh(device, (size,))


@contextmanager
def _whole(model: nn.Module) -> Iterator[None]:
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]
    if not units:
        yield
        return
    root = units[0]
    root.set_reshard_after_forward(False)
    for unit in units:
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
        root.set_reshard_after_forward(True)
        root.set_reshard_after_forward(
            False, recurse=False
        )  # heads are read after the trunk's pass
        if hasattr(root, "reset_iter_state"):
            # Or it would remember every pass until a backward pass, which may never come. Where no pass was made, a
            # decoder having read the weights by itself, torch has not made yet what it would reset.
            with suppress(AttributeError):
                root.reset_iter_state()
