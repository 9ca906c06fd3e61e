"""Our choice tasks for EleutherAI's lm-evaluation-harness, so that it asks a served policy the very same.

The harness drives a policy through `alignloop serve`, as it drives any OpenAI-style server, with tasks of its own. To
see that both count alike, a task of ours is written as a task of the harness: prompts as a policy gets them from
`evaluate tasks`, begin token and marks included, the same choices, and a rule that chooses as we do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import write_objects
from alignloop.errors import DataError
from alignloop.evaluation.suite.choosing import choose
from alignloop.evaluation.suite.config import Format
from alignloop.evaluation.suite.prompting import Asked, Prompter
from alignloop.evaluation.tasks.task import Item, Setting, Task
from alignloop.files import write_bytes
from alignloop.models.loading import context_of, load_tokenizer

RULE = "alignloop_rule"
"""Module beside the tasks that chooses as `evaluate tasks` does."""
_RULE = '''"""How alignloop chooses, by the mean log-probability per token; and by the total, as the harness's `acc`."""


def process_results(doc, results):
    totals = [total for total, _ in results]
    means = [total / count for total, count in zip(totals, doc["tokens"])]
    return {
        "accuracy": float(means.index(max(means)) == doc["label"]),
        "acc": float(totals.index(max(totals)) == doc["label"]),
    }
'''
_TASK = """task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {items}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: choices
doc_to_target: label
target_delimiter: ""
process_results: !function {rule}.process_results
metric_list:
  - metric: accuracy
    aggregation: mean
    higher_is_better: true
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""


@dataclass(frozen=True, slots=True)
class Written:
    """A task of the harness that was written."""

    name: str
    """What the harness calls it."""
    items: int
    differing: int
    """Items whose tokens are not those of `evaluate tasks`: the harness reads prompt and choice as one text, and has
    room for a token less, since it draws one behind the choice."""


def write_harness_tasks(
    task: Task, file: Path, policy: Path, form: Format, out: Path, *, seed: int, limit: int | None
) -> list[Written]:
    """Write a task under every setting as a YAML file with its items beside it.

    Args:
        policy: whose tokenizer and context the prompts are for.
        form: as `evaluate tasks` asks it.
        out: folder; a task that is there is written anew.
        seed, limit: as of `evaluate tasks`; the same draw the same items.

    Raises:
        DataError: the task has no choices, or a file cannot be used.
        ModelError: the tokenizer cannot be used.
    """
    chosen = choose(task, file, seed, limit, None)
    if not chosen.items[0].choices:
        raise DataError(f"task '{task.name}' is written and not chosen; the harness gets choices")
    formatter = Formatter.of(load_tokenizer(policy, may_pad_with_end=True))
    context = context_of(AutoConfig.from_pretrained(str(policy), local_files_only=True))
    ours = Prompter(formatter, form, context)
    theirs = Prompter(formatter, form, context - 1)
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / f"{RULE}.py", _RULE.encode())
    written: list[Written] = []
    for setting in task.settings(None):
        name = _name(task, setting)
        rows: list[dict[str, Any]] = []
        differing = 0
        for item in chosen.items:
            room = ours.longest_choice(item)
            given = (setting, chosen.examples, item, task.separator, room)
            asked = theirs.prompt(*given)
            rows.append(_row(formatter, asked, theirs.choices(asked, item), item))
            is_same = asked.tokens == ours.prompt(*given).tokens
            differing += not (is_same and _is_read(formatter, asked, rows[-1]))
        items = out / f"{name}.jsonl"
        write_objects(items, rows)
        described = _TASK.format(name=name, items=json.dumps(str(items.resolve())), rule=RULE)
        write_bytes(out / f"{name}.yaml", described.encode())
        written.append(Written(name, len(rows), differing))
    return written


def _name(task: Task, setting: Setting) -> str:
    """Letters, digits and underscores: `alignloop_truthfulqa_mc_instruction_qa`."""
    parts = [task.name] if len(task.settings(None)) == 1 else [task.name, setting.name]
    return "alignloop_" + re.sub(r"[^a-z0-9]+", "_", "_".join(parts).lower()).strip("_")


def _row(
    formatter: Formatter, asked: Asked, choices: Sequence[Sequence[int]], item: Item
) -> dict[str, Any]:
    return {
        "id": item.id,
        "context": _spelled(formatter, asked.tokens),
        "choices": [_spelled(formatter, tokens) for tokens in choices],
        "label": item.about["label"],
        "tokens": list(map(len, choices)),
    }


def _spelled(formatter: Formatter, tokens: Sequence[int]) -> str:
    return str(
        formatter.tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
    )


def _is_read(formatter: Formatter, asked: Asked, row: dict[str, Any]) -> bool:
    """Whether the harness finds the prompt's tokens, and so many behind them for each choice as there are.

    It takes the tokens of the whole, and for the choice's what is beyond those of the context alone; white space at the
    context's end goes to the choice.
    """
    context: str = row["context"]
    kept = context.rstrip()

    def read(text: str) -> list[int]:
        return list(formatter.tokenizer(text, add_special_tokens=False)["input_ids"])

    if read(kept) != list(asked.tokens):
        return False
    for choice, count in zip(row["choices"], row["tokens"], strict=True):
        whole = read(context + choice)
        if (
            whole[: len(asked.tokens)] != list(asked.tokens)
            or len(whole) - len(asked.tokens) != count
        ):
            return False
    return True
