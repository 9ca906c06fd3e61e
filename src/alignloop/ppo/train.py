"""The PPO loop in the paper's order: draw, score, estimate advantages, improve policy (with ptx) and values."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from alignloop.data.batches import PackedText
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records, write_objects
from alignloop.data.records import Prompt
from alignloop.distributed import World
from alignloop.errors import ConfigError
from alignloop.judges.gold import Gold
from alignloop.judges.lexicon import Lexicon
from alignloop.models.backbone import Backbone, scorer_on
from alignloop.models.compilation import compile_to_width
from alignloop.models.loading import check_same_tokens, context_length, sharded
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo import alarms
from alignloop.ppo.checks import rewards_never_stopping
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.learner import Learner, open_backbone
from alignloop.ppo.prompts import (
    asked_in,
    kind_with_prompts,
    prompts_in,
    refuse_labelers,
    without,
)
from alignloop.ppo.rewards import (
    FunctionReward,
    PersonReward,
    Reward,
    RewardModels,
    load_function,
)
from alignloop.ppo.rollout import Episodes
from alignloop.ppo.steps import Rollout, advantages, collect, score, update
from alignloop.progress import progress, say
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed
from alignloop.tensors import row_sums
from alignloop.training.pretraining_text import read_pretraining_text

SAMPLES = 64
"""Most episodes in one file of samples."""


def train(
    config: PPOConfig,
    run: Run,
    world: World,
    *,
    policy: Path,
    prompts: Path,
    reward_model: Path | None = None,
    more_reward_models: Sequence[Path] = (),
    reward_function: str | None = None,
    ask_person: bool = False,
    heldout_reward_model: Path | None = None,
    gold: Path | None = None,
    reference: Path | None = None,
    exclude_prompts_from: Sequence[Path] = (),
    text: Path | None = None,
) -> Artifact:
    """Improve `policy` on the `rl` file of a `prompts` artefact; leaves a `policy` artefact.

    The score comes from the reward models, or from a Python
    function, or from a person at the terminal. Held-out reward model and gold judge are logged, and never learned from.

    Args:
        reward_function: `FILE.py:NAME` or `package.module:NAME`.
        gold: a `lexicon` artefact.
        reference: a `policy` to stay near; where absent it is the policy as it starts, as in the paper [PPO-16].
        exclude_prompts_from: artefacts of earlier stages whose prompts are not to be asked.
    """
    start = run.input("policy", policy, "policy")
    near = run.input("reference", reference, "policy").path if reference is not None else None
    if near is not None:
        check_same_tokens(start.path, near)
    backbone = open_backbone(config, start.path)
    models = _reward_models(
        config, run, start.path, reward_model, more_reward_models, backbone, world
    )
    asked = run.input("prompts", prompts, "prompts")
    reward = _reward(config, run, models, reward_function, ask_person, world)
    watched = _watched(config, run, start.path, heldout_reward_model, gold, backbone, world)
    learner = Learner.open(
        config,
        start.path,
        reward,
        value_start=(models[0][0] if backbone is None else models[0][1]) if models else None,
        reference=near,
        backbone=backbone,
        world=world,
    )
    for judge in watched.values():
        if isinstance(judge, RewardModels):
            learner.context = min(learner.context, judge.context)
    records, overlap = _prompts(config, run, asked, exclude_prompts_from)
    if world.is_main:
        for path, count in zip(exclude_prompts_from, overlap.values(), strict=False):
            say(f"left out: {count} prompts that {path} has; {len(records)} to ask")
    learner.formatter.prompts_with_room(records, config.sampling.max_new_tokens, learner.context)
    learner.packed = _pretraining_text(config, run, text, learner)
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
            rows = asked_in(iteration, len(records), config.batch_size, config.seed)
            clock = _Clock()
            # 1. The policy answers a batch of prompts.
            rollout = collect(learner, [records[i] for i in rows], iteration)
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


def _reward_models(
    config: PPOConfig,
    run: Run,
    policy: Path,
    first: Path | None,
    more: Sequence[Path],
    backbone: Backbone | None,
    world: World,
) -> list[tuple[Path, ScalarModel]]:
    """Every reward model and its folder; the first is also what the value function starts from."""
    given = {"reward_model": first} if first is not None else {}
    given |= {f"reward_model-{n}": path for n, path in enumerate(more, start=2)}
    opened = {role: run.input(role, path, "reward-model").path for role, path in given.items()}
    return [
        (path, _frozen(config, policy, path, role, backbone, world))
        for role, path in opened.items()
    ]


def _frozen(
    config: PPOConfig, policy: Path, path: Path, role: str, backbone: Backbone | None, world: World
) -> ScalarModel:
    check_same_tokens(policy, path)
    scorer = ScalarModel.load(path) if backbone is None else scorer_on(backbone, role, path)
    scorer.requires_grad_(False)
    if config.compile:
        compile_to_width([scorer.model], config.micro_batch_tokens, world, config.adapters)
    sharded(scorer.model, world)
    return scorer


def _reward(
    config: PPOConfig,
    run: Run,
    models: Sequence[tuple[Path, ScalarModel]],
    function: str | None,
    ask_person: bool,
    world: World,
) -> Reward:
    """The one source of the score.

    Raises:
        ConfigError: there is none, or more than one; or a person would keep several ranks waiting.
    """
    if (function is not None) + ask_person > 1 or not (models or function or ask_person):
        raise ConfigError(
            "the score comes from --reward-model, --reward-function or --ask-person: give one of them "
            "(a reward model beside one of the others starts the value function)"
        )
    if function is not None:
        loaded, file = load_function(function)
        run.input_file("reward_function", file)
        return FunctionReward(loaded, function, world)
    if ask_person:
        if world.size > 1:
            raise ConfigError("--ask-person works in one process: start it without torchrun")
        return PersonReward(run.folder / "judgments.jsonl")
    members = [member for _, member in models]
    return RewardModels(
        members, config.micro_batch_tokens, config.reward_combine, config.precision, world
    )


def _watched(
    config: PPOConfig,
    run: Run,
    policy: Path,
    heldout: Path | None,
    gold: Path | None,
    backbone: Backbone | None,
    world: World,
) -> dict[str, Reward]:
    """What is logged beside the reward, by metric."""
    found: dict[str, Reward] = {}
    if heldout is not None:
        role = "heldout_reward_model"
        opened = run.input(role, heldout, "reward-model")
        members = [_frozen(config, policy, opened.path, role, backbone, world)]
        found["heldout_score"] = RewardModels(
            members, config.micro_batch_tokens, precision=config.precision, world=world
        )
    if gold is not None:
        lexicon = run.input("gold", gold, "lexicon").file("lexicon.json.gz")
        judge = Gold(Lexicon.load(lexicon))

        def utilities(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
            return [judge.utility(p, text) for p, text in zip(prompts, texts, strict=True)]

        found["gold_score"] = FunctionReward(utilities, judge.name, world)
    return found


def _prompts(
    config: PPOConfig, run: Run, asked: Artifact, exclude: Sequence[Path]
) -> tuple[list[Prompt], dict[str, int]]:
    """The prompts to ask, and how many each excluded artefact had of them."""
    records = read_records(asked.file("rl.jsonl.gz"), Prompt)
    if not config.allow_labeler_prompts:
        refuse_labelers(records)
    earlier: dict[str, list[Prompt]] = {}
    for number, path in enumerate(exclude, start=1):
        role = f"exclude_prompts_from-{number}"
        earlier[role] = prompts_in(run.input(role, path, kind_with_prompts(path)))
    return without(records, earlier) if earlier else (records, {})


def _refuse_rewarding_no_end(episodes: Episodes, config: PPOConfig) -> None:
    """Stop before the first update where a fixed score would teach the policy never to stop."""
    if config.missing_eos_score is None:
        return
    problem = rewards_never_stopping(episodes.scores, episodes.finished, config.missing_eos_score)
    if problem is not None:
        raise ConfigError(problem)


def _pretraining_text(
    config: PPOConfig, run: Run, text: Path | None, learner: Learner
) -> PackedText | None:
    if config.ptx_coef == 0:
        return None
    return read_pretraining_text(
        run,
        text,
        learner.tokenizer,
        needed_by="ptx_coef",
        width_field="ptx_tokens",
        width=config.ptx_tokens,
        context=context_length(learner.actor),
        seed=derive_seed(config.seed, "ptx"),
    )


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
