"""What one measuring process is asked to do, and the one line that it answers. Standard library alone.

Both sides read it: ours from the package's environment, each peer from its own.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
ANSWER = "RESULT "
"""How the line begins that a process answers with; anything else that it prints is a library's own."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of the model that both sides train or draw from."""

    arch: str = "llama"
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    intermediate: int = 688
    vocabulary: int = 4096
    context: int = 1024


@dataclass(frozen=True, slots=True)
class Job:
    """One process: a warm-up of `skip` steps, then `steps` that are timed."""

    name: str
    inputs: str
    """Folder with the weights and rows that `benchmarks.models` wrote."""
    shape: Shape
    work: Mapping[str, int]
    """Sizes of the work: prompt, response, batch and so on."""
    precision: Precision = "float32"
    threads: int = 2
    skip: int = 1
    steps: int = 3
    setting: Mapping[str, Any] = field(default_factory=dict)
    """What a side lets its user choose: batch size, packing, compilation."""

    @classmethod
    def read(cls) -> Job:
        """The job on the command line, as JSON."""
        values = json.loads(sys.argv[1])
        return cls(**values | {"shape": Shape(**values["shape"])})

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def folder(self) -> Path:
        return Path(self.inputs)

    def rows(self) -> dict[str, Any]:
        """The tokens of every row, the same for both sides."""
        return json.loads((self.folder / "rows.json").read_text(encoding="utf-8"))


def answer(
    job: Job,
    units: Sequence[float],
    seconds: Sequence[float],
    config: Mapping[str, Any],
    packages: Sequence[str],
    *,
    has_children: bool = False,
) -> None:
    """Print the result: units per second over the timed steps, and this process's peak memory.

    Args:
        units: pairs, episodes or tokens of each timed step.
        config: what the library was told, for the record.
        has_children: whether the work was done by processes that this one started and has ended.
    """
    assert len(units) == len(seconds) == job.steps, (len(units), len(seconds), job.steps)
    values = {
        "rate": sum(units) / sum(seconds),
        "seconds": list(seconds),
        "config": dict(config),
    }
    reply(values, packages, has_children=has_children)


def reply(
    values: Mapping[str, Any], packages: Sequence[str], *, has_children: bool = False
) -> None:
    """Print any result, with this process's peak memory and the versions of its libraries."""
    # In kibibytes on Linux; the whole process, imports included. Of several children the largest is known.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if has_children:
        peak += resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result = {
        **values,
        "rss_mib": round(peak / 1024),
        "versions": {name: metadata.version(name) for name in packages},
    }
    print(ANSWER + json.dumps(result), flush=True)
