"""The blind comparison: every model answers the held-out prompts once, every judge compares it with the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from alignloop.data.batches import epoch_order
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records, write_objects
from alignloop.data.records import Completions, Prompt, Ranking, Text
from alignloop.errors import ArtifactError
from alignloop.evaluation.config import EvaluationConfig
from alignloop.evaluation.judging import Panel, criteria_rates, win_rates, win_rates_at_like_length
from alignloop.evaluation.language_model import loss_by_title
from alignloop.evaluation.outcome import Answers
from alignloop.evaluation.respond import sequence_log_probs, story_likelihood
from alignloop.evaluation.reward_accuracy import reward_accuracy
from alignloop.files import write_json
from alignloop.generation.answers import answer
from alignloop.judges.adversarial import earns_its_name
from alignloop.judges.gold import Gold
from alignloop.judges.intervals import paired_bootstrap
from alignloop.judges.labelers import heldout_labelers, training_labelers
from alignloop.judges.lexicon import Lexicon
from alignloop.models.loading import check_same_tokens, load_causal_lm, load_tokenizer
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.progress import each
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run

BASELINE = "sft"
REFERENCE = "rl_init"
BEST_OF_N = "best_of_n"
_TAKEN = frozenset(
    ("reward_model", "prompts", "rankings", "lexicon", "text", "outside_judge", BEST_OF_N)
)
"""Names that an evaluation gives to other things than policies."""


def evaluate(
    config: EvaluationConfig,
    run: Run,
    *,
    policies: Mapping[str, Path],
    reward_model: Path,
    prompts: Path,
    rankings: Path,
    lexicon: Path,
    text: Path,
    outside_judge: Path,
) -> Artifact:
    """Compare policies with the one called `sft` on test prompts; leaves an `evaluation-report` artefact.

    Args:
        policies: name -> policy; `base` (asked by templates), `sft` and `rl_init` have fixed parts to play.
        rankings: what the reward model learned from: its bag-of-words rival learns from the same.
        outside_judge: a language model that no labeler and no training stage uses.
    """
    for name in (BASELINE, REFERENCE):
        if name not in policies:
            raise ArtifactError(f"an evaluation needs a policy called '{name}'")
    if taken := sorted(_TAKEN & policies.keys()):
        raise ArtifactError(
            f"a policy cannot be called '{taken[0]}': the report has another use for it"
        )
    opened = {name: run.input(name, path, "policy").path for name, path in policies.items()}
    scorer_path = run.input("reward_model", reward_model, "reward-model").path
    scorer = ScalarModel.load(scorer_path).eval()
    asked = run.input("prompts", prompts, "prompts")
    ranked = run.input("rankings", rankings, "rankings")
    if not ranked.facts.get("simulated"):
        raise ArtifactError(
            f"{rankings} are not by simulated labelers, whose noise the judges take; "
            "give rankings made by 'alignloop label simulate'"
        )
    words = Lexicon.load(run.input("lexicon", lexicon, "lexicon").file("lexicon.json.gz"))
    titles = run.input("text", text, "pretraining-text")
    judge_path = run.input("outside_judge", outside_judge, "policy").path

    rest = [path for name, path in opened.items() if name != BASELINE]
    check_same_tokens(opened[BASELINE], *rest, scorer_path)
    formatter = Formatter.of(load_tokenizer(opened[BASELINE]))
    test = read_records(asked.file("test.jsonl.gz"), Prompt)
    if config.prompts is not None:
        test = [test[i] for i in sorted(epoch_order(len(test), config.seed, 0)[: config.prompts])]
    models = {name: load_causal_lm(path) for name, path in opened.items()}
    answers, candidates, candidate_scores = _all_answers(
        config, models, formatter, scorer, asked, test
    )

    judge_model = load_causal_lm(judge_path)
    judge_format = Formatter.of(load_tokenizer(judge_path))
    likelihood: dict[tuple[str, str], float] = {}
    for one in answers.values():
        for prompt, said, score in zip(
            test,
            one.texts,
            story_likelihood(judge_model, judge_format, test, one.texts),
            strict=True,
        ):
            likelihood[prompt.id, said] = score
    noise, margin = float(ranked.facts["noise"]), float(ranked.facts["tie_margin"])
    panel = Panel.of(Gold(words), heldout_labelers(words, noise, margin), likelihood)

    held_out = read_records(titles.file("test.jsonl.gz"), Text)
    losses = {
        name: loss_by_title(model, formatter.tokenizer, held_out, config.title_characters)
        for name, model in each(list(models.items()), "loss on held-out titles", "model")
    }
    report = {
        "test_prompts": len(test),
        "rm": reward_accuracy(
            candidate_scores,
            candidates,
            training_labelers(words, noise, margin),
            heldout_labelers(words, noise, margin),
            panel.gold,
            read_records(ranked.file("train.jsonl.gz"), Ranking),
            read_records(ranked.file("valid.jsonl.gz"), Ranking),
            config.seed,
        ),
        **_comparisons(config, panel, test, answers),
        "gold_tricks": {
            name: {**asdict(found), "fails": found.fails}
            for name, found in earns_its_name(
                panel.gold.utility, test, answers[BASELINE].texts
            ).items()
        },
        "gold_utility": {
            name: _mean([panel.gold.utility(p, t) for p, t in zip(test, one.texts, strict=True)])
            for name, one in answers.items()
        },
        "pretrain_loss": {name: _token_mean(by_title) for name, by_title in losses.items()},
        "alignment_tax": {
            name: _tax(by_title, losses[REFERENCE], config)
            for name, by_title in losses.items()
            if name not in ("base", REFERENCE)
        },
        "kl": {name: one.kl for name, one in answers.items() if one.kl},
        "eos_rate": {name: one.eos_rate() for name, one in answers.items()},
        "length": {name: one.mean_length() for name, one in answers.items()},
        "distinct": {
            name: {"1": one.distinct(1), "2": one.distinct(2)} for name, one in answers.items()
        },
        "base_template": answers["base"].template if "base" in answers else None,
    }

    def write(folder: Path) -> None:
        write_json(folder / "report.json", report)
        write_objects(folder / "answers.jsonl.gz", _rows(test, answers, panel))

    return run.finish(
        "evaluation-report", write, {"test_prompts": len(test), "models": sorted(answers)}
    )


def _all_answers(
    config: EvaluationConfig,
    models: Mapping[str, PreTrainedModel],
    formatter: Formatter,
    scorer: ScalarModel,
    asked: Artifact,
    test: Sequence[Prompt],
) -> tuple[dict[str, Answers], list[Completions], dict[tuple[str, str], float]]:
    """Every model's answers, best-of-n among them, and the baseline's further samples per prompt with their scores."""
    answers: dict[str, Answers] = {}
    for name, model in models.items():
        template = None
        if name == "base":
            template = _best_template(config, model, formatter, scorer, asked)
        drawn = answer(
            model, formatter, test, config.sampling, config.seed, name, template=template
        )
        answers[name] = Answers(name, [group[0] for group in drawn], template=template)
    more = answer(
        models[BASELINE],
        formatter,
        test,
        config.sampling,
        config.seed,
        "sft_more_samples",
        copies=config.best_of,
    )
    repeated = [prompt for prompt in test for _ in range(config.best_of)]
    flat = [one for group in more for one in group]
    scores = np.array(reward_scores(scorer, formatter, repeated, [one.tokens for one in flat]))
    best = scores.reshape(len(test), config.best_of).argmax(axis=1).tolist()
    answers[BEST_OF_N] = Answers(BEST_OF_N, [group[i] for group, i in zip(more, best, strict=True)])
    for name in each(list(models), "kl", "model"):
        if name != "base":  # it was asked in another way, so its prompts were others
            for other, label in ((REFERENCE, "reference"), (BASELINE, "sft")):
                answers[name].kl[label] = _kl(config, models, formatter, test, answers[name], other)
    candidates = [
        Completions(prompt=prompt, completions=tuple(one.completion for one in group))
        for prompt, group in zip(test, more, strict=True)
    ]
    by_text = {
        (prompt.id, one.completion.text): score
        for prompt, one, score in zip(repeated, flat, scores.tolist(), strict=True)
    }
    return answers, candidates, by_text


def _kl(
    config: EvaluationConfig,
    models: Mapping[str, PreTrainedModel],
    formatter: Formatter,
    test: Sequence[Prompt],
    one: Answers,
    other: str,
) -> float:
    """Mean over answers of the summed log-ratio of their model to another, at the temperature of the draw [PPO-09]."""
    if one.name == other:
        return 0.0
    theirs = sequence_log_probs(
        models[other], formatter, test, one.tokens, config.sampling.temperature
    )
    return _mean([a.log_prob - b for a, b in zip(one.answers, theirs, strict=True)])


def _best_template(
    config: EvaluationConfig, model: Any, formatter: Formatter, scorer: ScalarModel, asked: Artifact
) -> str:
    """The way of asking the base model whose answers the reward model likes best on validation prompts."""
    valid = read_records(asked.file("valid.jsonl.gz"), Prompt)
    valid = [
        valid[i] for i in sorted(epoch_order(len(valid), config.seed, 0)[: config.prefix_prompts])
    ]
    means: dict[str, float] = {}
    for number, template in enumerate(config.base_templates):
        drawn = answer(
            model,
            formatter,
            valid,
            config.sampling,
            config.seed,
            f"base-{number}",
            template=template,
        )
        means[template] = _mean(
            reward_scores(scorer, formatter, valid, [d[0].tokens for d in drawn])
        )
    return max(means, key=lambda template: means[template])


def _comparisons(
    config: EvaluationConfig, panel: Panel, test: Sequence[Prompt], answers: Mapping[str, Answers]
) -> dict[str, Any]:
    """Win rates against the baseline and against two further models; length-matched and per criterion."""
    others = [name for name in answers if name != BASELINE]
    trained = [name for name in ("ppo", "ppo_ptx") if name in answers]
    rivals = [name for name in (REFERENCE, "sft_more") if name in answers]
    baseline = answers[BASELINE]
    verdicts = {
        n: panel.verdicts(test, answers[n], baseline, config.seed)
        for n in each(others, "verdicts against the baseline", "model")
    }
    return {
        "win_rate": {n: win_rates(verdicts[n], config) for n in others},
        "win_rate_length_matched": {
            n: win_rates_at_like_length(verdicts[n], answers[n], baseline, config) for n in others
        },
        "win_rate_against": {
            rival: {
                n: win_rates(panel.verdicts(test, answers[n], answers[rival], config.seed), config)
                for n in trained
            }
            for rival in each(rivals, "verdicts against the rivals", "rival")
        },
        "criteria": {
            n: criteria_rates(panel, test, answers[n], baseline, config)
            for n in each(others, "criteria", "model")
        },
    }


def _tax(
    losses: Mapping[str, tuple[float, int]],
    reference: Mapping[str, tuple[float, int]],
    config: EvaluationConfig,
) -> dict[str, float]:
    """Mean over titles of the loss per token less the reference's, with a paired bootstrap over titles."""
    titles = sorted(losses)
    own = [losses[t][0] / losses[t][1] for t in titles]
    other = [reference[t][0] / reference[t][1] for t in titles]
    estimate = paired_bootstrap(own, other, titles, seed=config.seed, resamples=config.resamples)
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def _token_mean(losses: Mapping[str, tuple[float, int]]) -> float:
    return math.fsum(nats for nats, _ in losses.values()) / sum(
        tokens for _, tokens in losses.values()
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _rows(
    test: Sequence[Prompt], answers: Mapping[str, Answers], panel: Panel
) -> list[dict[str, Any]]:
    return [
        {
            "prompt": prompt.model_dump(mode="json", exclude_defaults=True),
            "answers": {
                name: {
                    "text": one.texts[i],
                    "finished": one.completions[i].finished,
                    "tokens": one.completions[i].tokens,
                    "gold": panel.gold.utility(prompt, one.texts[i]),
                }
                for name, one in answers.items()
            },
        }
        for i, prompt in enumerate(test)
    ]
