"""The stage behind `alignloop evaluate win-rate`: answers, verdicts, figures, and the report that holds them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import read_records, write_objects
from alignloop.data.records import Demonstration, Prompt
from alignloop.errors import ConfigError
from alignloop.evaluation.cache import AnswerCache
from alignloop.evaluation.winrate.ask_people import check_new, make_campaign
from alignloop.evaluation.winrate.asking import (
    Asking,
    check_named,
    checked_template,
    named_values,
    read_template,
)
from alignloop.evaluation.winrate.config import WinRateConfig
from alignloop.evaluation.winrate.contestants import (
    Answered,
    Contestant,
    answers_of,
    read_prompts,
)
from alignloop.evaluation.winrate.endpoint import Endpoint
from alignloop.evaluation.winrate.figures import Setting, report_of
from alignloop.evaluation.winrate.panel import (
    Bench,
    Matches,
    by_endpoint,
    by_gold,
    by_reward_model,
    by_simulated,
    length_of,
    pairs_of,
)
from alignloop.evaluation.winrate.people import Polled, read_campaign
from alignloop.evaluation.winrate.view import win_rate_page
from alignloop.files import write_bytes, write_json
from alignloop.judges.gold import Gold
from alignloop.judges.labelers import heldout_labelers, training_labelers
from alignloop.judges.lexicon import Lexicon
from alignloop.models.reward_scorer import RewardScorer
from alignloop.progress import say
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run

REWARD, TEMPLATE, FEW_SHOT = "reward_model-", "template-", "few_shot-"
"""What the roles of several inputs of one kind begin with."""
_TAKEN = frozenset({"prompts", "lexicon", "chooser", "campaign"})


def win_rate(
    config: WinRateConfig,
    run: Run,
    *,
    baseline: str,
    policies: Mapping[str, Path] | None = None,
    prompts: Path | None = None,
    templates: Sequence[str] = (),
    template_files: Mapping[str, Path] | None = None,
    few_shot: Mapping[str, Path] | None = None,
    stops: Sequence[str] = (),
    best_of: Sequence[str] = (),
    chooser: Path | None = None,
    lexicon: Path | None = None,
    reward_models: Mapping[str, Path] | None = None,
    judge_url: str | None = None,
    judge_model: str | None = None,
    judge_key_env: str | None = None,
    campaign: str | None = None,
    new_campaign: str | None = None,
    cache: Path | None = None,
) -> Artifact:
    """Compare policies by every judge that is named; leaves an `evaluation-report` artefact.

    The answers come from policies, or from a closed campaign, whose labelers are a judge then.

    Args:
        baseline: the policy that all others are compared with.
        policies: name -> policy; none where there is a campaign.
        templates, stops, best_of: `NAME=VALUE` each.
        template_files, few_shot: `template-NAME` and `few_shot-NAME` -> file.
        chooser: reward model that chooses the best of n.
        reward_models: `reward_model-NAME` -> reward model that judges.
        judge_url: of a judge model; `judge_model` is its name and `judge_key_env` the variable with its key.
        campaign: `PROJECT:NAME` of a closed blind evaluation.
        new_campaign: `PROJECT:NAME` of one to be made from the answers.
        cache: folder of answers and replies that several runs share; one in the run's folder without it.

    Raises:
        ConfigError: what is given does not go together.
        DataError: a judge cannot be asked, or a text does not fit.
    """
    _check(policies, prompts, campaign, baseline)
    if new_campaign is not None:
        check_new(new_campaign, config, is_drawn=campaign is None)
    if (judge_url is None) != (judge_model is None):
        raise ConfigError("a judge behind an endpoint needs both --judge-url and --judge-model")
    if campaign is None and not (lexicon or reward_models or judge_url or new_campaign):
        raise ConfigError(
            "nobody judges: name --lexicon, --reward-model or --judge-url, or --make-campaign for people"
        )
    folder = cache or run.folder / "cache"
    endpoint = None
    if judge_url is not None and judge_model is not None:
        replies = folder / "replies"
        endpoint = Endpoint.of(judge_url, judge_model, replies, config.endpoint, judge_key_env)
    polled: Polled | None = None
    if campaign is not None:
        if config.prompts is not None:
            raise ConfigError("prompts: all votes of a campaign count; leave it out")
        polled = read_campaign(campaign, baseline, config)
        answered, asked = polled.answered, polled.prompts
    else:
        assert policies is not None and prompts is not None
        askings = _askings(run, policies, templates, template_files, few_shot, stops, best_of)
        source = run.input("prompts", prompts, "prompts")
        asked = read_prompts(source, config.side, config.prompts, config.seed)
        answered = _answers(config, run, policies, askings, asked, chooser, folder)
    matches = Matches(asked, answered, pairs_of(list(answered), baseline, config.pairs))
    made = None if new_campaign is None else make_campaign(new_campaign, matches, config)
    benches = [*_people(polled), *_machines(config, run, matches, lexicon, reward_models)]
    if endpoint is not None:
        name = f"endpoint/{endpoint.model}"
        told = f"the model {endpoint.model} behind {endpoint.url}, both orders of every pair"
        benches.append(by_endpoint(name, told, endpoint, matches, config))
    setting = Setting.of(config, baseline, asked)
    report = report_of(benches, answered, setting, polled, config)

    def write(inside: Path) -> None:
        write_json(inside / "report.json", report)
        write_bytes(inside / "report.html", win_rate_page(report).encode())
        write_objects(inside / "answers.jsonl.gz", answer_rows(asked, answered))
        write_objects(inside / "verdicts.jsonl.gz", verdict_rows(benches))
        if polled is not None and polled.rated:
            write_objects(inside / "ratings.jsonl.gz", [asdict(one) for one in polled.rated])

    if made is not None:
        say(str(made))
    return run.finish(
        "evaluation-report", write, _facts(report, benches, None if made is None else made.name)
    )


# --- what is given ----------------------------------------------------------------------------------------------


def _check(
    policies: Mapping[str, Path] | None,
    prompts: Path | None,
    campaign: str | None,
    baseline: str,
) -> None:
    if campaign is not None:
        if policies or prompts:
            raise ConfigError(
                "the answers of a campaign are in its project: leave --policy and --prompts out"
            )
        return
    if not policies or prompts is None:
        raise ConfigError("name policies (--policy NAME=PATH) and --prompts, or a --campaign")
    if len(policies) < 2:
        raise ConfigError("a comparison needs two policies; give --policy once more")
    check_named(baseline, "--baseline", list(policies))
    prefixes = (REWARD, TEMPLATE, FEW_SHOT)
    for name in policies:
        if name in _TAKEN or name.startswith(prefixes):
            raise ConfigError(f"a policy cannot be called '{name}': the run calls an input so")


def _askings(
    run: Run,
    policies: Mapping[str, Path],
    templates: Sequence[str],
    template_files: Mapping[str, Path] | None,
    few_shot: Mapping[str, Path] | None,
    stops: Sequence[str],
    best_of: Sequence[str],
) -> dict[str, Asking]:
    """How each policy is asked.

    Raises:
        ConfigError: a policy is not there, or a value makes no sense.
        DataError: a file of demonstrations cannot be read.
    """
    names = list(policies)
    written = named_values(templates, "--template", names)
    for role, path in (template_files or {}).items():
        name = role.removeprefix(TEMPLATE)
        check_named(name, "--template", names)
        if name in written:
            raise ConfigError(f"--template: '{name}' is given twice")
        written[name] = read_template(run.input_file(role, path))
    shown: dict[str, tuple[Demonstration, ...]] = {}
    for role, path in (few_shot or {}).items():
        name = role.removeprefix(FEW_SHOT)
        check_named(name, "--few-shot", names)
        shown[name] = tuple(read_records(run.input_file(role, path), Demonstration))
    ends = named_values(stops, "--stop", names)
    counts = {
        name: _count(value) for name, value in named_values(best_of, "--best-of", names).items()
    }
    return {
        name: Asking(
            template=checked_template(written[name], f"--template {name}")
            if name in written
            else None,
            demonstrations=shown.get(name, ()),
            stop=ends.get(name, ""),
            best_of=counts.get(name, 1),
        )
        for name in names
    }


def _count(value: str) -> int:
    if not value.isdigit() or int(value) < 2:
        raise ConfigError(f"--best-of {value}: a whole number from 2 is needed")
    return int(value)


# --- answers and judges -----------------------------------------------------------------------------------------


def _answers(
    config: WinRateConfig,
    run: Run,
    policies: Mapping[str, Path],
    askings: Mapping[str, Asking],
    asked: Sequence[Prompt],
    chooser: Path | None,
    folder: Path,
) -> dict[str, Answered]:
    wants_choice = any(one.best_of > 1 for one in askings.values())
    if wants_choice and chooser is None:
        raise ConfigError("--best-of: a reward model has to choose; name it with --chooser")
    if chooser is not None and not wants_choice:
        raise ConfigError(
            "--chooser: no policy has --best-of NAME=N, so there is nothing to choose"
        )
    scorer = None
    if chooser is not None:
        scorer = RewardScorer(run.input("chooser", chooser, "reward-model").path)
    opened = {name: run.input(name, path, "policy") for name, path in policies.items()}
    store = AnswerCache(folder / "answers")
    return {
        name: answers_of(
            Contestant(name, policy.path, policy.sha256, askings[name]),
            asked,
            config.sampling,
            config.seed,
            store,
            scorer,
        )
        for name, policy in opened.items()
    }


def _people(polled: Polled | None) -> Iterator[Bench]:
    if polled is None:
        return
    labelers = len({one.by for one in polled.verdicts})
    blind = f"in the campaign {polled.name}, who did not know which policy wrote what"
    counts = {"votes that an answer names its model": polled.names_itself}
    shown = counts if polled.names_itself else {}
    if not polled.simulated:
        yield Bench("people", f"{labelers} people {blind}", polled.verdicts, counts=shown)
        return
    code = f"{polled.simulated} of {polled.labels} labels by SIMULATED labelers, which are code"
    told = f"{labelers} labelers {blind}; {code}"
    yield Bench("labelers/simulated", told, polled.verdicts, is_simulated=True, counts=shown)


def _machines(
    config: WinRateConfig,
    run: Run,
    matches: Matches,
    lexicon: Path | None,
    reward_models: Mapping[str, Path] | None,
) -> Iterator[Bench]:
    if lexicon is not None:
        words = Lexicon.load(run.input("lexicon", lexicon, "lexicon").file("lexicon.json.gz"))
        for cohort, labelers in (
            ("training", training_labelers(words, config.noise, config.tie_margin)),
            ("heldout", heldout_labelers(words, config.noise, config.tie_margin)),
        ):
            told = f"simulated labelers of the {cohort} cohort ({len(labelers)}), which are code"
            yield by_simulated(f"simulated/{cohort}", told, labelers, matches, cohort)
        yield by_gold(Gold(words), matches, config)
    chooser = next((one["sha256"] for one in run.parents() if one["role"] == "chooser"), None)
    for role, path in (reward_models or {}).items():
        model = run.input(role, path, "reward-model")
        name = role.removeprefix(REWARD)
        told = f"the reward model {name}: the higher score wins"
        if model.sha256 == chooser:
            told += "; it also chose the best of n, and so judges its own choice"
        yield by_reward_model(f"reward/{name}", told, RewardScorer(model.path), matches, config)


# --- files ------------------------------------------------------------------------------------------------------


def answer_rows(
    prompts: Sequence[Prompt], answered: Mapping[str, Answered]
) -> Iterator[dict[str, Any]]:
    """A row per prompt: what every policy answered, with the settings of its draw."""
    for prompt in prompts:
        yield {
            "prompt": prompt.model_dump(mode="json", exclude_defaults=True),
            "answers": {
                name: {
                    "text": one.answers[prompt.id].text,
                    "finished": one.answers[prompt.id].finished,
                    "tokens": one.answers[prompt.id].tokens,
                    "token_ids": list(one.answers[prompt.id].token_ids),
                    "characters": length_of(one.answers[prompt.id].text),
                    "sampling": one.how["sampling"],
                    "seed": one.how["seed"],
                    "policy_sha256": one.sha256,
                }
                for name, one in answered.items()
                if prompt.id in one.answers
            },
        }


def verdict_rows(benches: Sequence[Bench]) -> Iterator[dict[str, Any]]:
    """A row per verdict; a reply that could not be read has no `outcome`."""
    for bench in benches:
        for at, one in enumerate(bench.verdicts):
            yield {"judge": bench.name, **asdict(one), **bench.more.get(at, {})}
        for row in bench.unread:
            yield {"judge": bench.name, **row}


def _facts(report: Mapping[str, Any], benches: Sequence[Bench], made: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "stage": "win_rate",
        "baseline": report["baseline"],
        "prompts": report["prompts"],
        "policies": list(report["policies"]),
        "judges": [bench.name for bench in benches],
        "simulated": any(bench.is_simulated for bench in benches),
    }
    return facts if made is None else {**facts, "campaign": made}
