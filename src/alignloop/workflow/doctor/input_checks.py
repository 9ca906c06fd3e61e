"""Checks that need no model: prompts, tokenizers, chat template, and what the config plans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignloop.data.formatter import Formatter
from alignloop.data.records import Prompt
from alignloop.models.loading import check_same_tokens
from alignloop.ppo import alarms
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.prompts import kind_with_prompts, prompts_in, refuse_labelers, without
from alignloop.runs.artifact import open_artifact
from alignloop.workflow.doctor.findings import Finding, finding


def tokens_are_shared(policy: Path, others: Sequence[Path]) -> Finding:
    """Reward models and reference read the policy's token ids.

    Raises:
        ModelError: one has another vocabulary, or another end token.
    """
    check_same_tokens(policy, *others)
    return Finding("all models read the policy's tokens", "ok", "vocabulary and EOS are the same")


def pad_is_not_end(formatter: Formatter) -> Finding:
    """That they differ was made sure of when the tokenizer was read."""
    marks = formatter.tokenizer.convert_ids_to_tokens([formatter.end, formatter.pad])
    if formatter.tokenizer.pad_token_id is None:
        return Finding("pad is not EOS", "ok", f"EOS '{marks[0]}', no pad token")
    return Finding("pad is not EOS", "ok", f"EOS '{marks[0]}', pad '{marks[1]}'")


def chat_template_agrees(formatter: Formatter, prompts: Sequence[Prompt]) -> Finding:
    """Other tools call apply_chat_template; what they feed the policy should be what it was trained on."""
    check, tokenizer = "apply_chat_template formats as we do", formatter.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        return Finding(
            check,
            "look",
            "the tokenizer has no chat template, so other tools would format prompts in their own way; "
            "a policy that alignloop sft wrote has one",
        )
    differing: list[Prompt] = []
    for prompt, ours in zip(prompts, formatter.prompts(prompts), strict=True):
        turns = [*((turn.role, turn.text) for turn in prompt.history), ("user", prompt.text)]
        messages = [{"role": role, "content": text} for role, text in turns]
        whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if tokenizer(whole, add_special_tokens=False)["input_ids"] != ours:
            differing.append(prompt)
    return finding(
        check,
        not differing,
        f"{len(prompts) - len(differing)} of {len(prompts)} prompts are the same tokens",
        f"'{differing[0].id if differing else ''}' is not: its text holds a special token or white space at an end, or "
        "the template joins it to its marks; serve the policy with tokens that alignloop made",
        otherwise="look",
    )


def prompts_are_customers(config: PPOConfig, prompts: Sequence[Prompt]) -> Finding:
    """The paper's RL prompts are customers'.

    Raises:
        ConfigError: some are written by labelers, and the config does not allow that.
    """
    if not config.allow_labeler_prompts:
        refuse_labelers(prompts)
    written = sum(prompt.source.startswith("labeler") for prompt in prompts)
    return Finding(
        "prompts are customers'", "ok", f"{written} of {len(prompts)} were written by labelers"
    )


def left_over(prompts: Sequence[Prompt], exclude: Sequence[Path]) -> tuple[list[Prompt], Finding]:
    """The prompts that no earlier stage had.

    Raises:
        DataError: none is left.
    """
    check = "prompts are new to the models"
    if not exclude:
        return list(prompts), Finding(check, "ok", "not asked for (--exclude-prompts-from)")
    earlier = {
        str(path): prompts_in(open_artifact(path, kind_with_prompts(path))) for path in exclude
    }
    kept, overlap = without(prompts, earlier)
    told = ", ".join(f"{count} in {path}" for path, count in overlap.items())
    return kept, Finding(check, "ok", f"{len(kept)} of {len(prompts)} are; left out: {told}")


def average_forgets_the_start(config: PPOConfig) -> Finding:
    """The exported average should hold little of the initial weights."""
    updates = config.iterations * config.updates_per_iteration
    trouble = alarms.start_in_average(config.ema_decay, updates) if config.export == "ema" else None
    measured = f"{updates} updates, ema_decay {config.ema_decay:g}, export '{config.export}'"
    return finding(
        "the average forgets the start", trouble is None, measured, trouble or "", "look"
    )


def text_is_there(config: PPOConfig, context: int, text: Path | None) -> Finding:
    """Pretraining gradients need text, in blocks that fit the context."""
    check = "pretraining text is there"
    if text is None:
        said = f"ptx_coef = {config.ptx_coef:g} and no --text; give it, or set ptx_coef = 0"
        return Finding(check, "BAD", said)
    return finding(
        check,
        config.ptx_tokens <= context,
        f"blocks of ptx_tokens = {config.ptx_tokens} in a context of {context}",
        "lower ptx_tokens to the context",
    )
