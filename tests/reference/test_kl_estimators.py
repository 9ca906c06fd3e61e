"""Three estimators of the KL to the reference, k1, k2 and k3, over a vocabulary so small that every token is weighed.

With r = pi_ref / pi of the drawn token: k1 = -log r, k2 = (log r)^2 / 2, k3 = r - 1 - log r. As a per-token reward each
is a constant to the policy gradient, E[grad log pi * k]; what is wanted is the gradient of the KL itself.
"""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from alignloop.ppo.config import PPOConfig
from alignloop.tensors import generator, token_kl

VOCABULARY = 7


def policies(seed: int) -> tuple[Tensor, Tensor]:
    """Logits of a policy and of its reference, in float64."""
    drawn = torch.randn(2, VOCABULARY, generator=generator(seed), dtype=torch.float64)
    return drawn[0].requires_grad_(), drawn[1]


def estimators(log_p: Tensor, log_q: Tensor) -> dict[str, Tensor]:
    """[V]: what each says, had that token been drawn."""
    ratio = log_q - log_p
    return {"k1": -ratio, "k2": ratio**2 / 2, "k3": ratio.exp() - 1 - ratio}


def as_reward(log_p: Tensor, estimate: Tensor, logits: Tensor) -> Tensor:
    """E[grad log pi * k], over every token that could be drawn."""
    weight = (log_p.exp() * estimate).detach()
    return torch.autograd.grad((weight * log_p).sum(), logits, retain_graph=True)[0]


@pytest.mark.parametrize("seed", range(5))
def test_k1_as_a_reward_has_the_gradient_of_the_kl_and_k2_and_k3_have_not(seed: int) -> None:
    logits, reference = policies(seed)
    log_p, log_q = torch.log_softmax(logits, 0), torch.log_softmax(reference, 0)
    kl = (log_p.exp() * (log_p - log_q)).sum()
    wanted = torch.autograd.grad(kl, logits, retain_graph=True)[0]

    found = {name: as_reward(log_p, k, logits) for name, k in estimators(log_p, log_q).items()}

    torch.testing.assert_close(found["k1"], wanted)
    for name in ("k2", "k3"):
        assert float((found[name] - wanted).norm()) > 0.05 * float(wanted.norm()), name
    # As an estimate of the number k3 is right all the same: its mean is the KL.
    means = {
        name: float((log_p.exp() * k).sum().detach())
        for name, k in estimators(log_p, log_q).items()
    }
    assert means["k1"] == pytest.approx(float(kl.detach()))
    assert means["k3"] == pytest.approx(float(kl.detach()))
    assert means["k2"] != pytest.approx(float(kl.detach()), rel=0.01)


def test_the_exact_kl_is_the_mean_of_k1() -> None:
    """Through the function that PPO calls, with hidden states that are the logits."""
    logits, reference = policies(9)
    log_p, log_q = torch.log_softmax(logits.detach(), 0), torch.log_softmax(reference, 0)
    identity = torch.eye(VOCABULARY)

    exact = token_kl(logits.detach()[None].float(), identity, reference[None].float(), identity)

    mean = float((log_p.exp() * estimators(log_p, log_q)["k1"]).sum())
    assert float(exact[0]) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("name", ["k2", "k3"])
def test_a_biased_estimator_is_no_setting(name: str) -> None:
    with pytest.raises(ValidationError, match="kl_estimator"):
        PPOConfig.model_validate({"kl_estimator": name})
