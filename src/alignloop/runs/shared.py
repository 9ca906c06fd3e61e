"""A run that several ranks work on in one folder: rank 0 writes and decides, all leave together. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from alignloop.config import Config
from alignloop.errors import Interrupted, RunError
from alignloop.runs.artifact import Artifact, Kind, open_artifact
from alignloop.runs.run import Given, Run


class Ranks(Protocol):
    """What a shared run needs of `World`."""

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        ...

    def barrier(self) -> None:
        """Wait until every rank is here."""
        ...

    def largest(self, value: float) -> float:
        """The largest of every rank's numbers."""
        ...


class SharedRun(Run):
    """A run folder as one of several ranks sees it; what is not rank 0 changes nothing in it but its own shards."""

    def __init__(
        self,
        folder: Path,
        stage: str,
        config: Config,
        manifest: dict[str, Any],
        ranks: Ranks,
        *,
        resume: bool,
    ) -> None:
        super().__init__(folder, stage, config, manifest, resume=resume)
        self._ranks = ranks
        self._stop = 0

    @classmethod
    def join(
        cls, ranks: Ranks, folder: Path, stage: str, config: Config, *, resume: bool
    ) -> SharedRun:
        """Rank 0 makes or resumes the folder; the others follow once it is there.

        Raises:
            RunError: see `Run.open`.
        """
        if ranks.is_main:
            Run.open(folder, stage, config, resume=resume)
        ranks.barrier()
        return cls(folder, stage, config, _manifest_of(folder), ranks, resume=resume)

    def bind(self, given: Mapping[str, Given]) -> None:
        """See `Run.bind`."""
        if self._ranks.is_main:
            super().bind(given)

    def _record(self, role: str, path: Path, kind: str, sha256: str) -> None:
        if self._ranks.is_main:
            super()._record(role, path, kind, sha256)

    def save_checkpoint(self, step: int, write: Callable[[Path], None], *, keep: int = 2) -> None:
        """Each rank writes its shards into the folder that rank 0 makes; it is done when all have."""

        def write_together(aside: Path) -> None:
            self._ranks.barrier()
            write(aside)
            self._ranks.barrier()

        if self._ranks.is_main:
            super().save_checkpoint(step, write_together, keep=keep)
        else:
            try:
                write_together(self._aside(step))
            except OSError as error:
                raise RunError(
                    f"{self._aside(step)}: this rank's shards could not be saved ({error}); "
                    "free some space and go on with --resume"
                ) from None
        self._ranks.barrier()

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """See `Run.latest_checkpoint`."""
        found = super().latest_checkpoint() if self._ranks.is_main else None
        self._ranks.barrier()
        step = int(self._ranks.largest(found[0] if found else 0))
        return (step, self.folder / "checkpoints" / f"step_{step:06d}") if step else None

    def log(self, step: int, values: dict[str, float], **timings: float) -> None:
        """Log one step's metrics, which have to be sums over all ranks."""
        if self._ranks.is_main:
            super().log(step, values, **timings)

    def warn(self, message: str) -> None:
        """See `Run.warn`."""
        if self._ranks.is_main:
            super().warn(message)

    def stop_requested(self) -> bool:
        """Whether a signal reached any rank; all get the same answer, so all have to ask."""
        self._stop = int(self._ranks.largest(self._signal.received or 0))
        return self._stop > 0

    def interrupt(self) -> Interrupted:
        """See `Run.interrupt`."""
        return Interrupted(str(super().interrupt()), self._stop or 2)

    def __enter__(self) -> SharedRun:
        if self._ranks.is_main:
            super().__enter__()
        self._ranks.barrier()
        if not self._ranks.is_main:
            self._manifest = _manifest_of(self.folder)
            self._signal.install()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        super().__exit__(kind, *rest)
        if kind is None or kind is Interrupted:
            self._ranks.barrier()  # torchrun ends the others as soon as one has ended

    def finish(self, kind: Kind, write: Callable[[Path], None], facts: dict[str, Any]) -> Artifact:
        """Rank 0 writes the artefact, from whole weights; the others wait for it."""
        artifact = super().finish(kind, write, facts) if self._ranks.is_main else None
        self._ranks.barrier()
        return artifact or open_artifact(self.folder, kind)

    def _drop_checkpoints(self) -> None:
        if self._ranks.is_main:
            super()._drop_checkpoints()

    def _save_manifest(self) -> None:
        if self._ranks.is_main:
            super()._save_manifest()


def _manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
