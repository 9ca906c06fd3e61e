"""Studies over a finished demo: commands of their own, since each takes many times the demo's time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignloop.config import load_config
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt, Text
from alignloop.evaluation.config import EvaluationConfig
from alignloop.evaluation.language_model import loss_by_title
from alignloop.files import write_json
from alignloop.generation.answers import answer
from alignloop.judges.gold import Gold
from alignloop.judges.lexicon import Lexicon
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.ppo.config import PPOConfig
from alignloop.resources import recipe
from alignloop.workflow.stages import run_stage
from alignloop.workflow.sweep import refuse_varied

PTX_COEFS = (0.3, 1.0, 3.0, 10.0, 27.8)
"""The values that the demo's rule chooses from; 27.8 is the paper's."""
ALLOWED_LOSS = 1.03
"""How many times the RL initialisation's pretraining loss a policy's may be."""


def ptx_sweep(
    demo: Path,
    say: Callable[[str], None],
    *,
    coefs: Sequence[float] = PTX_COEFS,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """PPO-ptx at several coefficients from one demo's RL initialisation, judged on *validation* titles and prompts.

    Returns:
        {"rows": [{ptx_coef, pretrain_loss, ratio, score, gold, length}], "chosen": coefficient or None}; also written
        to `demo/studies/ptx.json`.
    """
    refuse_varied("ptx_coef", overrides)
    config = load_config(PPOConfig, recipe("demo", "ppo_ptx.toml"), overrides)
    characters = load_config(EvaluationConfig, recipe("demo", "evaluate.toml")).title_characters
    folder = demo / "studies" / "ptx"
    formatter = Formatter.of(load_tokenizer(demo / "rl_init" / "artifact"))
    texts = read_records(demo / "stories" / "artifact" / "valid.jsonl.gz", Text)
    prompts = read_records(demo / "prompts" / "artifact" / "valid.jsonl.gz", Prompt)
    scorer = ScalarModel.load(demo / "reward" / "artifact").eval()
    gold = Gold(Lexicon.load(demo / "lexicon" / "artifact" / "lexicon.json.gz"))

    def examine(name: str, path: Path) -> dict[str, Any]:
        model = load_causal_lm(path)
        losses = loss_by_title(model, formatter.tokenizer, texts, characters).values()
        answers = [
            group[0]
            for group in answer(model, formatter, prompts, config.sampling, config.seed, name)
        ]
        scores = reward_scores(scorer, formatter, prompts, [a.tokens for a in answers])
        worth = [gold.utility(p, a.completion.text) for p, a in zip(prompts, answers, strict=True)]
        return {
            "name": name,
            "pretrain_loss": math.fsum(n for n, _ in losses) / sum(t for _, t in losses),
            "score": math.fsum(scores) / len(scores),
            "gold": math.fsum(worth) / len(worth),
            "length": sum(len(a.tokens) for a in answers) / len(answers),
        }

    start = examine("rl_init", demo / "rl_init" / "artifact")
    rows: list[dict[str, Any]] = [{**start, "ptx_coef": None, "ratio": 1.0}]
    say(_row(rows[0]))
    for coef in (0.0, *coefs):
        artifact = run_stage(
            "ppo",
            folder / f"coef_{coef:g}",
            config.model_copy(update={"ptx_coef": coef}),
            resume=True,
            policy=demo / "rl_init",
            reward_model=demo / "reward",
            prompts=demo / "prompts",
            text=demo / "stories",
        )
        found = examine(f"ptx {coef:g}", artifact.path)
        rows.append(
            {**found, "ptx_coef": coef, "ratio": found["pretrain_loss"] / start["pretrain_loss"]}
        )
        say(_row(rows[-1]))
    result = {"rows": rows, "chosen": smallest_allowed(rows)}
    write_json(demo / "studies" / "ptx.json", result)
    return json.loads((demo / "studies" / "ptx.json").read_text())


def smallest_allowed(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The rule: the smallest coefficient above 0 that keeps the pretraining loss within 3 % of RL init's."""
    allowed = [row["ptx_coef"] for row in rows if row["ptx_coef"] and row["ratio"] <= ALLOWED_LOSS]
    return min(allowed, default=None)


def _row(row: dict[str, Any]) -> str:
    return (
        f"{row['name']:<10} pretraining loss {row['pretrain_loss']:.4f} (x {row['ratio']:.3f})   "
        f"score {row['score']:+.3f}   gold {row['gold']:.4f}   tokens {row['length']:.1f}"
    )
