"""How a project curates its prompts: settled by what brings in its first, and the same for all that follow.

Under two caps or two shares of the split a project's prompts would be neither the one selection nor the other.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.outcomes import Kept
from alignloop.data.incoming import Candidate
from alignloop.errors import ConfigError
from alignloop.store import prompts
from alignloop.store.given import Answer
from alignloop.store.prompts import NewPrompt

KEY = "curation"


def settled(connection: Connection) -> CurationConfig | None:
    """The project's settings, once its first prompts are in.

    Raises:
        ConfigError: another version of this program wrote them, and this one cannot read them.
    """
    values: Any = prompts.setting(connection, KEY)
    if values is None:
        return None
    try:
        return CurationConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"the project's settings of curation cannot be read ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
            "use the version of alignloop that it was begun with"
        ) from None


def settle(connection: Connection, config: CurationConfig) -> None:
    """Fix the settings for the project, with its first prompts and in their transaction."""
    if prompts.setting(connection, KEY) is None:
        prompts.settle(connection, KEY, config.model_dump(mode="json"))


def stored(kept: Kept, details: dict[str, Any] | None = None) -> NewPrompt:
    """A prompt as the store takes it. Personal data is noted where it stays, that is, in valid and test alone."""
    one = kept.candidate
    return NewPrompt(
        author=kept.group,
        split=kept.split,
        kind=one.kind,
        text=one.text,
        text_digest=kept.text_digest,
        prefix_digest=kept.prefix_digest,
        history=one.history,
        examples=one.examples,
        use_case=one.use_case,
        language=kept.language,
        annotations=one.annotations,
        details=details,
        tokens=kept.tokens,
        consent=one.consent,
        counted_for=kept.author,
        pii=tuple(dict.fromkeys(found.span.kind for found in kept.pii)) if kept.flagged else (),
        answers=answers_of(one),
    )


def answers_of(one: Candidate) -> tuple[Answer, ...]:
    """The answers of a row as the store takes them."""
    return tuple((answer.text, answer.rank, answer.model, one.labeler) for answer in one.answers)
