"""The whole command on tiny models: answers, judges, files; and what the files give again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alignloop.cli import evaluate as cli
from alignloop.data.jsonl import read_objects, write_records
from alignloop.data.records import Completion, Prompt
from alignloop.errors import ConfigError, DataError
from alignloop.evaluation.cache import AnswerCache
from alignloop.evaluation.winrate.asking import Asking
from alignloop.evaluation.winrate.config import WinRateConfig
from alignloop.evaluation.winrate.contestants import Contestant, answers_of, draw
from alignloop.evaluation.winrate.figures import BY_JUDGE, Setting, figures_of
from alignloop.evaluation.winrate.panel import by_simulated, pairs_of
from alignloop.evaluation.winrate.run import win_rate
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.native import NativeEngine
from alignloop.judges.gold import Gold
from alignloop.judges.labelers import training_labelers
from alignloop.judges.lexicon import Lexicon
from alignloop.judges.verdicts import Verdict
from alignloop.models.reward_scorer import RewardScorer
from alignloop.runs.artifact import open_artifact
from alignloop.store.project import open_project
from tests.evaluation.winrate.judge_server import judge_server
from tests.evaluation.winrate.test_people import matches, set_state, vote
from tests.helpers import (
    _write,
    contents,
    demonstration,
    prompt,
    run,
    write_classifier,
    write_model,
    write_text,
)
from tests.store.conftest import Lab

CONFIG: dict[str, Any] = {"resamples": 100, "sampling": {"max_new_tokens": 8}}
SAMPLING = SamplingConfig(max_new_tokens=8)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies, a reward model, a lexicon, prompts of three titles and two use cases."""
    folder = tmp_path_factory.mktemp("world")
    for name, seed in (("sft", 4), ("ppo", 9)):
        write_model(folder / name, seed=seed)
    write_classifier(folder / "reward")
    run("lexicon", folder / "lexicon", {}, text=write_text(folder / "text"))
    asked = [
        prompt(n, use_case="begin" if n % 2 else "continue", context=f"Tale {n}").model_copy(
            update={"group": f"title-{n // 2}"}
        )
        for n in range(6)
    ]
    _write(
        folder / "prompts", "prompts", {"test": asked, "valid": asked[:3], "rl": [], "rankings": []}
    )
    write_records(folder / "shown.jsonl", [demonstration(8), demonstration(9)])
    return folder


@pytest.fixture(scope="module")
def done(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that several tests look into: a base model asked by a template, and every judge that needs no server."""
    return judged(
        world,
        tmp_path_factory.mktemp("done") / "run",
        {**CONFIG, "seed": 77, "sampling": {"max_new_tokens": 8, "temperature": 0.5}},
        policies=policies(world, "base", "sft", "ppo"),
        templates=["base=<script>alert(1)</script>{context} "],
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Rows that the engine was asked to draw, call by call."""
    calls: list[int] = []
    generate = NativeEngine.generate

    def counting(self: NativeEngine, prompts: Any, *arguments: Any) -> Any:
        calls.append(len(prompts))
        return generate(self, prompts, *arguments)

    monkeypatch.setattr(NativeEngine, "generate", counting)
    yield calls


def policies(world: Path, *names: str) -> dict[str, Path]:
    return {name: world / ("sft" if name == "base" else name.partition("_")[0]) for name in names}


def judged(world: Path, folder: Path, config: dict[str, Any] = CONFIG, **given: Any) -> Path:
    """Run the stage with a reward model and simulated labelers for judges; gives the artefact's folder."""
    inputs = {
        "policies": policies(world, "sft", "ppo"),
        "prompts": world / "prompts",
        "baseline": "sft",
        "lexicon": world / "lexicon",
        "reward_models": {"reward_model-rm": world / "reward"},
        "cache": folder.parent / "cache",
        **given,
    }
    return run("win_rate", folder, config, **inputs).path


def report_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_objects(path)]


# --- the report and its files ---


