"""One page of all studies in a folder: claims with verdicts, then a section per study; `studies.json` beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from alignloop.errors import ArtifactError
from alignloop.files import write_bytes, write_json
from alignloop.pages import Table
from alignloop.workflow.report.sheet import template
from alignloop.workflow.studies.claims import Judged
from alignloop.workflow.studies.registry import STUDIES, study_of
from alignloop.workflow.studies.run import SCHEMA, foundation_seconds, read_study, seconds_taken
from alignloop.workflow.studies.wording import counted, expected, interval, measured, unit_word

if TYPE_CHECKING:
    from alignloop.workflow.report.plots import Captioned

LEDE = (
    "What the InstructGPT paper says of its models, tried on models of 0.4 to 5.9 million parameters. Labelers "
    "and gold are simulated. A claim held where its whole 95 % interval lies where it was expected, did not hold "
    "where none of it does, and is undecided in between. Intervals are t intervals over seeds; with one seed they "
    "are a bootstrap over prompts and know nothing of how far seeds differ. Directions, margins and settings were "
    "fixed before any result."
)


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim in the table of all."""

    text: str
    effect: str
    source: str
    verdict: str
    measured: str
    expected: str
    rests_on: str


@dataclass(frozen=True, slots=True)
class Section:
    """One study on the page."""

    name: str
    title: str
    claims: Sequence[ClaimRow]
    question: str
    notes: Sequence[str]
    figures: Sequence[Captioned]
    tables: Sequence[Table]
    made: str
    command: str


def write_page(folder: Path) -> Path:
    """Write `studies.html` and `studies.json` from every finished study in a folder of studies.

    Raises:
        ArtifactError: no study finished there.
    """
    sections: list[Section] = []
    results: list[dict[str, Any]] = []
    for name in STUDIES:
        study = study_of(name)
        if (found := read_study(folder, study)) is None:
            continue
        result, cells = found
        findings = study.findings(cells)
        results.append(result)
        sections.append(
            Section(
                name,
                study.title,
                [_claim_row(judged) for judged in findings.judged],
                study.question,
                findings.notes,
                findings.figures,
                [_effects(findings.judged), *findings.tables],
                _made(folder, result),
                result["command"],
            )
        )
    if not sections:
        raise ArtifactError(
            f"{folder}: no study finished here; run 'alignloop study all --out {folder}' first"
        )
    text = template("studies.html.j2").render(
        lede=_lede(results),
        studies=sections,
    )
    path = folder / "studies.html"
    with FileLock(folder / ".page.lock"):  # another study of the folder may end at the same moment
        write_bytes(path, text.encode("utf-8"))
        write_json(folder / "studies.json", {"schema": SCHEMA, "studies": results})
    return path


def _lede(results: Sequence[Mapping[str, Any]]) -> str:
    if any(result["smoke"] for result in results):
        return f"A smoke run: tiny counts that show that the studies run; its verdicts mean nothing. {LEDE}"
    return LEDE


def _claim_row(judged: Judged) -> ClaimRow:
    claim = judged.claim
    return ClaimRow(
        claim.text,
        claim.effect,
        claim.source,
        judged.verdict,
        measured(judged),
        expected(claim),
        counted(judged),
    )


def _effects(judged: Sequence[Judged]) -> Table:
    """What every seed measured, with the interval inside it; an effect that two claims are about stands there once."""
    rows = [
        [
            one.claim.effect,
            str(effect.seed),
            f"{interval(effect.value, effect.low, effect.high, one.claim.unit)} {unit_word(one.claim.unit)}".strip(),
            f"{effect.n} {effect.units}",
        ]
        for one in judged
        for effect in one.effects
    ]
    once = [row for at, row in enumerate(rows) if row not in rows[:at]]
    return Table(
        "Effects by seed, with 95 % intervals",
        ["Effect", "Seed", "Measured", "Interval over"],
        once,
    )


def _made(folder: Path, result: Mapping[str, Any]) -> str:
    bases, seeds = result["bases"], result["seeds"]
    cells = seconds_taken(folder, result["study"], result["cells"])
    below = foundation_seconds(folder, bases, seeds)
    return (
        f"{'Bases' if len(bases) > 1 else 'Base'} {', '.join(bases)}; "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}"
        f"{', quick' if result['quick'] else ''}. {len(result['cells'])} cells took {cells / 60:.1f} min, "
        f"the stages below them, which studies share, {below / 60:.1f} min, added up where several were worked on at "
        "once; sittings that were killed are not counted. Made with:"
    )
