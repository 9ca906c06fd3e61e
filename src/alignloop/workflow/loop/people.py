"""Simulated labelers at work in a project: they take tasks off the queue and hand in, as people do. Torch-free.

They are code, their accounts end in `@simulated.invalid`, and nothing that they say tells what people would.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from alignloop.judges.labelers import SimulatedLabeler, heldout_labelers, training_labelers
from alignloop.judges.lexicon import Lexicon
from alignloop.labeling.config import SimulationConfig
from alignloop.store import campaigns, judgments, people, prompts, queue, tallies
from alignloop.store.campaigns import Campaign
from alignloop.store.database import Store
from alignloop.store.judgments import RankedOutputs, Vote
from alignloop.store.people import User
from alignloop.store.queue import Assignment

_BATCH = 100
"""Tasks per transaction: code needs no answer after each."""


def simulate(
    store: Store, campaign: str, lexicon: Lexicon, advance: Callable[[int], object] = lambda n: None
) -> int:
    """Label all that is left of an open campaign; returns how many labels were given.

    Rankings are by the five training labelers, votes by the two held-out ones, who take turns. A call that is killed
    loses the transaction it is in, and the next one goes on.

    Raises:
        JudgmentError: the campaign is not open, or asks for something that code does not do.
    """
    usual = SimulationConfig()
    given = 0
    with store.write() as connection:
        asked = campaigns.get_campaign(connection, name=campaign)
        is_evaluation = asked.purpose == "evaluation"
        make = heldout_labelers if is_evaluation else training_labelers
        crowd = [
            (_account(connection, one, is_evaluation), one)
            for one in make(lexicon, usual.noise, usual.tie_margin)
        ]
    while True:
        with store.write() as connection:
            found = _some(connection, asked, crowd)
        given += found
        advance(found)
        if found == 0:
            return given


def _account(connection: Connection, labeler: SimulatedLabeler, is_heldout: bool) -> User:
    email = f"{labeler.name}{tallies.SIMULATED}"
    return people.find_user(connection, email=email) or people.add_user(
        connection,
        _now(),
        "simulation",
        email=email,
        name=labeler.name,
        cohort="heldout" if is_heldout else "training",
        state="active",
        standing="qualified",
    )


def _some(
    connection: Connection, campaign: Campaign, crowd: Sequence[tuple[User, SimulatedLabeler]]
) -> int:
    """A task for each in turn, until the batch is full or nobody finds one."""
    given = 0
    while given < _BATCH:
        before = given
        for account, labeler in crowd:
            assignment = queue.claim(connection, _now(), account, campaign)
            if assignment is not None:
                _hand_in(connection, campaign, assignment, account, labeler)
                given += 1
        if given == before:
            break
    return given


def _hand_in(
    connection: Connection,
    campaign: Campaign,
    assignment: Assignment,
    account: User,
    labeler: SimulatedLabeler,
) -> None:
    prompt = prompts.prompt_record(tallies.prompt_of_task(connection, assignment.task_id))
    texts = campaigns.items_of(connection, assignment.task_id)
    answer: RankedOutputs | Vote
    if campaign.form == "compare":
        preferred = labeler.prefer(prompt, texts[1], texts[2])
        verdict = "tie" if preferred == 0.5 else "item_1" if preferred == 1.0 else "item_2"
        answer = Vote(verdict, assignment.display_order[0])
    else:
        ranks = labeler.ranks(prompt, list(texts.values()))
        answer = RankedOutputs(dict(zip(texts, ranks, strict=True)), {})
    judgments.submit(
        connection,
        _now(),
        account,
        assignment.public_id,
        answer,
        client_uuid=assignment.public_id,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