def test_the_files_give_every_figure_of_the_report_again(done: Path) -> None:
    report = report_in(done)
    answers = rows_in(done / "answers.jsonl.gz")
    prompts = [Prompt.model_validate(row["prompt"]) for row in answers]
    config = WinRateConfig.model_validate({**CONFIG, "seed": 77})
    setting = Setting.of(config, "sft", prompts)
    rows = rows_in(done / "verdicts.jsonl.gz")
    assert {row["judge"] for row in rows} == set(report["judges"])
    code = {"simulated/training", "simulated/heldout", "gold"}
    assert set(report["judges"]) == {*code, "reward/rm"}
    for judge in report["judges"]:
        verdicts = [
            Verdict(**{key: value for key, value in row.items() if key != "judge"})
            for row in rows
            if row["judge"] == judge
        ]
        again = figures_of(verdicts, setting)
        for key in BY_JUDGE:
            for policy in ("base", "ppo"):
                assert report.get(key, {}).get(policy, {}).get(judge) == again.get(key, {}).get(
                    policy
                )
        for key in ("pairs", "bradley_terry"):
            assert report[key][judge] == again[key]
        for row in verdicts:  # lengths are those of the answers that were judged
            one = next(a for a in answers if a["prompt"]["id"] == row.prompt)
            assert row.length_a == len(one["answers"][row.a]["text"])


def test_a_win_rate_by_hand_from_the_verdicts(done: Path) -> None:
    by_prompt: dict[str, list[float]] = {}
    for row in rows_in(done / "verdicts.jsonl.gz"):
        if row["judge"] == "simulated/training" and (row["a"], row["b"]) == ("ppo", "sft"):
            by_prompt.setdefault(row["prompt"], []).append(row["outcome"])
    means = [sum(found) / len(found) for found in by_prompt.values()]
    report = report_in(done)
    cell = report["win_rate"]["ppo"]["simulated/training"]
    assert {len(found) for found in by_prompt.values()} == {5}
    assert cell["mean"] == pytest.approx(sum(means) / 6)
    assert cell["n"] == 6
    assert report["win_rate_over_groups"]["ppo"]["reward/rm"]["n"] == 3
    parts = report["win_rate_by_use_case"]["ppo"]["simulated/training"]
    assert {name: part["n"] for name, part in parts.items()} == {"begin": 3, "continue": 3}


def test_gold_prefers_what_is_worth_more(world: Path, done: Path) -> None:
    gold = Gold(Lexicon.load(open_artifact(world / "lexicon", "lexicon").file("lexicon.json.gz")))
    worth: dict[tuple[str, str], float] = {}
    for row in rows_in(done / "answers.jsonl.gz"):
        asked = Prompt.model_validate(row["prompt"])
        for name, answer in row["answers"].items():
            worth[asked.id, name] = gold.utility(asked, answer["text"])
    verdicts = [row for row in rows_in(done / "verdicts.jsonl.gz") if row["judge"] == "gold"]
    assert len(verdicts) == 18
    for row in verdicts:
        ours, theirs = worth[row["prompt"], row["a"]], worth[row["prompt"], row["b"]]
        assert row["outcome"] == (0.5 if abs(ours - theirs) <= 1e-9 else float(ours > theirs))
    found = report_in(done)["judges"]["gold"]
    assert found["simulated"] is True
    mean = found["checks"]["mean worth of ppo"]
    assert mean["mean"] == pytest.approx(sum(v for (_, n), v in worth.items() if n == "ppo") / 6)
    assert mean["low"] <= mean["mean"] <= mean["high"]


def test_every_answer_has_its_sampling_settings(world: Path, done: Path) -> None:
    for row in rows_in(done / "answers.jsonl.gz"):
        assert set(row["answers"]) == {"base", "sft", "ppo"}
        for name, answer in row["answers"].items():
            assert answer["sampling"] == {"max_new_tokens": 8, "temperature": 0.5}
            assert answer["seed"] == 77
            policy = open_artifact(policies(world, name)[name], "policy")
            assert answer["policy_sha256"] == policy.sha256


