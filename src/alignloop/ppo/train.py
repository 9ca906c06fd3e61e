"""The PPO loop in the paper's order: draw, score, estimate advantages, improve policy (with ptx) and values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Unpack

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import write_objects
from alignloop.distributed import World
from alignloop.errors import ConfigError
from alignloop.ppo import alarms
from alignloop.ppo.checks import rewards_never_stopping
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.inputs import PPOInputs, open_inputs
from alignloop.ppo.prompts import asked_in
from alignloop.ppo.rollout import Episodes
from alignloop.ppo.steps import Rollout, advantages, collect, score, update
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.tensors import row_sums

SAMPLES = 64
"""Most episodes in one file of samples."""


def train(config: PPOConfig, run: Run, world: World, **inputs: Unpack[PPOInputs]) -> Artifact:
    """Improve a policy on the `rl` file of a `prompts` artefact; leaves a `policy` artefact."""
    learner, prompts, overlap, watched = open_inputs(config, run, world, inputs)
    iteration = 0
    if found := run.latest_checkpoint():
        iteration, folder = found
        learner.load(folder)
    warn = _Warnings(run)
    planned = config.iterations * config.updates_per_iteration
    if config.export == "ema":
        warn("average", alarms.start_in_average(config.ema_decay, planned))

    with progress(config.iterations, run.stage, "iteration", iteration) as bar:
        while iteration < config.iterations:
            rows = asked_in(iteration, len(prompts), config.batch_size, config.seed)
            clock = _Clock()
            # 1. The policy answers a batch of prompts.
            rollout = collect(learner, [prompts[i] for i in rows], iteration)
            clock.lap("collect")
            # 2. Reward, reference and value function look at the answers.
            episodes = score(learner, rollout)
            if iteration == 0:
                _refuse_rewarding_no_end(episodes, config)
            means = {
                name: float(judge.score(rollout.answered).mean()) for name, judge in watched.items()
            }
            clock.lap("score")
            # 3. Policy and value function are improved, minibatch by minibatch.
            estimates = advantages(episodes, config, learner.kl_coef, iteration)
            figures = update(learner, episodes, estimates, iteration) | means
            clock.lap("update")
            iteration += 1

            tokens = int(episodes.is_response.sum())
            run.log(iteration, figures, **clock.rates(tokens, _passes(figures, config)))
            if world.is_main:
                _look_for_trouble(run, figures, warn)
            if world.is_main and (
                iteration % config.samples_every == 0 or iteration == config.iterations
            ):
                _write_samples(run, iteration, learner.formatter, rollout, episodes)
            bar.set_postfix_str(f"score {float(episodes.scores.mean()):.2f}")
            bar.update()
            is_last = iteration == config.iterations  # lest a full disk at the export cost anything
            if is_last or iteration % config.checkpoint_every == 0 or run.stop_requested():
                run.save_checkpoint(iteration, learner.save)
            if run.stop_requested():
                raise run.interrupt()

    if config.export == "ema":  # `kl_stop` may have skipped updates that were planned
        warn("average", alarms.start_in_average(config.ema_decay, _updates(run, config)))
    facts = {
        "stage": run.stage,
        "method": "PPO-ptx" if config.ptx_coef > 0 else "PPO",
        "weights": config.export,
        "episodes": config.iterations * config.batch_size,
        "updates": _updates(run, config),
        "response_tokens": _response_tokens(run, config),
    }
    if overlap:
        facts["excluded_prompts"] = overlap
    with learner.exported() as write:
        return run.finish("policy", write, facts)


def _refuse_rewarding_no_end(episodes: Episodes, config: PPOConfig) -> None:
    """Stop before the first update where a fixed score would teach the policy never to stop."""
    if config.missing_eos_score is None:
        return
    problem = rewards_never_stopping(episodes.scores, episodes.finished, config.missing_eos_score)
    if problem is not None:
        raise ConfigError(problem)


class _Clock:
    """Seconds and response tokens per second of each phase of an iteration; for timings.jsonl alone."""

    def __init__(self) -> None:
        self._at = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self._laps[phase], self._at = now - self._at, now

    def rates(self, tokens: int, passes: float) -> dict[str, float]:
        """Each phase's seconds, and the response tokens that went through it per second.

        Args:
            passes: how often the updates went over the episodes.
        """
        found: dict[str, float] = {}
        for phase, seconds in self._laps.items():
            times = passes if phase == "update" else 1
            found[f"{phase}_seconds"] = seconds
            found[f"{phase}_tokens_per_second"] = tokens * times / max(seconds, 1e-9)
        return found


class _Warnings:
    """Says each kind of trouble once per run."""

    def __init__(self, run: Run) -> None:
        self._run, self._said = run, set[str]()

    def __call__(self, kind: str, trouble: str | None) -> None:
        if trouble is not None and kind not in self._said:
            self._said.add(kind)
            self._run.warn(trouble)


def _look_for_trouble(run: Run, figures: Mapping[str, float], warn: _Warnings) -> None:
    warn("kl", alarms.far_from_reference(figures["kl_reference"]))
    if "ptx_gradient_norm" in figures:
        norms = figures["ppo_gradient_norm"], figures["ptx_gradient_norm"]
        warn("ptx", alarms.ptx_dominates(*norms))
    if "heldout_score" in figures:
        rows = run.metrics.read()
        scores, heldout = ([row[name] for row in rows] for name in ("score_mean", "heldout_score"))
        warn("reward", alarms.overoptimised(scores, heldout))


def _updates(run: Run, config: PPOConfig) -> int:
    """Optimizer steps of the policy over the whole run; `kl_stop` may have skipped some."""
    planned = config.updates_per_iteration
    return sum(int(row.get("updates", planned)) for row in run.metrics.read())


def _response_tokens(run: Run, config: PPOConfig) -> int:
    """Response tokens that gave gradients over the whole run."""
    rows = run.metrics.read()
    each = (float(row["response_tokens"]) * _passes(row, config) for row in rows)
    return round(sum(each) * config.batch_size)


def _passes(figures: Mapping[str, float], config: PPOConfig) -> float:
    """How often an iteration's updates went over its episodes; `kl_stop` may have skipped some."""
    planned = config.updates_per_iteration
    return config.inner_epochs * figures.get("updates", planned) / planned


def _write_samples(
    run: Run, iteration: int, formatter: Formatter, rollout: Rollout, episodes: Episodes
) -> None:
    """Episodes of an iteration, to read: prompt, response, score, summed log-ratio to the reference."""
    ratios = row_sums(episodes.log_probs - episodes.reference_log_probs, episodes.is_response)
    answered = rollout.answered
    rows = [
        {
            "prompt_id": prompt.id,
            "prompt": prompt.transcript,
            "response": text,
            "score": round(float(episodes.scores[i]), 4),
            "kl_reference": round(float(ratios[i]), 4),
            "finished": bool(episodes.finished[i]),
        }
        for i, (prompt, text) in enumerate(
            zip(answered.prompts[:SAMPLES], answered.texts, strict=False)
        )
    ]
    write_objects(run.folder / "samples" / f"step_{iteration:06d}.jsonl", rows)
