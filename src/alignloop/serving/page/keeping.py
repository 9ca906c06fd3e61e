"""The store behind the page, where there is one: who agrees, what they say and choose, and what they have erased.

Every call waits for the database: the routes make them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from alignloop.data.records import Completion
from alignloop.errors import AlignloopError, JudgmentError, StoreError
from alignloop.progress import say
from alignloop.serving.page.conversation import Conversation, Turn
from alignloop.serving.page.notice import UNSETTLED, Notice
from alignloop.store import chats, erasure, visitors
from alignloop.store.chats import Chats, Drawn, Said
from alignloop.store.curation import settled
from alignloop.store.database import Store
from alignloop.store.visitors import Visitor


class Keeping:
    """What the page does with a project's store."""

    def __init__(self, store: Store, unkept: Callable[[str], None] = lambda _: None) -> None:
        """Over an open store.

        Args:
            unkept: told of every `message` and `choice` that the store could not take.

        Raises:
            ConfigError, DataError, MissingExtraError: the project's settings of curation cannot be used here.
        """
        self.store = store
        self._chats = Chats(store)
        self._settled: Notice | None = None
        self._unkept = unkept
        self._is_failing = False

    def notice(self) -> Notice:
        """The notice by the project's settings of curation, which its first prompts settle for ever."""
        if self._settled is None:
            with self.store.read() as connection:
                config = settled(connection)
            if config is None:
                return UNSETTLED
            self._settled = Notice.of(config)
        return self._settled

    def find(self, token: str) -> Visitor | None:
        """Who holds this token, if the store knows them."""
        with self.store.read() as connection:
            return visitors.find(connection, token)

    def agree(self, now: int, token: str, notice: Notice, locale: str) -> None:
        """They agree to a notice."""
        with self.store.write() as connection:
            visitors.agree(connection, now, token, notice.version, locale)

    def withdraw(self, now: int, visitor: Visitor) -> None:
        """They agree no longer."""
        with self.store.write() as connection:
            visitors.withdraw(connection, now, visitor)

    def keep(
        self,
        now: int,
        visitor: Visitor,
        conversation: Conversation,
        turn: Turn,
        history: list[tuple[str, str]],
    ) -> None:
        """Keep a message, if curation does; the conversation goes on whatever comes of it."""
        said = Said(conversation.id, turn.text, tuple(history))
        try:
            found = self._chats.keep(now, visitor, said, lambda: conversation.keeps)
        except (StoreError, JudgmentError) as error:
            self._failed("message", error)
            turn.is_unkept = True
            return
        self._is_failing = False
        turn.prompt_id = found if isinstance(found, int) else None
        if found == "agreement":
            conversation.keeps = False  # nor is what follows it: it would bring this along

    def choose(self, now: int, visitor: Visitor, conversation: Conversation, turn: Turn) -> bool:
        """Keep a choice, if it may be; whether it is kept."""
        if turn.prompt_id is None or turn.preference is None or len(turn.answers) != 2:
            return False
        numbered = sorted(turn.answers, key=lambda one: one.number)
        first, second = (
            Drawn(
                one.model,
                one.sha256,
                one.sampling,
                Completion(
                    text=one.text,
                    model=one.model,
                    finished=one.finish == "stop",
                    tokens=one.tokens,
                ),
            )
            for one in numbered
        )
        shown = (turn.answers[0].number, turn.answers[1].number)
        where = {"a": shown[0], "b": shown[1]}
        preference: chats.Preference = "tie"
        if turn.preference != "tie":
            preference = "first" if where[turn.preference] == 1 else "second"
        try:
            found = self._chats.choose(
                now,
                visitor,
                conversation.id,
                turn.prompt_id,
                (first, second),
                preference,
                shown=shown,
                client_uuid=turn.draw,
                still=lambda: conversation.keeps,
            )
        except (StoreError, JudgmentError) as error:
            self._failed("choice", error)
            return False
        self._is_failing = False
        return found not in chats.NOT_KEPT

    def _failed(self, kind: Literal["message", "choice"], error: AlignloopError) -> None:
        """Count it, and say it once until something is kept again: a full disk fails everybody's."""
        self._unkept(kind)
        if not self._is_failing:
            say(f"alignloop: a {kind} was not kept, and /metrics counts those that follow: {error}")
        self._is_failing = True

    def data_of(self, visitor: Visitor) -> dict[str, Any]:
        """All that is kept of them."""
        with self.store.read() as connection:
            return chats.kept_of(connection, visitor)

    def erase(self, now: int, visitor: Visitor, conversation: str | None) -> int:
        """Erase one conversation or everything; returns how many messages went."""
        actor = visitor.user.public_id
        found = erasure.erase(self.store, now, actor, visitor, conversation)
        if not found.is_rebuilt:
            say(
                "alignloop: what a user erased is gone, but the database file could not be written anew, so traces may "
                "be left in it; the next erasure tries again"
            )
        return found.prompts
