"""Curation against a plain reading of its rules; prefix-stable for any cut; the same with any number of processes."""

from __future__ import annotations

import hashlib
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.curate import curate
from alignloop.data.curation.outcomes import (
    REASONS,
    Dropped,
    Found,
    Kept,
    Known,
    Outcome,
    Tally,
)
from alignloop.data.curation.spans import Span
from alignloop.data.importing import ImportConfig, import_records
from alignloop.data.incoming import Answer, Candidate, Place
from alignloop.data.jsonl import read_records, write_objects
from alignloop.data.records import Prompt
from alignloop.errors import ConfigError, DataError
from alignloop.runs.run import Run
from tests.data.curation.detectors import marked

SMALL = CurationConfig(
    prefix_characters=6, cap=2, max_tokens=6, languages=("en",), valid=0.2, test=0.2
)


def candidate(text: str, line: int = 1, **fields: Any) -> Candidate:
    return Candidate(Place("in.jsonl", line), text, **fields)


def run(
    candidates: Sequence[Candidate],
    config: CurationConfig = SMALL,
    known: Known | None = None,
    **options: Any,
) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        told = {"workers": 1, "detector": marked, "scratch": Path(folder), **options}
        return list(curate(candidates, config, known, **told))


def reason(outcome: Outcome) -> str:
    return "kept" if isinstance(outcome, Kept) else outcome.reason


# --- a plain reading of the rules ---


