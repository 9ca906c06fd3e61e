"""What a project's prompts are like, in the paper's tables: from what each import noted, and a look at labelers' own.

The figures of a million imported prompts take seconds, since they were counted when the prompts came in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.demonstrations import FAULTS
from alignloop.data.curation.diversity import diversity
from alignloop.data.curation.lengths import BYTES_PER_TOKEN, CountTokens, counter
from alignloop.data.curation.outcomes import REASONS
from alignloop.data.incoming import ANNOTATIONS, KINDS, USE_CASES
from alignloop.data.split import SIDES
from alignloop.files import write_bytes
from alignloop.store import curation, prompt_figures, prompts
from alignloop.store.database import Store
from alignloop.workflow.prompts import paper
from alignloop.workflow.prompts.asking import given_of, whole
from alignloop.workflow.prompts.lengths import summary
from alignloop.workflow.prompts.page import render
from alignloop.workflow.prompts.tally import Sums, Tally, added, source_of

PAGE = "report.html"
"""In the project's folder of prompts."""
SOURCES = ("labeler", "customer")
PLAIN_LOOKED_AT = 5000
"""Of labelers' plain prompts, for their diversity: more would cost time and memory, and say the same."""
_AT_ONCE = 512


def write_report(store: Store, html: Path, tokenizer: str | None = None) -> dict[str, Any]:
    """Write the report as a page, and as JSON beside it; files that would not change are left alone.

    Args:
        tokenizer: path of a `tokenizer.json`: lengths are counted anew with it, which takes a look at every prompt.

    Returns:
        What the JSON file holds.

    Raises:
        DataError, MissingExtraError: the tokenizer cannot be used.
    """
    with store.read() as connection:
        results = report(connection, tokenizer)
    for path, text in (
        (
            html.with_suffix(".json"),
            json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        ),
        (html, render(results)),
    ):
        content = text.encode("utf-8")
        if not path.is_file() or path.read_bytes() != content:
            write_bytes(path, content)
    return results


def report(connection: Connection, tokenizer: str | None = None) -> dict[str, Any]:
    """The figures of the project; `tokenizer` as in `write_report`."""
    config = curation.settled(connection) or CurationConfig()
    imports = prompts.all_imports(connection)
    counts: list[Sums] = [row.counts for row in imports]
    counted_by = tokenizer or config.tokenizer
    sums, written = _sums(connection, counts, counter(counted_by), anew=tokenizer is not None)
    of_imports: Sums = reduce(added, ({k: one[k] for k in _COUNTED} for one in counts), _nothing())
    plain = prompt_figures.of_kind(connection, "labeler_plain", most=PLAIN_LOOKED_AT)
    return {
        "schema": 1,
        **of_imports,
        "beside_imports": written,
        "imports": [
            {
                "file": row.file,
                "sha256": row.sha256.hex(),
                "shape": row.shape,
                **{key: row.counts[key] for key in ("read", "kept", "rejected")},
                "dropped": sum(row.counts["dropped"].values()),
            }
            for row in imports
        ],
        "curation": config.model_dump(mode="json"),
        "tokens_by": counted_by or f"an estimate: {BYTES_PER_TOKEN} bytes of UTF-8 are a token",
        **_tables(sums),
        "per_customer": {
            side: {"prompts": n.prompts, "customers": n.customers, "mean": n.prompts / n.customers}
            for side, n in sorted(prompt_figures.customers(connection).items())
        },
        "diversity": diversity([t for t, _ in plain], [c for _, c in plain]).as_dict()
        if plain
        else None,
        "paper": paper.as_json(),
    }


_COUNTED = ("read", "kept", "rejected", "dropped", "splits")
_NOT_SUMMED = ("first_id", "joined", *_COUNTED)


def _nothing() -> dict[str, Any]:
    return {
        **dict.fromkeys(("read", "kept", "rejected"), 0),
        "dropped": dict.fromkeys(REASONS, 0),
        "splits": dict.fromkeys(SIDES, 0),
    }


