"""The stage: every policy asked every task, answers written out, figures and the alignment tax in one report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import each_record, write_objects
from alignloop.data.records import Text
from alignloop.data.tasks import title_of_question
from alignloop.errors import ArtifactError, ConfigError
from alignloop.evaluation.cache import AnswerCache
from alignloop.evaluation.suite.asking import Answer, Policy, reading, scoring, writing
from alignloop.evaluation.suite.choosing import Chosen, choose
from alignloop.evaluation.suite.config import TasksConfig
from alignloop.evaluation.suite.files import TASK_ROLE
from alignloop.evaluation.suite.page import page
from alignloop.evaluation.suite.scoring import (
    Cell,
    Scored,
    cells,
    difference,
    measured,
    scored,
)
from alignloop.evaluation.suite.toxicity import Scorer, scorer_of
from alignloop.evaluation.tasks.catalogue import task_called
from alignloop.evaluation.tasks.task import Item, Metric, Setting, Task
from alignloop.files import sha256_of, write_bytes, write_json
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run

_TAKEN = ("text", "cache", "toxic_words", "toxicity_classifier")
"""Roles of other inputs."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A task, its file, its items."""

    task: Task
    path: Path
    chosen: Chosen

    def settings(self, config: TasksConfig) -> list[Setting]:
        """Every way to ask it."""
        return self.task.settings(config.shots)


@dataclass(slots=True)
class Answered:
    """A policy's answers to a task under a setting."""

    policy: str
    asking: Asking
    setting: Setting
    answers: list[Answer]
    rows: list[Scored]


def evaluate_tasks(
    config: TasksConfig,
    run: Run,
    *,
    policies: Mapping[str, Path],
    tasks: Mapping[str, Path],
    before: str | None = None,
    cache: Path | None = None,
    text: Path | None = None,
    toxic_words: Path | None = None,
    toxicity_classifier: Path | None = None,
    toxicity_url: str | None = None,
) -> Artifact:
    """Ask policies public tasks; leaves an `evaluation-report` artefact with a page.

    Args:
        policies: name -> policy.
        tasks: `task ` and the task's name -> its file, as `task_files` makes it.
        before: a policy that the others are compared with, item by item: the alignment tax.
        cache: folder of answers, in the run folder without it.
        text: a `pretraining-text` artefact: of tasks about stories only those on its test side are asked about.
        toxic_words, toxicity_classifier, toxicity_url: who scores continuations; at most one.

    Raises:
        ConfigError: a name is unknown, or several scorers are given.
        DataError: a file cannot be used.
    """
    _check_names(config, policies, tasks, before)
    scorer = _scorer(config, run, toxic_words, toxicity_classifier, toxicity_url)
    held_out = None if text is None else _held_out(run.input("text", text, "pretraining-text"))
    askings: list[Asking] = []
    for role, path in tasks.items():
        task = task_called(role.removeprefix(TASK_ROLE))
        file = run.input_file(role, path)
        chosen = choose(task, file, config.seed, config.limit, config.shots, held_out)
        askings.append(Asking(task, file, chosen))
    opened = {name: run.input(name, path, "policy") for name, path in policies.items()}
    kept = AnswerCache(run.folder / "cache" if cache is None else cache)
    answered: list[Answered] = []
    without_examples: list[dict[str, Any]] = []
    for name, artifact in opened.items():
        form = config.format_of(name)
        policy = Policy(name, artifact.path, artifact.sha256, form, kept, config.batch_rows)
        for asking in askings:
            for setting in asking.settings(config):
                drawn = policy.answers(
                    asking.task, setting, asking.chosen.examples, asking.chosen.items
                )
                if setting.shots and not any(answer.asked.shots for answer in drawn):
                    # as many examples as 0-shot has: to be told, and not to be counted a second time
                    where = {"policy": name, "task": asking.task.name, "setting": setting.name}
                    without_examples.append(where)
                else:
                    answered.append(Answered(name, asking, setting, drawn, []))
        del policy  # one model at a time
    if scorer is not None:
        _score_toxicity(answered, scorer)
    report = _report(config, answered, before, scorer)
    report["without_examples"] = without_examples
    report["policies"] = {
        name: {"sha256": artifact.sha256, "format": config.format_of(name)}
        for name, artifact in opened.items()
    }

    def write(folder: Path) -> None:
        write_json(folder / "report.json", report)
        write_objects(folder / "outputs.jsonl.gz", _outputs(answered))
        write_bytes(folder / "report.html", page(report).encode("utf-8"))

    facts = {"policies": list(policies), "tasks": [asking.task.name for asking in askings]}
    return run.finish("evaluation-report", write, facts)


def _check_names(
    config: TasksConfig, policies: Mapping[str, Path], tasks: Mapping[str, Path], before: str | None
) -> None:
    if not policies or not tasks:
        raise ConfigError("at least one policy and one task are needed")
    for name in policies:
        if name.startswith(TASK_ROLE) or name in _TAKEN:
            raise ArtifactError(f"a policy cannot be called '{name}'; choose another name")
    known = ", ".join(policies)
    if before is not None and before not in policies:
        raise ConfigError(
            f"there is no policy '{before}' to compare with; the policies are {known}"
        )
    for name in config.plain:
        if name not in policies:
            raise ConfigError(f"plain: there is no policy '{name}'; the policies are {known}")


def _scorer(
    config: TasksConfig, run: Run, words: Path | None, classifier: Path | None, url: str | None
) -> Scorer | None:
    if words is not None:
        run.input_file("toxic_words", words)
    if classifier is not None:
        run.input("toxicity_classifier", classifier, "reward-model")  # a classifier counts as one
    return scorer_of(config.toxicity, words, classifier, url)


