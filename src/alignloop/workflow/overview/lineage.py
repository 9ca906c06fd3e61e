"""From which model each model came: the runs that leave one, as trees, by the hashes of their inputs. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alignloop.workflow.overview.runs import Input, SeenRun

_STARTS = ("policy", "model", "epoch", "candidates")
"""Roles of the policy that a run starts from, as its stage calls it; numbered ones are chosen among."""
_MAKES_MODELS = frozenset(("pretrain", "sft", "reward", "dpo", "select", "epochs", "ppo"))


@dataclass(slots=True)
class Node:
    """A model and those that were made from it."""

    label: str
    run: SeenRun | None
    """None: a model that no run in the folder left."""
    came_by: str = ""
    """Which of a run's artefacts it started from, where that is not the run's own: an epoch."""
    below: list[Node] = field(default_factory=list["Node"])


def lineage(runs: Sequence[SeenRun]) -> list[Node]:
    """The trees of all models, unfinished ones included; in each, children by the time they were begun."""
    models = [run for run in runs if run.is_model or (not run.kind and run.stage in _MAKES_MODELS)]
    makers: dict[str, tuple[SeenRun, str]] = {}
    for run in models:
        makers |= {sha256: (run, name) for sha256, name in run.also.items()}
        if run.sha256:
            makers[run.sha256] = (run, "")
    nodes = {run.name: Node(run.name, run) for run in models}
    outside: dict[str, Node] = {}
    roots: list[Node] = []
    for run in sorted(models, key=lambda one: (one.started, one.name)):
        node, start = nodes[run.name], starts_from(run)
        if start is None:
            roots.append(node)
            continue
        maker = makers.get(start.sha256)
        if maker is not None and maker[0] is not run:
            node.came_by = maker[1]
            nodes[maker[0].name].below.append(node)
            continue
        if start.sha256 not in outside:
            outside[start.sha256] = Node(_short(start), None)
            roots.append(outside[start.sha256])
        outside[start.sha256].below.append(node)
    return roots


def starts_from(run: SeenRun) -> Input | None:
    """The model that a run started from; where it chose among several, the one that it chose."""
    policies = [one for one in run.inputs if one.kind in ("policy", "reward-model")]
    for role in _STARTS:
        found = [one for one in policies if one.role == role or _is_numbered(one.role, role)]
        if found:
            chosen = run.facts.get("chosen")
            by_number = {int(one.role.rpartition("-")[2]): one for one in found if "-" in one.role}
            return by_number.get(chosen, found[-1]) if isinstance(chosen, int) else found[-1]
    return None


def walk(roots: Sequence[Node]) -> Iterator[tuple[str, Node]]:
    """Every node, from the top down, with the ASCII branches that stand before it."""
    for root in roots:
        yield "", root
        yield from _walk(root.below, "")


def _walk(below: Sequence[Node], before: str) -> Iterator[tuple[str, Node]]:
    for at, node in enumerate(below, start=1):
        is_last = at == len(below)
        yield before + ("`- " if is_last else "|- "), node
        yield from _walk(node.below, before + ("   " if is_last else "|  "))


def _is_numbered(role: str, name: str) -> bool:
    before, _, number = role.rpartition("-")
    return before == name and number.isdigit()


def _short(start: Input) -> str:
    """The last folders of a path that mean something."""
    parts = [part for part in start.path.split("/") if part not in ("", "artifact")]
    return "/".join(parts[-2:]) or start.sha256[:12]


def as_json(roots: Sequence[Node]) -> list[Mapping[str, object]]:
    """The trees for machines."""
    return [
        {
            "name": node.label,
            "run": None if node.run is None else node.run.name,
            "came_by": node.came_by,
            "below": as_json(node.below),
        }
        for node in roots
    ]