def plainly(text: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return re.sub(r"\s+", " ", folded).strip()


def expected(candidates: Sequence[Candidate], config: CurationConfig) -> list[str]:
    """The reason of each, in plain sets and loops."""
    texts: set[object] = set()
    prefixes: set[tuple[str, ...] | str] = set()
    counts: Counter[str] = Counter()
    found: list[str] = []
    for one in candidates:
        parts = [one.text, *(t for _, t in one.history), *(p for e in one.examples for p in e)]
        joined = "\n\n".join(parts)  # in another order, but of the same length
        whole = (
            tuple((role, plainly(text)) for role, text in one.history),
            plainly(one.text),
            tuple(tuple(map(plainly, pair)) for pair in one.examples),
        )
        asked = [plainly(t) for role, t in one.history if role == "user"] + [plainly(one.text)]
        begins = "\0".join([*asked, *(plainly(p) for e in one.examples for p in e)])
        prefix = begins[: config.prefix_characters or 0]
        is_long = config.prefix_characters is not None and len(begins) >= config.prefix_characters
        user, organization = one.user, one.organization
        counted = (user or organization) if config.cap_by == "user" else (organization or user)
        if one.consent is False:
            found.append("consent")
        elif not one.text.strip():
            found.append("empty")
        elif len(joined.encode()) > 4 * config.max_tokens:
            found.append("too_long")
        elif config.languages and one.language and one.language not in config.languages:
            found.append("language")
        elif whole in texts:
            found.append("exact_duplicate")
        elif is_long and prefix in prefixes:
            found.append("common_prefix")
        elif counted and config.cap is not None and counts[counted] >= config.cap:
            found.append("user_cap")
        elif "#" in joined and side(one, config) == "train" and config.pii:
            found.append("pii")
        else:
            found.append("kept")
            texts.add(whole)
            counts[counted] += 1
            if is_long:
                prefixes.add(prefix)
    return found


def side(one: Candidate, config: CurationConfig) -> str:
    by_user = config.split_by == "user"
    group = (one.user or one.organization) if by_user else (one.organization or one.user)
    if not group:
        turns = [{"role": role, "text": text} for role, text in one.history]
        group = Prompt.model_validate({"text": one.text, "history": turns}).opening_id
    draw = int(hashlib.sha256(f"side/{group}".encode()).hexdigest()[:16], 16) / 2**64
    return (
        "test" if draw < config.test else "valid" if draw < config.test + config.valid else "train"
    )


few_words = st.lists(
    st.sampled_from(
        ["go", "Go", "fox", "to the", "\u00c9t\u00e9", "e\u0301te\u0301", "#", " ", "狐狸"]
    ),
    max_size=6,
).map(" ".join)
words = few_words.filter(lambda text: bool(text.strip()))
conversations = st.one_of(
    st.just(()),
    st.tuples(words, words).map(lambda t: (("user", t[0]), ("assistant", t[1]))),
    st.tuples(words, words).map(
        lambda t: (("system", "Be kind."), ("user", t[0]), ("assistant", t[1]))
    ),
)
candidates = st.lists(
    st.builds(
        Candidate,
        st.just(Place("a", 1)),
        few_words,
        history=conversations,
        user=st.sampled_from(["", "ann", "bob", "cid"]),
        organization=st.sampled_from(["", "acme", "ann"]),
        consent=st.sampled_from([None, True, False]),
        language=st.sampled_from(["", "en", "fr"]),
        examples=st.lists(st.tuples(few_words, few_words), max_size=2).map(tuple),
    ),
    max_size=30,
)
configs = st.builds(
    CurationConfig,
    prefix_characters=st.sampled_from([None, 1, 4, 12]),
    cap=st.sampled_from([None, 1, 3]),
    cap_by=st.sampled_from(["user", "organization"]),
    max_tokens=st.sampled_from([3, 100]),
    languages=st.sampled_from([(), ("en",)]),
    valid=st.just(0.2),
    test=st.just(0.2),
    split_by=st.sampled_from(["user", "organization"]),
    pii=st.sampled_from([(), ("secret",)]),
)


@pytest.fixture(scope="module", autouse=True)
def language_model_once() -> Iterator[None]:
    """The language model is read once for all these short imports, not once for each."""
    from alignloop.data.curation import examine
    from alignloop.data.curation.language import LanguageDetector

    with pytest.MonkeyPatch.context() as patch:
        detector = LanguageDetector()
        patch.setattr(examine, "LanguageDetector", lambda: detector)
        yield


@settings(max_examples=150)
@given(candidates, configs)
def test_it_does_what_a_plain_reading_of_the_rules_says(
    given: list[Candidate], config: CurationConfig
) -> None:
    outcomes = run(given, config)

    assert [reason(outcome) for outcome in outcomes] == expected(given, config)
    assert [outcome.candidate for outcome in outcomes] == given, "one outcome each, in order"
    for outcome in outcomes:
        if isinstance(outcome, Kept):
            assert outcome.split == side(outcome.candidate, config)


@settings(max_examples=100)
@given(candidates, configs, st.integers(0, 30), st.integers(0, 30))
def test_two_imports_are_one(
    given: list[Candidate], config: CurationConfig, one: int, other: int
) -> None:
    """For any cut, and for two; what a store keeps of the earlier rows is all that the later ones need."""
    first, second = sorted((one, other))
    pieces = [given[:first], given[first:second], given[second:]]
    known, found = Known(), []
    for piece in pieces:
        outcomes = run(piece, config, known)
        known = known.after(outcomes)
        found += outcomes

    assert [without_detail(o) for o in found] == [without_detail(o) for o in run(given, config)]


def without_detail(outcome: Outcome) -> Outcome:
    """An earlier import is named otherwise than a row of this one."""
    return replace(outcome, detail="") if isinstance(outcome, Dropped) else outcome


@settings(max_examples=60)
@given(candidates, candidates, configs)
def test_a_users_side_stays_whatever_else_there_is(
    given: list[Candidate], more: list[Candidate], config: CurationConfig
) -> None:
    sides: dict[str, set[str]] = {}
    for outcome in [*run(given, config), *run([*more, *given], config)]:
        if isinstance(outcome, Kept):
            sides.setdefault(outcome.group, set()).add(outcome.split)
            named = outcome.candidate.user, outcome.candidate.organization
            if any(named):
                by_user = config.split_by == "user"
                assert outcome.group == (named[not by_user] or named[by_user])

    assert all(len(found) == 1 for found in sides.values())


@settings(max_examples=100)
@given(candidates, configs)
def test_what_is_kept_has_no_equals_and_no_more_than_the_cap(
    given: list[Candidate], config: CurationConfig
) -> None:
    kept = [outcome for outcome in run(given, config) if isinstance(outcome, Kept)]

    assert len({one.text_digest for one in kept}) == len(kept)
    prefixes = [one.prefix_digest for one in kept if one.prefix_digest]
    assert len(set(prefixes)) == len(prefixes)
    per_author = Counter(one.author for one in kept if one.author)
    assert config.cap is None or all(count <= config.cap for count in per_author.values())
    assert not any(one.pii for one in kept if one.split == "train")
    assert all(one.candidate.consent is not False for one in kept)


def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    many = [
        candidate(
            f"{'Tell me of the fox and the hen. ' * (i % 5)}Number {i % 1900} {'#' * (i % 11 == 0)}",
            i,
            user=f"user-{i % 40}",
            history=(("user", "Who?"), ("assistant", f"I, {i}.")) if i % 7 == 0 else (),
        )
        for i in range(3000)
    ]
    config = CurationConfig(cap=30, max_tokens=34, valid=0.3, test=0.3)

    one, two, three = (run(many, config, workers=workers) for workers in (1, 2, 3))

    assert one == two == three
    reasons = set(map(reason, one))
    assert {"kept", "exact_duplicate", "common_prefix", "user_cap", "pii", "too_long"} <= reasons


# --- the steps, one by one ---


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"text": "Hello", "consent": False}, "consent"),
        ({"text": "Hello", "consent": None}, "kept"),
        ({"text": " \n\t\u200b\u3000"}, "empty"),
        ({"text": "", "history": (("user", "Hi"), ("assistant", "Yes?"))}, "empty"),
        ({"text": "a" * 24}, "kept"),
        ({"text": "a" * 25}, "too_long"),
        ({"text": "狐" * 8}, "kept"),
        ({"text": "狐" * 9}, "too_long"),
        ({"text": "aaaa", "history": (("user", "b" * 10), ("assistant", "c" * 10))}, "too_long"),
        ({"text": "aaaa", "examples": (("b" * 10, "c" * 10),)}, "too_long"),
        ({"text": "Bonjour", "language": "fr"}, "language"),
        ({"text": "Bonjour", "language": "EN-us"}, "kept"),
        ({"text": "Bonjour"}, "kept"),  # too short to tell
    ],
)
def test_what_one_prompt_is_dropped_for(given: dict[str, Any], wanted: str) -> None:
    config = SMALL.model_copy(update={"pii": (), "languages": ("en",)})
    if wanted == "kept" and "狐" in given["text"]:
        given = {**given, "language": "en"}

    assert [reason(o) for o in run([candidate(**given)], config)] == [wanted]


