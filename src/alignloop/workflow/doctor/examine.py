"""All checks in order: what needs no model first, so that what is cheap to mend is said before anything is loaded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

import click
import torch

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.distributed import take_device
from alignloop.errors import AlignloopError, ConfigError
from alignloop.models.loading import context_length, load_tokenizer
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.inputs import PPOInputs
from alignloop.runs.artifact import open_artifact
from alignloop.runs.run import world_size
from alignloop.workflow.doctor import input_checks, memory, patient, policy_checks, reward_checks
from alignloop.workflow.doctor.findings import Finding
from alignloop.workflow.doctor.patient import Patient

_OF_POLICY: tuple[Callable[[Patient], Finding], ...] = (
    policy_checks.sampler_agrees_with_trainer,
    policy_checks.decoders_agree,
    policy_checks.padding_changes_nothing,
    policy_checks.micro_batches_change_nothing,
    policy_checks.answers_can_end,
)
_OF_REWARD: tuple[Callable[[Patient], Finding], ...] = (
    reward_checks.scores_differ,
    reward_checks.missing_end_is_not_rewarded,
)


def examine(
    config: PPOConfig,
    *,
    demonstrations: Path | None = None,
    loads_models: bool = True,
    **given: Unpack[PPOInputs],
) -> list[Finding]:
    """Examine the run that `alignloop ppo` would begin with the same config and inputs. Nothing is changed or written.

    A person is not asked: answers score 0 then, and what concerns scores is left out. Gold reads texts alone, and is
    not examined.

    Args:
        demonstrations: to see that the reward model scores them 0 on average.
        loads_models: else what needs none is examined.

    Raises:
        AlignloopError: an input cannot be opened.
    """
    take_device()
    with torch.random.fork_rng(devices=[]):
        model = open_artifact(given["policy"], "policy").path
        judges, watched = (
            [open_artifact(path, "reward-model").path for path in paths if path is not None]
            for paths in (
                (given.get("reward_model"), *given.get("more_reward_models", ())),
                (given.get("heldout_reward_model"),),
            )
        )
        reference, function = given.get("reference"), given.get("reward_function")
        near = open_artifact(reference, "policy").path if reference is not None else None
        formatter = Formatter.of(load_tokenizer(model))
        asked = open_artifact(given["prompts"], "prompts").file("rl.jsonl.gz")
        records = read_records(asked, Prompt)
        kept, overlap = input_checks.left_over(records, given.get("exclude_prompts_from", ()))
        findings = [
            input_checks.pad_is_not_end(formatter),
            _guarded("all models read the policy's tokens")(
                input_checks.tokens_are_shared,
                model,
                [*judges, *watched, *([near] if near else [])],
            ),
            input_checks.chat_template_agrees(formatter, kept[: patient.PROMPTS]),
            _guarded("prompts are customers'")(input_checks.prompts_are_customers, config, kept),
            overlap,
            input_checks.average_forgets_the_start(config),
        ]
        if not loads_models or any(finding.verdict == "BAD" for finding in findings):
            return findings
        free = memory.free_memory()
        some, text = patient.chosen(kept, config.seed), given.get("text")
        small = patient.small(config, len(some))
        learner, scorers, others = patient.open_learner(
            small, model, judges, watched, near, function, text
        )
        fits = _guarded("prompts and answers fit the context")(
            _prompts_fit, config, learner.context, kept, formatter
        )
        findings.append(fits)
        if config.ptx_coef > 0:
            context = context_length(learner.actor)
            findings.append(input_checks.text_is_there(config, context, text))
        findings.append(
            memory.memory_suffices(
                config,
                learner.actor.config,
                learner.reference.config,
                [judge.model.config for judge in (*scorers, *others)],
                max(map(len, formatter.prompts(kept))) + config.sampling.max_new_tokens,
                free,
            )
        )
        if any(finding.verdict == "BAD" for finding in findings):
            return findings
        found = patient.draw(config, learner, scorers, some)
        if near is None:
            findings.append(policy_checks.reference_is_the_policy(found))
        findings += [_guarded(check.__name__)(check, found) for check in _OF_POLICY]
        is_person = given.get("ask_person", False)
        if scorers and not is_person:
            findings.append(reward_checks.end_is_scored(found))
        if (scorers or function) and not is_person:
            findings += [check(found) for check in _OF_REWARD]
        elif not is_person:
            said = "no reward model and no reward function was given: what concerns scores was not examined"
            findings.append(Finding("there is a reward", "look", said))
        if demonstrations is not None:
            findings += reward_checks.demonstrations_score_zero(found, demonstrations)
        return findings + policy_checks.nothing_learned_nothing_changed(found)


def _prompts_fit(
    config: PPOConfig, context: int, prompts: Sequence[Prompt], formatter: Formatter
) -> Finding:
    """Every prompt leaves room for the longest answer.

    Raises:
        DataError: one does not.
    """
    encoded = formatter.prompts_with_room(prompts, config.sampling.max_new_tokens, context)
    longest, answer = max(map(len, encoded)), config.sampling.max_new_tokens
    return Finding(
        "prompts and answers fit the context",
        "ok",
        f"{len(encoded)} prompts of at most {longest} tokens, answers of {answer}, context {context}",
    )


def _guarded(check: str) -> Callable[..., Finding]:
    """Call a check; one that raises has failed, and its error is what it says."""

    def call(function: Callable[..., Finding], *arguments: Any) -> Finding:
        try:
            return function(*arguments)
        except AlignloopError as error:
            return Finding(check.replace("_", " "), "BAD", str(error))

    return call


def before_ppo(config: PPOConfig, **inputs: Any) -> None:
    """Examine a PPO run that is about to begin; says in a line how it went, and what is to be looked at.

    Of several ranks the first examines what needs no model: the models may not fit one process.

    Raises:
        ConfigError: a check failed.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    began = time.perf_counter()
    findings = examine(config, **inputs, loads_models=world_size() == 1)
    bad = [finding for finding in findings if finding.verdict == "BAD"]
    if bad:
        said = "; ".join(f"{finding.check}: {finding.detail}" for finding in bad)
        raise ConfigError(
            f"the doctor advises against this run: {said} (--no-doctor begins it even so)"
        )
    looks = [finding for finding in findings if finding.verdict == "look"]
    more = f", {len(looks)} to look at" if looks else ""
    seconds = time.perf_counter() - began
    passed = len(findings) - len(looks)
    click.echo(f"doctor: {passed} checks passed{more}, {seconds:.1f} s", err=True)
    for finding in looks:
        click.echo(finding.line, err=True)
