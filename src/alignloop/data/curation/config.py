"""What curation may drop, and how prompts are shared out (sections 3.2 and A.2 of the paper)."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from alignloop.config import Config
from alignloop.data.curation.spans import KINDS

By = Literal["user", "organization"]
"""Whose prompts are counted or kept together; where a row does not name that one, the other stands for it."""


class CurationConfig(Config):
    """Settings of every step; the defaults are the paper's wherever it names a number."""

    prefix_characters: int | None = Field(default=100, ge=1)
    """Prompts that share so many first characters count as sharing a long common prefix, and the first that came stays;
    shorter prompts are left alone. The paper gives no length. "none" switches the step off."""
    cap: int | None = Field(default=200, ge=1)
    """Most prompts that are kept of one user or organization, those of earlier imports included. "none": no limit."""
    cap_by: By = "user"
    """Whose prompts are counted: section 3.2 of the paper says user ID, A.2 organization. A row that does not name that
    one counts for the other; a row that names neither is not capped."""
    max_tokens: int = Field(default=1000, ge=1)
    """Longer prompts are dropped, the conversation and examples before them included (appendix C)."""
    tokenizer: str | None = None
    """Path of a Hugging Face `tokenizer.json` that counts the tokens. Without it a token is taken to be four bytes of
    UTF-8: an estimate, near for English, too low for code and for Chinese under most English vocabularies."""
    languages: tuple[str, ...] = ()
    """Codes of ISO 639-1 that are kept, as ["en", "zh"]; empty keeps all. A prompt that is too short to tell ("und") is
    kept."""
    valid: float = Field(default=0.05, gt=0, lt=1)
    """Share of the users, organizations or conversations whose prompts go to validation."""
    test: float = Field(default=0.1, gt=0, lt=1)
    """Share of them whose prompts go to the test side. As in `alignloop data import`, a hash of the name decides."""
    split_by: By = "user"
    """What is kept on one side. A row that does not name it goes by the other; one that names neither, by the opening
    of its conversation."""
    pii: tuple[str, ...] = KINDS
    """Kinds of personal data that are looked for; true stands for all, false for none. Names and addresses are not
    detected."""
    pii_action: Literal["drop", "scrub"] = "drop"
    """What happens to a prompt of the training side that has any: it is dropped, as in the paper, or each place is
    replaced by its kind, as in [EMAIL]. On the other sides it is kept and flagged."""
    pii_detector: Literal["patterns", "presidio"] = "patterns"
    """`patterns` needs nothing more; `presidio` adds phone numbers by region and further national ids, and needs the
    extra `pii`."""

    @field_validator("pii", mode="before")
    @classmethod
    def _all_or_none(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return KINDS if value else ()
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} and test {self.test} leave nothing to train on")
        if unknown := [kind for kind in self.pii if kind not in KINDS]:
            raise ValueError(
                f"no kind of personal data is called {unknown[0]!r}; there are {', '.join(KINDS)}"
            )
        for code in self.languages:
            if not re.fullmatch(r"[a-z]{2,3}", code):
                raise ValueError(f"{code!r} is no language code; write it as 'en' or 'zh'")
        return self
