"""The report on the rounds as a page, and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alignloop.evaluation.page.chart import Row, win_rate_chart
from alignloop.evaluation.page.page import Page, Section, render
from alignloop.evaluation.page.words import amount, number, share, whole
from alignloop.pages import Table

Report = Mapping[str, Any]

_ROLES = {
    "old": "old: of the round before",
    "new": "new: learned from this round's as well",
    "control": "control: learned from as many on SFT samples instead",
}
SIMULATED = (
    "SIMULATED LABELERS: every label, and every win rate but those of reward models, is made up by code with tastes "
    "of its own. The figures show that the loop runs, and nothing about what people want."
)


def rounds_page(report: Report) -> str:
    """One HTML file that loads nothing; the same report gives the same bytes."""
    rounds = report["rounds"]
    last = rounds[-1]
    title = f"{len(rounds)} round{'s' if len(rounds) > 1 else ''} of the loop"
    lede = (
        "Each round samples from the policy of the round before, has the answers ranked, trains a reward model on the "
        "rankings of all rounds so far, and a policy by that reward model."
    )
    if report["control"]:
        lede += " The control spends the last round's labels on answers of the SFT model instead, and is trained alike."
    return render(
        Page(
            title=title,
            lede=lede,
            notice=SIMULATED if report["simulated"] else "",
            facts=[
                ("Prompts", f"{whole(last['prompts'])} of the test side, in the last round"),
                ("Seed", f"{report['seed']}; {whole(report['resamples'])} resamples"),
                *(("Judge: " + name, one["who"]) for name, one in report["judges"].items()),
            ],
            chart=win_rate_chart([*_chart_rows(report)], "Win rates, with 95 % intervals."),
            chart_title="Who is preferred to whom",
            chart_text="The dashed line is chance. A whisker that crosses it shows no difference. A hollow dot was "
            "judged by code. Prompts are the units of all intervals.",
            sections=[_labels(report), _rates(report), _reward_models(report), _policies(report)],
        )
    )


def result_lines(report: Report) -> Iterator[str]:
    """The main figures with interval, n, and who judged; what belongs to two policies stands below their names."""
    for row in report["rounds"]:
        for pair, by_judge in _pairs(row):
            yield f"round {row['round']}: {pair}"
            for judge, cell in by_judge.items():
                yield f"   by {_named(judge, report):<34} {_plain(share(cell))}"
        for judge, found in row.get("reward_models", {}).get("accuracy", {}).items():
            yield f"round {row['round']}: reward models on samples of {row['against']} agree with {judge}"
            for role, cell in found.items():
                yield f"   {role:<37} {_plain(share(cell))}"


def seeds_page(report: Report) -> str:
    """The figures of several seeds as one HTML file."""
    seeds = report["seeds"]
    parts: dict[tuple[str, str], list[list[str]]] = {}
    for one in report["figures"]:
        is_share = one["what"] in ("win rate", "accuracy")
        write = share if is_share else _points if one["what"] in _DIFFERENCES else _amount
        key = (one["round"], one["what"])
        scale = 100.0 if is_share or one["what"] in _DIFFERENCES else 1.0
        each = ", ".join(
            number(scale * value, 1 if scale > 1 else 3) for value in one["by_seed"].values()
        )
        parts.setdefault(key, []).append([one["of"], one["by"] or "itself", write(one), each])
    tables = [
        Table(f"{place}: {what}", ("Of", "By", "Mean over seeds", "Each seed"), rows)
        for (place, what), rows in parts.items()
    ]
    return render(
        Page(
            title=f"The rounds under {len(seeds)} seeds",
            lede="Everything was repeated for each seed: prompts, samples, labels, training, evaluation. Intervals are "
            "Student's 95 %, over seeds.",
            notice=SIMULATED if report["simulated"] else "",
            facts=[("Seeds", ", ".join(seeds))],
            sections=[Section("Figures", "n is the number of seeds.", tables)],
        )
    )


_DIFFERENCES = frozenset({"difference of accuracies"})


def seed_lines(report: Report) -> Iterator[str]:
    """Win rates and differences of accuracies over seeds, a line each."""
    for one in report["figures"]:
        if one["what"] not in ("win rate", *_DIFFERENCES):
            continue
        told = _plain(_points(one) if one["what"] in _DIFFERENCES else share(one))
        name = f"{one['round']}: {one['what']}, {one['of']}, by {one['by']}"
        yield f"{name}: {told} seeds"


# --- inside -----------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """For a terminal, which may know no narrow signs."""
    return text.replace("\u00a0", " ").replace("\u2212", "-").replace("\u2013", "-")


def _chart_rows(report: Report) -> Iterator[Row]:
    for row in report["rounds"]:
        for pair, by_judge in _pairs(row):
            yield Row(pair)
            for judge, cell in by_judge.items():
                yield Row(judge, cell, is_simulated=report["judges"][judge]["simulated"])


def _labels(report: Report) -> Section:
    rows = [
        [
            f"{row['round']}, {arm['policy']}",
            whole(arm["labels"]["rankings"]),
            whole(arm["labels"]["comparisons"]),
        ]
        for row in report["rounds"]
        for arm in row["arms"].values()
    ]
    columns = ("Round, policy", "Rankings", "Comparisons in them")
    return Section(
        "Labels",
        "What each reward model learned from: the training side, all rounds so far together.",
        [Table("Labels behind each policy", columns, rows)],
    )


def _pairs(row: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The comparisons of a round: (who against whom, judge -> win rate)."""
    arms = row["arms"].values()
    found = [(f"{arm['policy']} against {row['against']}", arm["win_rate"]) for arm in arms]
    if "head_to_head" in row:
        found.append((" against ".join(arm["policy"] for arm in arms), row["head_to_head"]))
    return found


