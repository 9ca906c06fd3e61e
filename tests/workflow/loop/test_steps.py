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
    as_begun,
    check_labelers,
    next_step,
    steps_ahead,
)
from alignloop.workflow.stages import STAGES
from tests.docs.test_commands import check

PROMPTS = {"train": 60, "valid": 12, "test": 12}
SIDES = {"train": 6, "valid": 2}
LAB = Path("lab")


def needs(step: Step, config: LoopConfig, *, simulated: bool) -> set[str]:
    """The runs that a step reads, as its commands would say."""
    number, arm = step.number, step.arm
    text = {names.TEXT} if config.text is None else set[str]()
    words = {names.LEXICON} if simulated else set[str]()

    def ppo(n: int, of: names.Arm = "") -> str:
        return names.ppo(n, ptx=config.ptx, arm=of)

    base = {names.prompts(number), names.reward(number, arm)}
    old = names.BASELINE if number == 1 else ppo(number - 1)
    sampled = names.CHOSEN if number == 1 or arm else ppo(number - 1)
    start = names.RL_INIT if config.ptx else names.BASELINE
    if number > 1 and not config.restart:
        start = ppo(number - 1)
    rewards = {names.reward(n) for n in (number - 1, number) if n > 0}
    rewards |= {names.reward(number, arm)}
    return {
        "begin with stories": text,
        "story prompts": text,
        "sft": {names.DEMONSTRATIONS},
        "choose epoch": {names.SFT},
        "sample": {names.prompts(number), sampled},
        "fill rankings": {names.samples(number, arm)},
        "ask for rankings": {names.samples(number, arm)},
        "simulate": {names.LEXICON},
        "lexicon": text,
        "reward model": {names.CHOSEN, names.rankings(number, arm), names.DEMONSTRATIONS},
        "baseline": {names.SFT, *base},
        "rl_init": {names.DEMONSTRATIONS, *text},
        "ppo": {start, *base} | (text if config.ptx else set()),
        "compare": {names.prompts(number), old, ppo(number), ppo(number, arm), *rewards, *words},
        "check reward models": {*rewards, names.new_rankings(number), *words},
        "report": set(names.judged(n, of) for n in range(1, number + 1) for of in arms(config, n))
        | {names.RL_INIT if config.ptx else names.BASELINE},
    }.get(step.action, set())


def arms(config: LoopConfig, number: int) -> tuple[names.Arm, ...]:
    return ("", "control") if config.control and number > 1 else ("",)


IN_THE_STORE = {
    *("ask for answers", "ask for rankings", "fill rankings", "open", "simulate"),
    "close",
}
"""Actions that are no stage."""
RESTS_ON_LABELS = {
    *("export rankings", "export new rankings", "reward model", "baseline", "ppo", "compare"),
    *("count votes", "check reward models", "report"),
}
"""Actions that leave something that simulated labelers, where there are some, had a part in."""


def read_by(call: Call) -> set[str]:
    """The runs among the inputs of a call."""
    paths = [
        path
        for value in call.inputs.values()
        for path in (value.values() if isinstance(value, dict) else [value])
    ]
    return {
        path.name
        for path in paths
        if isinstance(path, Path) and path.parent == LAB / "runs" and path.name != ".cache"
    }


