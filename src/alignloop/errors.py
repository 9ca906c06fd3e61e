"""What can go wrong, as a tree.

    AlignloopError              exit code 2: one line that says what, where and what to do next
    |- ConfigError              a recipe or `--set` that cannot be used
    |- DataError                a file or record that cannot be read or used
    |- ArtifactError            a hand-over between stages that is missing, unfinished, changed or of the wrong kind
    |- RunError                 a run folder in the way, or one that cannot be resumed
    |- ModelError               a model or tokenizer that this stage cannot work with
    |- RewardError              a reward function that raised, or gave something else than a number per response
    |- EngineError              a rollout engine that gave something else than one response per prompt
    |- NumericsError            NaN or infinity in a loss or gradient
    |- StoreError               a database that cannot be opened or written, or that does not fit this version
    |  `- BusyError             one that others keep from answering just now
    |- JudgmentError            a label that the store refuses, with the rule that it breaks
    |- ConflictError            a draft that another tab has changed since
    |- MissingExtraError        a package that an extra would install
    `- Interrupted              the user or the system asked the run to stop; exit code 130 or 143

A traceback, by contrast, means a bug of ours.
"""

from __future__ import annotations


class AlignloopError(Exception):
    """Base of every error that a user can cause and mend."""

    exit_code = 2


class ConfigError(AlignloopError):
    """A configuration that cannot be used."""


class DataError(AlignloopError):
    """A data file or a record in it that cannot be used."""


class ArtifactError(AlignloopError):
    """An artefact that is missing, unfinished, changed, or of the wrong kind."""


class RunError(AlignloopError):
    """A run folder that is in the way or cannot be resumed."""


class ModelError(AlignloopError):
    """A model or tokenizer that the stage cannot work with."""


class RewardError(AlignloopError):
    """A reward function of the user's that raised, or gave something else than one finite number per response."""


class EngineError(AlignloopError):
    """A rollout engine that gave something else than one response per prompt, its log-probabilities with it."""


class NumericsError(AlignloopError):
    """A loss, score or gradient that is not finite."""


class StoreError(AlignloopError):
    """A database that cannot be opened or written, is in use, or is not of this version."""


class BusyError(StoreError):
    """A database that others keep from answering just now; the same again a little later will do.

    `at_once`: it need not be later, since whoever was in the way is through.
    """

    def __init__(self, message: str, *, at_once: bool = False) -> None:
        super().__init__(message)
        self.at_once = at_once


class JudgmentError(AlignloopError):
    """A label or a piece of work that breaks a rule of the store."""


class ConflictError(AlignloopError):
    """Something was changed elsewhere since it was read."""


class MissingExtraError(AlignloopError):
    """A feature whose packages are not installed."""


class Interrupted(AlignloopError):
    """The run was asked to stop, saved its state, and can be resumed."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type[Interrupted], tuple[str, int]]:
        """For another process."""
        return Interrupted, (str(self), self.exit_code - 128)
