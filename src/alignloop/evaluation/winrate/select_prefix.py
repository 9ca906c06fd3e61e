"""The best way to ask a model that knows no instructions: the prefix whose answers a reward model likes best.

So the paper found the prefix of "GPT-3, prompted" (footnote 6): several were tried, and the highest mean reward-model
score on validation prompts decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import write_objects
from alignloop.data.records import Completion, Prompt
from alignloop.errors import ConfigError, DataError
from alignloop.evaluation.cache import AnswerCache
from alignloop.evaluation.page.page import Page, Section, render
from alignloop.evaluation.page.words import amount, share, whole
from alignloop.evaluation.winrate.asking import Asking, read_template
from alignloop.evaluation.winrate.config import PrefixConfig
from alignloop.evaluation.winrate.contestants import Contestant, draw, read_prompts, scores_of
from alignloop.evaluation.winrate.figures import interval
from alignloop.evaluation.winrate.panel import length_of
from alignloop.files import write_bytes, write_json
from alignloop.judges.measure import Measure, ratio
from alignloop.models.reward_scorer import RewardScorer
from alignloop.pages import Table
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run

TEMPLATE_FILE = "template.txt"
_NAME = "prefix"
"""All candidates draw with the same seeds, so that luck favours none."""


def select_prefix(
    config: PrefixConfig,
    run: Run,
    *,
    model: Path,
    reward_model: Path,
    prompts: Path,
    candidates: Sequence[Path],
    cache: Path | None = None,
) -> Artifact:
    """Ask the model in every candidate's way; leaves an `evaluation-report` with the table and the winner's file.

    Args:
        model: a policy that knows no instructions.
        candidates: text files, each a template with `{prompt}` or `{context}` where the prompt goes.
        cache: folder of answers that several runs share; one in the run's folder without it.

    Raises:
        ConfigError: there are fewer than two candidates, or one has no place for the prompt.
        DataError: a template or an answer cannot be used.
    """
    if len(candidates) < 2:
        raise ConfigError("a choice needs two candidates; give --candidate once more")
    policy = run.input("model", model, "policy")
    scorer = RewardScorer(run.input("reward_model", reward_model, "reward-model").path)
    source = run.input("prompts", prompts, "prompts")
    templates = [
        read_template(run.input_file(f"candidates-{number}", path))
        for number, path in enumerate(candidates, start=1)
    ]
    asked = read_prompts(source, config.side, config.prompts, config.seed)
    store = AnswerCache((cache or run.folder / "cache") / "answers")
    tried: list[_Tried] = []
    for template in templates:
        contestant = Contestant(_NAME, policy.path, policy.sha256, Asking(template))
        groups, cut = draw(
            contestant, asked, config.sampling, config.seed, store, copies=config.copies
        )
        tried.append(_Tried(config, template, asked, groups, cut, scorer))
    chosen = max(range(len(tried)), key=lambda at: tried[at].mean)
    names = [path.name for path in candidates]
    rows = [
        one.row(config, name, None if at == chosen else tried[chosen])
        for at, (name, one) in enumerate(zip(names, tried, strict=True))
    ]
    report: dict[str, Any] = {
        "kind": "select_prefix",
        "schema": 1,
        "seed": config.seed,
        "resamples": config.resamples,
        "side": config.side,
        "prompts": len(asked),
        "copies": config.copies,
        "sampling": config.sampling.model_dump(mode="json", exclude={"batch_rows"}),
        "judge": "reward model",
        "candidates": rows,
        "chosen": chosen + 1,
    }

    def write(folder: Path) -> None:
        write_bytes(folder / TEMPLATE_FILE, templates[chosen].encode())
        write_json(folder / "report.json", report)
        write_bytes(folder / "report.html", prefix_page(report).encode())
        write_objects(folder / "answers.jsonl.gz", _answer_rows(names, asked, tried))

    facts = {"stage": "select_prefix", "chosen": chosen + 1, "candidate": names[chosen]}
    return run.finish("evaluation-report", write, facts)


class _Tried:
    """One candidate's answers and their scores."""

    def __init__(
        self,
        config: PrefixConfig,
        template: str,
        prompts: Sequence[Prompt],
        groups: Sequence[Sequence[Completion]],
        cut: int,
        scorer: RewardScorer,
    ) -> None:
        self.template, self.groups, self.cut = template, groups, cut
        flat = [one for group in groups for one in group]
        self.prompts = [prompt for prompt in prompts for _ in range(config.copies)]
        self.empty = sum(not one.text for one in flat)
        self.answers = flat
        self.scores = scores_of(scorer, self.prompts, flat)
        said = [score for score in self.scores if score > float("-inf")]
        if not said:
            raise DataError(
                f"no candidate's answers can be scored: with {template!r} all are empty"
            )
        # An empty answer has no score; it counts as the worst that was seen, or it would count for nothing.
        worst = min(said)
        self.scores = [max(score, worst) for score in self.scores]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)

    def row(self, config: PrefixConfig, name: str, best: _Tried | None) -> dict[str, Any]:
        """The figures of a candidate; `best` is the chosen one, where it is another."""
        found = {
            "candidate": name,
            "template": self.template,
            "score": interval(self._over_prompts(config, self.scores, is_share=False)),
            "characters": interval(
                self._over_prompts(
                    config, [float(length_of(one.text)) for one in self.answers], is_share=False
                )
            ),
            "finished": interval(
                self._over_prompts(
                    config, [float(one.finished) for one in self.answers], is_share=True
                )
            ),
            "empty": self.empty,
            "prompts_cut": self.cut,
        }
        if best is not None:
            less = [theirs - ours for ours, theirs in zip(self.scores, best.scores, strict=True)]
            found["behind"] = interval(self._over_prompts(config, less, is_share=False))
        return found

    def _over_prompts(
        self, config: PrefixConfig, values: Sequence[float], *, is_share: bool
    ) -> Measure:
        return ratio(
            values,
            [1.0] * len(values),
            [prompt.id for prompt in self.prompts],
            seed=config.seed,
            resamples=config.resamples,
            is_share=is_share,
        )