def after(facts: Facts, step: Step, config: LoopConfig) -> Facts:
    """The facts once a step is done."""
    made = {
        "ask for answers": CampaignFacts("open", SIDES, {}, 0, 8),
        "ask for rankings": CampaignFacts("draft"),
        "fill rankings": CampaignFacts("draft", SIDES, {}, 0, 8),
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
        made_with_it = dict(facts.campaigns)
        if step.action == "compare" and config.comparison.by == "labelers":
            votes = CampaignFacts("draft", {"test": 5}, {}, 0, 5)
            made_with_it[names.vote_campaign(step.number, step.arm)] = votes
        return replace(
            facts,
            runs={**facts.runs, step.run: "finished"},
            campaigns=made_with_it,
            has_story_tasks=facts.has_story_tasks or step.action == "begin with stories",
        )
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
        read = needs(found, config, simulated=simulated)
        missing = {run for run in read if not facts.has(run)}
        assert not missing, f"{found} reads {missing}"
        ahead = steps_ahead(facts, config, rounds=rounds, simulated=simulated)
        assert ahead[0] == found
        call = call_for(found, config, LAB, simulated=simulated)
        assert (call is None) == (found.action in IN_THE_STORE)
        if call is not None:
            assert read_by(call) == read or (found.action == "report" and read <= read_by(call))
            assert {run for run in read_by(call) if not facts.has(run)} == set()
            assert call.stage in STAGES
            assert call.rests_on_labels == (found.action in RESTS_ON_LABELS)
        facts = after(facts, found, config)


CONFIGS = [
    LoopConfig.model_validate(
        {
            "ptx": ptx,
            "comparison": {"by": by},
            "text": text,
            "restart": restart,
            "control": control,
        }
    )
    for ptx, by, text, restart, control in product(
        (True, False), ("labelers", "reward-model"), (None, "text"), (True, False), (True, False)
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
        trained = rounds + (rounds - 1) * config.control
        assert actions.count("reward model") == actions.count("ppo") == trained
        assert actions.count("compare") == trained
        assert actions.count("check reward models") == trained - 1
        assert actions[-1] == "report" and actions.count("report") == 1
        assert end.has(names.votes(rounds)) == (config.comparison.by == "labelers")
        kinds = [wait.what for wait in waits]
        by_people = config.comparison.by == "labelers"
        expected = ["rankings", *(["votes"] if by_people else [])] * trained
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
        ("compare", "judged-1"),
        ("open", "comparison, round 1"),
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
        ("compare", "judged-2"),
        ("open", "comparison, round 2"),
        ("close", "comparison, round 2"),
        ("count votes", "comparison-2"),
        ("report", "rounds-2"),
    ]


def test_the_control_comes_after_its_round() -> None:
    config = LoopConfig.model_validate({"control": True, "ptx": False})
    _, _, before = walk(
        Facts(prompts=PROMPTS, answered={"train": 200, "valid": 40}),
        LoopConfig(ptx=False),
        rounds=2,
        simulated=True,
    )
    alone, _, _ = walk(Facts(prompts=PROMPTS), config, rounds=1, simulated=False)
    more, _, _ = walk(before, config, rounds=2, simulated=True)

    assert not [step for step in alone if step.arm]
    assert [(step.action, step.run) for step in more] == [
        ("sample", "control-samples-2"),
        ("ask for rankings", "control rankings, round 2"),
        ("fill rankings", "control rankings, round 2"),
        ("open", "control rankings, round 2"),
        ("simulate", "control rankings, round 2"),
        ("export rankings", "control-rankings-2"),
        ("reward model", "control-reward-2"),
        ("check reward models", "control-check-2"),
        ("ppo", "control-ppo-2"),
        ("compare", "control-judged-2"),
        ("open", "control comparison, round 2"),
        ("simulate", "control comparison, round 2"),
        ("close", "control comparison, round 2"),
        ("count votes", "control-comparison-2"),
        ("report", "control-rounds-2"),
    ]


# --- the bundled stories ---


def test_in_an_empty_folder_simulated_labelers_begin_with_the_bundled_stories() -> None:
    steps, waits, end = walk(Facts(), LoopConfig(control=True), rounds=2, simulated=True)

    assert [step.action for step in steps[:3]] == ["text", "begin with stories", "sft"]
    assert not waits
    assert [step.run for step in steps if step.action == "story prompts"] == [
        "prompts-1",
        "prompts-2",
    ]
    assert end.has_story_tasks
    foreseen = steps_ahead(Facts(), LoopConfig(control=True), rounds=2, simulated=True)
    of_the_moment = ("open", "close")
    assert [step for step in foreseen if step.action not in of_the_moment] == [
        step for step in steps if step.action not in of_the_moment
    ]


def test_people_and_models_without_a_text_begin_with_prompts() -> None:
    for config, simulated in ((LoopConfig(), False), (LoopConfig(base=Path("mine")), True)):
        found = next_step(Facts(), config, rounds=1, simulated=simulated)

        assert isinstance(found, Wait)
        assert found.what == "prompts"
        assert any("--labelers simulated" in line for line in found.lines)
    some = next_step(Facts(prompts={"train": 3}), LoopConfig(), rounds=1, simulated=True)
    assert isinstance(some, Wait) and not any("simulated" in line for line in some.lines)


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
    for facts, simulated in ((Facts(), False), (Facts(prompts=PROMPTS), True)):
        found = next_step(facts, LoopConfig(), rounds=1, simulated=simulated)
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
    *("ppo_ptx-1", "ppo_ptx-2", "comparison-1", "comparison-2", "judged-1", "judged-2"),
    *("new-rankings-2", "reward-check-2", "rounds-1", "rounds-2"),
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


def test_rounds_and_a_control_that_were_begun_are_looked_ahead_to() -> None:
    assert as_begun(Facts(), LoopConfig()) == LoopConfig()
    begun = as_begun(
        Facts(runs={"prompts-3": "failed", "sft": "finished", "control-samples-2": "killed"}),
        LoopConfig(),
    )
    assert (begun.rounds, begun.control) == (3, True)


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