def _held_out(text: Artifact) -> Callable[[str], bool]:
    """Whether a story, by the name that its questions give it, is on the test side of a text."""
    titles = {
        one.title.lower()
        for one in each_record(text.file("test.jsonl.gz"), Text)
        if one.source == "fairytale"
    }
    return lambda story: title_of_question(story) in titles


def _score_toxicity(answered: Sequence[Answered], scorer: Scorer) -> None:
    """Give every continuation its score; a text that several policies wrote is scored once."""
    wanted = [one for one in answered if one.asking.task.needs_scorer]
    texts = list(dict.fromkeys(a.output.text for one in wanted for a in one.answers))
    with progress(len(texts), "toxicity", "text") as bar:
        scores = dict(zip(texts, scorer.scores(texts, bar.update), strict=True))
    for one in wanted:
        one.answers = [
            replace(a, output=replace(a.output, toxicity=scores[a.output.text]))
            for a in one.answers
        ]


def _metrics(task: Task, scorer: Scorer | None) -> tuple[Metric, ...]:
    return () if task.needs_scorer and scorer is None else task.metrics


def _report(
    config: TasksConfig, answered: Sequence[Answered], before: str | None, scorer: Scorer | None
) -> dict[str, Any]:
    found: list[Cell] = []
    asked: list[dict[str, Any]] = []
    for one in answered:
        task = one.asking.task
        metrics = _metrics(task, scorer)
        outputs = [answer.output for answer in one.answers]
        one.rows = scored(one.asking.chosen.items, outputs, metrics)
        found += cells(
            one.policy,
            task.name,
            one.setting.name,
            metrics,
            one.rows,
            seed=config.seed,
            resamples=config.resamples,
            by_kind=bool(task.split_by),
        )
        shots = [answer.asked.shots for answer in one.answers]
        asked.append(
            {
                "policy": one.policy,
                "task": task.name,
                "setting": one.setting.name,
                "n": len(one.answers),
                "mean_shots": sum(shots) / len(shots),
                "cut": sum(answer.asked.is_cut for answer in one.answers),
            }
        )
    askings = {one.asking.task.name: one.asking for one in answered}
    return {
        "seed": config.seed,
        "resamples": config.resamples,
        "limit": config.limit,
        "tasks": {name: _described(asking, scorer) for name, asking in askings.items()},
        "asked": asked,
        "cells": [cell.as_json() for cell in found],
        "before": before,
        "tax": [] if before is None else list(_tax(config, answered, before, scorer)),
    }


def _described(asking: Asking, scorer: Scorer | None) -> dict[str, Any]:
    """What a reader has to know of a task to read its figures."""
    task, chosen = asking.task, asking.chosen
    judge = "program"
    notes = list(task.notes)
    if task.needs_scorer:
        judge = "nobody: no scorer was given" if scorer is None else scorer.described
    return {
        "title": task.title,
        "file": asking.path.name,
        "sha256": sha256_of(asking.path),
        "in_file": chosen.in_file,
        "asked": len(chosen.items),
        "examples": len(chosen.examples),
        "sampling": _sampling(task, chosen.items[0]),
        "judge": judge,
        "split_by": task.split_by,
        "metrics": {
            metric.name: {"meaning": metric.meaning, "better": metric.better}
            for metric in task.metrics
        },
        "notes": notes,
    }


def _sampling(task: Task, item: Item) -> dict[str, Any]:
    if task.is_text:
        return reading()
    return scoring() if item.choices else writing(task.longest, whole=task.whole)


def _tax(
    config: TasksConfig, answered: Sequence[Answered], before: str, scorer: Scorer | None
) -> Iterator[dict[str, Any]]:
    """Each other policy less the one before, for every metric that has a better side; of text also by domain."""
    base = {
        (one.asking.task.name, one.setting.name): one.rows
        for one in answered
        if one.policy == before
    }
    for one in answered:
        if one.policy == before or (one.asking.task.name, one.setting.name) not in base:
            continue
        for metric in _metrics(one.asking.task, scorer):
            if metric.better == "neither":
                continue
            task = one.asking.task
            first = base[task.name, one.setting.name]
            kinds = sorted({row.item.kind for row in one.rows} - {""}) if task.is_text else []
            for kind in ["", *kinds]:
                found = difference(
                    metric,
                    [row for row in first if not kind or row.item.kind == kind],
                    [row for row in one.rows if not kind or row.item.kind == kind],
                    seed=config.seed,
                    resamples=config.resamples,
                )
                yield {
                    "policy": one.policy,
                    "task": task.name,
                    "setting": one.setting.name,
                    "metric": metric.name,
                    **({"kind": kind} if kind else {}),
                    "better": metric.better,
                    **measured(found),
                }


def _outputs(answered: Sequence[Answered]) -> Iterator[dict[str, Any]]:
    """One object per answer: all that its figures rest on, to read and to count again."""
    for one in answered:
        for answer, row in zip(one.answers, one.rows, strict=True):
            item, output = row.item, answer.output
            found: dict[str, Any] = {
                "policy": one.policy,
                "task": one.asking.task.name,
                "setting": one.setting.name,
                "id": item.id,
                "cluster": item.unit,
                "kind": item.kind,
                "prompt": answer.asked.text,
                "shots": answer.asked.shots,
                "cut": answer.asked.is_cut,
                "about": dict(item.about),
            }
            if item.choices:
                found["choices"] = list(item.choices)
            if output.log_probs:
                found |= {"log_probs": list(output.log_probs), "tokens": list(output.tokens)}
            else:
                found["answer"] = output.text
            if output.toxicity is not None:
                found["toxicity"] = output.toxicity
            found["scores"] = {
                name: list(columns) for name, columns in row.columns.items() if columns is not None
            }
            yield found