def prefix_page(report: Mapping[str, Any]) -> str:
    """The table as a page."""
    chosen = report["candidates"][report["chosen"] - 1]["candidate"]
    rows = [
        [
            one["candidate"],
            amount(one["score"], 3),
            amount(one["behind"], 3) if "behind" in one else "chosen",
            amount(one["characters"], 0),
            share(one["finished"]),
            whole(one["empty"]),
            repr(one["template"]),
        ]
        for one in report["candidates"]
    ]
    columns = (
        *("Candidate", "Score", "Behind the chosen one", "Characters", "Ended by itself", "Empty"),
        "Template",
    )
    return render(
        Page(
            title=f"The prefix: {chosen}",
            lede=f"Mean reward-model score of the answers to {whole(report['prompts'])} prompts of the "
            f"{report['side']} side. Intervals are 95 %, by drawing prompts with replacement; a difference whose "
            "interval holds 0 is none.",
            facts=[
                ("Judge", report["judge"]),
                ("Seed", f"{report['seed']}; {whole(report['resamples'])} resamples"),
                ("Sampling", ", ".join(f"{k} {v}" for k, v in report["sampling"].items())),
            ],
            sections=[Section("Candidates", "", [Table("Mean scores", columns, rows, chosen)])],
        )
    )


def _answer_rows(
    names: Sequence[str], prompts: Sequence[Prompt], tried: Sequence[_Tried]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, one in zip(names, tried, strict=True):
        scores = iter(one.scores)
        for prompt, group in zip(prompts, one.groups, strict=True):
            rows += [
                {"candidate": name, "prompt": prompt.id, "text": a.text, "score": next(scores)}
                for a in group
            ]
    return rows