def _rates(report: Report) -> Section:
    tables: list[Table] = []
    for row in report["rounds"]:
        pairs = _pairs(row)
        judges = [judge for judge in report["judges"] if any(judge in of for _, of in pairs)]
        rows = [
            [_named(judge, report), *(share(of.get(judge)) for _, of in pairs)] for judge in judges
        ]
        columns = ("Judge", *(pair for pair, _ in pairs))
        tables.append(Table(f"Round {row['round']}: win rates", columns, rows))
    return Section(
        "Win rates",
        "A reward model that a policy was trained by says how far training went. Gold, where labelers are simulated, "
        "was never learned from, and is the one to believe there.",
        tables,
    )


def _named(judge: str, report: Report) -> str:
    return judge + (" (SIMULATED)" if report["judges"][judge]["simulated"] else "")


def _reward_models(report: Report) -> Section:
    tables: list[Table] = []
    for row in report["rounds"]:
        if "reward_models" not in row:
            continue
        found = row["reward_models"]
        judges = list(found["accuracy"])
        columns = (
            "Reward model",
            *(f"agrees with {judge}, {whole(found['pairs'][judge])} pairs" for judge in judges),
        )
        roles = list(found["accuracy"][judges[0]])
        rows = [
            [_ROLES[role], *(share(found["accuracy"][judge][role]) for judge in judges)]
            for role in roles
        ]
        rows += [
            [f"{gain}, in points", *(_points(found["gain"][judge][gain]) for judge in judges)]
            for gain in found["gain"][judges[0]]
        ]
        title = (
            f"Round {row['round']}: comparisons of samples of {row['against']}, validation prompts"
        )
        tables.append(Table(title, columns, rows))
    return Section(
        "Reward models on samples of PPO",
        "No reward model here learned from these prompts. PPO moves answers away from those that the old one was "
        "taught on.",
        tables,
    )


def _amount(cell: Mapping[str, Any]) -> str:
    return amount(cell, 3)


def _points(cell: Mapping[str, Any]) -> str:
    """A difference of shares, in percentage points."""
    ends = {
        key: None if cell[key] is None else 100.0 * cell[key] for key in ("mean", "low", "high")
    }
    return amount({**cell, **ends}, 1, signed=True)


def _policies(report: Report) -> Section:
    tables: list[Table] = []
    for row in report["rounds"]:
        found = row["policies"]
        models = list(next(iter(found.values()))["score"])
        has_worth = any("worth" in one for one in found.values())
        columns = (
            "Policy",
            *(f"Score by {model}" for model in models),
            *(["Worth by gold"] if has_worth else []),
            *("KL, nats per answer", "Tokens", "Ended by itself"),
        )
        rows = [
            [
                name,
                *(amount(one["score"].get(model), 3) for model in models),
                *([amount(one.get("worth"), 4)] if has_worth else []),
                amount(one["kl"]),
                amount(one["tokens"], 1),
                share(one["finished"]),
            ]
            for name, one in found.items()
        ]
        tables.append(Table(f"Round {row['round']}, test prompts", columns, rows))
    return Section(
        "Score, KL and length",
        f"KL is to {report['reference']}, over answers that the policy drew itself.",
        tables,
    )