def test_a_language_is_detected_where_it_is_not_given() -> None:
    config = CurationConfig(languages=("en", "zh"))
    texts = [
        "Please tell me what happened to the fox after the winter was over.",
        "请告诉我冬天过后狐狸怎么样了。",
        "Bitte sage mir, was nach dem Winter mit dem Fuchs geschehen ist, und warum.",
        "Ok.",
    ]

    found = run([candidate(text, i) for i, text in enumerate(texts, 1)], config)

    assert [reason(o) for o in found] == ["kept", "kept", "language", "kept"]
    assert [o.language for o in found if isinstance(o, Kept)] == ["en", "zh", "und"]
    assert isinstance(found[2], Dropped) and found[2].detail == "de"


def test_a_short_last_message_takes_the_language_of_the_conversation() -> None:
    turns = (
        ("user", "Bitte sage mir, was nach dem Winter mit dem Fuchs geschehen ist."),
        ("assistant", "He went home."),
    )

    (found,) = run([candidate("Warum?", history=turns)], CurationConfig())

    assert isinstance(found, Kept) and found.language == "de"


def test_duplicates_name_the_row_that_they_repeat() -> None:
    config = CurationConfig(prefix_characters=20)
    rows = [
        candidate("A story of the fox and the hen, please.", 3),
        candidate("something else", 4),
        candidate("a STORY of the\n fox and the hen,  please.", 7),
        candidate("A story of the fox and the wolf, please.", 9),
    ]

    _, _, duplicate, prefix = run(rows, config)

    assert isinstance(duplicate, Dropped) and isinstance(prefix, Dropped)
    assert (duplicate.reason, duplicate.detail) == ("exact_duplicate", "of in.jsonl, line 3")
    assert (prefix.reason, prefix.detail) == ("common_prefix", "with in.jsonl, line 3")
    first = run(rows[:1], config)[0]
    assert isinstance(first, Kept)
    assert duplicate.digest == first.text_digest and prefix.digest == first.prefix_digest
    (again,) = run(rows[2:3], config, Known().after([first]))
    assert isinstance(again, Dropped) and again.detail == "of a prompt of an earlier import"


