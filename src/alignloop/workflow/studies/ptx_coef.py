"""PPO-ptx at several coefficients over a finished demo: which one keeps what pretraining taught."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignloop.config import load_config
from alignloop.data.jsonl import read_records
from alignloop.data.records import Text
from alignloop.evaluation.config import EvaluationConfig
from alignloop.evaluation.language_model import loss_by_title
from alignloop.files import write_json
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.ppo.config import PPOConfig
from alignloop.resources import recipe
from alignloop.workflow.measure import Yardstick
from alignloop.workflow.stages import run_stage
from alignloop.workflow.studies.sweep import refuse_varied

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
        {"rows": [{ptx_coef, pretrain_loss, ratio, score, gold, win_rate, length, kl, eos_rate}], "chosen": coefficient
        or None}; also written to `demo/studies/ptx.json`. `win_rate` is gold's, against the SFT model.
    """
    refuse_varied("ptx_coef", overrides)
    config = load_config(PPOConfig, recipe("demo", "ppo_ptx.toml"), overrides)
    characters = load_config(EvaluationConfig, recipe("demo", "evaluate.toml")).title_characters
    folder = demo / "studies" / "ptx"
    tokenizer = load_tokenizer(demo / "rl_init" / "artifact")
    texts = read_records(demo / "stories" / "artifact" / "valid.jsonl.gz", Text)
    yardstick = Yardstick(
        folder / "measured",
        prompts=demo / "prompts",
        reward_model=demo / "reward",
        reference=demo / "rl_init",
        sampling=config.sampling,
        seed=config.seed,
        copies=1,
        lexicon=demo / "lexicon",
        baseline=demo / "baseline",
    )

    def examine(name: str, path: Path) -> dict[str, Any]:
        losses = loss_by_title(load_causal_lm(path), tokenizer, texts, characters).values()
        loss = math.fsum(nats for nats, _ in losses) / sum(tokens for _, tokens in losses)
        return {"name": name, "pretrain_loss": loss, **yardstick.measure(path, name)}

    start = examine("rl_init", demo / "rl_init" / "artifact")
    rows: list[dict[str, Any]] = [{**start, "ptx_coef": None, "ratio": 1.0}]
    say(_row(rows[0]))
    for coef in (0.0, *coefs):
        artifact = run_stage(
            "ppo",
            folder / f"coef_{coef:g}",
            config.model_copy(update={"ptx_coef": coef}),
            resume=True,
            doctor=True,
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
        f"score {row['score']:+.3f}   gold {row['gold']:.4f}   wins {row['win_rate']:.1%}   KL {row['kl']:.2f}   "
        f"tokens {row['length']:.1f}"
    )