def test_every_figure_has_an_interval_or_says_why_not(done: Path) -> None:
    def check(value: Any, where: str) -> None:
        if isinstance(value, dict):
            if "mean" in value:
                assert {"low", "high", "n"} <= value.keys(), where
                has_all = None not in (value["mean"], value["low"], value["high"])
                assert has_all or value["reason"], where
            for key, inner in value.items():
                check(inner, f"{where}.{key}")
        assert not isinstance(value, float) or where.rsplit(".", 1)[1] in (
            *("mean", "low", "high", "band", "temperature"),
        ), f"{where}: a bare figure"

    check(report_in(done), "report")


def test_the_page_says_n_seed_who_judged_and_what_was_simulated(done: Path) -> None:
    page = (done / "report.html").read_text()

    assert "n\u00a06" in page
    assert "77; 100 resamples" in page
    assert "Simulated: simulated/training, simulated/heldout and gold" in page
    assert "the reward model rm" in page
    assert page.count("<svg") == 1 and 'class="half"' in page
    for outside in ("http://", "https://", "src=", "@import", "url("):
        assert outside not in page
    assert "<script" not in page  # a template's, say
    assert "Row against column, by reward/rm" in page and "Bradley-Terry" in page


def test_files_are_gzipped_without_a_time_stamp(done: Path) -> None:
    for name in ("answers.jsonl.gz", "verdicts.jsonl.gz"):
        assert (done / name).read_bytes()[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


def test_the_reward_model_prefers_what_it_scores_higher(world: Path, done: Path) -> None:
    scorer = RewardScorer(world / "reward")
    answers = {row["prompt"]["id"]: row for row in rows_in(done / "answers.jsonl.gz")}
    rows = [row for row in rows_in(done / "verdicts.jsonl.gz") if row["judge"] == "reward/rm"]
    assert len(rows) == 18
    for row in rows:
        found = answers[row["prompt"]]
        asked = Prompt.model_validate(found["prompt"])
        wanted = ("text", "finished", "tokens", "token_ids")
        said = [
            Completion(model="", **{key: found["answers"][row[side]][key] for key in wanted})
            for side in ("a", "b")
        ]
        ours, theirs = scorer.scores([asked, asked], said)
        assert row["outcome"] == float(ours > theirs)
    checks = report_in(done)["judges"]["reward/rm"]["checks"]
    assert -1 <= checks["correlation of score and length"]["mean"] <= 1


# --- nothing is drawn twice ---


def test_the_same_command_twice_draws_nothing_anew(
    world: Path, tmp_path: Path, drawn: list[int]
) -> None:
    first = judged(world, tmp_path / "one")
    assert sum(drawn) == 12
    drawn.clear()

    again = judged(world, tmp_path / "two")

    assert drawn == []
    assert contents(first) == contents(again)


def test_the_cache_lies_in_the_run_without_another_place(world: Path, tmp_path: Path) -> None:
    judged(world, tmp_path / "run", cache=None, lexicon=None)

    assert len(list((tmp_path / "run" / "cache" / "answers").rglob("*.json"))) == 12


def test_more_prompts_draw_the_missing_ones_alone(
    world: Path, tmp_path: Path, drawn: list[int]
) -> None:
    store = AnswerCache(tmp_path)
    one, asked = Contestant("x", world / "sft", "0", Asking()), [prompt(n) for n in range(5)]
    draw(one, asked[:3], SAMPLING, 3, store)
    drawn.clear()

    draw(one, asked, SAMPLING, 3, store)

    assert drawn == [2]


def test_what_is_kept_is_found_by_the_encoded_prompt_and_its_own_seed(
    world: Path, tmp_path: Path, drawn: list[int]
) -> None:
    """The same question in another way of asking is another one; a damaged answer is drawn again."""
    store, asked = AnswerCache(tmp_path), [prompt(0)]
    chat = Contestant("x", world / "sft", "0", Asking())
    [[first]], _ = draw(chat, asked, SAMPLING, 3, store)
    plain = Contestant("x", world / "sft", "0", Asking("{prompt}"))
    draw(plain, asked, SAMPLING, 3, store)
    assert drawn == [1, 1]

    four, _ = draw(chat, asked, SAMPLING, 3, store, copies=4)
    assert drawn == [1, 1, 4]
    assert four[0][0] == first  # the first of several is the only one of one

    for path in tmp_path.rglob("*.json"):
        path.write_text('{"text": 1}')
    assert draw(chat, asked, SAMPLING, 3, store)[0] == [[first]]
    assert drawn == [1, 1, 4, 1]


def test_a_run_that_was_stopped_goes_on_with_what_it_has(
    world: Path, tmp_path: Path, drawn: list[int]
) -> None:
    with (
        pytest.raises(DataError, match="no reply"),
        judge_server(lambda a, b: (500, "", {})) as bad,
    ):
        judged(
            world,
            tmp_path / "run",
            {**CONFIG, "endpoint": {"retries": 0}},
            judge_url=bad.url,
            judge_model="m",
        )
    drawn.clear()
    with judge_server(lambda a, b: "tie") as judge:
        run(
            "win_rate",
            tmp_path / "other",
            CONFIG,
            policies=policies(world, "sft", "ppo"),
            prompts=world / "prompts",
            baseline="sft",
            judge_url=judge.url,
            judge_model="m",
            cache=tmp_path / "cache",
        )
    assert drawn == []


def test_the_answers_are_those_of_one_seed_per_policy_and_prompt(
    world: Path, tmp_path: Path
) -> None:
    one = Contestant("x", world / "sft", "0", Asking())
    asked = [prompt(0), prompt(1), prompt(2)]

    together, _ = draw(one, asked, SAMPLING, 3, AnswerCache(tmp_path / "a"))
    alone, _ = draw(one, asked[2:], SAMPLING, 3, AnswerCache(tmp_path / "b"))
    other, _ = draw(
        Contestant("y", world / "sft", "0", Asking()),
        asked,
        SAMPLING,
        3,
        AnswerCache(tmp_path / "a"),
    )

    assert together[2] == alone[0]
    assert [group[0].text for group in other] != [group[0].text for group in together]


# --- judges ---


def test_the_endpoint_judges_and_its_bias_stands_in_the_report(world: Path, tmp_path: Path) -> None:
    with judge_server(lambda first, second: "A") as judge:
        folder = judged(
            world,
            tmp_path / "run",
            lexicon=None,
            reward_models={},
            judge_url=judge.url,
            judge_model="m",
        )

    report = report_in(folder)
    assert report["win_rate"]["ppo"]["endpoint/m"]["mean"] == 0.5
    assert report["judges"]["endpoint/m"]["checks"]["first preferred"]["mean"] == 1.0
    assert "First preferred" in (folder / "report.html").read_text()
    rows = rows_in(folder / "verdicts.jsonl.gz")
    assert {tuple(row["replies"]) for row in rows} == {("A", "A")}


def test_simulated_verdicts_are_those_that_the_labelers_give(world: Path) -> None:
    words = Lexicon.load(open_artifact(world / "lexicon", "lexicon").file("lexicon.json.gz"))
    labelers = training_labelers(words, 0.66)
    given = matches("sft", "ppo")

    bench = by_simulated("s", "told", labelers, given, "training")

    known = {labeler.name: labeler for labeler in labelers}
    texts = {(p.id, a, b): (p, of_a, of_b) for p, a, b, of_a, of_b in given.each()}
    assert len(bench.verdicts) == 5 * 4
    for one in bench.verdicts:
        assert one.outcome == known[one.by].prefer(*texts[one.prompt, one.a, one.b])


# --- how policies are asked ---


def test_best_of_n_keeps_the_answer_that_the_chooser_scores_highest(
    world: Path, tmp_path: Path
) -> None:
    scorer, store = RewardScorer(world / "reward"), AnswerCache(tmp_path)
    one = Contestant("sft", world / "sft", "0", Asking(best_of=3))
    asked = [prompt(0), prompt(1)]

    groups, _ = draw(one, asked, SAMPLING, 3, store)
    kept = answers_of(one, asked, SAMPLING, 3, store, scorer)

    for p, group in zip(asked, groups, strict=True):
        scores = scorer.scores([p] * 3, group)
        assert kept.answers[p.id] == group[scores.index(max(scores))]
    assert len({c.text for c in groups[0]}) > 1


def test_best_of_n_takes_part_beside_its_policy(world: Path, tmp_path: Path) -> None:
    folder = judged(
        world,
        tmp_path / "run",
        policies=policies(world, "sft", "sft_best"),
        best_of=["sft_best=4"],
        chooser=world / "reward",
    )

    report = report_in(folder)
    assert report["policies"]["sft_best"]["asked"]["best_of"] == 4
    assert report["win_rate"]["sft_best"]["reward/rm"]["mean"] >= 0.5
    assert "judges its own choice" in report["judges"]["reward/rm"]["who"]


def test_templates_files_demonstrations_and_stops_reach_the_policy(
    world: Path, tmp_path: Path, drawn: list[int]
) -> None:
    (tmp_path / "t.txt").write_text("Q: {prompt}\nA:")
    folder = judged(
        world,
        tmp_path / "run",
        {**CONFIG, "prompts": 2},
        policies=policies(world, "base", "sft"),
        template_files={"template-base": tmp_path / "t.txt"},
        few_shot={"few_shot-base": world / "shown.jsonl"},
        stops=["base=e"],
    )

    asked = report_in(folder)["policies"]["base"]["asked"]
    assert (asked["template"], asked["demonstrations"]) == ("Q: {prompt}\nA:", 2)
    assert asked["stop"] == ["e", "\n\nQ:"]
    assert report_in(folder)["policies"]["base"]["prompts_cut"] == 2  # 96 tokens are few
    for row in rows_in(folder / "answers.jsonl.gz"):
        assert "e" not in row["answers"]["base"]["text"]


def test_a_chat_that_does_not_fit_is_refused_and_nothing_is_cut(
    world: Path, tmp_path: Path
) -> None:
    shown = tmp_path / "long.jsonl"
    write_records(shown, [demonstration(n) for n in range(12)])

    with pytest.raises(DataError, match="does not fit the context of 96"):
        judged(world, tmp_path / "run", few_shot={"few_shot-ppo": shown})


def test_only_the_baseline_is_compared_where_that_is_wanted() -> None:
    names = ("a", "sft", "b")

    assert pairs_of(names, "sft", "baseline") == [("a", "sft"), ("b", "sft")]
    assert pairs_of(names, "sft", "all") == [("a", "sft"), ("b", "sft"), ("a", "b")]


# --- people ---


def test_answers_go_to_people_and_their_votes_come_back(world: Path, tmp_path: Path) -> None:
    told = f"{tmp_path / 'project'}:blind"
    waiting = judged(world, tmp_path / "ask", lexicon=None, reward_models={}, new_campaign=told)
    assert report_in(waiting)["judges"] == {}
    assert "wait for their judges" in (waiting / "report.html").read_text()
    texts = rows_in(waiting / "answers.jsonl.gz")

    store = open_project(tmp_path / "project").open()
    lab = Lab(store)
    campaign = set_state(lab, "blind", "open")
    ann = lab.labeler("Ann")
    for _ in range(campaign.planned or 0):
        vote(lab, ann, campaign, "tie")
    set_state(lab, "blind", "closed")
    store.close()

    folder = run(
        "win_rate",
        tmp_path / "people",
        CONFIG,
        baseline="sft",
        campaign=told,
        reward_models={"reward_model-rm": world / "reward"},
    ).path
    report = report_in(folder)
    assert report["win_rate"]["ppo"]["people"]["mean"] == 0.5
    assert report["win_rate"]["ppo"]["reward/rm"]["n"] == campaign.planned
    assert report["policies"]["ppo"]["sampling"]["max_new_tokens"] == 8
    found = {
        row["prompt"]["id"]: row["answers"]["ppo"]["text"]
        for row in rows_in(folder / "answers.jsonl.gz")
    }
    # A database keeps no NUL.
    drawn = {
        row["prompt"]["id"]: row["answers"]["ppo"]["text"].replace("\0", "\ufffd") for row in texts
    }
    assert found.items() <= drawn.items()
    assert "who did not know which policy wrote what" in (folder / "report.html").read_text()


# --- the command line ---


def test_the_options_reach_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(cli, "call_stage", lambda stage, **found: given.update(found, stage=stage))
    words = (
        "--policy base=b --policy ppo=runs/a=b --baseline base --prompts p --run r "
        "--template base=@t.txt --template ppo=Q=@{prompt} --few-shot base=f.jsonl --stop base=# "
        "--best-of ppo=4 --chooser c --lexicon l --reward-model rm=m --judge-url http://h/v1 "
        "--judge-model j --judge-key-env K --make-campaign lab:blind --cache k --set seed=3"
    )

    done = CliRunner().invoke(cli.command, ["win-rate", *words.split()])

    assert done.exit_code == 0, done.output
    assert given.pop("stage") == "win_rate"
    assert given["policies"] == {"base": Path("b"), "ppo": Path("runs/a=b")}
    assert given["templates"] == ["ppo=Q=@{prompt}"]
    assert given["template_files"] == {"template-base": Path("t.txt")}
    assert given["few_shot"] == {"few_shot-base": Path("f.jsonl")}
    assert given["reward_models"] == {"reward_model-rm": Path("m")}
    assert (given["campaign"], given["new_campaign"]) == (None, "lab:blind")
    parameters = signature(win_rate).parameters
    of_the_run = {"run_folder", "config_path", "overrides", "resume"}
    assert given.keys() - of_the_run == parameters.keys() - {"config", "run"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--policy ppo", "write it as NAME=PATH"),
        ("--policy a=x --policy a=y", "'a' is given twice"),
        ("--reward-model =x", "write it as NAME=PATH"),
    ],
)
def test_words_that_are_no_name_and_path_are_refused(words: str, message: str) -> None:
    done = CliRunner().invoke(
        cli.command, ["win-rate", "--baseline", "a", "--run", "r", *words.split()]
    )

    assert done.exit_code == 2 and message in done.output


