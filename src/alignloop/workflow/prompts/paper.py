"""The paper's own figures, for the report to set beside the user's: Ouyang et al. 2022, arXiv 2203.02155v1.

Where the paper prints a dash there is None, and an empty cell in the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USE_CASES: Mapping[str, float] = {
    "generation": 45.6,
    "open_qa": 12.4,
    "brainstorming": 11.2,
    "chat": 8.4,
    "rewrite": 6.6,
    "summarization": 4.2,
    "classification": 3.5,
    "other": 3.5,
    "closed_qa": 2.6,
    "extract": 1.9,
}
"""Table 1: per cent of the API prompts of the reward model's data."""

SIZES: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "train": {
        "labeler": {"sft": 11_295, "rm": 6_623},
        "customer": {"sft": 1_430, "rm": 26_584, "ppo": 31_144},
    },
    "valid": {
        "labeler": {"sft": 1_550, "rm": 3_488},
        "customer": {"sft": 103, "rm": 14_399, "ppo": 16_185},
    },
}
"""Table 6: prompts by side, source and data set."""

TEST_SET = 3_196
"""Table 9: prompts of the test set."""

ANNOTATION_SETS = ("rm_train", "rm_valid", "rm_test", "sft_train", "sft_valid")
ANNOTATIONS: Mapping[str, tuple[float | None, ...]] = {
    "ambiguous": (7.9, 8.0, None, 5.1, 6.4),
    "sensitive_content": (6.9, 5.3, None, 0.9, 1.0),
    "identity_dependent": (None, None, None, 0.9, 0.3),
    "closed_domain": (19.4, 22.9, 11.8, 27.4, 40.6),
    "continuation_style": (15.5, 16.2, None, 17.9, 21.6),
    "requests_opinionated_content": (7.7, 7.5, 11.2, 8.6, 3.4),
    "requests_advice": (None, None, 3.9, None, None),
    "requests_moral_judgment": (1.1, 0.3, 0.8, 0.3, 0.0),
    "explicit_safety_constraints": (0.4, 0.4, None, 0.3, 0.0),
    "other_explicit_constraints": (26.3, 28.9, None, 25.6, 20.7),
    "intent_unclear": (None, None, 7.9, None, None),
}
"""Table 7: per cent of prompts, one number for each of `ANNOTATION_SETS`."""

PER_CUSTOMER: Mapping[str, Mapping[str, float]] = {
    "train": {"sft": 1.65, "rm": 5.35, "ppo": 6.01},
    "valid": {"sft": 1.87, "rm": 27.96, "ppo": 31.55},
    "test": {"test": 1.81},
}
"""Table 8: prompts per customer."""

_SUMMARY = ("count", "mean", "std", "min", "p25", "p50", "p75", "max")


def _summaries(rows: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, int]]:
    return {name: dict(zip(_SUMMARY, row, strict=True)) for name, row in rows.items()}


LENGTHS = _summaries(
    {
        "sft_train": (12725, 408, 433, 1, 37, 283, 632, 2048),
        "sft_valid": (1653, 401, 433, 4, 41, 234, 631, 2048),
        "rm_train": (33207, 199, 334, 1, 20, 64, 203, 2032),
        "rm_valid": (17887, 209, 327, 1, 26, 77, 229, 2039),
        "ppo_train": (31144, 166, 278, 2, 19, 62, 179, 2044),
        "ppo_valid": (16185, 186, 292, 1, 24, 71, 213, 2039),
        "test": (3196, 115, 194, 1, 17, 49, 127, 1836),
    }
)
"""Table 9: tokens of prompts by data set."""

LENGTHS_BY_USE_CASE = _summaries(
    {
        "generation": (21684, 130, 223, 1, 20, 52, 130, 1999),
        "open_qa": (6262, 89, 193, 1, 10, 18, 77, 1935),
        "brainstorming": (5245, 83, 149, 4, 17, 36, 85, 1795),
        "chat": (3911, 386, 376, 1, 119, 240, 516, 1985),
        "rewrite": (3168, 183, 237, 4, 52, 99, 213, 1887),
        "summarization": (1962, 424, 395, 6, 136, 284, 607, 1954),
        "classification": (1615, 223, 318, 6, 68, 124, 205, 2039),
        "other": (1767, 180, 286, 1, 20, 72, 188, 1937),
        "closed_qa": (1398, 325, 426, 5, 68, 166, 346, 2032),
        "extract": (971, 304, 373, 3, 74, 149, 390, 1937),
    }
)
"""Table 10: tokens of prompts by use case."""

LENGTHS_BY_SOURCE = {
    "prompt": _summaries(
        {
            "labeler": (12845, 437, 441, 5, 42, 324, 673, 2048),
            "customer": (1533, 153, 232, 1, 19, 67, 186, 1937),
        }
    ),
    "demonstration": _summaries(
        {
            "labeler": (12845, 38, 76, 1, 9, 18, 41, 2048),
            "customer": (1533, 88, 179, 0, 15, 39, 88, 2048),
        }
    ),
}
"""Table 11: tokens of prompts and of their demonstrations, by who wrote the prompt."""

ENGLISH = 96
"""Appendix A.4: per cent of the prompts that langid.py took for English."""


def as_json() -> dict[str, Any]:
    """All of it, for report.json."""
    return {
        "use_cases_percent": dict(USE_CASES),
        "sizes": {side: {s: dict(n) for s, n in by.items()} for side, by in SIZES.items()},
        "test_set": TEST_SET,
        "annotations_percent": {
            name: dict(zip(ANNOTATION_SETS, row, strict=True)) for name, row in ANNOTATIONS.items()
        },
        "per_customer": {side: dict(by) for side, by in PER_CUSTOMER.items()},
        "lengths": {
            "data_set": LENGTHS,
            "use_case": LENGTHS_BY_USE_CASE,
            **LENGTHS_BY_SOURCE,
        },
        "english_percent": ENGLISH,
    }
