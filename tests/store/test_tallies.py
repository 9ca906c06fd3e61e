"""What a project has, counted, on both databases."""

from __future__ import annotations

from sqlalchemy import update

from alignloop.store import labels, people, prompts, tallies
from alignloop.store.judgments import Vote, submit
from alignloop.store.people import User
from alignloop.store.schema import prompts as prompts_table
from tests.store.conftest import Lab


def work(lab: Lab, user: User, campaign: object, *answers: list[int | None]) -> None:
    for groups in answers:
        assignment = lab.claim(user, campaign)  # type: ignore[arg-type]
        assert assignment is not None
        lab.rank(user, assignment, groups)


def test_labels_are_counted_by_cohort_and_comparisons_without_ties(lab: Lab) -> None:
    campaign = lab.campaign((4, 4, 4, 4), overlap=2)
    ann = lab.labeler("ann")
    with lab.store.write() as connection:
        sim = people.add_user(
            connection,
            lab.now,
            "test",
            email=f"sim{tallies.SIMULATED}",
            name="sim",
            state="active",
            standing="qualified",
        )
    work(lab, ann, campaign, [1, 2, 3, 4], [1, 1, 1, 1])
    work(lab, sim, campaign, [1, 1, 2, None])
    practice = lab.campaign((4,), purpose="practice")
    work(lab, ann, practice, [1, 2, 3, 4])

    with lab.store.read() as connection:
        (rankings,) = tallies.labels_by_cohort(connection)
        assert (rankings.form, rankings.purpose, rankings.cohort) == (
            "rank",
            "training",
            "training",
        )
        assert rankings.labels == 3
        assert rankings.comparisons == 6 + 0 + 2  # of 1 1 2: two pairs are ordered
        assert rankings.simulated == 1
        assert tallies.simulated_in(connection, campaign.id) == (3, 1)
        assert tallies.simulated_in(connection, practice.id) == (1, 0)
        done = tallies.tasks_by_side(connection)[campaign.id]
        assert done["train"][0] == 4
        assert done["train"][1] == rankings.prompts


def test_a_vote_is_a_comparison_and_a_task_counts_once(lab: Lab) -> None:
    campaign = lab.campaign((2, 2), form="compare", purpose="evaluation", split="test", overlap=2)
    for name in ("bea", "cem"):
        user = lab.labeler(name, cohort="heldout")
        assignment = lab.claim(user, campaign)
        assert assignment is not None
        with lab.store.write() as connection:
            vote = Vote("item_1", assignment.display_order[0])
            place = assignment.public_id
            submit(connection, lab.now, user, place, vote, client_uuid=place)

    with lab.store.read() as connection:
        (votes,) = tallies.labels_by_cohort(connection)
        assert (votes.cohort, votes.labels, votes.comparisons) == ("heldout", 2, 2)
        there, done = tallies.tasks_by_side(connection)[campaign.id]["test"]
        assert there == 2
        assert done == votes.prompts


def test_labels_on_prompts_that_were_flagged_later_are_not_done(lab: Lab) -> None:
    """No export has them, so whoever waits for labels waits for others."""
    campaign = lab.campaign((4, 4, 4))
    work(lab, lab.labeler("ann"), campaign, [1, 2, 3, 4], [2, 1, 3, 4])
    with lab.store.read() as connection:
        assert tallies.tasks_by_side(connection)[campaign.id] == {"train": (3, 2)}
        first = next(labels.each_label(connection, "rank"))

    with lab.store.write() as connection:
        is_first = prompts_table.c.id == first.prompt.id
        connection.execute(update(prompts_table).where(is_first).values(pii=["name"]))

    with lab.store.read() as connection:
        assert tallies.tasks_by_side(connection)[campaign.id] == {"train": (2, 1)}


def test_prompts_are_counted_by_source_and_those_that_came_with_answers(lab: Lab) -> None:
    given = [
        ("customer", ()),
        ("customer", (("An answer.", None, "", "ann"),)),
        ("customer", (("A", 1, "", ""), ("B", 2, "", ""))),
        ("labeler_fewshot", ()),
        ("customer", (("Call Ann.", None, "", "bea"),)),
    ]
    flagged = 4
    with lab.store.write() as connection:
        prompts.add_prompts(
            connection,
            lab.now,
            [
                prompts.NewPrompt(
                    author=f"someone-{number}",
                    split="train",
                    kind=kind,
                    text=f"Ask {number}.",
                    text_digest=bytes([number]) * 16,
                    answers=answers,
                    pii=["name"] if number == flagged else [],
                )
                for number, (kind, answers) in enumerate(given)
            ],
        )
        asked = lab.prompt(connection, split="valid")

    with lab.store.read() as connection:
        assert tallies.prompts_by_source(connection) == {
            "train": {"customer": 4, "labeler_fewshot": 1},
            "valid": {"customer": 1},
        }
        assert tallies.prompts_with_answers(connection) == {"train": 2}
    assert asked


def test_a_tasks_prompt_comes_back_as_its_record(lab: Lab) -> None:
    campaign = lab.campaign((4,))
    ann = lab.labeler("ann")
    assignment = lab.claim(ann, campaign)
    assert assignment is not None

    with lab.store.read() as connection:
        row = tallies.prompt_of_task(connection, assignment.task_id)
        record = prompts.prompt_record(row)

    assert record.text.startswith("Tell me about number")
    assert record.group.startswith("author-")
