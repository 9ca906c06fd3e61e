"""What stands between a labeler and a campaign: guidelines, practice, screening, a person's decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from alignloop.store import campaigns, correspondence, figures
from alignloop.store.campaigns import Campaign
from alignloop.store.people import User

Block = Literal["guidelines", "practice", "screening", "review", "suspended", "cohort"]


@dataclass(frozen=True, slots=True)
class Way:
    """How far a labeler is on the way to work that counts."""

    guidelines: bool
    practice: tuple[int, int]
    """Tasks done, and in all."""
    screening: tuple[int, int]
    standing: str


def way_of(connection: Connection, now: int, user: User) -> Way:
    """How far a labeler is."""
    practice, screening = [0, 0], [0, 0]
    purpose = "evaluation" if user.cohort == "heldout" else "training"
    for campaign in campaigns.all_campaigns(connection, state="open"):
        if campaign.purpose not in ("practice", "screening") or not _fits(user, campaign):
            continue
        done = figures.done_by(connection, now, user, campaign).submitted
        left = figures.available(connection, now, user, campaign)
        counts = practice if campaign.purpose == "practice" else screening
        counts[0] += done
        counts[1] += done + left + (campaign.id in figures.open_work(connection, user))
    return Way(
        _has_read(connection, user, purpose, None),
        (practice[0], practice[1]),
        (screening[0], screening[1]),
        user.standing,
    )


def what_blocks(
    connection: Connection, user: User, campaign: Campaign, way: Way | None = None, now: int = 0
) -> Block | None:
    """Why this labeler cannot work on this campaign yet; None where they can. The database has the last word."""
    if user.state != "active":
        return "suspended"
    if not _fits(user, campaign):
        return "cohort"
    if not _has_read(connection, user, campaign.guideline_purpose, campaign.guideline_version):
        return "guidelines"
    if campaign.purpose == "practice" or user.standing == "qualified":
        return None
    found = way or way_of(connection, now, user)
    if found.practice[0] < found.practice[1]:
        return "practice"
    if campaign.purpose == "screening":
        return None
    return "screening" if found.screening[0] < found.screening[1] else "review"


def _fits(user: User, campaign: Campaign) -> bool:
    return campaign.cohort in ("any", user.cohort)


def _has_read(connection: Connection, user: User, purpose: str, version: int | None) -> bool:
    """In whichever language; a project without guidelines asks for none."""
    rows = correspondence.guideline_ids(connection, purpose=purpose, version=version)
    return not rows or any(
        correspondence.acknowledged_at(connection, user, row) is not None for row in rows
    )
