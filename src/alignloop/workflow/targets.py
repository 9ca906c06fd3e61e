"""What the demo set out to reach, and whether this run reached it. The list was fixed before the first result."""

from __future__ import annotations

from typing import Any


def judge_targets(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Each target with what was wanted, what was measured, and whether it was met."""
    ptx = results["win_rate"]["ppo_ptx"]
    matched = results["win_rate_length_matched"]["ppo_ptx"]
    rivals = results["win_rate_against"]
    accuracy = results["rm"]["pair_accuracy"]
    even = results["rm"]["pair_accuracy_length_matched"]
    loss = results["pretrain_loss"]
    rows: list[tuple[str, str, str, bool]] = [
        (
            "PPO-ptx against SFT, gold",
            "at least 65 %, interval above 55 %",
            _interval(ptx["gold"]),
            ptx["gold"]["mean"] >= 0.65 and ptx["gold"]["low"] > 0.55,
        ),
        _above_half("PPO-ptx against RL init, gold", rivals["rl_init"]["ppo_ptx"]["gold"]),
        _above_half(
            "PPO-ptx against SFT trained longer, gold", rivals["sft_more"]["ppo_ptx"]["gold"]
        ),
        _above_half("PPO-ptx against SFT, held-out simulated labelers", ptx["heldout_labelers"]),
        _above_half("PPO-ptx against SFT at like length, gold", matched["gold"]),
        (
            "PPO-ptx against SFT, outside judge",
            "not lost: interval not below 50 %",
            _interval(ptx["outside_judge"]),
            ptx["outside_judge"]["high"] >= 0.5,
        ),
        (
            "Pretraining loss: PPO loses more than PPO-ptx",
            "PPO above PPO-ptx",
            f"{loss['ppo']:.3f} and {loss['ppo_ptx']:.3f}",
            loss["ppo"] > loss["ppo_ptx"],
        ),
        (
            "Pretraining loss of PPO-ptx against RL init",
            "within 3 %",
            f"{100 * (loss['ppo_ptx'] / loss['rl_init'] - 1):+.1f} %",
            loss["ppo_ptx"] <= 1.03 * loss["rl_init"],
        ),
        (
            "Reward model's pair accuracy on held-out prompts",
            "at least 68 %",
            f"{100 * accuracy['train_labelers']:.1f} %",
            accuracy["train_labelers"] >= 0.68,
        ),
        _above_rivals("The same, above the better of two simple rivals", accuracy),
        _above_rivals("The same, on pairs of equal length", even),
    ]
    return [
        {"name": name, "wanted": wanted, "measured": measured, "met": bool(met)}
        for name, wanted, measured, met in rows
    ]


def _above_half(name: str, estimate: dict[str, float] | None) -> tuple[str, str, str, bool]:
    return (
        name,
        "interval above 50 %",
        _interval(estimate),
        estimate is not None and estimate["low"] > 0.5,
    )


def _above_rivals(name: str, accuracy: dict[str, float | None]) -> tuple[str, str, str, bool]:
    wanted = "at least 5 points"
    own, longer, bag = (accuracy[key] for key in ("train_labelers", "longer_wins", "bag_of_words"))
    if own is None or longer is None or bag is None:
        return name, wanted, "no pairs", False
    above = own - max(longer, bag)
    return name, wanted, f"{100 * above:+.1f} points", above >= 0.05


def _interval(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "no prompts"
    mean, low, high = (100 * estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % ({low:.1f} to {high:.1f})"
