"""Campaigns as judges: made from answers, voted in by people of a real store, closed, and read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignloop.data.records import Completion, Prompt
from alignloop.errors import ConfigError, DataError, JudgmentError
from alignloop.evaluation.winrate.ask_people import make_campaign
from alignloop.evaluation.winrate.config import WinRateConfig
from alignloop.evaluation.winrate.contestants import Answered
from alignloop.evaluation.winrate.figures import Setting, people_figures, ratings_figures
from alignloop.evaluation.winrate.panel import Matches, pairs_of
from alignloop.evaluation.winrate.people import place_of_campaign, read_campaign
from alignloop.judges.verdicts import gathered, rate, seen_from
from alignloop.store import campaigns, judgments, labels, oversight, prompts, quality, supply
from alignloop.store.campaigns import Campaign
from alignloop.store.database import Store
from alignloop.store.flag_sets import TABLE_3_FLAGS
from alignloop.store.judgments import RankedOutputs, Rating, Vote
from alignloop.store.people import User
from tests.store.conftest import Lab
from tests.store.fresh import fresh_store

CONFIG = WinRateConfig(resamples=200)
PROMPTS = [Prompt(id=f"p{n}", text=f"Prompt {n}", group=f"user-{n // 2}") for n in range(4)]
SAMPLING = {"temperature": 1.0, "max_new_tokens": 9}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = fresh_store(tmp_path / "project")
    yield opened
    opened.close()


@pytest.fixture
def lab(store: Store) -> Lab:
    return Lab(store)


def answered(name: str, sha: str = "1" * 64) -> Answered:
    """Its answer to the last prompt is what every policy says there."""
    texts = [f"{name} says {n}" for n in range(3)] + ["the same"]
    answers = {
        prompt.id: Completion(text=text, model=name, finished=True, tokens=4)
        for prompt, text in zip(PROMPTS, texts, strict=True)
    }
    return Answered(
        name, sha, answers, {"asked": {"format": "chat"}, "sampling": SAMPLING, "seed": 1}
    )


def matches(*names: str, pairs: str = "all") -> Matches:
    found = {name: answered(name, f"{at}" * 64) for at, name in enumerate(names)}
    return Matches(PROMPTS, found, pairs_of(names, "sft", pairs))


def told(tmp_path: Path, name: str = "blind") -> str:
    return f"{tmp_path / 'project'}:{name}"


def set_state(lab: Lab, name: str, state: campaigns.State) -> Campaign:
    with lab.store.write() as connection:
        found = campaigns.get_campaign(connection, name=name)
        return campaigns.set_state(connection, lab.now, "test", found, state)


def vote(lab: Lab, user: User, campaign: Campaign, prefers: str) -> None:
    """Take the next task and vote for the answer of one policy, by its text; or `tie`, or `both_bad`."""
    task = lab.claim(user, campaign)
    assert task is not None
    with lab.store.read() as connection:
        texts = {
            item: one.text for item, one in labels.outputs_of(connection, task.task_id).items()
        }
    chosen = next((item for item, text in texts.items() if text.startswith(f"{prefers} ")), None)
    verdict = prefers if chosen is None else f"item_{chosen}"
    with lab.store.write() as connection:
        judgments.submit(
            connection,
            lab.now,
            user,
            task.public_id,
            Vote(verdict, left_item=1),  # type: ignore[arg-type]
            client_uuid=uuid.uuid4().hex,
        )


# --- made ---


def test_answers_become_a_blind_campaign_that_waits_to_be_opened(lab: Lab, tmp_path: Path) -> None:
    made = make_campaign(told(tmp_path), matches("sft", "ppo"), CONFIG)

    with lab.store.read() as connection:
        campaign = campaigns.get_campaign(connection, name="blind")
        policies = {row.name: row for row in supply.all_policies(connection)}
    assert (made.tasks, made.same) == (3, 1)  # the last prompt has one text on both sides
    assert (campaign.form, campaign.purpose, campaign.state) == ("compare", "evaluation", "draft")
    assert (campaign.planned, campaign.is_blind) == (3, True)
    assert policies["ppo"].sha256 == "1" * 64
    assert '"temperature": 1.0' in policies["ppo"].sampling
    assert "label state" in str(made)


def test_which_policy_is_item_one_is_drawn_by_lot(lab: Lab, tmp_path: Path) -> None:
    many = [Prompt(id=f"q{n}", text=f"Question {n}") for n in range(24)]
    sides = {
        name: Answered(
            name,
            "2" * 64,
            {
                p.id: Completion(text=f"{name} {p.id}", model=name, finished=True, tokens=2)
                for p in many
            },
            {"asked": None, "sampling": SAMPLING, "seed": 1},
        )
        for name in ("sft", "ppo")
    }
    make_campaign(told(tmp_path), Matches(many, sides, [("ppo", "sft")]), CONFIG)

    set_state(lab, "blind", "open")
    campaign = set_state(lab, "blind", "closed")
    with lab.store.read() as connection:
        authors = oversight.authors_of_items(connection, campaign)
        names = dict(oversight.policies_of(connection, campaign))
    first = [names[policy] for (_, item), policy in authors.items() if item == 1]
    assert len(first) == 24
    assert 4 < first.count("ppo") < 20


def test_the_same_again_finds_the_campaign_and_another_is_refused(lab: Lab, tmp_path: Path) -> None:
    make_campaign(told(tmp_path), matches("sft", "ppo"), CONFIG)

    again = make_campaign(told(tmp_path), matches("sft", "ppo"), CONFIG)

    assert again.was_there
    with lab.store.read() as connection:
        campaign = campaigns.get_campaign(connection, name="blind")
        assert campaigns.count_tasks(connection, campaign) == 3
    with pytest.raises(JudgmentError, match="with 3 other tasks; choose another name"):
        make_campaign(told(tmp_path), matches("sft", "ppo", "ptx"), CONFIG)


def test_people_judge_on_test_prompts_alone(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="test prompts alone"):
        make_campaign(told(tmp_path), matches("sft", "ppo"), WinRateConfig(side="valid"))
    with lab.store.write() as connection:
        prompts.add_record(connection, lab.now, PROMPTS[0], "train")
    with pytest.raises(JudgmentError, match="train side"):
        make_campaign(told(tmp_path), matches("sft", "ppo"), CONFIG)
    with lab.store.read() as connection:
        assert campaigns.find_campaign(connection, "blind") is None


def test_equal_texts_alone_make_no_campaign(tmp_path: Path) -> None:
    same = {
        name: Answered(
            name, "0" * 64, answered("x").answers, {"asked": None, "sampling": {}, "seed": 1}
        )
        for name in ("sft", "ppo")
    }
    with pytest.raises(DataError, match="no pair of different texts"):
        make_campaign(told(tmp_path), Matches(PROMPTS, same, [("ppo", "sft")]), CONFIG)


@pytest.mark.parametrize("wrong", ["mylab", ":name", "mylab:", ""])
def test_a_campaign_is_written_as_project_and_name(wrong: str) -> None:
    with pytest.raises(ConfigError, match="PROJECT:NAME"):
        place_of_campaign(wrong)


# --- read ---


def poll(lab: Lab, tmp_path: Path) -> Campaign:
    """Three tasks, two votes each: ppo wins p0 twice, ties and loses on p1, and both are bad on p2."""
    config = WinRateConfig(resamples=200, votes=2)
    make_campaign(told(tmp_path), matches("sft", "ppo"), config)
    campaign = set_state(lab, "blind", "open")
    ann = lab.labeler("Ann")
    zoe = lab.labeler("Zoe", cohort="heldout")
    for user, choices in ((ann, ["ppo", "tie", "both_bad"]), (zoe, ["ppo", "sft", "both_bad"])):
        for choice in choices:
            vote(lab, user, campaign, choice)
    return campaign


def test_votes_are_read_once_the_campaign_is_closed(lab: Lab, tmp_path: Path) -> None:
    poll(lab, tmp_path)
    with pytest.raises(JudgmentError, match="not closed"):
        read_campaign(told(tmp_path), "sft", CONFIG)
    set_state(lab, "blind", "closed")

    polled = read_campaign(told(tmp_path), "sft", CONFIG)

    found = seen_from(gathered(polled.verdicts), "ppo", "sft")
    assert {prompt: one.outcome for prompt, one in found.items()} == {
        "p0": 1.0,
        "p1": 0.25,
        "p2": 0.5,
    }
    assert rate(found).value == pytest.approx(1.75 / 3)
    assert {one.cohort for one in polled.verdicts} == {"training", "heldout"}
    assert len({one.by for one in polled.verdicts}) == 2
    assert found["p0"].length_a == len("ppo says 0")
    assert {p.id: p.group for p in polled.prompts} == {p.id: p.group for p in PROMPTS[:3]}
    ppo = polled.answered["ppo"]
    assert ppo.answers["p1"].text == "ppo says 1"
    assert ppo.how["sampling"]["temperature"] == 1.0


def test_sides_ties_and_both_bad_are_told_apart(lab: Lab, tmp_path: Path) -> None:
    poll(lab, tmp_path)
    set_state(lab, "blind", "closed")

    polled = read_campaign(told(tmp_path), "sft", CONFIG)

    [found] = people_figures(polled, CONFIG).values()
    assert found["counts"] == {"a": 2, "b": 1, "tie": 1, "both_bad": 2}
    assert found["decided"]["mean"] == pytest.approx(2 / 3)
    left = [
        one.is_a_left == (one.choice == "a")
        for one in polled.votes["ppo", "sft"]
        if one.choice in "ab"
    ]
    assert found["left"]["mean"] == pytest.approx(sum(left) / 3)


def test_both_bad_may_be_left_out(lab: Lab, tmp_path: Path) -> None:
    poll(lab, tmp_path)
    set_state(lab, "blind", "closed")

    polled = read_campaign(told(tmp_path), "sft", WinRateConfig(both_bad="left out"))

    assert {one.prompt for one in polled.verdicts} == {"p0", "p1"}


def test_what_is_no_evaluation_or_has_no_votes_is_refused(lab: Lab, tmp_path: Path) -> None:
    lab.campaign([4])
    with pytest.raises(JudgmentError, match="an evaluation that compares or ranks"):
        read_campaign(told(tmp_path, "campaign 0"), "sft", CONFIG)
    with pytest.raises(JudgmentError, match="there is no campaign 'nowhere'"):
        read_campaign(told(tmp_path, "nowhere"), "sft", CONFIG)

    make_campaign(told(tmp_path), matches("sft", "ppo"), CONFIG)
    set_state(lab, "blind", "open")
    set_state(lab, "blind", "closed")
    with pytest.raises(DataError, match="nobody judged"):
        read_campaign(told(tmp_path), "sft", CONFIG)


def test_a_baseline_that_wrote_nothing_is_an_error_that_names_the_others(
    lab: Lab, tmp_path: Path
) -> None:
    poll(lab, tmp_path)
    set_state(lab, "blind", "closed")

    with pytest.raises(DataError, match="is by 'gpt'; there are ppo, sft"):
        read_campaign(told(tmp_path), "gpt", CONFIG)


# --- rankings and ratings ---


def ranked_evaluation(lab: Lab) -> Campaign:
    """An evaluation that ranks three policies' answers to two prompts, with ratings, by two people."""
    with lab.store.write() as connection:
        campaign = campaigns.add_campaign(
            connection,
            lab.now,
            "test",
            name="ranked",
            form="rank",
            purpose="evaluation",
            cohort="any",
            k=(3, 3),
            overlap=2,
        )
        tasks: list[supply.NewTask] = []
        policies = {
            name: prompts.add_policy(connection, lab.now, name=name, sha256=name, sampling=SAMPLING)
            for name in ("sft", "ppo", "ptx")
        }
        for prompt in PROMPTS[:2]:
            number = prompts.add_record(connection, lab.now, prompt, "test")
            ids = [
                prompts.add_completions(
                    connection,
                    number,
                    policy,
                    [
                        Completion(
                            text=f"{name} on {prompt.id}", model=name, finished=True, tokens=3
                        )
                    ],
                )[0]
                for name, policy in policies.items()
            ]
            tasks.append(supply.NewTask(number, tuple(ids), 2))
        supply.add_tasks(connection, campaign, tasks)
        return campaigns.set_state(connection, lab.now, "test", campaign, "open")


