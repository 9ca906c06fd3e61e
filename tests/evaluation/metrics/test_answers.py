"""Exact match, F1, DROP, ROUGE-L and BLEU against cases worked out by hand."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.errors import MissingExtraError
from alignloop.evaluation.metrics import bleu, drop, rouge, squad

WORDS = st.lists(st.sampled_from(["fox", "hen", "the", "a", "42", "old", "King's"]), max_size=7)
TEXTS = WORDS.map(" ".join)

# --- SQuAD ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Fox, of a river!", "fox of river"),
        ("An apple.", "apple"),
        ("theatre and anchor", "theatre and anchor"),
        ("U.S.A. 1,000", "usa 1000"),
        ("the", ""),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert squad.normalized(text) == expected


def test_f1_counts_words_as_often_as_they_occur() -> None:
    assert squad.exact_match("The North Sea.", "north sea") == 1.0
    assert squad.exact_match("North Sea oil", "north sea") == 0.0
    # 2 common of 3 said and 2 wanted: precision 2/3, recall 1, F1 4/5
    assert squad.f1("North Sea oil", "the North Sea") == pytest.approx(0.8)
    # "fox fox" has one fox in common: precision 1/2, recall 1
    assert squad.f1("fox fox", "fox") == pytest.approx(2 / 3)
    assert squad.f1("hen", "fox") == 0.0


def test_of_several_references_the_nearest_counts() -> None:
    assert squad.best(squad.f1, "quadruple engines", ["quadruple expansion engines", "two"]) == (
        pytest.approx(0.8)
    )
    assert squad.best(squad.exact_match, "two", ["quadruple", "Two."]) == 1.0


def test_no_references_mean_that_there_is_no_answer() -> None:
    refusals = ("Not in background.",)
    refused = squad.without_refusal("not in background", refusals)

    assert squad.best(squad.f1, refused, []) == 1.0
    assert squad.best(squad.f1, "the North Sea", []) == 0.0
    assert squad.best(squad.f1, refused, ["North Sea"]) == 0.0
    assert squad.without_refusal("North Sea", refusals) == "North Sea"


def test_contains_looks_for_whole_words_in_order() -> None:
    assert squad.contains("It is the trophy, I think", "The trophy")
    assert not squad.contains("atrophy", "trophy")
    assert not squad.contains("cup trophy", "trophy cup")
    assert not squad.contains("anything", "the")


@given(TEXTS, TEXTS)
def test_f1_is_a_symmetric_share_and_1_of_the_same(one: str, other: str) -> None:
    assert 0.0 <= squad.f1(one, other) == squad.f1(other, one) <= 1.0
    assert squad.f1(one, one) == 1.0
    assert squad.f1(one, other) >= squad.exact_match(one, other)


# --- DROP ---


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "f1"),
    [
        (["7761"], ["7761"], 1, 1.0),
        (["$7,761."], ["7761"], 1, 1.0),  # punctuation goes first, and what is left is the number
        (["The Bengals"], ["bengals"], 1, 1.0),
        (["56-yard"], ["56"], 0, 0.67),  # 56.0 and yard: precision 1/2, recall 1
        (
            ["10 yards"],
            ["12 yards"],
            0,
            0.0,
        ),  # the numbers differ, so the shared word counts nothing
        (["yards"], ["12 yards"], 0, 0.0),
        (["12 long yards"], ["12 yards"], 0, 0.8),
        (["3.0"], ["3"], 1, 1.0),
        (["fox fox hen"], ["fox"], 0, 0.67),  # a bag is a set: {fox, hen} against {fox}
        (["fox"], ["fox", "hen"], 0, 0.5),
        (["hen", "fox"], ["fox", "hen"], 1, 1.0),
        (["old hen", "fox"], ["fox", "hen"], 0, 0.83),  # (1 + 2/3) / 2
        (["fox", "fox"], ["fox"], 0, 0.5),
        ([""], ["fox"], 0, 0.0),
    ],
)
def test_drop(answer: list[str], reference: list[str], exact: float, f1: float) -> None:
    found = drop.score(answer, reference)

    assert (found.exact, found.f1) == (exact, pytest.approx(f1))


def test_drop_aligns_spans_so_that_the_sum_is_greatest() -> None:
    found = drop.score(["red fox", "fox hen"], ["red fox hen", "red cat"])

    # pairs: (red fox, red fox hen) 4/5, (fox hen, red fox hen) 4/5, (red fox, red cat) 1/2, (fox hen, red cat) 0
    assert found.f1 == pytest.approx((0.8 + 0.5) / 2)


def test_drop_takes_the_best_of_several_annotators() -> None:
    found = drop.best_score(["24"], [["24 yards", "33"], ["24"]])

    assert found == drop.Score(1.0, 1.0)
    with pytest.raises(ValueError, match="at least one"):
        drop.best_score(["24"], [])


def test_drop_names_the_extra_that_aligns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)

    with pytest.raises(MissingExtraError, match=r"alignloop\[eval\]"):
        drop.score(["a fox", "hen"], ["fox", "a hen"])


@given(st.lists(TEXTS, min_size=1, max_size=4), st.lists(TEXTS, min_size=1, max_size=4))
def test_drop_does_not_ask_for_an_order(answer: list[str], reference: list[str]) -> None:
    found = drop.score(answer, reference)

    assert found == drop.score(answer[::-1], reference[::-1])
    assert 0.0 <= found.f1 <= 1.0
    assert drop.score(answer, answer).f1 == 1.0


# --- ROUGE-L ---


def test_longest_common_subsequence() -> None:
    assert rouge.longest_common_subsequence("a b c d".split(), "b d a c".split()) == 2
    assert rouge.longest_common_subsequence([], ["a"]) == 0


def test_rouge_l() -> None:
    # "police killed the gunman" / "police kill the gunman": 3 of 4 and 4 words, no stemming
    assert rouge.rouge_l("Police killed the gunman.", "police kill the gunman") == 0.75
    # "the gunman kill police": the subsequence is "the gunman"
    assert rouge.rouge_l("the gunman kill police", "police kill the gunman") == 0.5
    assert rouge.rouge_l("fox", "fox and hen") == pytest.approx(2 * 1 / 4)
    assert rouge.rouge_l("...", "fox") == 0.0


@given(WORDS, WORDS)
def test_a_subsequence_is_no_longer_than_the_shorter_text(one: list[str], other: list[str]) -> None:
    length = rouge.longest_common_subsequence(one, other)

    assert length == rouge.longest_common_subsequence(other, one) <= min(len(one), len(other))
    assert rouge.longest_common_subsequence(one, one) == len(one)


# --- BLEU ---


def test_bleu_counts_of_one_sentence() -> None:
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 runs of four; the reference is one word longer
    found = bleu.sentence_counts("the cat sat on a mat", ["the cat sat on the mat today"])

    assert found == (5, 3, 2, 1, 6, 5, 4, 3, 6, 7)
    precisions = [5 / 6, 3 / 5, 2 / 4, 1 / 3]
    by_hand = 100 * math.exp(1 - 7 / 6 + sum(map(math.log, precisions)) / 4)
    assert bleu.corpus_bleu(found) == pytest.approx(by_hand)


def test_bleu_of_a_corpus_adds_up_its_sentences() -> None:
    import sacrebleu

    answers = ["the cat sat on a mat", "an old hen, she said", "go home now"]
    references = ["the cat sat on the mat today", "an old hen , she said so", "come home now"]

    counts = [bleu.sentence_counts(a, [r]) for a, r in zip(answers, references, strict=True)]
    found = bleu.corpus_bleu([sum(column) for column in zip(*counts, strict=True)])

    assert len(counts[0]) == bleu.COUNTS
    assert found == pytest.approx(sacrebleu.corpus_bleu(answers, [references]).score)


def test_bleu_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)

    with pytest.raises(MissingExtraError, match=r"alignloop\[eval\]"):
        bleu.sentence_counts("a", ["a"])
