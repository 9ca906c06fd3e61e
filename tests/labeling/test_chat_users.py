"""Choices of the chat page's users on the researchers' pages: a campaign like others, by people who are no labelers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alignloop.store import campaigns, chats
from alignloop.store.chats import Chats
from tests.labeling.client import DAY
from tests.labeling.research import Desk, desk
from tests.store.test_chats import agree, choose, kept


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("lab")) as found:
        ann = found.site.labeler("Ann")
        found.rank(ann, found.campaign([4]), [1, 2, 3, 4], seconds=60)
        chat, visitor = Chats(found.site.store), agree(found.site.store, "token")
        for said in ("Tell me of a fox.", "Tell me of a hare."):
            choose(chat, visitor, kept(chat, visitor, said), uuid=said)
        found.site.clock.pass_(DAY)
        found.browser = found.site.sign_in(found.boss)
        yield found


PAGES = (
    "overview campaigns new_campaign labelers disagreements economics agreement exports audit inbox"
).split()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_the_researchers_is_shown(lab: Desk, name: str) -> None:
    assert lab.browser.get(name).status_code == 200


def test_their_campaign_says_whose_work_it_is(lab: Desk) -> None:
    with lab.site.store.read() as connection:
        theirs = campaigns.get_campaign(connection, name=chats.CAMPAIGN)

    shown = lab.browser.get("campaign", campaign=theirs.public_id)
    edited = lab.browser.get("edit_campaign", campaign=theirs.public_id)

    assert shown.status_code == edited.status_code == 200
    assert "Users of the chat page" in shown.text
    assert "Users of the chat page" not in lab.browser.get("new_campaign").text


def test_users_are_not_among_the_labelers(lab: Desk) -> None:
    html = lab.browser.get("labelers").text

    assert "Ann" in html
    assert "user-" not in html.partition("<main")[2]
