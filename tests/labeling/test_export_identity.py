"""What people said is what trainers read, letter for letter: labels leave the store and come back the same."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Completion, Demonstration, Prompt, Ranking, Record, Turn
from alignloop.data.records import Rating as RatingRecord
from alignloop.labeling.config import ExportConfig
from alignloop.labeling.downloads import Wish, make_export
from alignloop.labeling.export import each_export
from alignloop.store import campaigns, judgments, prompts, queue
from alignloop.store import people as accounts
from alignloop.store.flag_sets import TABLE_3_FLAGS
from alignloop.store.judgments import RankedOutputs, Rating, WrittenDemonstration
from alignloop.store.people import User, new_public_id
from tests.labeling.client import NOW, Site, site

letters = st.characters(codec="utf-8", exclude_characters="\x00")
"""Any: control characters, separators of lines, half of Unicode's surprises; no NUL, which no database takes."""
texts = st.text(letters, min_size=1, max_size=40)
said = st.one_of(
    texts,
    st.sampled_from(
        ["\u2028\u2029\x85", "\r\n\r", "\x1c\x1d\x1e", "\ufeff{}\n", "\\u0000", "</s>"]
    ),
)


@dataclass(frozen=True)
class Case:
    """One task, and what each of some labelers said of it."""

    prompt: Prompt
    outputs: tuple[Completion, ...]
    rankings: tuple[tuple[int | None, ...], ...]
    """Per labeler, a rank group per output; None: not rankable."""
    ratings: tuple[tuple[tuple[int, frozenset[str], str], ...], ...]
    """Per labeler and output: grade, flags and notes."""
    answer: str


def _dense(drawn: Sequence[int]) -> tuple[int | None, ...]:
    """Any numbers as ranks without gaps; 0 is not rankable."""
    known = sorted(set(drawn) - {0})
    return tuple(known.index(rank) + 1 if rank else None for rank in drawn)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    k, labelers = draw(st.integers(2, 9)), draw(st.integers(1, 3))
    exchanges = draw(st.lists(st.tuples(said, said), max_size=2))
    history = [Turn(role="system", text=draw(said))] if draw(st.booleans()) else []
    for question, reply in exchanges:
        history += [Turn(role="user", text=question), Turn(role="assistant", text=reply)]
    outputs = tuple(
        Completion(
            text=text,
            model=draw(said),
            finished=draw(st.booleans()),
            tokens=draw(st.integers(0, 2**31 - 1)),
            token_ids=tuple(draw(st.lists(st.integers(0, 2**31), max_size=3))),
        )
        for text in draw(st.lists(st.one_of(said, st.just("")), min_size=k, max_size=k))
    )
    ranks = st.lists(st.integers(0, k), min_size=k, max_size=k).map(_dense)
    flags = st.frozensets(st.sampled_from(TABLE_3_FLAGS), max_size=3)
    rated = st.lists(
        st.tuples(st.integers(1, 7), flags, st.one_of(st.just(""), said)), min_size=k, max_size=k
    ).map(tuple)
    answer = draw(said.filter(str.strip))
    return Case(
        Prompt(
            id=f"prompt-{draw(st.integers(0, 10**9))}",
            text=draw(said),
            history=tuple(history),
            group=draw(said),
            source=draw(st.sampled_from(["customer", "labeler_plain", "a data set of ours"])),
            use_case=draw(st.one_of(st.just(""), said)),
            context=draw(st.one_of(st.just(""), said)),
        ),
        outputs,
        tuple(draw(st.lists(ranks, min_size=labelers, max_size=labelers))),
        tuple(draw(st.lists(rated, min_size=labelers, max_size=labelers))),
        answer,
    )


def _taken_in(
    lab: Site, people: Sequence[User], found: Sequence[Case], number: int
) -> dict[str, str]:
    """Put everything into the store, by the path that the web takes; returns form -> name of its campaign."""
    with lab.store.write() as connection:
        made = {
            form: campaigns.add_campaign(
                connection,
                NOW,
                "test",
                name=f"{form} \u2028 {{}} {number}",
                form=form,
                overlap=3,
                **given,
            )
            for form, given in (("rank", {"k": (2, 9)}), ("demonstrate", {}))
        }
        tasks: list[tuple[int, int]] = []
        for case in found:
            prompt = prompts.add_record(connection, NOW, case.prompt, "train")
            ids: list[int] = []
            for output in case.outputs:
                policy = prompts.add_policy(
                    connection, NOW, name=output.model, sha256="0", sampling={}
                )
                ids += prompts.add_completions(connection, prompt, policy, [output])
            ranked = campaigns.add_task(
                connection, made["rank"], prompt_id=prompt, completion_ids=ids
            )
            written = campaigns.add_task(connection, made["demonstrate"], prompt_id=prompt)
            tasks.append((ranked, written))
        for form, campaign in made.items():
            made[form] = campaigns.set_state(connection, NOW, "test", campaign, "open")
        for case, (ranked, written) in zip(found, tasks, strict=True):
            for user, groups, rated in zip(people, case.rankings, case.ratings, strict=False):
                ratings = {
                    at: Rating(grade, {key: key in flags for key in TABLE_3_FLAGS}, notes)
                    for at, (grade, flags, notes) in enumerate(rated, start=1)
                }
                answer = RankedOutputs(dict(enumerate(groups, start=1)), ratings)
                for form, task, one in (
                    ("rank", ranked, answer),
                    ("demonstrate", written, WrittenDemonstration(case.answer)),
                ):
                    held = queue.assign_to(connection, NOW, user, made[form], task)
                    judgments.submit(
                        connection, NOW, user, held.public_id, one, client_uuid=uuid.uuid4().hex
                    )
    return {form: campaign.name for form, campaign in made.items()}


