"""Every form of the researcher's, sent with every wrong value: a sentence beside a field, in both languages, no 404."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from alignloop.labeling.app.i18n import catalogue
from alignloop.store.schema import users
from tests.labeling.research import Desk, desk, errors_in
from tests.labeling.test_researcher_campaigns import evaluation, fields, make, opened

WRONG = (
    *("", " ", "no-such", "-1", "0", "1.5", "nan", "inf", "1e309", "99999999999999999999", "½"),
    *("x" * 5000, "\0", "\N{GRINNING FACE}", "<b>", "'; drop table users --", "train:0", "new:"),
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        found.prompts("train", 4)
        found.prompts("test", 4)
        yield found


Form = tuple[str, dict[str, str], dict[str, object]]
"""Route, address, and fields that it takes."""


def forms(lab: Desk) -> dict[str, Form]:
    """Every form of the researcher's pages, filled in right; buttons apart."""
    draft = make(lab, fields(lab, title="A draft"))
    running = opened(lab, fields(lab, title="In work", policies=[*lab.policies.values()]))
    blind = opened(lab, evaluation(lab))
    ann, bob = lab.site.labeler("Ann"), lab.site.labeler("Bob")
    two = lab.campaign([4], overlap=2)
    task = lab.rank(ann, two, [1, 2, 3, 4])
    lab.rank(bob, two, [2, 1, 3, 4])
    new = lab.site.labeler("Cyd", standing="pending")
    note: dict[str, object] = {"note": "Because."}
    own: dict[str, object] = {f"rank[{at}]": str(at) for at in range(1, 5)}
    rest: dict[str, object] = {"choice": "own", "reason": "taste", **note}
    wish: dict[str, object] = {"kind": "prompts", "format": "jsonl", "campaign": "", "split": "all"}
    invited: dict[str, object] = {"email": "new@example.org", "role": "labeler", "cohort": "train"}
    return {
        "new campaign": ("new_campaign", {}, fields(lab, title="Another")),
        "new evaluation": ("new_campaign", {}, evaluation(lab, title="Another")),
        "draft": ("edit_campaign", {"campaign": draft.public_id}, fields(lab, title="A draft")),
        "running": ("edit_campaign", {"campaign": running.public_id}, fields(lab, title="In work")),
        "blind": ("edit_campaign", {"campaign": blind.public_id}, evaluation(lab)),
        "invite": ("send_invite", {}, invited),
        "decision": (
            "labeler_decision",
            {"labeler": new.public_id},
            {"decision": "accept", **note},
        ),
        "cohort": ("labeler_cohort", {"labeler": ann.public_id}, {"cohort": "train", **note}),
        "state": ("labeler_state", {"labeler": new.public_id}, {"state": "active", **note}),
        "adjudicate": ("adjudicate", {"task": task}, {**rest, **own}),
        "export": ("exports", {}, {**wish, "seed": "1"}),
        "message": ("thread", {"labeler": ann.public_id}, {"body": "Hello"}),
    }


BUTTONS = {("decision", "decision"), ("state", "state")}
"""What a button says, nobody types: a page that never had it gets 404."""


@pytest.mark.parametrize("locale", ["en", pytest.param("zh", marks=pytest.mark.full)])
@pytest.mark.parametrize("name", [
    "new campaign", "new evaluation", "draft", "running", "blind", "invite", "decision", "cohort", "state",
    "adjudicate", "export", "message",
])  # fmt: skip
def test_every_wrong_value_is_told_beside_its_field(lab: Desk, name: str, locale: str) -> None:
    route, address, right = forms(lab)[name]
    with lab.site.store.write() as connection:
        connection.execute(update(users).where(users.c.id == lab.boss.id).values(locale=locale))
    sentences = {
        re.sub(r"\\\{\w+\\\}", ".+", re.escape(str(entry)))
        for key, entry in catalogue(locale).entries.items()  # type: ignore[arg-type]
        if key.startswith("error.") and isinstance(entry, str)
    }
    refused: set[str] = set()
    for field in right:
        for value in WRONG:
            if (name, field) in BUTTONS:
                continue
            sent = {**right, field: value}
            response = lab.browser.post(route, sent, **address)  # type: ignore[arg-type]
            told = (name, field, value[:40], response.status_code)
            assert response.status_code in (200, 303, 422), told
            if response.status_code != 422:
                continue
            wrong = errors_in(response.text)
            assert wrong, told
            refused |= {one.partition("[")[0] for one in wrong}
            for one in wrong:
                found = re.search(
                    rf'id="error-{re.escape(one)}".*?</svg>(.*?)</p>', response.text, re.DOTALL
                )
                assert found is not None, told
                text = html.unescape(found[1])
                assert any(re.fullmatch(pattern, text) for pattern in sentences), (text, told)
                # The summary's link leads to the field.
                assert f'id="field-{one}"' in response.text, (one, told)
    assert refused, "nothing was ever refused"