# --- what cannot be ---


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"baseline": "gpt"}, "--baseline: there is no policy 'gpt'"),
        ({"policies": {}}, "name policies"),
        ({"prompts": None}, "name policies"),
        ({"templates": ["gpt={prompt}"]}, "--template: there is no policy 'gpt'"),
        ({"templates": ["ppo=no place"]}, "where the prompt goes"),
        ({"stops": ["gpt=x"]}, "--stop: there is no policy"),
        ({"best_of": ["ppo=1"]}, "a whole number from 2"),
        ({"best_of": ["ppo=4"]}, "name it with --chooser"),
        ({"chooser": "reward"}, "nothing to choose"),
        ({"judge_url": "http://host/v1"}, "both --judge-url and --judge-model"),
        ({"lexicon": None, "reward_models": {}}, "nobody judges"),
        ({"campaign": "lab:blind"}, "leave --policy"),
        ({"campaign": "lab", "policies": None, "prompts": None}, "PROJECT:NAME"),
        ({"new_campaign": "lab"}, "PROJECT:NAME"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_drawn(
    world: Path, tmp_path: Path, drawn: list[int], given: dict[str, Any], message: str
) -> None:
    if "chooser" in given:
        given = {"chooser": world / given["chooser"]}
    with pytest.raises(ConfigError, match=message):
        judged(world, tmp_path / "run", **given)
    assert drawn == []


def test_one_policy_alone_and_reserved_names_are_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs two policies"):
        judged(world, tmp_path / "one", policies=policies(world, "sft"))
    with pytest.raises(ConfigError, match="cannot be called 'prompts'"):
        judged(world, tmp_path / "two", policies={"sft": world / "sft", "prompts": world / "ppo"})
