"""Checks of the policy: that sampler, trainer and reference mean the same, and that answers can end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged
from alignloop.generation import llama
from alignloop.generation.decoder import Decoder, TransformersDecoder
from alignloop.models.loading import output_weight
from alignloop.models.policy import hidden_states, response_log_probs
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo import alarms
from alignloop.ppo.steps import advantages, update
from alignloop.training.step import autocast
from alignloop.workflow.doctor.findings import Finding, finding
from alignloop.workflow.doctor.patient import LONGEST, Patient

TOLERANCE = 1e-3
"""Largest difference in a float32 log-probability that rounding explains."""
GAP = 0.1
"""Largest mean difference, in nats per token, that bfloat16 explains."""
NEVER = 0.01
"""Answers that end with a lower probability than this do not end."""
FEW = 4
"""Answers on which gradients are compared; twice as many are read alone and together."""
_REPORT = "this is a bug of the model's code or of ours: please report it with the architecture"


@torch.no_grad()
def sampler_agrees_with_trainer(patient: Patient) -> Finding:
    """Log-probabilities of drawn tokens, in the sampler and teacher-forced: their ratio must be 1 before any update."""
    check = "the sampler's log-probabilities are the trainer's"
    config, counts = patient.config, patient.episodes.is_response
    with autocast(config.precision):
        forced = response_log_probs(patient.learner.actor, patient.batch, patient.temperature)
    gaps = (forced - patient.episodes.drawn_log_probs)[counts].abs()
    mean, worst = float(gaps.mean()), float(gaps.max())
    measured = f"difference {mean:.1e} on average, {worst:.1e} at most"
    if config.draws_as_it_learns:
        return finding(check, worst < TOLERANCE, measured, _REPORT)
    return finding(
        check,
        mean < GAP,
        f"{measured} (bfloat16: PPO computes them again)",
        "set precision and rollout_precision to 'float32'; if the gap stays, it is no rounding",
    )


@torch.no_grad()
def decoders_agree(patient: Patient) -> Finding:
    """The same tokens fed one by one through every decoder that takes this model, in float32."""
    actor = patient.learner.actor
    decoders: dict[str, Decoder] = {"transformers": TransformersDecoder(actor)}
    if llama.supports(actor):
        decoders["llama"] = llama.LlamaDecoder(actor)
    forced = response_log_probs(actor, patient.batch, patient.temperature)
    worst = {name: _replayed(decoder, patient, forced) for name, decoder in decoders.items()}
    return finding(
        "decoding token by token gives the same",
        max(worst.values()) < TOLERANCE,
        ", ".join(f"{name} decoder {value:.1e}" for name, value in worst.items()) + " at most",
        _REPORT,
    )


def _replayed(decoder: Decoder, patient: Patient, forced: Tensor) -> float:
    """Largest difference to `forced` where a decoder reads the answers a token at a time."""
    batch, weight = patient.batch, output_weight(patient.learner.actor)
    starts, count = batch.prompt_lengths, len(batch.lengths)
    rows = torch.arange(count)
    longest = int((batch.lengths - starts).max())
    prompts = [batch.tokens[row, : int(starts[row])].tolist() for row in range(count)]
    hidden = decoder.start(prompts, rows, longest)
    worst = 0.0
    for step in range(longest):
        at = (starts + step).clamp(max=batch.tokens.shape[1] - 1)
        token = batch.tokens[rows, at]
        log_probs = torch.log_softmax(hidden.float() @ weight.t() / patient.temperature, dim=1)
        gaps = (log_probs[rows, token] - forced[rows, at]).abs()
        worst = max(worst, float(gaps[starts + step < batch.lengths].max()))
        if step + 1 < longest:
            hidden = decoder.step(token)
    return worst


@torch.no_grad()
def padding_changes_nothing(patient: Patient) -> Finding:
    """Rows alone and rows in a padded batch: log-probabilities, values and scores."""
    learner, batch = patient.learner, patient.batch.rows(range(len(patient.responses))[: 2 * FEW])

    def log_probs(part: Ragged) -> Tensor:
        return response_log_probs(learner.actor, part)

    readings = {"log-probability": log_probs, "value": learner.critic.values}
    if patient.scorers:
        readings["score"] = patient.scorers[0].scores
    worst: dict[str, float] = {}
    for name, read in readings.items():
        together, gaps = read(batch), [0.0]
        for row in range(len(batch.lengths)):
            own = read(batch.rows([row]))[0]
            whole = together[row] if own.ndim == 0 else together[row, : len(own)]
            gaps.append(float(((whole - own).abs() / own.abs().clamp(min=1)).max()))
        worst[name] = max(gaps)
    return finding(
        "padding changes nothing",
        max(worst.values()) < TOLERANCE,
        ", ".join(f"{name} {value:.1e}" for name, value in worst.items()) + " at most",
        "the model attends to padding or counts it in its positions: use a causal architecture with relative or "
        "absolute positions that start at the first token",
    )


def micro_batches_change_nothing(patient: Patient) -> Finding:
    """The gradient of a batch, less that of its two halves, leaves nothing; of the policy and of the value function."""
    check, count = "micro-batches change nothing", min(len(patient.responses), FEW)
    if count == 1:
        return Finding(check, "ok", "a single prompt has no parts")
    learner, batch = patient.learner, patient.batch.rows(range(count))
    halves = range(count // 2), range(count // 2, count)

    def policy(part: Ragged) -> Tensor:
        return response_log_probs(learner.actor, part).sum()

    def values(part: Ragged) -> Tensor:
        return learner.critic.values(part).sum()

    worst: dict[str, float] = {}
    passes: dict[str, tuple[Callable[[Ragged], Tensor], nn.Module]] = {}
    passes["policy"] = policy, learner.actor
    if isinstance(learner.critic, ScalarModel):
        passes["value function"] = values, learner.critic
    for name, (total, model) in passes.items():
        total(batch).backward()
        whole = _gradient_norm(model)
        for half in halves:
            (-total(batch.rows(half))).backward()
        worst[name] = _gradient_norm(model) / max(whole, 1e-12)
        model.zero_grad(set_to_none=True)
    return finding(
        check,
        max(worst.values()) < TOLERANCE,
        "; ".join(f"{name}'s gradient {value:.1e}" for name, value in worst.items()),
        "rows of a batch influence one another: the architecture normalises or routes over it and cannot be used",
    )


def _gradient_norm(model: nn.Module) -> float:
    return (
        sum(float((p.grad.double() ** 2).sum()) for p in model.parameters() if p.grad is not None)
        ** 0.5
    )


@torch.no_grad()
def reference_is_the_policy(patient: Patient) -> Finding:
    """KL 0 at the start."""
    learner = patient.learner
    own, reference = (
        response_log_probs(model, patient.batch, patient.temperature)
        for model in (learner.actor, learner.reference)
    )
    worst = float((own - reference).abs().max())
    return finding(
        "the reference is the policy (KL 0)",
        worst < TOLERANCE,
        f"largest log-ratio {worst:.1e}",
        "the policy's folder does not load twice as the same weights: save it again with save_pretrained",
    )


@torch.no_grad()
def answers_can_end(patient: Patient) -> Finding:
    """EOS is reachable: some answer ended by itself, or might well have."""
    check, formatter = "answers can end", patient.learner.formatter
    ended, count = sum(r.finished for r in patient.responses), len(patient.responses)
    longest = patient.config.sampling.max_new_tokens
    seen = min(longest, LONGEST)
    measured = f"{ended} of {count} ended within {seen} tokens"
    if ended:
        return Finding(check, "ok", measured)
    chance = _chance_of_an_end(patient.learner.actor, patient, formatter.end)
    end = formatter.tokenizer.convert_ids_to_tokens(formatter.end)
    return finding(
        check,
        False,
        f"{measured} (the chance of one is {100 * chance:.1g} %)",
        f"was the policy trained to write '{end}' after an answer? Fine-tune it with alignloop sft, set the EOS token "
        "that it learned, or raise sampling.max_new_tokens",
        otherwise="BAD" if chance < NEVER and seen == longest else "look",
    )


def _chance_of_an_end(actor: PreTrainedModel, patient: Patient, end: int) -> float:
    """Mean probability that an answer, written as these were, had met EOS at one of its tokens."""
    batch = patient.batch
    row, position = batch.is_response().nonzero(as_tuple=True)
    hidden = hidden_states(actor, batch)[row, position - 1].float()
    log_probs = torch.log_softmax(
        hidden @ output_weight(actor).float().t() / patient.temperature, 1
    )
    survives = torch.log1p(-log_probs[:, end].double().exp().clamp(max=1 - 1e-12))
    per_row = survives.new_zeros(len(batch.lengths)).index_add(0, row, survives)
    return float(1 - per_row.exp().mean())


def nothing_learned_nothing_changed(patient: Patient) -> list[Finding]:
    """One whole iteration of PPO with a learning rate of 0: ratio 1 at every update, and no weight moves."""
    learner = patient.learner
    before = [float(p.detach().double().sum()) for p in learner.actor.parameters()]
    estimates = advantages(patient.episodes, learner.config, learner.kl_coef)
    found = update(learner, patient.episodes, estimates, 0)
    moved = before != [float(p.detach().double().sum()) for p in learner.actor.parameters()]
    gap = max(abs(found["ratio_max"] - 1), found["approx_kl"] ** 0.5)
    # In bfloat16 a row's log-probabilities depend a little on the rows beside it.
    allowed = TOLERANCE if patient.config.precision == "float32" else GAP
    findings = [
        finding(
            "a learning rate of 0 leaves the ratio at 1",
            gap < allowed and not moved,
            f"ratio at most {found['ratio_max']:.4f}, KL to the reference {found['kl_reference']:.1e}"
            + (", yet weights moved" if moved else ""),
            "old and new log-probabilities are not computed alike: set precision = 'float32' and look again",
        )
    ]
    if "ptx_gradient_norm" in found:
        ppo, ptx = found["ppo_gradient_norm"], found["ptx_gradient_norm"]
        trouble = alarms.ptx_dominates(ppo, ptx)
        measured = f"PPO's norm {ppo:.2g}, the pretraining gradient's {ptx:.2g}"
        findings.append(
            finding("both gradients count", trouble is None, measured, trouble or "", "look")
        )
    return findings
