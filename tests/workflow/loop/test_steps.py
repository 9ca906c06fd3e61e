"""What comes next: every way through the loop walked step by step, and the people's part at each of its places."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.errors import ConfigError
from alignloop.workflow.loop import names
from alignloop.workflow.loop.calls import Call, call_for
from alignloop.workflow.loop.config import STAGE_OF, LoopConfig, read_config
from alignloop.workflow.loop.facts import CampaignFacts, Facts
from alignloop.workflow.loop.steps import (
    Done,
    Step,
    Wait,
    check_labelers,
    next_step,
    rounds_of,
)
from alignloop.workflow.stages import STAGES
from tests.docs.test_commands import check

PROMPTS = {"train": 60, "valid": 12, "test": 12}
SIDES = {"train": 6, "valid": 2}
LAB = Path("lab")


def needs(step: Step, config: LoopConfig) -> set[str]:
    """The runs that a step reads, as its commands would say."""
    number, ppo = step.number, lambda n: names.ppo(n, ptx=config.ptx)
    text = {names.TEXT} if config.text is None else set[str]()
    base = {names.prompts(number), names.reward(number)}
    sampled = {names.CHOSEN} if number == 1 else {ppo(number - 1)}
    old = {names.BASELINE} if number == 1 else {ppo(number - 1)}
    start = names.RL_INIT if config.ptx else names.BASELINE
    if number > 1 and not config.restart:
        start = ppo(number - 1)
    return {
        "sft": {names.DEMONSTRATIONS},
        "choose epoch": {names.SFT},
        "sample": {names.prompts(number), *sampled},
        "fill rankings": {names.samples(number)},
        "ask for rankings": {names.samples(number)},
        "simulate": {names.LEXICON},
        "lexicon": text,
        "reward model": {names.CHOSEN, names.rankings(number), names.DEMONSTRATIONS},
        "baseline": {names.SFT, *base},
        "rl_init": {names.DEMONSTRATIONS, *text},
        "ppo": {start, *base} | (text if config.ptx else set()),
        "answer old": {names.prompts(number), *old},
        "answer new": {names.prompts(number), ppo(number)},
        "ask for votes": {names.answers(number, "old"), names.answers(number, "new")},
        "judge by reward": {
            *(names.answers(number, who) for who in ("old", "new")),
            *(old | {ppo(number)}),
            names.reward(number),
        },
        "count votes": old | {ppo(number)},
        "check reward models": {
            names.reward(number),
            names.reward(number - 1),
            names.new_rankings(number),
        },
    }.get(step.action, set())


IN_THE_STORE = {
    *("ask for answers", "ask for rankings", "fill rankings", "open", "simulate"),
    *("ask for votes", "close"),
}
"""Actions that are no stage."""
RESTS_ON_LABELS = {
    *("export rankings", "export new rankings", "reward model", "baseline", "ppo", "answer old"),
    *("answer new", "count votes", "judge by reward", "check reward models"),
}
"""Actions that leave something that simulated labelers, where there are some, had a part in."""


def read_by(call: Call) -> set[str]:
    """The runs among the inputs of a call."""
    return {
        path.name
        for path in call.inputs.values()
        if isinstance(path, Path) and path.parent == LAB / "runs"
    }


def after(facts: Facts, step: Step) -> Facts:
    """The facts once a step is done."""
    made = {
        "ask for answers": CampaignFacts("open", SIDES, {}, 0, 8),
        "ask for rankings": CampaignFacts("draft"),
        "fill rankings": CampaignFacts("draft", SIDES, {}, 0, 8),
        "ask for votes": CampaignFacts("open", {"test": 5}, {}, 0, 5),
    }
    known = facts.campaigns.get(step.run)
    if step.action in made:
        campaign = made[step.action]
    elif step.action == "open":
        assert known is not None
        campaign = replace(known, state="open")
    elif step.action == "close":
        assert known is not None
        campaign = replace(known, state="closed")
    elif step.action == "simulate":
        assert known is not None
        campaign = labeled(known)
    else:
        assert step.run not in facts.runs, f"{step} is done twice"
        return replace(facts, runs={**facts.runs, step.run: "finished"})
    assert campaign != known, f"{step} changes nothing"
    return replace(facts, campaigns={**facts.campaigns, step.run: campaign})


def labeled(campaign: CampaignFacts) -> CampaignFacts:
    return replace(campaign, labeled=campaign.tasks, done=campaign.wanted)


def people_work(facts: Facts, wait: Wait) -> Facts:
    """Whoever is waited for does all that is asked for."""
    (name,) = [name for name in facts.campaigns if f"'{name}'" in wait.lines[0]]
    campaigns = {**facts.campaigns, name: labeled(facts.campaigns[name])}
    return replace(facts, campaigns=campaigns)


def walk(
    facts: Facts, config: LoopConfig, *, rounds: int, simulated: bool
) -> tuple[list[Step], list[Wait], Facts]:
    """From some facts to the end, with people doing their part whenever they are waited for."""
    steps: list[Step] = []
    waits: list[Wait] = []
    while True:
        found = next_step(facts, config, rounds=rounds, simulated=simulated)
        assert found == next_step(facts, config, rounds=rounds, simulated=simulated)
        if isinstance(found, Done):
            assert found.rounds == rounds
            return steps, waits, facts
        if isinstance(found, Wait):
            waits.append(found)
            assert len(waits) < 20
            facts = people_work(facts, found)
            continue
        steps.append(found)
        assert len(steps) < 200
        missing = {run for run in needs(found, config) if not facts.has(run)}
        assert not missing, f"{found} reads {missing}"
        call = call_for(found, config, LAB)
        assert (call is None) == (found.action in IN_THE_STORE)
        if call is not None:
            assert read_by(call) == needs(found, config)
            assert call.stage in STAGES
            assert call.rests_on_labels == (found.action in RESTS_ON_LABELS)
        facts = after(facts, found)


CONFIGS = [
    LoopConfig.model_validate(
        {"ptx": ptx, "comparison": {"by": by}, "text": text, "restart": restart}
    )
    for ptx, by, text, restart in product(
        (True, False), ("labelers", "reward-model"), (None, "text"), (True, False)
    )
]


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize("is_given", [False, True])
def test_every_way_leads_to_the_end(rounds: int, simulated: bool, is_given: bool) -> None:
    if simulated and not is_given:
        return  # simulated labelers write nothing: tested below
    for config in CONFIGS:
        answered = {"train": 500, "valid": 100} if is_given else {}
        start = Facts(prompts=PROMPTS, answered=answered)
        steps, waits, end = walk(start, config, rounds=rounds, simulated=simulated)

        actions = [step.action for step in steps]
        assert actions.count("sft") == actions.count("choose epoch") == 1
        assert actions.count("baseline") == 1
        assert actions.count("rl_init") == int(config.ptx)
        assert actions.count("reward model") == actions.count("ppo") == rounds
        assert actions.count("check reward models") == rounds - 1
        assert end.has(names.votes(rounds))
        kinds = [wait.what for wait in waits]
        by_people = config.comparison.by == "labelers"
        expected = ["rankings", *(["votes"] if by_people else [])] * rounds
        assert kinds == ([] if simulated else [*([] if is_given else ["answers"]), *expected])
        needs_text = config.text is None and (config.ptx or simulated)
        assert actions.count("text") == int(needs_text)
        assert actions.count("lexicon") == int(simulated)


def test_the_papers_order() -> None:
    start = Facts(prompts=PROMPTS)
    steps, _, _ = walk(start, LoopConfig(), rounds=2, simulated=False)

    assert [(step.action, step.run) for step in steps] == [
        ("ask for answers", "demonstrations"),
        ("export answers", "demonstrations"),
        ("sft", "sft"),
        ("choose epoch", "chosen"),
        ("export prompts", "prompts-1"),
        ("sample", "samples-1"),
        ("ask for rankings", "rankings, round 1"),
        ("fill rankings", "rankings, round 1"),
        ("open", "rankings, round 1"),
        ("export rankings", "rankings-1"),
        ("reward model", "reward-1"),
        ("baseline", "baseline"),
        ("text", "stories"),
        ("rl_init", "rl_init"),
        ("ppo", "ppo_ptx-1"),
        ("answer old", "answers-1-old"),
        ("answer new", "answers-1-new"),
        ("ask for votes", "comparison, round 1"),
        ("close", "comparison, round 1"),
        ("count votes", "comparison-1"),
        ("export prompts", "prompts-2"),
        ("sample", "samples-2"),
        ("ask for rankings", "rankings, round 2"),
        ("fill rankings", "rankings, round 2"),
        ("open", "rankings, round 2"),
        ("export rankings", "rankings-2"),
        ("reward model", "reward-2"),
        ("export new rankings", "new-rankings-2"),
        ("check reward models", "reward-check-2"),
        ("ppo", "ppo_ptx-2"),
        ("answer old", "answers-2-old"),
        ("answer new", "answers-2-new"),
        ("ask for votes", "comparison, round 2"),
        ("close", "comparison, round 2"),
        ("count votes", "comparison-2"),
    ]


# --- what is waited for ---


@pytest.mark.parametrize("missing", ["train", "valid", "test"])
def test_every_side_needs_prompts(missing: str) -> None:
    prompts = {side: count for side, count in PROMPTS.items() if side != missing}

    found = next_step(Facts(prompts=prompts), LoopConfig(), rounds=1)

    assert isinstance(found, Wait)
    assert found.what == "prompts"
    told = found.told(Path("my lab"))
    assert f"{missing} has none" in told[0]
    assert "--project 'my lab'" in told[1]


def test_a_base_without_a_text_asks_for_one_before_any_work() -> None:
    config = LoopConfig(base=Path("somewhere"))
    found = next_step(Facts(prompts=PROMPTS), config, rounds=1)

    assert isinstance(found, Wait)
    assert found.what == "text"
    assert "ptx = false" in found.lines[0]
    without = config.model_copy(update={"ptx": False})
    assert next_step(Facts(prompts=PROMPTS), without, rounds=1) == Step(
        "ask for answers", "demonstrations"
    )


def campaign(state: str = "open", train: int = 0, valid: int = 0) -> Facts:
    made = CampaignFacts(
        state,  # type: ignore[arg-type]
        {"train": 10, "valid": 4},
        {"train": train, "valid": valid},
        train + valid,
        14,
    )
    return Facts(prompts=PROMPTS, campaigns={"demonstrations": made})


@pytest.mark.parametrize(
    ("train", "valid", "is_enough"),
    [(0, 0, False), (8, 2, False), (7, 4, False), (8, 3, False), (8, 4, True), (10, 4, True)],
)
def test_labels_are_enough_on_both_sides_or_not_at_all(
    train: int, valid: int, is_enough: bool
) -> None:
    config = LoopConfig.model_validate({"demonstrations": {"enough": 0.8}})

    found = next_step(campaign(train=train, valid=valid), config, rounds=1)

    if is_enough:
        assert found == Step("export answers", "demonstrations")
    else:
        assert isinstance(found, Wait)
        assert f"{train} of 8 answers written on training prompts" in found.lines[0]
        assert f"{valid} of 4 answers written on validation prompts" in found.lines[0]
        assert any("label serve" in line for line in found.lines)


@pytest.mark.parametrize("state", ["paused", "closed"])
def test_a_campaign_that_stands_still_is_to_be_opened(state: str) -> None:
    found = next_step(campaign(state, 1, 1), LoopConfig(), rounds=1)

    assert isinstance(found, Wait)
    assert (
        f'it is {state}; open it: alignloop label state --project {{project}} "demonstrations"'
        in (found.lines[-1])
    )
    assert next_step(campaign(state, 10, 4), LoopConfig(), rounds=1) == Step(
        "export answers", "demonstrations"
    )


def test_a_draft_that_somebody_made_is_opened() -> None:
    assert next_step(campaign("draft"), LoopConfig(), rounds=1) == Step("open", "demonstrations")


def test_a_side_without_tasks_is_told() -> None:
    only = CampaignFacts("open", {"train": 3}, {"train": 3}, 3, 3)
    facts = Facts(prompts=PROMPTS, campaigns={"demonstrations": only})

    found = next_step(facts, LoopConfig(), rounds=1)

    assert isinstance(found, Wait)
    assert any("no task of the valid side" in line for line in found.lines)


def test_simulated_labelers_write_nothing() -> None:
    few = Facts(prompts=PROMPTS, answered={"train": 30, "valid": 1})
    found = next_step(few, LoopConfig(), rounds=1, simulated=True)

    assert isinstance(found, Wait)
    assert found.what == "writers"
    assert "30 of 200 on the train side and 1 of 40 on the valid side" in found.lines[0]
    lower = LoopConfig.model_validate({"demonstrations": {"train": 30, "valid": 1}})
    assert next_step(few, lower, rounds=1, simulated=True) == Step(
        "take given answers", "demonstrations"
    )


def test_an_evaluation_that_a_person_closed_is_counted_as_it_is() -> None:
    config = LoopConfig()
    _, _, end = walk(Facts(prompts=PROMPTS), config, rounds=1, simulated=False)
    runs = {name: state for name, state in end.runs.items() if name != "comparison-1"}
    name = names.vote_campaign(1)
    for state, expected in (
        ("closed", Step("count votes", "comparison-1", 1)),
        ("paused", Wait),
        ("open", Wait),
    ):
        early = CampaignFacts(state, {"test": 5}, {"test": 2}, 2, 5)  # type: ignore[arg-type]
        facts = replace(end, runs=runs, campaigns={**end.campaigns, name: early})
        found = next_step(facts, config, rounds=1)
        assert found == expected or (expected is Wait and isinstance(found, Wait))


def test_every_command_that_is_told_can_be_given() -> None:
    """Whatever is waited for: the commands are those of the docs' own check."""
    told: set[str] = set()
    for state, sides, simulated in product(
        ("open", "paused", "closed"), ({"train": 3}, {"train": 3, "valid": 1}), (False, True)
    ):
        for name in ("demonstrations", "rankings, round 1", "comparison, round 1"):
            made = CampaignFacts(state, sides, {}, 0, 4)  # type: ignore[arg-type]
            runs = dict.fromkeys(EVERY_RUN, "finished")
            left = {"demonstrations": "demonstrations", "rankings, round 1": "rankings-1"}
            runs.pop(left.get(name, "comparison-1"))
            facts = Facts(prompts=PROMPTS, campaigns={name: made}, runs=runs)
            found = next_step(facts, LoopConfig(), rounds=1, simulated=simulated)
            if isinstance(found, Wait):
                told |= set(found.told(Path("my lab")))
    for facts in (Facts(), Facts(prompts=PROMPTS)):
        found = next_step(facts, LoopConfig(), rounds=1, simulated=True)
        assert isinstance(found, Wait)
        told |= set(found.told(Path("my lab")))

    commands = [
        f"alignloop {line.partition(': alignloop ')[2]}" for line in told if ": alignloop " in line
    ]

    assert len(commands) > 5
    for command in commands:
        words = shlex.split(command)
        assert "my lab" in words
        check(words)