def test_a_text_whose_first_owner_was_over_the_cap_is_not_lost() -> None:
    """Only what is kept counts as there already."""
    config = CurationConfig(cap=1)
    rows = [
        candidate("one", user="ann"),
        candidate("two", user="ann"),
        candidate("two", user="bob"),
    ]

    assert [reason(o) for o in run(rows, config)] == ["kept", "user_cap", "kept"]


@pytest.mark.parametrize(
    ("cap_by", "wanted"),
    [
        ("user", ["kept", "kept", "user_cap", "kept", "user_cap", "kept", "kept"]),
        ("organization", ["kept", "user_cap", "user_cap", "kept", "user_cap", "kept", "kept"]),
    ],
)
def test_the_cap_counts_users_or_organizations(cap_by: str, wanted: list[str]) -> None:
    config = CurationConfig.model_validate({"cap": 1, "cap_by": cap_by})
    rows = [
        candidate("one", user="ann", organization="acme"),
        candidate("two", user="bob", organization="acme"),
        candidate("three", user="ann", organization="acme"),
        candidate("four", organization="only the other"),
        candidate("five", organization="only the other"),
        candidate("six"),
        candidate("seven"),
    ]

    found = run(rows, config)

    assert [reason(o) for o in found] == wanted
    dropped = next(o for o in found if isinstance(o, Dropped))
    assert dropped.detail == f"{'ann' if cap_by == 'user' else 'acme'} has 1"


def named(split: str, config: CurationConfig) -> str:
    return next(f"u{i}" for i in range(999) if side(candidate("x", user=f"u{i}"), config) == split)


def test_personal_data_is_dropped_from_training_and_flagged_elsewhere() -> None:
    config = CurationConfig(valid=0.3, test=0.3)
    rows = [candidate("Mail a@b.com", user=named(s, config)) for s in ("train", "valid", "test")]
    rows = [replace(row, text=f"{row.text} {i}") for i, row in enumerate(rows)]

    train, valid, test = run(rows, config, detector=None)

    assert isinstance(train, Dropped) and (train.reason, train.detail) == ("pii", "email")
    for kept in (valid, test):
        assert isinstance(kept, Kept) and kept.flagged
        assert kept.pii == (Found("text", Span("email", 5, 12)),)


def test_scrubbing_reaches_every_part_and_leaves_the_digest_of_the_original() -> None:
    config = CurationConfig(pii_action="scrub", valid=0.1, test=0.1)
    row = candidate(
        "I am #.",
        user=named("train", config),
        history=(("system", "s"), ("user", "#a"), ("assistant", "b#")),
        examples=(("q#", "r"), ("q", "#r#")),
        answers=(Answer("no"), Answer("yes #", rank=2)),
    )
    plain = replace(row, answers=())

    scrubbed, dropped = run([row], config) + run(
        [plain], config.model_copy(update={"pii_action": "drop"})
    )

    assert isinstance(scrubbed, Kept) and scrubbed.scrubbed and not scrubbed.flagged
    clean = scrubbed.candidate
    assert clean.text == "I am [SECRET]."
    assert clean.history == (("system", "s"), ("user", "[SECRET]a"), ("assistant", "b[SECRET]"))
    assert clean.examples == (("q[SECRET]", "r"), ("q", "[SECRET]r[SECRET]"))
    assert clean.answers == (Answer("no"), Answer("yes [SECRET]", rank=2))
    assert len(scrubbed.pii) == 7
    assert reason(dropped) == "pii"
    (again,) = run([row], config, Known().after([scrubbed]))
    assert reason(again) == "exact_duplicate"


