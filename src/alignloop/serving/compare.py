"""Two policies on one prompt, blind: which is which is told once the user has chosen, and the choice is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.errors import DataError
from alignloop.seeds import derive_seed
from alignloop.serving.terminal import Chat, Speaker

HELP = "/compare PROMPT shows two answers, A and B, to choose from."
QUESTION = "Which is better? a, b, t for a tie, s to skip: "
RANKS = {"a": (1, 2), "b": (2, 1), "t": (1, 1)}
"""What each choice says of A and B; 1 is the better one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A conversation, and another policy that its prompts can be put to as well."""

    chat: Chat
    other: Speaker
    labeler: str
    """Who chooses."""
    choices: Path
    """JSON Lines file that every choice is added to, as a ranking of two."""

    def __call__(
        self, prompt: str, question: Callable[[str], str], show: Callable[[str], None]
    ) -> Ranking | None:
        """Both answers, the user's choice, and then the names; None where nothing was chosen.

        The conversation goes on with the better answer, or with A after a tie; after a skip nothing was said.

        Args:
            question: asks the user something; an empty answer is a skip.

        Raises:
            DataError: the prompt does not fit, or the choice cannot be written.
        """
        chat = self.chat
        # As much of what was said as both can read.
        history = self.other.fitting(chat.speaker.fitting(chat.history, prompt), prompt)
        chat.turns += 1
        lot = derive_seed(chat.seed, "order", chat.turns) % 2
        order = (chat.speaker, self.other) if lot == 0 else (self.other, chat.speaker)
        said: list[Completion] = []
        for letter, speaker in zip("AB", order, strict=True):
            show(f"{letter}: ")
            seed = derive_seed(chat.seed, "compare", chat.turns, letter)
            for piece in speaker.answer(history, prompt, seed, said.append):
                show(piece)
            show("\n\n")
        choice = _choice(question)
        ranking = None
        if choice in RANKS:
            asked = Prompt.model_validate({"text": prompt, "history": history, "source": "chat"})
            ranking = Ranking(
                prompt=asked,
                completions=tuple(
                    _named(one, self._name(s)) for one, s in zip(said, order, strict=True)
                ),
                ranks=RANKS[choice],
                labeler=self.labeler,
            )
            _append(self.choices, ranking)
            chat.remember(history, prompt, said[1 if choice == "b" else 0].text)
        names = f"A was {self._name(order[0])}, B was {self._name(order[1])}"
        kept = f"; added to {self.choices.resolve()}" if ranking is not None else ""
        show(f"({names}{kept})\n")
        return ranking

    def _name(self, speaker: Speaker) -> str:
        """The folder's name; where both have one, the other policy's says that it is the other."""
        is_other = speaker is self.other and speaker.name == self.chat.speaker.name
        return f"{speaker.name} (--against)" if is_other else speaker.name


def _named(completion: Completion, name: str) -> Completion:
    return completion.model_copy(update={"model": name})


def _choice(question: Callable[[str], str]) -> str:
    while True:
        given = question(QUESTION).strip().lower()
        if given in ("", "s", "skip"):
            return "s"
        if given in ("a", "b", "t", "tie"):
            return given[0]


def _append(path: Path, ranking: Ranking) -> None:
    """One more line, on the disk before anything else happens."""
    line = ranking.model_dump_json() + "\n"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(
            f"{path}: the choice could not be written ({error.strerror}); give another file with --choices"
        ) from None