# --- whose labels ---


def test_labels_of_people_and_of_code_are_never_mixed() -> None:
    check_labelers(Facts(people_labels=3), simulated=False)
    check_labelers(Facts(simulated_labels=3), simulated=True)
    check_labelers(Facts(), simulated=True)
    with pytest.raises(ConfigError, match="3 labels by people"):
        check_labelers(Facts(people_labels=3), simulated=True)
    with pytest.raises(ConfigError, match="SIMULATED"):
        check_labelers(Facts(simulated_labels=3), simulated=False)


# --- whatever is there ---

EVERY_RUN = [
    *("demonstrations", "sft", "chosen", "baseline", "rl_init", "stories", "lexicon"),
    *(f"{name}-{n}" for n in (1, 2) for name in ("prompts", "samples", "rankings", "reward")),
    *("ppo_ptx-1", "ppo_ptx-2", "comparison-1", "comparison-2", "answers-1-old", "answers-1-new"),
    *("answers-2-old", "answers-2-new", "new-rankings-2", "reward-check-2"),
]
STATES = st.sampled_from(["finished", "interrupted", "failed", "killed", "running", "damaged"])


@given(
    st.dictionaries(st.sampled_from(EVERY_RUN), STATES),
    st.dictionaries(
        st.sampled_from(["demonstrations", "rankings, round 1", "comparison, round 1"]),
        st.builds(
            CampaignFacts,
            st.sampled_from(["draft", "open", "paused", "closed"]),
            st.dictionaries(st.sampled_from(["train", "valid", "test"]), st.integers(1, 9)),
            st.dictionaries(st.sampled_from(["train", "valid", "test"]), st.integers(0, 9)),
            st.integers(0, 9),
            st.integers(0, 9),
        ),
    ),
    st.booleans(),
)
def test_whatever_is_there_something_comes_next_that_is_not_finished(
    runs: dict[str, str], campaigns: dict[str, CampaignFacts], simulated: bool
) -> None:
    facts = Facts(prompts=PROMPTS, campaigns=campaigns, runs=runs)

    found = next_step(facts, LoopConfig(), rounds=2, simulated=simulated)

    if isinstance(found, Step):
        assert not facts.has(found.run)
    elif isinstance(found, Wait):
        assert all(found.told(Path("lab")))
    else:
        assert facts.has("comparison-1") and facts.has("comparison-2")


