"""What is dropped can be imported again, alone; what is kept reads the same from the spool; lengths against numpy."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.curate import curate
from alignloop.data.curation.outcomes import Dropped, Kept
from alignloop.data.incoming import ANNOTATIONS, KINDS, USE_CASES, Answer, Candidate, Place
from alignloop.data.shapes import SHAPES, detect
from alignloop.store.curation import stored
from alignloop.store.prompts import NewPrompt
from alignloop.workflow.prompts.lengths import summary
from alignloop.workflow.prompts.reading import Found
from alignloop.workflow.prompts.rows import as_plain, dropped_line, row_of
from alignloop.workflow.prompts.spool import Spool

PLACE = Place("a.jsonl", 3)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
names = words.filter(lambda text: text == text.strip() != "")
pairs = st.tuples(words, words)
visible = words.filter(lambda text: bool(text.strip()))


@st.composite
def histories(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    system = draw(st.lists(visible, max_size=1))
    said = draw(st.lists(st.tuples(visible, visible), max_size=2))
    turns = [("system", text) for text in system]
    for asked, answered in said:
        turns += [("user", asked), ("assistant", answered)]
    return tuple(turns)


@st.composite
def given_answers(draw: st.DrawFn) -> tuple[Answer, ...]:
    kind = draw(st.sampled_from(["none", "demonstration", "comparison"]))
    if kind == "none":
        return ()
    if kind == "demonstration":
        return (Answer(draw(words), model=draw(words | st.just(""))),)
    several = draw(st.lists(words, min_size=2, max_size=5))
    ranks = [draw(st.integers(1, 3)) for _ in several]
    dense = {rank: place for place, rank in enumerate(sorted(set(ranks)), start=1)}
    return tuple(
        Answer(text, dense[rank], draw(words)) for text, rank in zip(several, ranks, strict=True)
    )


candidates = st.builds(
    Candidate,
    place=st.just(PLACE),
    text=words,
    history=histories(),
    kind=st.sampled_from(KINDS),
    user=names | st.just(""),
    organization=names | st.just(""),
    consent=st.sampled_from([None, True, False]),
    use_case=st.sampled_from(["", *USE_CASES]),
    language=st.sampled_from(["", "en", "zh"]),
    annotations=st.sets(st.sampled_from(ANNOTATIONS)).map(
        lambda chosen: tuple(name for name in ANNOTATIONS if name in chosen)
    ),
    examples=st.lists(pairs, max_size=3).map(tuple),
    answers=given_answers(),
    labeler=names | st.just(""),
)


@given(candidates)
def test_a_row_is_read_back_as_the_candidate_that_it_was(candidate: Candidate) -> None:
    row = json.loads(json.dumps(row_of(candidate)))

    shape, _ = detect([row])

    assert shape == ("ranked" if len(candidate.answers) > 1 else "plain")
    assert SHAPES[shape].read(row, PLACE, "customer") == (candidate,)


def kept(tmp_path: Path, candidate: Candidate, **config: object) -> Kept:
    outcomes = curate([candidate], CurationConfig(**config), scratch=tmp_path, workers=1)
    [outcome] = outcomes
    assert isinstance(outcome, Kept)
    return outcome


def test_what_is_kept_keeps_all_that_its_row_said(tmp_path: Path) -> None:
    candidate = Candidate(
        PLACE,
        "And in French? " + "Please. " * 30,
        (("user", "Say hello."), ("assistant", "Hello.")),
        "labeler_user_based",
        "u1",
        "acme",
        True,
        "chat",
        "fr",
        ("ambiguous",),
        (("one", "un"),),
        (Answer("Bonjour.", 1, "m"), Answer("Salut.", 2)),
        "ann",
    )
    outcome = kept(tmp_path, candidate, split_by="organization", cap_by="user")

    assert stored(outcome) == NewPrompt(
        author="acme",
        split=outcome.split,
        kind="labeler_user_based",
        text=candidate.text,
        text_digest=outcome.text_digest,
        prefix_digest=outcome.prefix_digest,
        history=candidate.history,
        examples=candidate.examples,
        use_case="chat",
        language="fr",
        annotations=("ambiguous",),
        tokens=outcome.tokens,
        consent=True,
        counted_for="u1",
        answers=(("Bonjour.", 1, "m", "ann"), ("Salut.", 2, "", "ann")),
    )
    assert outcome.prefix_digest is not None


def test_a_spool_gives_back_what_was_put_in(tmp_path: Path) -> None:
    one = kept(tmp_path, Candidate(PLACE, "Say hello.", user="u1"))
    prompts = [
        stored(one),
        *(
            NewPrompt(f"u{n}", "train", "customer", f"{n}", bytes(16), None if n % 2 else b"x" * 16)
            for n in range(2500)
        ),
    ]
    with Spool(tmp_path / "spool") as spool, Spool(tmp_path / "answers") as answers:
        for prompt in prompts:
            spool.add(as_plain(prompt))

    found = Found(spool, answers, {}, Counter())
    assert list(found.prompts()) == prompts
    assert list(found.prompts()) == prompts  # and again
    assert list(answers) == []
    assert list(found.text_digests()) == [prompt.text_digest for prompt in prompts]
    assert list(found.prefix_digests()) == [b"x" * 16] * 1250
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o600


def test_plain_values_are_in_the_order_of_the_fields() -> None:
    values = {name: object() for name in NewPrompt.__dataclass_fields__}

    assert as_plain(NewPrompt(**values)) == tuple(values.values())  # type: ignore[arg-type]


def test_a_repetition_names_the_prompt_that_stands() -> None:
    digest = bytes(range(16))
    dropped = Dropped(Candidate(PLACE, "Hi."), "exact_duplicate", "of a.jsonl, line 1", digest)

    line = dropped_line(dropped, "b.jsonl")

    assert line == {
        "file": "b.jsonl",
        "line": 3,
        "reason": "exact_duplicate",
        "detail": "of a.jsonl, line 1",
        "prompt": "prompt-0001020304050607",
        "row": {"text": "Hi.", "kind": "customer"},
    }


@settings(max_examples=200)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=60))
def test_lengths_are_described_as_numpy_does(lengths: list[int]) -> None:
    histogram = {length: lengths.count(length) for length in lengths}

    found = summary(histogram)

    assert found["count"] == len(lengths)
    assert found["mean"] == pytest.approx(np.mean(lengths))
    if len(lengths) > 1:
        assert found["std"] == pytest.approx(np.std(lengths, ddof=1))
    quartiles = [found["p25"], found["p50"], found["p75"]]
    assert quartiles == pytest.approx(list(np.quantile(lengths, [0.25, 0.5, 0.75])))
    assert (found["min"], found["max"]) == (min(lengths), max(lengths))


def test_no_lengths_at_all_are_described_by_nothing() -> None:
    assert summary({}) == {
        "count": 0,
        **dict.fromkeys(("mean", "std", "min", "p25", "p50", "p75", "max")),
    }
    assert summary({5: 1})["std"] is None