def _expected_rankings(people: Sequence[User], found: Sequence[Case]) -> list[Ranking]:
    rankings: list[Ranking] = []
    for case in found:
        for user, groups in zip(people, case.rankings, strict=False):
            kept = [at for at, group in enumerate(groups) if group is not None]
            if len(kept) >= 2:
                rankings.append(
                    Ranking(
                        prompt=case.prompt,
                        completions=tuple(case.outputs[at] for at in kept),
                        ranks=tuple(groups[at] or 0 for at in kept),
                        labeler=user.name,
                        cohort="training",
                    )
                )
    return rankings


def _expected_ratings(people: Sequence[User], found: Sequence[Case]) -> list[RatingRecord]:
    return [
        RatingRecord(
            prompt=case.prompt,
            completion=output,
            likert=grade,
            flags={key: key in flags for key in TABLE_3_FLAGS},
            notes=notes,
            labeler=user.name,
            cohort="training",
        )
        for case in found
        for user, rated in zip(people, case.ratings, strict=False)
        for output, (grade, flags, notes) in zip(case.outputs, rated, strict=True)
    ]


@dataclass
class Store:
    """One store for all examples; each has campaigns of its own."""

    lab: Site
    people: list[User]
    boss: User
    folder: Path
    examples: Iterator[int]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("identity")
    with site(folder) as lab:
        people = [lab.labeler() for _ in range(3)]
        yield Store(lab, people, lab.researcher(), folder, itertools.count())


def _check(store: Store, found: Sequence[Case], names: Sequence[str]) -> None:
    """Take cases in, let them leave, and read them."""
    number = next(store.examples)
    found = [
        replace(one, prompt=one.prompt.model_copy(update={"id": f"{one.prompt.id}-{number}-{at}"}))
        for at, one in enumerate(found)
    ]
    with store.lab.store.write() as connection:
        people = [
            accounts.change_user(connection, NOW, "test", user, name=f"{name}{at}")
            for at, (user, name) in enumerate(zip(store.people, names, strict=True))
        ]
    campaign_names = _taken_in(store.lab, people, found, number)
    for kind, (record, records) in _expected(people, found).items():
        campaign = campaign_names["demonstrate" if kind == "demonstrations" else "rank"]
        config = ExportConfig(kind=kind, campaigns=(campaign,))  # type: ignore[arg-type]
        with store.lab.store.read() as connection:
            leaving = [one.record for one in each_export(connection, config)]
        assert leaving == records
        path = store.folder / f"{kind}.jsonl.gz"
        write_records(path, leaving)
        assert read_records(path, record, allow_empty=True) == records
        if kind == "ratings" or not records:
            continue
        public_id = new_public_id()  # the same by the researchers' page
        wish = Wish(kind, campaign=campaign)  # type: ignore[arg-type]
        assert make_export(store.lab.store, store.folder, wish, store.boss, public_id, NOW) == ""
        written = store.folder / "exports" / public_id / "train.jsonl.gz"
        assert read_records(written, record) == records


def _expected(
    people: Sequence[User], found: Sequence[Case]
) -> dict[str, tuple[Any, Sequence[Record]]]:
    written = [
        Demonstration(
            prompt=case.prompt, response=case.answer, labeler=user.name, cohort="training"
        )
        for case in found
        for user, _ in zip(people, case.rankings, strict=False)
    ]
    return {
        "rankings": (Ranking, _expected_rankings(people, found)),
        "ratings": (RatingRecord, _expected_ratings(people, found)),
        "demonstrations": (Demonstration, written),
    }


several = st.lists(cases(), min_size=1, max_size=3)
three_names = st.lists(said, min_size=3, max_size=3)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(found=several, names=three_names)
def test_labels_leave_the_store_and_are_read_as_they_were_said(
    store: Store, found: list[Case], names: list[str]
) -> None:
    _check(store, found, names)


@pytest.mark.full
@pytest.mark.timeout(1800)
@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(found=several, names=three_names)
def test_labels_leave_the_store_as_they_were_said_for_long(
    store: Store, found: list[Case], names: list[str]
) -> None:
    _check(store, found, names)
