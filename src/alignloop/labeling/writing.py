"""Prompts that labelers write: looked at for personal data, kept once, on the training side.

Whoever writes prompts here writes for training; the prompts that a model is judged on come from its users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from alignloop.data.curation.keys import digests
from alignloop.data.curation.patterns import Patterns
from alignloop.data.incoming import Kind
from alignloop.store import prompts
from alignloop.store.judgments import WrittenPrompt
from alignloop.store.people import User

_SHOWN_AS = {"national_id": "id", "ip": "address"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Personal data in what is being written."""

    kind: str
    excerpt: str

    @property
    def shown_as(self) -> str:
        """What the face calls the kind."""
        return _SHOWN_AS.get(self.kind, self.kind)


def findings_in(text: str) -> tuple[Finding, ...]:
    """Personal data that a pattern can tell, in the order of the text; names and addresses are not detected."""
    return tuple(Finding(span.kind, text[span.start : span.end]) for span in Patterns()(text)[:20])


def take_in(
    connection: Connection,
    now: int,
    author: User,
    *,
    kind: Kind,
    text: str,
    examples: Sequence[tuple[str, str]],
    use_case: str,
    language: str,
    findings: Sequence[str] = (),
) -> WrittenPrompt:
    """Keep a prompt, where the store does not have the same one already; returns what to submit."""
    text_digest, prefix_digest = digests(text, (), examples, None)
    prompts.in_turn(connection)  # or two people could both find that it is not there
    if prompts.find_prompt(connection, text_digest) is not None:
        return WrittenPrompt(text, kind, tuple(examples), use_case, None)
    key = f"labeler/{author.public_id}"
    new = prompts.NewPrompt(
        author=key,
        split="train",
        kind=kind,
        text=text,
        text_digest=text_digest,
        prefix_digest=prefix_digest,
        examples=examples,
        use_case=use_case,
        language=language,
        tokens=len(text.encode()) // 4,
        consent=True,
        counted_for=key,
        pii=list(dict.fromkeys(findings)),
    )
    [prompt_id] = prompts.add_prompts(connection, now, [new])
    return WrittenPrompt(text, kind, tuple(examples), use_case, prompt_id)


def consent_text(locale: str) -> str:
    """What an author of prompts agrees to."""
    return _CONSENT["zh" if locale == "zh" else "en"]


_CONSENT = {
    "en": "I wrote this prompt myself, it holds nothing personal about anybody, and it may be used to train and to "
    "evaluate language models.",
    "zh": "这条提示由我本人撰写，不含任何人的个人信息，可用于训练和评估语言模型。",
}
