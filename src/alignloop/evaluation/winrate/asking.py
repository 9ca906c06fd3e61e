"""How a policy is asked: in its chat format, by a template, after a few demonstrations; and where its answer ends.

`{prompt}` and `{context}` in a template stand for the prompt's text and for the part of it that it refers to. Nothing
else in a template is special, so code with braces may stand there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignloop.data.records import Completion, Demonstration, Prompt, Turn
from alignloop.errors import ConfigError, DataError

_PLACE = re.compile(r"\{(prompt|context)\}")
BETWEEN = "\n\n"
"""What stands between two demonstrations of a plain text."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One way of asking."""

    template: str | None = None
    """A plain text; the chat format without it."""
    demonstrations: tuple[Demonstration, ...] = ()
    """Shown before the prompt: in the template's own format, or as earlier turns of the chat."""
    stop: str = ""
    """What the policy writes from this text on is left out."""
    best_of: int = 1
    """Answers that are drawn, of which a reward model chooses one."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer: the one asked for, and the opening of another demonstration."""
        found = [self.stop] if self.stop else []
        if self.template is not None and self.demonstrations:
            head = _PLACE.split(self.template)[0].strip()
            if head:
                found.append(BETWEEN + head)
        return tuple(found)

    def prompt(self, prompt: Prompt) -> Prompt:
        """The prompt as the policy gets it: in a chat, the demonstrations are turns before the user's own."""
        if self.template is not None or not self.demonstrations:
            return prompt
        shown: list[Turn] = []
        for one in self.demonstrations:
            said = (
                Turn(role="user", text=one.prompt.text),
                Turn(role="assistant", text=one.response),
            )
            shown += [*one.prompt.history, *said]
        told = [turn for turn in prompt.history if turn.role == "system"]
        spoken = [turn for turn in prompt.history if turn.role != "system"]
        asked = [turn for turn in shown if turn.role != "system"]
        return prompt.model_copy(update={"history": (*told, *asked, *spoken)})

    def text(self, prompt: Prompt) -> str:
        """The plain text that a prompt becomes.

        Raises:
            ValueError: it is asked in the chat format.
        """
        if self.template is None:
            raise ValueError("a chat is made of tokens, by the formatter")
        return self._prefix() + _filled(self.template, prompt)

    def as_format(self) -> str | None:
        """The template for `str.format` with `prompt` and `context`, demonstrations included; None for a chat."""
        if self.template is None:
            return None
        return _doubled(self._prefix()) + "".join(
            f"{{{part}}}" if at % 2 else _doubled(part)
            for at, part in enumerate(_PLACE.split(self.template))
        )

    def ended(self, completion: Completion, tokens: int | None = None) -> Completion:
        """An answer cut where a stop text begins; as it is where there is none.

        Args:
            tokens: length of the cut text, where the caller knows a tokenizer; as drawn otherwise.
        """
        at = self.end_of(completion.text)
        if at is None:
            return completion
        text = completion.text[:at].rstrip()
        length = completion.tokens if tokens is None else tokens
        return completion.model_copy(
            update={"text": text, "finished": True, "tokens": length, "token_ids": ()}
        )

    def end_of(self, text: str) -> int | None:
        """Where the first stop text begins; None where there is none."""
        places = [text.find(stop) for stop in self.stops]
        return min((place for place in places if place >= 0), default=None)

    def as_json(self) -> dict[str, Any]:
        """What a report says of it, and what an answer's key depends on."""
        told = "".join(one.model_dump_json() for one in self.demonstrations)
        return {
            "format": "chat" if self.template is None else "template",
            "template": self.template,
            "demonstrations": len(self.demonstrations),
            "demonstrations_sha256": hashlib.sha256(told.encode()).hexdigest() if told else None,
            "stop": list(self.stops),
            "best_of": self.best_of,
        }

    def _prefix(self) -> str:
        shown = ""
        for one in self.demonstrations:
            asked = _filled(self.template or "", one.prompt)
            gap = "" if asked[-1:].isspace() else " "
            shown += f"{asked}{gap}{one.response.strip()}{BETWEEN}"
        return shown


def checked_template(template: str, where: str) -> str:
    """The template, if the prompt has a place in it.

    Raises:
        ConfigError: it has not.
    """
    if not _PLACE.search(template):
        raise ConfigError(
            f"{where}: a template says with {{prompt}} or {{context}} where the prompt goes"
        )
    return template


def read_template(path: Path) -> str:
    """A template file as it is, line ends and all.

    Raises:
        DataError: it is not UTF-8.
        ConfigError: it has no place for the prompt.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}: a template is UTF-8 text") from None
    return checked_template(text, str(path))


def named_values(pairs: Sequence[str], what: str, names: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE texts, each for one of the policies.

    Raises:
        ConfigError: there is no such policy, or it is given two values.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        check_named(name, what, names)
        if name in found:
            raise ConfigError(f"{what}: '{name}' is given twice")
        found[name] = value
    return found


def check_named(name: str, what: str, names: Sequence[str]) -> None:
    """Refuse a name that no policy has.

    Raises:
        ConfigError: it is not there.
    """
    if name not in names:
        raise ConfigError(f"{what}: there is no policy '{name}'; there are {', '.join(names)}")


def _filled(template: str, prompt: Prompt) -> str:
    values = {"prompt": prompt.transcript, "context": prompt.context}
    return _PLACE.sub(lambda match: values[match[1]], template)


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