def test_rounds_that_were_begun_are_looked_ahead_to() -> None:
    assert rounds_of(Facts(), LoopConfig()) == 1
    assert rounds_of(Facts(runs={"prompts-3": "failed", "sft": "finished"}), LoopConfig()) == 3


# --- settings ---


def test_paths_begin_at_the_settings_file_and_slips_are_found(tmp_path: Path) -> None:
    (tmp_path / "loop.toml").write_text('base = "models/mine"\nptx = false\n')

    assert read_config(tmp_path).base == tmp_path / "models" / "mine"
    assert read_config(tmp_path, overrides=("rounds=3",)).rounds == 3
    assert read_config(tmp_path / "nowhere") == LoopConfig()
    (tmp_path / "loop.toml").write_text("[settings.sfft]\nepochs = 1\n")
    with pytest.raises(ConfigError, match="settings of 'sfft'"):
        read_config(tmp_path)
    (tmp_path / "loop.toml").write_text("round = 1\n")
    with pytest.raises(ConfigError, match="did you mean 'rounds'"):
        read_config(tmp_path)


def test_every_setting_is_on_its_page_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs" / "loop.md").read_text(encoding="utf-8")
    for key, value in LoopConfig().model_dump(mode="json").items():
        rows = value.items() if isinstance(value, dict) and value else [(None, value)]
        for inner, default in rows:
            name = key if inner is None else f"{key}.{inner}"
            shown = {"None": "absent", "{}": "none"}.get(str(default), f"`{json.dumps(default)}`")
            assert f"| `{name}` | {shown} |" in page
    for step in STAGE_OF:
        assert f"`{step}`" in page
