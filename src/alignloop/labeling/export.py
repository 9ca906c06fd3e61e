"""Labels out of the store, as the artefacts that trainers read, with a manifest of the rows they came from.

Gold tasks, practice and screening never leave, nor does anything of an evaluation: the database knows which is which.
Nor does what answers a prompt of the training side in which personal data was found.
Where a task was adjudicated, the adjudicator's decision stands for its rankings; a truly ambiguous one keeps all.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from alignloop import __version__
from alignloop.data.jsonl import write_records
from alignloop.data.records import Demonstration, Ranking, Rating, Record, Turn
from alignloop.errors import DataError
from alignloop.files import sha256_of, write_json
from alignloop.labeling.config import ExportConfig, LabelKind
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed
from alignloop.store import campaigns, labels, log, prompts
from alignloop.store.database import Store
from alignloop.store.labels import Label
from alignloop.store.project import open_project

MANIFEST = "export.json"
FORMS: Mapping[LabelKind, str] = {
    "demonstrations": "demonstrate",
    "rankings": "rank",
    "ratings": "rank",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A record on its way out, the side it belongs to, and the submission that it says."""

    record: Record
    split: str
    submission_id: int


def export_labels(config: ExportConfig, run: Run, *, project: Path) -> Artifact:
    """Write labels as an artefact of `config.kind` with files `train` and `valid`, and note the export in the store.

    Raises:
        DataError: there is nothing to export, or nothing on one side of the split.
        JudgmentError: no campaign has that name.
    """
    store = open_project(project).open(create=False)
    try:
        with store.read() as connection:
            found = list(each_export(connection, config))
        sides = {side: [one for one in found if one.split == side] for side in ("train", "valid")}
        _refuse_empty(config, sides)
        manifest = _manifest(config, found, sides)

        def write(folder: Path) -> None:
            for side, chosen in sides.items():
                write_records(folder / f"{side}.jsonl.gz", [one.record for one in chosen])
            files = {f"{side}.jsonl.gz": sha256_of(folder / f"{side}.jsonl.gz") for side in sides}
            write_json(folder / MANIFEST, {**manifest, "files": files})

        artifact = run.finish(config.kind, write, _facts(config, sides))
        _note(store, time.time_ns() // 1_000_000, run.folder.name, artifact, manifest)
        return artifact
    finally:
        store.close()


def each_export(connection: Connection, config: ExportConfig) -> Iterator[Exported]:
    """The records of an export, in the order of campaigns, tasks and submissions."""
    ids = None
    if config.campaigns:
        ids = [campaigns.get_campaign(connection, name=name).id for name in config.campaigns]
    found = labels.each_label(connection, FORMS[config.kind], campaign_ids=ids)
    wanted = (
        label
        for label in found
        if (config.surplus or not label.is_surplus) and not prompts.is_withheld(label.prompt)
    )
    decided = labels.adjudicated(connection) if config.kind == "rankings" else {}
    for group in _by_task(wanted):
        decision = decided.get(group[0].task_id)
        if decision is not None and decision.outcome == "own":
            yield _own_ranking(connection, group[0], decision)
            continue
        if decision is not None and decision.outcome == "accepted":
            group = [one for one in group if one.submission_id == decision.submission_id] or group
        if config.per_task == "one" and len(group) > 1:
            draw = random.Random(derive_seed(config.seed, "one per task", group[0].task_id))
            group = [group[draw.randrange(len(group))]]
        for label in group:
            for record in _records(connection, config.kind, label):
                yield Exported(record, label.prompt.split, label.submission_id)


def ranking_of(connection: Connection, label: Label, *, by_id: bool = False) -> Ranking | None:
    """A label as the record that trainers read: outputs that were called not rankable are left out.

    None where fewer than two are left.

    Args:
        by_id: call the labeler by the account's number, where two may have one name.
    """
    groups = labels.groups_of(connection, label.submission_id)
    labeler = str(label.labeler_id) if by_id else label.labeler
    return _ranking(connection, label, groups, labeler, label.cohort)


# --- inside -----------------------------------------------------------------------------------------------------


def _records(connection: Connection, kind: LabelKind, label: Label) -> Iterator[Record]:
    match kind:
        case "demonstrations":
            yield _demonstration(connection, label)
        case "rankings":
            ranking = ranking_of(connection, label)
            if ranking is not None:
                yield ranking
        case "ratings":
            yield from _ratings(connection, label)


def _demonstration(connection: Connection, label: Label) -> Demonstration:
    written = labels.demonstration_of(connection, label)
    prompt = prompts.prompt_record(label.prompt)
    if written.turns:
        # A dialogue: the trainer wrote both sides, so what comes before the last answer is history.
        said = [*prompt.history, Turn(role="user", text=prompt.text)]
        said += [Turn(role=role, text=text) for role, text in written.turns]
        prompt = prompt.model_copy(
            update={
                "id": f"{prompt.id}+{len(written.turns)}",
                "text": said[-1].text,
                "history": tuple(said[:-1]),
                "group": prompt.group or prompt.opening_id,
            }
        )
    return Demonstration(
        prompt=prompt,
        response=written.text,
        labeler=label.labeler,
        instructions=label.instructions,
        cohort=label.cohort,
    )


def _ranking(
    connection: Connection,
    label: Label,
    groups: Mapping[int, int | None],
    labeler: str,
    cohort: str,
) -> Ranking | None:
    outputs = labels.outputs_of(connection, label.task_id)
    ranked = [(outputs[item], group) for item, group in groups.items() if group is not None]
    if len(ranked) < 2:
        return None
    return Ranking(
        prompt=prompts.prompt_record(label.prompt),
        completions=tuple(completion for completion, _ in ranked),
        ranks=tuple(group for _, group in ranked),
        labeler=labeler,
        instructions=label.instructions,
        cohort=cohort,
    )


def _own_ranking(connection: Connection, label: Label, decision: Any) -> Exported:
    own: list[int | None] = decision.rank_groups
    groups = dict(enumerate(own, start=1))
    record = _ranking(connection, label, groups, decision.adjudicator, "")
    if record is None:
        raise DataError(f"task {label.place} of '{label.campaign}' was adjudicated without a pair")
    return Exported(record, label.prompt.split, label.submission_id)


def _ratings(connection: Connection, label: Label) -> Iterator[Rating]:
    outputs = labels.outputs_of(connection, label.task_id)
    flags = labels.flags_in(connection, label.submission_id)
    for item, (likert, notes) in labels.ratings_of(connection, label.submission_id).items():
        yield Rating(
            prompt=prompts.prompt_record(label.prompt),
            completion=outputs[item],
            likert=likert,
            flags=flags.get(item, {}),
            notes=notes,
            labeler=label.labeler,
            instructions=label.instructions,
            cohort=label.cohort,
        )


def _by_task(found: Iterator[Label]) -> Iterator[list[Label]]:
    group: list[Label] = []
    for label in found:
        if group and group[0].task_id != label.task_id:
            yield group
            group = []
        group.append(label)
    if group:
        yield group


def _refuse_empty(config: ExportConfig, sides: Mapping[str, Sequence[Exported]]) -> None:
    empty = [side for side, chosen in sides.items() if not chosen]
    if len(empty) == len(sides):
        where = ", ".join(config.campaigns) or "any training campaign"
        raise DataError(f"no {config.kind} in {where} yet: there is nothing to export")
    if empty:
        raise DataError(
            f"no {config.kind} on prompts of the '{empty[0]}' side: a trainer needs both; add prompts of that side to "
            "the campaign"
        )


def _manifest(
    config: ExportConfig, found: Sequence[Exported], sides: Mapping[str, Sequence[Exported]]
) -> dict[str, Any]:
    ids = list(dict.fromkeys(one.submission_id for one in found))
    return {
        "query": config.model_dump(mode="json"),
        "counts": {side: len(chosen) for side, chosen in sides.items()},
        "submissions": ids,
        "rows_sha256": hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest(),
        "code_version": __version__,
    }


def _facts(config: ExportConfig, sides: Mapping[str, Sequence[Exported]]) -> dict[str, Any]:
    records = [one.record for chosen in sides.values() for one in chosen]
    labelers = sorted({getattr(record, "labeler", "") for record in records})
    facts: dict[str, Any] = {
        "rows": {side: len(chosen) for side, chosen in sides.items()},
        "labelers": len(labelers),
    }
    if config.kind == "rankings":
        rankings = [record for record in records if isinstance(record, Ranking)]
        facts["comparisons"] = sum(len(ranking.pairs()) for ranking in rankings)
        facts["ties"] = sum(
            len(r.ranks) * (len(r.ranks) - 1) // 2 - len(r.pairs()) for r in rankings
        )
    return facts


def _note(
    store: Store, now: int, name: str, artifact: Artifact, manifest: Mapping[str, Any]
) -> None:
    with store.write() as connection:
        log.note_export(
            connection,
            now,
            "command",
            name=name,
            query=manifest["query"],
            counts=manifest["counts"],
            rows_sha256=manifest["rows_sha256"],
            files_sha256={"artifact.json": artifact.sha256},
            code_version=manifest["code_version"],
        )