def test_a_config_without_pii_looks_for_none() -> None:
    config = CurationConfig(pii=())

    (kept,) = run([candidate("# #", user=named("train", config))], config)

    assert isinstance(kept, Kept) and not kept.pii


# --- the split is that of `alignloop data import` ---


def test_a_user_lands_where_an_import_puts_them(tmp_path: Path) -> None:
    texts = [f"Question {i}" for i in range(300)]
    groups = [f"user-{i % 90}" if i % 3 else "" for i in range(300)]
    rows = [
        {"text": text, **({"group": group} if group else {})}
        for text, group in zip(texts, groups, strict=True)
    ]
    write_objects(tmp_path / "in.jsonl", rows)
    config = ImportConfig(kind="prompts", valid=0.2, test=0.2)
    with Run.open(tmp_path / "run", "import", config, resume=False) as run_:
        artifact = import_records(config, run_, source=tmp_path / "in.jsonl")
    imported = {
        record.text: "train" if name in ("rankings", "rl") else name
        for name in ("rankings", "rl", "valid", "test")
        for record in read_records(artifact.file(f"{name}.jsonl.gz"), Prompt)
    }

    curated = run(
        [candidate(t, user=u) for t, u in zip(texts, groups, strict=True)],
        CurationConfig(valid=0.2, test=0.2),
    )

    assert {o.candidate.text: o.split for o in curated if isinstance(o, Kept)} == imported


# --- streaming ---


def test_rows_are_read_as_outcomes_are_asked_for(tmp_path: Path) -> None:
    read = 0

    def endless() -> Iterator[Candidate]:
        nonlocal read
        while True:
            read += 1
            yield candidate(f"Question {read}", read)

    outcomes = curate(endless(), CurationConfig(), scratch=tmp_path, workers=2)
    found = list(islice(outcomes, 2000))
    outcomes.close()  # type: ignore[attr-defined]

    assert len(found) == 2000
    assert read < 8000
    assert list(tmp_path.iterdir()) == [], "scratch files are deleted"


def test_progress_counts_every_row(tmp_path: Path) -> None:
    seen: list[int] = []

    list(
        curate(
            (candidate(f"{i}", i) for i in range(1300)),
            CurationConfig(),
            scratch=tmp_path / "new" / "folder",
            workers=1,
            progress=seen.append,
        )
    )

    assert sum(seen) == 1300 and len(seen) == 3


def test_nothing_comes_of_nothing(tmp_path: Path) -> None:
    assert list(curate([], CurationConfig(), scratch=tmp_path)) == []


def test_a_scratch_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DataError, match="file: cannot be written"):
        list(curate([candidate("a")], CurationConfig(), scratch=tmp_path / "file"))


def test_a_language_that_is_never_detected_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'eng' is never detected; did you mean 'en'"):
        run([candidate("a")], CurationConfig(languages=("eng",)))


@pytest.mark.parametrize("text", ["\ud800 broken", "a\x00b", "\u202e\u0345 x", "e\u0301" * 30])
def test_odd_characters_stop_nothing(text: str) -> None:
    (found,) = run([candidate(text)], CurationConfig(), detector=None)

    assert isinstance(found, Kept)


# --- counts ---


def test_the_tally_names_every_step() -> None:
    config = CurationConfig(valid=0.3, test=0.3)
    rows = [
        candidate("One", user=named("train", config), language="en"),
        candidate("one", user=named("train", config)),
        candidate("Two #", user=named("valid", config), kind="labeler_plain", language="fr"),
        candidate("", 4),
    ]
    tally = Tally()
    for outcome in run(rows, config):
        tally.add(outcome)

    assert tally.as_dict() == {
        "rows": 4,
        "kept": {"train": 1, "valid": 1, "test": 0},
        "kept_by_source": {"train/customer": 1, "valid/labeler_plain": 1},
        "dropped": {**dict.fromkeys(REASONS, 0), "empty": 1, "exact_duplicate": 1},
        "languages": {"en": 1, "fr": 1},
        "pii": {"secret": 1},
    }