def _sums(
    connection: Connection, counts: Sequence[Sums], count_tokens: CountTokens, *, anew: bool
) -> tuple[Sums, dict[str, int]]:
    """What the tables are made of, and what labelers brought: prompts, and demonstrations of any prompts."""
    ranges = [(int(one["first_id"]), int(one["kept"])) for one in counts]
    own = Tally(count_tokens)
    rows = ((row, ()) for row in prompt_figures.outside_imports(connection, ranges))
    written = _add_all(own, rows, count_tokens)
    noted = [
        added({k: v for k, v in one.items() if k not in _NOT_SUMMED}, one.get("joined", {}))
        for one in counts
    ]
    if anew:
        every = Tally(count_tokens)
        _add_all(every, prompt_figures.each_with_answers(connection), count_tokens)
        of_curation = ("scrubbed", "dropped_personal_data")
        kept = [{k: v for k, v in one.items() if k in of_curation} for one in noted]
        sums: Sums = reduce(added, kept, every.sums())
    else:
        sums = reduce(added, noted, own.sums())
    labels = prompt_figures.written_demonstrations(connection)
    demonstrations = Tally(count_tokens)
    count = 0
    while block := list(islice(labels, _AT_ONCE)):
        lengths = count_tokens([text for _, text in block])
        for (kind, _), tokens in zip(block, lengths, strict=True):
            demonstrations.add_length("demonstration", source_of(kind), tokens)
        count += len(block)
    return added(sums, demonstrations.sums()), {"prompts": written, "demonstrations": count}


def _add_all(
    tally: Tally, rows: Iterator[tuple[Any, Sequence[Any]]], count_tokens: CountTokens
) -> int:
    count = 0
    while block := list(islice(rows, _AT_ONCE)):
        lengths = count_tokens([whole(row) for row, _ in block])
        for (row, answers), tokens in zip(block, lengths, strict=True):
            tally.add(row, [given_of(one) for one in answers], tokens)
        count += len(block)
    return count


def _tables(sums: Sums) -> dict[str, Any]:
    """The sums under the names that the report has for them, every row there even where it is zero."""
    kinds: Mapping[str, Mapping[str, int]] = sums.get("kinds", {})
    sources = {side: _filled(kinds.get(side, {}), KINDS) for side in SIDES}
    flagged = sums.get("flagged", {})
    lengths: Mapping[str, Mapping[str, Mapping[str, int]]] = sums.get("lengths", {})
    return {
        "sources": sources,
        "sizes": {
            side: {
                source: sum(n for kind, n in by.items() if source_of(kind) == source)
                for source in SOURCES
            }
            for side, by in sources.items()
        },
        "use_cases": _filled(sums.get("use_cases", {}), (*USE_CASES, "not_given")),
        "annotations": {
            side: _filled(sums.get("annotations", {}).get(side, {}), ANNOTATIONS) for side in SIDES
        },
        "languages": dict(sorted(sums.get("languages", {}).items(), key=lambda i: (-i[1], i[0]))),
        "personal_data": {
            "dropped": sums.get("dropped_personal_data", {}),
            "scrubbed": sums.get("scrubbed", 0),
            "flagged": _filled(flagged, SIDES),
            "kinds": sums.get("personal_data", {}),
        },
        "few_shot": _filled(sums.get("few_shot", {}), ("prompts", "examples")),
        "demonstrations": _filled(
            sums.get("demonstrations", {}), ("checked", "fit", *FAULTS, "by_models")
        ),
        "comparisons": {
            **_filled(sums.get("comparisons", {}), ("rankings", "pairs", "ties", "unranked")),
            "by_k": sums.get("comparisons", {}).get("by_k", {}),
        },
        "answers": {
            what: _filled(sums.get("answers", {}).get(what, {}), SIDES)
            for what in ("demonstrations", "rankings")
        },
        "lengths": {
            "split": _summaries(lengths.get("split", {}), SIDES),
            "use_case": _summaries(lengths.get("use_case", {}), (*USE_CASES, "not_given")),
            "prompt": _summaries(lengths.get("source", {}), SOURCES),
            "demonstration": _summaries(lengths.get("demonstration", {}), SOURCES),
        },
        "length_bins": {side: _bins(lengths.get("split", {}).get(side, {})) for side in SIDES},
    }


def _filled(counts: Mapping[str, Any], names: Sequence[str]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in names}


def _summaries(
    lengths: Mapping[str, Mapping[str, int]], names: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    return {name: summary(_histogram(lengths.get(name, {}))) for name in names}


def _bins(lengths: Mapping[str, int]) -> dict[str, int]:
    """Prompts by powers of two: `64` counts those of 64 to 127 tokens."""
    bins: dict[int, int] = {}
    for tokens, count in _histogram(lengths).items():
        start = 1 << max(tokens.bit_length() - 1, 0)
        bins[start] = bins.get(start, 0) + count
    return {str(start): bins[start] for start in sorted(bins)}


def _histogram(lengths: Mapping[str, int]) -> dict[int, int]:
    return {int(tokens): count for tokens, count in lengths.items()}
