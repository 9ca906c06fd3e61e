"""PPO as a whole, through its real loop: step 0, the sum of two gradients, frozen models, biases, exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from alignloop.data.batches import PackedText, Ragged
from alignloop.data.formatter import Formatter
from alignloop.generation.native import NativeEngine
from alignloop.models.loading import backbone_of, load_causal_lm, load_tokenizer, output_weight
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo import gradients as ppo_gradients
from alignloop.ppo import learner as ppo_learner
from alignloop.ppo import steps
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.objective import policy_loss
from alignloop.ppo.report import Tally
from alignloop.ppo.rewards import Answered, RewardModels
from alignloop.ppo.rollout import Episodes, make_episodes
from alignloop.runs.artifact import open_artifact
from alignloop.tensors import row_sums, token_log_probs, whiten
from tests.helpers import (
    ARCHITECTURES,
    PPO,
    REWARD,
    demonstration,
    metrics,
    prompt,
    run,
    tiny_model,
    tiny_tokenizer,
    write_demonstrations,
    write_model,
    write_ppo_inputs,
    write_rankings,
)

FROZEN = {
    "policy_optimizer": {"learning_rate": 1e-15, "schedule": "constant"},
    "value_optimizer": {"learning_rate": 1e-15, "schedule": "constant"},
}
"""As near to a learning rate of 0 as a config allows: no float32 weight moves."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_ppo_inputs(tmp_path_factory.mktemp("inputs"))


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def gradients(model: torch.nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


# --- step 0 ---


@pytest.mark.parametrize("budget", [1, 100_000])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_while_nothing_has_changed_the_ratio_is_one_and_the_kl_is_zero(
    inputs: dict[str, Path], tmp_path: Path, budget: int, temperature: float
) -> None:
    """For every token, whatever the micro-batches: sampler, trainer and reference agree."""
    changes = {
        "micro_batch_tokens": budget,
        "sampling": {"max_new_tokens": 10, "temperature": temperature},
        "inner_epochs": 2,
    }

    run("ppo", tmp_path / "run", PPO | FROZEN | changes, **inputs)

    rows = metrics(tmp_path / "run")
    assert len(rows) == 6
    for row in rows:
        assert row["ratio_max"] == pytest.approx(1, abs=1e-5)
        assert row["clip_fraction"] == 0
        assert row["approx_kl"] < 1e-11
        assert abs(row["kl_reference"]) < 1e-4
        assert abs(row["policy_loss"]) < 1e-5, "whitened advantages cancel"
        assert row["ptx_gradient_norm"] > 1e-3
    assert 0 < sum(row["eos_rate"] for row in rows) < 6, (
        "episodes that ended, and some that did not"
    )


def test_in_bfloat16_the_ratio_starts_at_one_as_well(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """The sampler computes in float32: the old log-probabilities must be the trainer's."""
    sampling = {"max_new_tokens": 10, "temperature": 0.7}
    changes = {"precision": "bfloat16", "sampling": sampling}

    run("ppo", tmp_path / "run", PPO | FROZEN | changes, **inputs)

    for row in metrics(tmp_path / "run"):
        assert row["ratio_max"] == pytest.approx(1, abs=1e-3)
        assert row["approx_kl"] < 1e-7
        assert abs(row["kl_reference"]) < 1e-4


def test_a_models_own_dropout_is_off_in_all_four_models(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """GPT-2 brings dropout of 0.1 along; with it the ratio would not be 1, nor the KL 0."""
    model = write_model(tmp_path / "model", "gpt2")
    judged = {"rankings": tmp_path / "rankings", "demonstrations": tmp_path / "demos"}
    write_rankings(judged["rankings"])
    write_demonstrations(judged["demonstrations"])
    run("reward", tmp_path / "reward", REWARD, model=model, **judged)
    others = inputs | {"policy": model, "reward_model": tmp_path / "reward"}

    run("ppo", tmp_path / "run", PPO | FROZEN, **others)

    for row in metrics(tmp_path / "run"):
        assert row["ratio_max"] == pytest.approx(1, abs=1e-5)
        assert abs(row["kl_reference"]) < 1e-4


def test_every_prompt_is_asked_in_turn_and_answered_anew(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """24 episodes over 6 prompts: each is asked four times, in a new order each time, and drawn with new seeds."""
    run("ppo", tmp_path / "run", PPO | FROZEN | {"samples_every": 1}, **inputs)

    asked: list[str] = []
    answers: dict[str, set[str]] = {}
    for path in sorted((tmp_path / "run" / "samples").iterdir()):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            asked.append(row["prompt_id"])
            answers.setdefault(row["prompt_id"], set()).add(row["response"])

    passes = [asked[at : at + 6] for at in range(0, 24, 6)]
    assert all(sorted(one) == sorted(f"prompt-{i}" for i in range(6)) for one in passes)
    assert len({tuple(one) for one in passes}) > 1
    assert sum(map(len, answers.values())) > 18, "the policy is the same, the draws are not"


def test_the_minibatches_of_an_iteration_are_its_episodes_once_per_inner_epoch() -> None:
    settings = config(batch_size=8, minibatch_size=2, inner_epochs=3)

    found = steps.minibatches(5, settings)

    assert all(len(rows) == 2 for rows in found)
    epochs = [[i for rows in found[at : at + 4] for i in rows] for at in (0, 4, 8)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3, "shuffled anew"
    assert found == steps.minibatches(5, settings) != steps.minibatches(6, settings)


def test_what_is_logged_adds_up(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Reward = score less KL penalty less the penalty for a missing end; Eq. 2 from its three terms."""
    run("ppo", tmp_path / "run", PPO | {"missing_eos_penalty": 2.5, "kl_coef": 0.3}, **inputs)

    rows = metrics(tmp_path / "run")
    for row in rows:
        missing = 2.5 * (1 - row["eos_rate"])
        expected = row["score_mean"] - row["kl_penalty"] - missing
        assert row["reward_mean"] == pytest.approx(expected, abs=1e-5)
        assert row["kl_penalty"] == pytest.approx(0.3 * row["kl_reference"], abs=1e-8)
        objective = row["score_mean"] - row["kl_penalty"] - 0.5 * row["pretraining_loss"]
        assert row["objective"] == pytest.approx(objective, abs=1e-6)
    assert abs(rows[0]["kl_reference"]) < 1e-4
    assert abs(rows[-1]["kl_reference"]) > 1e-3, "the policy moved"


# --- episodes and gradients ---


@pytest.fixture(scope="module", params=ARCHITECTURES)
def episodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, ScalarModel, Episodes]:
    """A policy, a critic, and episodes of unequal prompts and responses; the policy has moved since it drew them."""
    actor = tiny_model(request.param)
    scorer = ScalarModel.load(write_model(tmp_path_factory.mktemp("model"), request.param))
    scorer.new_head(5)
    made = draw(actor, scorer)
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter += 0.005 * torch.ones_like(parameter)
    return actor, scorer, made


def draw(actor: PreTrainedModel, scorer: ScalarModel, budget: int = 10_000) -> Episodes:
    formatter = Formatter.of(tiny_tokenizer())
    prompts = [formatter.prompt(prompt(i, text="go " * (1 + i % 4))) for i in range(8)]
    sampling = PPOConfig.model_validate(PPO).sampling
    responses = NativeEngine(actor, formatter.end).generate(prompts, list(range(8)), sampling)
    batch = Ragged.of(prompts, [response.tokens for response in responses], formatter.pad)
    return make_episodes(
        batch,
        responses,
        RewardModels([scorer], budget).score(Answered([], [], batch)),
        actor=actor,
        reference=actor,
        value_function=scorer,
        temperature=1.0,
        budget=budget,
        trusts_sampler=True,
    )


def config(**changes: Any) -> PPOConfig:
    return PPOConfig.model_validate(PPO | changes)


def test_episodes_do_not_depend_on_micro_batches_and_keep_their_order(
    episodes: tuple[PreTrainedModel, ScalarModel, Episodes],
) -> None:
    _, scorer, whole = episodes
    actor = tiny_model(backbone_of(episodes[0]).config.model_type)

    parts = draw(actor, scorer, budget=1)

    assert torch.equal(parts.batch.tokens, whole.batch.tokens)
    for name in ("reference_log_probs", "values", "scores", "log_probs"):
        torch.testing.assert_close(
            getattr(parts, name), getattr(whole, name), atol=1e-5, rtol=0, msg=name
        )
    ratio = whole.log_probs - whole.reference_log_probs
    assert float(ratio.abs().max()) < 1e-5, "the policy is its own reference"
    some = whole.rows([5, 2])
    assert some.lengths() == [whole.lengths()[5], whole.lengths()[2]]
    assert torch.equal(some.scores, whole.scores[[5, 2]])


def test_gradients_add_up_over_micro_batches(
    episodes: tuple[PreTrainedModel, ScalarModel, Episodes],
) -> None:
    """The clipped surrogate, the value loss and ptx: one forward pass, or one for each row."""
    actor, critic, made = episodes
    advantages = whiten(torch.randn(made.log_probs.shape), made.is_response)
    packed = PackedText([[40 + i for i in range(60)]] * 3, 1, 24, seed=1)

    def both(budget: int) -> list[list[Tensor]]:
        settings, tally, found = config(micro_batch_tokens=budget), Tally(), []
        actor.zero_grad()
        ppo_gradients.accumulate_policy(actor, made, advantages, advantages, settings, 0, tally)
        found.append(gradients(actor))
        actor.zero_grad(set_to_none=False)
        ppo_gradients.accumulate_ptx(actor, packed, settings, 0, tally)
        found.append(gradients(actor))
        actor.zero_grad()
        critic.zero_grad()
        ppo_gradients.accumulate_value(critic, made, advantages, settings, 0, tally)
        found.append(gradients(critic))
        critic.zero_grad()
        return found

    for whole, parts in zip(both(1_000_000), both(1), strict=True):
        scale = max(float(g.abs().max()) for g in whole)
        assert scale > 1e-4
        for one, other in zip(whole, parts, strict=True):
            torch.testing.assert_close(other, one, atol=2e-5 * scale, rtol=0)


def test_ppo_ptx_adds_two_gradients_before_one_step(
    episodes: tuple[PreTrainedModel, ScalarModel, Episodes],
) -> None:
    """g = g_ppo + 27.8 g_ptx: two real backward passes into the same buffers, against one summed loss in plain code."""
    actor, _, made = episodes
    advantages = whiten(torch.randn(made.log_probs.shape), made.is_response)
    packed = PackedText([[40 + i for i in range(60)]] * 3, 1, 24, seed=1)
    settings, tally = config(ptx_coef=27.8), Tally()

    actor.zero_grad()
    ppo_gradients.accumulate_policy(actor, made, advantages, advantages, settings, 3, tally)
    ppo_alone = gradients(actor)
    ppo_gradients.accumulate_ptx(actor, packed, settings, 3, tally)
    found = gradients(actor)
    tally.add_ratios((made.log_probs - made.log_probs)[made.is_response], 0.2)
    figures = tally.means()

    blocks = packed.batch(3 * 2, 2)
    actor.zero_grad()
    states = backbone_of(actor)(input_ids=blocks[:, :-1]).last_hidden_state
    text = token_log_probs(states.flatten(0, 1), output_weight(actor), blocks[:, 1:].flatten())
    logits = actor(made.batch.tokens).logits
    log_probs = torch.zeros(made.log_probs.shape)
    log_probs[:, 1:] = torch.log_softmax(logits[:, :-1], dim=-1).gather(
        2, made.batch.tokens[:, 1:, None]
    )[..., 0]
    surrogate = policy_loss(log_probs, made.log_probs, advantages, made.is_response, 0.2)
    (surrogate.total / surrogate.count - 27.8 * text.mean()).backward()
    expected = gradients(actor)
    actor.zero_grad()

    scale = max(float(g.abs().max()) for g in expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5 * scale, rtol=0)
    ptx = [both - first for both, first in zip(found, ppo_alone, strict=True)]
    norms = [float(sum((g**2).sum() for g in gs)) ** 0.5 for gs in (ppo_alone, ptx)]
    dot = float(sum((a * b).sum() for a, b in zip(ppo_alone, ptx, strict=True)))
    assert figures["ppo_gradient_norm"] == pytest.approx(norms[0], rel=1e-4)
    assert figures["ptx_gradient_norm"] == pytest.approx(norms[1], rel=1e-4)
    assert figures["gradient_cosine"] == pytest.approx(dot / norms[0] / norms[1], abs=1e-4)
    assert figures["pretraining_loss"] == pytest.approx(-float(text.detach().mean()), rel=1e-5)
    assert norms[0] > 1e-3
    assert norms[1] > 1e-3


def test_a_shift_of_the_reward_bias_moves_scores_and_values_and_no_advantage(
    episodes: tuple[PreTrainedModel, ScalarModel, Episodes],
) -> None:
    _, scorer, made = episodes
    actor = tiny_model(backbone_of(episodes[0]).config.model_type)
    before = float(scorer.bias.detach())
    with torch.no_grad():
        scorer.bias += 3.0
    moved = draw(actor, scorer)
    with torch.no_grad():
        scorer.bias.fill_(before)

    torch.testing.assert_close(moved.scores, made.scores + 3.0)
    torch.testing.assert_close(
        row_sums(moved.values, made.is_response),
        row_sums(made.values, made.is_response) + 3.0 * made.is_response.sum(dim=1),
        atol=1e-4,
        rtol=0,
    )
    before_shift, after_shift = (
        steps.advantages(episodes, config(), config().kl_coef) for episodes in (made, moved)
    )
    torch.testing.assert_close(after_shift.advantages, before_shift.advantages, atol=1e-5, rtol=0)
    counts = made.is_response
    torch.testing.assert_close(
        after_shift.returns[counts], before_shift.returns[counts] + 3.0, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("over", ["minibatch", "batch", "none"])
def test_returns_use_advantages_before_whitening(
    episodes: tuple[PreTrainedModel, ScalarModel, Episodes], over: str
) -> None:
    _, _, made = episodes

    found = steps.advantages(made, config(whiten_advantages=over), config().kl_coef)

    plain = steps.advantages(made, config(whiten_advantages="none"), config().kl_coef)
    counts = made.is_response
    torch.testing.assert_close(found.returns[counts], (plain.advantages + made.values)[counts])
    wanted = whiten(plain.advantages, counts) if over == "batch" else plain.advantages
    torch.testing.assert_close(found.advantages, wanted)
    assert found.advantage_std == pytest.approx(
        float(plain.advantages[counts].std(unbiased=False)), rel=1e-5
    )


# --- the loop ---


def test_the_reference_and_the_reward_model_stay_as_they_were(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every model that the loop loads is watched; the first of each pair learns, the second is frozen."""
    policies: list[PreTrainedModel] = []
    scalars: list[ScalarModel] = []
    load, load_scalar = ppo_learner.load_causal_lm, ScalarModel.load

    def loading(folder: Path) -> PreTrainedModel:
        policies.append(load(folder))
        return policies[-1]

    def loading_scalar(folder: Path) -> ScalarModel:
        scalars.append(load_scalar(folder))
        return scalars[-1]

    monkeypatch.setattr(ppo_learner, "load_causal_lm", loading)
    monkeypatch.setattr(ScalarModel, "load", loading_scalar)
    run("ppo", tmp_path / "run", PPO, **inputs)

    actor, reference = policies
    scorer, critic = scalars
    start, judge = load(inputs["policy"]), load_scalar(inputs["reward_model"] / "artifact")
    for frozen, fresh in ((reference, start), (scorer, judge)):
        for name, parameter in fresh.named_parameters():
            assert torch.equal(frozen.get_parameter(name), parameter), name
            assert frozen.get_parameter(name).grad is None
    for learning, fresh in ((actor, start), (critic, judge)):
        changed = [
            not torch.equal(learning.get_parameter(name), p) for name, p in fresh.named_parameters()
        ]
        assert all(changed)


def test_the_average_is_exported_unless_raw_weights_are_asked_for(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    found = {}
    for export in ("ema", "raw"):
        run("ppo", tmp_path / export, PPO | {"export": export}, **inputs)
        artifact = open_artifact(tmp_path / export, "policy")
        assert artifact.facts["weights"] == export
        found[export] = weights(load_causal_lm(artifact.path))
    start = weights(load_causal_lm(inputs["policy"]))

    assert (tmp_path / "ema" / "metrics.jsonl").read_bytes() == (
        tmp_path / "raw" / "metrics.jsonl"
    ).read_bytes()
    for name, first in start.items():
        moved, averaged = found["raw"][name] - first, found["ema"][name] - first
        assert float(moved.abs().max()) > 1e-4
        # 12 updates with decay 0.9: the average has gone a part of the way, in the same direction.
        share = float((moved * averaged).sum() / (moved * moved).sum())
        assert 0.1 < share < 0.9, name


def test_plain_ppo_needs_no_text_and_is_called_so(inputs: dict[str, Path], tmp_path: Path) -> None:
    without = {name: path for name, path in inputs.items() if name != "text"}

    artifact = run("ppo", tmp_path / "run", PPO | {"ptx_coef": 0}, **without)

    assert artifact.facts["method"] == "PPO"
    assert "pretraining_loss" not in metrics(tmp_path / "run")[0]
    assert artifact.facts["episodes"] == 24
    assert artifact.facts["updates"] == 12
    lengths = [row["response_tokens"] * 4 for row in metrics(tmp_path / "run")]
    assert artifact.facts["response_tokens"] == round(sum(lengths))


def test_ppo_raises_the_score(inputs: dict[str, Path], tmp_path: Path) -> None:
    """A toy reward model over a toy policy: the mean score of the last iterations beats that of the first."""
    longer = {
        "episodes": 20 * 32,
        "batch_size": 32,
        "minibatch_size": 8,
        "ptx_coef": 0,
        "kl_coef": 0.0,
        "missing_eos_penalty": 0.0,
        "micro_batch_tokens": 4096,
        "policy_optimizer": {"learning_rate": 4e-3, "schedule": "constant"},
        "checkpoint_every": 100,
        "samples_every": 100,
    }

    run("ppo", tmp_path / "run", PPO | longer, **inputs)

    scores = [row["score_mean"] for row in metrics(tmp_path / "run")]
    assert sum(scores[-4:]) / 4 > sum(scores[:4]) / 4 + 0.1


# --- the reward model's export ---


@torch.no_grad()
def test_demonstrations_score_zero_after_export_and_reload(inputs: dict[str, Path]) -> None:
    """In plain transformers, without any code of ours but the formatter."""
    artifact = open_artifact(inputs["reward_model"], "reward-model")
    model = AutoModelForSequenceClassification.from_pretrained(artifact.path)
    formatter = Formatter.of(load_tokenizer(artifact.path))
    chosen = artifact.facts["bias_demonstrations"]
    assert sorted(chosen) == sorted(f"prompt-{i}" for i in range(10))

    scores = []
    for i in range(10):
        row = demonstration(i)
        tokens = [*formatter.prompt(row.prompt), *formatter.response(row.response)]
        logit = float(model(torch.tensor([tokens])).logits[0, 0])
        scores.append(logit + model.config.reward_bias)

    assert abs(sum(scores) / 10) < 1e-5
    assert max(scores) - min(scores) > 1e-3
    assert artifact.facts["reward_bias"] == pytest.approx(model.config.reward_bias)
    ours = ScalarModel.load(artifact.path)
    batch = Ragged.of(
        [formatter.prompt(prompt(0, text="x"))], [formatter.response("y")], formatter.pad
    )
    expected = float(model(batch.tokens).logits[0, 0]) + model.config.reward_bias
    assert float(ours.scores(batch)[0]) == pytest.approx(expected, abs=1e-5)
