"""Expert iteration: sample n answers per prompt, keep the best by the reward model, fine-tune on them, and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from alignloop.config import Config
from alignloop.errors import ConfigError
from alignloop.files import write_json
from alignloop.sampling.config import RejectionConfig
from alignloop.seeds import derive_seed
from alignloop.sft.config import SFTConfig
from alignloop.workflow.measure import Yardstick
from alignloop.workflow.stages import run_stage


class ExpertIterationConfig(Config):
    """Rounds of rejection sampling and SFT, each from the policy of the round before."""

    rounds: int = Field(default=3, gt=0)
    """How often."""
    rejection: RejectionConfig = RejectionConfig()
    """How answers are drawn and kept; each round draws with a seed of its own, made from this one."""
    sft: SFTConfig = SFTConfig(epochs=1)
    """How each round learns from them; each round orders them with a seed of its own, made from this one."""
    copies: int = Field(default=1, gt=0)
    """Answers per validation prompt that each round's policy is measured on."""


def expert_iteration(
    folder: Path,
    config: ExpertIterationConfig,
    say: Callable[[str], None],
    *,
    model: Path,
    reward_model: Path,
    prompts: Path,
    file: str,
) -> dict[str, Any]:
    """Run the rounds in `folder`, or go on with them; every stage is a run folder of its own.

    Args:
        say: gets a line per round.
        file: which of the prompts artefact's files is answered.

    Returns:
        {"rows": [{round, score, kl, length, eos_rate, kept_score}]}, round 0 being the start, on *validation*
        prompts; also written to `folder/rounds.json`.
    """
    if config.sft.pretraining_mix:
        raise ConfigError(
            "sft.pretraining_mix is not for expert iteration, which has no text; set it to 0"
        )
    yardstick = Yardstick(
        folder / "measured",
        prompts=prompts,
        reward_model=reward_model,
        reference=model,
        sampling=config.rejection.sampling,
        seed=config.rejection.seed,
        copies=config.copies,
    )
    rows: list[dict[str, Any]] = [{"round": 0, **yardstick.measure(model, "round_00")}]
    say(_row(rows[0]))
    policy = model
    for number in range(1, config.rounds + 1):
        place = folder / f"round_{number:02d}"
        rejection, sft = (
            one.model_copy(update={"seed": derive_seed(one.seed, "round", number)})
            for one in (config.rejection, config.sft)
        )
        kept = run_stage(
            "reject",
            place / "kept",
            rejection,
            resume=True,
            model=policy,
            reward_model=reward_model,
            prompts=prompts,
            file=file,
            name=f"round-{number - 1}",
        )
        policy = run_stage(
            "sft", place / "sft", sft, resume=True, model=policy, demonstrations=kept.path
        ).path
        figures = yardstick.measure(policy, f"round_{number:02d}")
        rows.append(
            {"round": number, **figures, "kept_score": kept.facts["mean_score_kept"]},
        )
        say(_row(rows[-1]))
    result = {"rows": rows}
    write_json(folder / "rounds.json", result)
    return result


def _row(row: dict[str, Any]) -> str:
    kept = f"   kept answers {row['kept_score']:+.3f}" if "kept_score" in row else ""
    return (
        f"round {row['round']:<3} score {row['score']:+.3f}   KL to the start {row['kl']:.2f} nats   "
        f"tokens {row['length']:.1f}   ended {row['eos_rate']:.0%}{kept}"
    )
