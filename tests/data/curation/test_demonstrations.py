"""Demonstrations that need no person to be turned away."""

from __future__ import annotations

from alignloop.data.curation.demonstrations import DemonstrationChecks, check_demonstrations


def test_empty_duplicate_and_too_long() -> None:
    found = check_demonstrations(
        [
            ("Who?", "A fox."),
            ("who?", " a  FOX. "),
            ("Who?", "A hen."),
            ("Why?", "A fox."),
            ("Why?", " \n\u200b"),
            ("Long?", "x" * 40),
            ("Long?", "x" * 41),
            ("Long?", "x" * 41),
        ],
        max_tokens=10,
    )

    assert found == DemonstrationChecks(
        (None, "duplicate", None, None, "empty", None, "too_long", "duplicate"),
        {"empty": 1, "duplicate": 2, "too_long": 1},
    )
    assert found.fit == 4


def test_none_at_all() -> None:
    found = check_demonstrations([])

    assert found.faults == ()
    assert found.counts == {"empty": 0, "duplicate": 0, "too_long": 0}


def test_another_way_to_count_is_used_for_responses_over_many_batches() -> None:
    found = check_demonstrations(
        ((f"Prompt {i} " * 99, "word " * (i % 3)) for i in range(3000)),
        max_tokens=1,
        count_tokens=lambda texts: [len(text.split()) for text in texts],
    )

    assert found.counts == {"empty": 1000, "duplicate": 0, "too_long": 1000}
