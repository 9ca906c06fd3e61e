"""What the studies of step 3 conclude from figures that were made up, with effects worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from alignloop.sampling.objective import doublings
from alignloop.workflow.studies import best_of_n, dpo_vs_ppo, kl_coef, ptx_coef, sizes
from alignloop.workflow.studies.cells import Done
from alignloop.workflow.studies.claims import Judged
from alignloop.workflow.studies.policies import name_of
from alignloop.workflow.studies.seen import Seen
from alignloop.workflow.studies.study import Findings
from tests.workflow.studies.rows import best_of_row, cell


def verdicts(found: Findings) -> dict[str, str]:
    return {judged.claim.key: judged.verdict for judged in found.judged}


def judged(found: Findings, key: str) -> Judged:
    return next(one for one in found.judged if one.claim.key == key)


# --- what was seen ---


def test_means_over_seeds_have_a_t_interval_and_of_one_seed_a_bootstrap() -> None:
    """0.4, 0.5 and 0.6: standard error 0.1 / sqrt(3), times 4.3027."""
    seen = Seen.of([cell("ppo", seed=n, win_rate=0.3 + 0.1 * n) for n in (1, 2, 3)])
    over = seen.interval("ppo", "win_rate")

    assert (over.mean, over.high - over.mean) == pytest.approx((0.5, 4.3027 * 0.1 / 3**0.5))
    alone = Seen.of([cell("ppo", win_rate=0.5)]).interval("ppo", "win_rate")
    assert alone.mean == pytest.approx(0.5)
    assert 0.48 <= alone.low < 0.5 < alone.high <= 0.52


def test_a_table_has_every_measure_with_its_interval_and_n() -> None:
    seen = Seen.of([cell("ppo", seed=n, win_rate=0.5, kl=2.0) for n in (1, 2)])

    table = seen.table("T", {"ppo": "PPO"}, ("win_rate", "kl", "pretrain_loss"))

    assert [*table.rows[0]] == [
        "PPO",
        "50.0 % (50.0 to 50.0)",
        "2.00 (2.00 to 2.00)",
        "-",
        "2 seeds, 6 prompts each",
    ]


# --- KL coefficient ---

FALLING = {0.0: 20.0, 0.03: 10.0, 0.1: 6.0, 0.3: 3.0, 2.0: 1.0}


def kl_cells(kls: Mapping[float, float], **by_coef: Mapping[float, float]) -> list[Done]:
    coefs = {
        coef: {"kl": kl} | {key: values[coef] for key, values in by_coef.items() if coef in values}
        for coef, kl in kls.items()
    }
    return [cell("rl_init", kl=0.0), *(cell(name_of(c), **means) for c, means in coefs.items())]


def test_a_policy_that_is_held_and_over_optimised_as_expected() -> None:
    scores, wins = {0.0: 2.0, 0.03: 1.0, 2.0: 0.1}, {0.0: 0.4, 0.03: 0.6}

    found = kl_coef.findings(kl_cells(FALLING, score=scores, win_rate=wins))

    assert set(verdicts(found).values()) == {"held"}
    assert judged(found, "kl-falls").mean == pytest.approx(2.0)
    assert judged(found, "kl-0-gold").mean == pytest.approx(-0.2)
    assert judged(found, "kl-2-moves").mean == pytest.approx(0.1)
    assert [len(found.figures), len(found.tables[0].rows)] == [2, 6]


def test_one_step_that_rises_is_no_fall() -> None:
    found = kl_coef.findings(kl_cells(FALLING | {0.1: 11.0, 2.0: 2.9}))

    assert judged(found, "kl-falls").mean == pytest.approx(-1.0)
    assert verdicts(found)["kl-falls"] == "not held"
    assert verdicts(found)["kl-2-moves"] == "not held"


# --- ptx coefficient ---


def ptx_cells(losses: Mapping[float, float], scores: Mapping[float, float]) -> list[Done]:
    named = {ptx_coef.name_of(coef): coef for coef in ptx_coef.PTX_COEFS}
    return [
        cell("rl_init", pretrain_loss=4.0),
        *(
            cell(name, pretrain_loss=losses.get(coef, 4.0), score=scores.get(coef, 0.0))
            for name, coef in named.items()
        ),
    ]


def test_the_pretraining_loss_rises_without_ptx_and_stays_with_it() -> None:
    found = ptx_coef.findings(ptx_cells({0.0: 4.4, 0.3: 4.2, 27.8: 3.9}, {0.0: 1.0, 27.8: 0.2}))

    assert set(verdicts(found).values()) == {"held"}
    assert judged(found, "ptx-0-loss").effects[0].units == "titles"
    assert judged(found, "ptx-27.8-loss").mean == pytest.approx(-0.025)
    assert "Seed 1: 1 is the smallest coefficient" in found.notes[1]


def test_a_loss_that_rises_by_four_per_cent_does_not_stay() -> None:
    found = ptx_coef.findings(ptx_cells({0.0: 3.9, 27.8: 4.16}, {0.0: 0.0, 27.8: 0.5}))

    assert verdicts(found) == {
        "ptx-0-loss": "not held",
        "ptx-27.8-loss": "not held",
        "ptx-27.8-score": "not held",
    }


# --- best of n ---


def best_cell(most: int, wins: Sequence[float]) -> Done:
    ns = doublings(most)
    rows = [best_of_row(n, win_rate=win) for n, win in zip(ns, wins, strict=True)]
    return Done(f"best_of_{most}", "medium", 1, {"ns": ns}, rows)


def ppo_cells(
    wins: Mapping[float, float], kls: Mapping[float, float], ptx: float = 0.0
) -> list[Done]:
    return [
        cell(
            name_of(coef, ptx),
            setting={"kl_coef": coef, "ptx_coef": ptx},
            win_rate=win,
            kl=kls[coef],
        )
        for coef, win in wins.items()
    ]


def test_best_of_n_is_compared_with_ppo_at_the_same_kl() -> None:
    """PPO at 1.5 nats is half way, in the root, from 0.5 at 0 to 0.7 at 6: 0.6. Best of 8 and 16 win 0.8."""
    best = best_cell(16, [0.5, 0.6, 0.7, 0.8, 0.8])
    ppo = ppo_cells({0.03: 0.7, 0.1: 0.7, 0.3: 0.7}, {0.03: 8.0, 0.1: 7.0, 0.3: 6.0})

    found = best_of_n.findings([cell("rl_init", kl=0.3), best, *ppo])

    assert judged(found, "best-of-4-gold").mean == pytest.approx(0.2)
    assert judged(found, "best-of-n-per-nat").mean == pytest.approx(0.2, abs=0.005)
    assert set(verdicts(found).values()) == {"held"}
    assert "PPO's nearest policy is at 6.00 nats" in found.notes[1]


@pytest.mark.parametrize(
    ("kls", "said"),
    [((1.2, 0.8, 0.4), "furthest policy is at 1.20 nats"), ((4.0, 2.0, 1.0), "on both sides")],
)
def test_best_of_n_says_where_ppo_did_not_go(kls: Sequence[float], said: str) -> None:
    best = best_cell(16, [0.5, 0.6, 0.7, 0.8, 0.8])
    ppo = ppo_cells(
        dict.fromkeys(best_of_n.KL_COEFS, 0.7), dict(zip(best_of_n.KL_COEFS, kls, strict=True))
    )

    found = best_of_n.findings([cell("rl_init", kl=0.0), best, *ppo])

    assert said in found.notes[1]


# --- DPO and PPO ---


def test_methods_are_compared_where_both_have_gone() -> None:
    """From 0.5 at 0: DPO to 0.7 at 4 nats, PPO to 0.8 at 9. At roots 1 to 2 both rise by 0.1 per root."""
    kls = {0.03: 9.0, 0.1: 4.0, 0.3: 1.0}
    cells = [
        cell("rl_init", kl=0.1),
        *(
            cell(f"dpo_{beta:g}", setting={"beta": beta}, win_rate=0.5 + 0.1 * root, kl=root**2)
            for beta, root in {0.03: 2.0, 0.1: 1.5, 0.3: 1.0, 1.0: 0.5}.items()
        ),
        *ppo_cells({0.03: 0.8, 0.1: 0.7, 0.3: 0.6}, kls),
        *ppo_cells({0.03: 0.92, 0.1: 0.82, 0.3: 0.72}, kls, ptx=0.3),
        best_cell(4, [0.5, 0.6, 0.7]),
    ]

    found = dpo_vs_ppo.findings(cells)

    assert judged(found, "dpo-ahead").mean == pytest.approx(0.0, abs=1e-9)
    assert judged(found, "dpo-learns").mean == pytest.approx(0.2)
    assert judged(found, "ptx-at-matched-kl").mean == pytest.approx(0.12)
    assert verdicts(found)["ptx-at-matched-kl"] == "not held"
    table = {row[0]: row[1:] for row in found.tables[0].rows}
    assert table["4"][0].startswith("70.0 %")
    assert table["6"][0] == "-"
    assert table["8"][1].startswith("78.3 %")
    # Best of 2 is at log 2 - 1/2 and best of 4 at log 4 - 3/4: 0.440 and 0.798 in roots, and 0.5 at 0.707.
    assert table["0.5"][3].startswith("67.5 %")


# --- sizes ---

WINS = {
    "small": {"base": 0.05, "prompted": 0.1, "sft": 0.3, "ppo": 0.45, "ppo_ptx": 0.44},
    "medium": {"base": 0.1, "prompted": 0.15, "sft": 0.4, "ppo": 0.55, "ppo_ptx": 0.54},
    "demo": {"base": 0.2, "prompted": 0.25, "sft": 0.5, "ppo": 0.65, "ppo_ptx": 0.64},
}


def size_cells(wins: Mapping[str, Mapping[str, float]], seeds: int = 1) -> list[Done]:
    return [
        cell(method, base=size, seed=seed, win_rate=win)
        for seed in range(1, seeds + 1)
        for size, of_size in wins.items()
        for method, win in of_size.items()
    ]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_papers_figure_1_holds(seeds: int) -> None:
    found = sizes.findings(size_cells(WINS, seeds))

    assert len(found.judged) == 12
    assert set(verdicts(found).values()) == {"held"}
    assert judged(found, "sft-beats-prompted").mean == pytest.approx((0.2 + 0.25 + 0.25) / 3)
    assert judged(found, "small-ptx-beats-large-base").mean == pytest.approx(0.19)
    assert judged(found, "ptx-like-ppo").mean == pytest.approx(-0.01)
    assert len(found.tables[0].rows) == 15


def test_a_figure_1_turned_upside_down_does_not() -> None:
    turned = {
        size: {method: 1 - win for method, win in of_size.items()} for size, of_size in WINS.items()
    }

    found = verdicts(sizes.findings(size_cells(turned)))

    assert {key for key, verdict in found.items() if verdict != "not held"} == {"ptx-like-ppo"}