def rank(
    lab: Lab, user: User, campaign: Campaign, groups: dict[int, int | None], likert: list[int]
) -> None:
    task = lab.claim(user, campaign)
    assert task is not None
    ratings = {
        item: Rating(
            score, {flag: flag == TABLE_3_FLAGS[0] and score < 4 for flag in TABLE_3_FLAGS}
        )
        for item, score in enumerate(likert, start=1)
    }
    with lab.store.write() as connection:
        judgments.submit(
            connection,
            lab.now,
            user,
            task.public_id,
            RankedOutputs(groups, ratings),
            client_uuid=uuid.uuid4().hex,
        )


def test_rankings_count_as_comparisons_and_ratings_come_along(lab: Lab, tmp_path: Path) -> None:
    campaign = ranked_evaluation(lab)
    ann, zoe = lab.labeler("Ann"), lab.labeler("Zoe", cohort="heldout")
    # items 1, 2, 3 are sft, ppo, ptx
    rank(lab, ann, campaign, {1: 3, 2: 2, 3: 1}, [2, 4, 7])
    rank(lab, ann, campaign, {1: 1, 2: 1, 3: None}, [5, 5, 1])
    rank(lab, zoe, campaign, {1: 2, 2: 1, 3: 1}, [3, 6, 6])
    set_state(lab, "ranked", "closed")

    polled = read_campaign(told(tmp_path, "ranked"), "sft", CONFIG)

    pairs = gathered(polled.verdicts)
    assert {p: one.outcome for p, one in seen_from(pairs, "ppo", "sft").items()} == {
        "p0": 1.0,
        "p1": 0.5,
    }
    assert seen_from(pairs, "ptx", "ppo")["p0"].outcome == 0.75  # a win, and a tie
    assert set(seen_from(pairs, "ptx", "sft")) == {"p0"}  # not rankable on p1
    assert polled.votes == {}

    setting = Setting.of(CONFIG, "sft", polled.prompts)
    found = ratings_figures(polled.rated, setting)
    assert found["likert"]["sft"]["all"]["mean"] == pytest.approx((2.5 + 5) / 2)
    assert found["likert"]["ptx"]["training"]["mean"] == pytest.approx((7 + 1) / 2)
    assert found["likert"]["ptx"]["heldout"]["n"] == 1
    first, *others = TABLE_3_FLAGS
    # sft is flagged by both on p0 and by nobody on p1; each prompt counts once
    assert found["flags"][first]["sft"]["all"]["mean"] == pytest.approx(0.5)
    assert found["flags"][others[0]]["sft"]["all"]["mean"] == 0.0
    assert set(found["flags"]) == set(TABLE_3_FLAGS)


def test_ratings_are_read_from_the_store_as_they_were_given(lab: Lab, tmp_path: Path) -> None:
    campaign = ranked_evaluation(lab)
    rank(lab, lab.labeler("Ann"), campaign, {1: 1, 2: 2, 3: 3}, [7, 1, 4])
    set_state(lab, "ranked", "closed")

    rated = read_campaign(told(tmp_path, "ranked"), "sft", CONFIG).rated

    with lab.store.read() as connection:
        scope = quality.Scope(purposes=("evaluation",))
        [kept] = quality.likert_scores(connection, scope).values()
    assert [one.likert for one in rated] == list(kept[:3]) == [7, 1, 4]
    assert [one.policy for one in rated] == ["sft", "ppo", "ptx"]
