"""Where scores come from: reward models, functions of the user's, a person; and what goes wrong with each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from alignloop.data.batches import Ragged
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.errors import ConfigError, DataError, RewardError
from alignloop.judges.gold import Gold
from alignloop.judges.lexicon import Lexicon
from alignloop.models.loading import save_model
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo.rewards import (
    Answered,
    FunctionReward,
    PersonReward,
    RewardModels,
    load_function,
)
from alignloop.workflow.stages import config_class
from tests.helpers import (
    PPO,
    REWARD,
    metrics,
    prompt,
    results,
    run,
    tiny_tokenizer,
)

VOWELS = """
def vowels(prompts, responses):
    assert len(prompts) == len(responses)
    assert all(prompt.id.startswith("prompt-") for prompt in prompts)
    return [sum(letter in "aeiou" for letter in text) / 10 for text in responses]
"""


def answered(count: int = 3) -> Answered:
    texts = [f"answer {i}" for i in range(count)]
    batch = Ragged.of([[5, 6]] * count, [[7 + i, 1] for i in range(count)], 0)
    return Answered([prompt(i) for i in range(count)], texts, batch)


# --- functions ---


def test_a_function_of_the_users_gives_the_score(inputs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(VOWELS)
    place = f"{tmp_path / 'mine.py'}:vowels"

    run(
        "ppo",
        tmp_path / "run",
        PPO | {"samples_every": 1},
        reward_function=place,  # type: ignore[arg-type]
        **inputs,
    )

    for path in (tmp_path / "run" / "samples").iterdir():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            expected = sum(letter in "aeiou" for letter in row["response"]) / 10
            assert row["score"] == pytest.approx(expected, abs=1e-4)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    recorded = {entry["role"]: entry for entry in manifest["inputs"]}
    assert recorded["reward_function"]["kind"] == "file"


def test_without_a_reward_model_values_start_from_the_policy_or_share_its_trunk(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(VOWELS)
    without: dict[str, Any] = {k: v for k, v in inputs.items() if k != "reward_model"}
    without["reward_function"] = f"{tmp_path / 'mine.py'}:vowels"

    with pytest.raises(ConfigError, match="value_start = 'policy'"):
        run("ppo", tmp_path / "refused", PPO, **without)
    run("ppo", tmp_path / "policy", PPO | {"value_start": "policy"}, **without)
    run("ppo", tmp_path / "shared", PPO | {"value_network": "shared"}, **without)

    for name in ("policy", "shared"):
        assert len(metrics(tmp_path / name)) == 6


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([1.0, 2.0], r"returned \(2,\) for 3 responses"),
        ([[1.0], [2.0], [3.0]], r"returned \(3, 1\) for 3 responses"),
        (1.0, r"returned \(\) for 3 responses"),
        ([1.0, float("nan"), 2.0], r"gave nan to response 2 \(prompt 'prompt-1'\)"),
        ([1.0, 2.0, float("inf")], "gave inf to response 3"),
        (None, "raised"),
        (["good", "bad", "ugly"], "raised"),
    ],
)
def test_a_function_that_returns_something_else_is_named(returned: Any, said: str) -> None:
    with pytest.raises(RewardError, match=f"the reward function mine {said}"):
        FunctionReward(lambda prompts, texts: returned, "mine").score(answered())


def test_a_function_that_raises_in_the_middle_of_a_run_leaves_the_last_checkpoint(
    inputs: dict[str, Path],
    tmp_path: Path,
    run_here: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Through the command line: one line, exit code 2; mended and resumed, the run ends as if nothing had been."""
    fuse = tmp_path / "fuse"
    (tmp_path / "mine.py").write_text(
        VOWELS.replace(
            "    return",
            f"    import pathlib\n    if pathlib.Path({str(fuse)!r}).exists() and len(list(pathlib.Path("
            f"{str(tmp_path)!r}).glob('run/checkpoints/step_*'))) > 0:\n"
            "        raise ValueError('the scorer is down')\n    return",
        )
    )
    fuse.touch()
    (tmp_path / "ppo.json").write_text(
        json.dumps(config_class("ppo").model_validate(PPO).model_dump(mode="json"))
    )
    command = [
        *("ppo", "--no-doctor", "--run", str(tmp_path / "run")),
        *("--config", str(tmp_path / "ppo.json"), "--reward-function"),
        f"{tmp_path / 'mine.py'}:vowels",
        *(
            part
            for name, path in inputs.items()
            for part in ("--" + name.replace("_", "-"), str(path))
        ),
    ]

    done = run_here(*command)

    assert done.returncode == 2
    assert "raised ValueError: the scorer is down (mine.py, line 7)" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(metrics(tmp_path / "run")) == 2
    fuse.unlink()
    again = run_here(*command, "--resume")
    assert again.returncode == 0, again.stderr
    whole = run(
        "ppo",
        tmp_path / "whole",
        PPO,
        reward_function=f"{tmp_path / 'mine.py'}:vowels",  # type: ignore[arg-type]
        **inputs,
    )
    assert whole.facts["episodes"] == 24
    assert results(tmp_path / "run") == results(tmp_path / "whole")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "given as FILE.py:NAME"),
        ("missing.py:f", "FileNotFoundError"),
        ("no.such.module:f", "ModuleNotFoundError"),
        ("math:nothing", "AttributeError"),
        ("math:pi", "is a float, not a function"),
        ("builtins:len", "AttributeError"),
    ],
)
def test_a_function_that_is_not_there(place: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_function(place)


def test_one_source_of_the_score_is_needed(inputs: dict[str, Path], tmp_path: Path) -> None:
    without = {k: v for k, v in inputs.items() if k != "reward_model"}
    with pytest.raises(ConfigError, match="give one of them"):
        run("ppo", tmp_path / "none", PPO, **without)
    with pytest.raises(ConfigError, match="give one of them"):
        run(
            "ppo",
            tmp_path / "both",
            PPO,
            reward_function="math:sqrt",  # type: ignore[arg-type]
            ask_person=True,  # type: ignore[arg-type]
            **inputs,
        )


# --- several reward models, and those that are watched ---


def test_several_reward_models_count_by_their_mean_or_the_lowest(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    members = [ScalarModel.load(inputs["reward_model"] / "artifact") for _ in range(3)]
    for seed, member in enumerate(members):
        member.new_head(seed)
    given = Answered([], [], Ragged.of([[5, 6, 7]] * 3, [[8], [9, 10, 1], [11, 1]], 0))
    each = torch.stack([RewardModels([member], 1000).score(given) for member in members])
    assert float(each.std(dim=0).min()) > 1e-3

    for budget in (1, 1000):
        mean, lowest = (
            RewardModels(members, budget, combine).score(given)
            for combine in ("mean", "min")  # type: ignore[arg-type]
        )
        torch.testing.assert_close(mean, each.mean(dim=0), atol=1e-5, rtol=0)
        torch.testing.assert_close(lowest, each.amin(dim=0), atol=1e-5, rtol=0)


def test_a_run_scores_with_all_of_its_reward_models(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """What is logged as the score is the lowest of two models' scores of the same answers."""
    judged = {
        "rankings": inputs["reward_model"].parent / "rankings",
        "demonstrations": inputs["reward_model"].parent / "demos",
    }
    run("reward", tmp_path / "second", REWARD | {"seed": 8}, model=inputs["policy"], **judged)
    frozen = {"policy_optimizer": {"learning_rate": 1e-12}, "samples_every": 1, "episodes": 16}

    def scores(name: str, combine: str, **models: Any) -> list[list[float]]:
        given = {k: v for k, v in inputs.items() if k != "reward_model"}
        run("ppo", tmp_path / name, PPO | frozen | {"reward_combine": combine}, **given, **models)
        files = sorted((tmp_path / name / "samples").iterdir())
        return [[json.loads(row)["score"] for row in f.read_text().splitlines()] for f in files]

    pair = {"reward_model": inputs["reward_model"], "more_reward_models": [tmp_path / "second"]}
    one = torch.tensor(scores("one", "mean", reward_model=inputs["reward_model"]))
    two = torch.tensor(scores("two", "mean", reward_model=tmp_path / "second"))

    assert not torch.allclose(one, two, atol=0.01)
    lowest, mean = (torch.tensor(scores(combine, combine, **pair)) for combine in ("min", "mean"))
    torch.testing.assert_close(lowest, torch.minimum(one, two), atol=2e-4, rtol=0)
    torch.testing.assert_close(mean, (one + two) / 2, atol=2e-4, rtol=0)


def test_a_reward_model_that_reads_less_than_the_policy_sets_the_length(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """Also one that is only watched: it is said before anything is drawn."""
    short = ScalarModel.load(inputs["reward_model"] / "artifact")
    short.model.config.max_position_embeddings = 24
    save_model(short.model, tiny_tokenizer(), tmp_path / "watched")

    with pytest.raises(DataError, match="does not fit the context of 24"):
        run("ppo", tmp_path / "run", PPO, heldout_reward_model=tmp_path / "watched", **inputs)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_gold_is_logged_and_is_what_the_judge_says_of_the_answers(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    run("lexicon", tmp_path / "lexicon", {}, text=inputs["text"])
    words = Gold(Lexicon.load(tmp_path / "lexicon" / "artifact" / "lexicon.json.gz"))

    run("ppo", tmp_path / "run", PPO | {"samples_every": 1}, gold=tmp_path / "lexicon", **inputs)

    asked = {p.id: p for p in read_records(inputs["prompts"] / "rl.jsonl.gz", Prompt)}
    for row in metrics(tmp_path / "run"):
        file = tmp_path / "run" / "samples" / f"step_{int(row['step']):06d}.jsonl"
        drawn = [json.loads(line) for line in file.read_text().splitlines()]
        found = [words.utility(asked[one["prompt_id"]], one["response"]) for one in drawn]
        assert row["gold_score"] == pytest.approx(sum(found) / len(found), abs=1e-5)


def test_heldout_judges_are_logged_and_change_nothing(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    model = {"model": inputs["policy"]}
    judged = {
        "rankings": inputs["reward_model"].parent / "rankings",
        "demonstrations": inputs["reward_model"].parent / "demos",
    }
    run("reward", tmp_path / "second", REWARD | {"seed": 8}, **model, **judged)
    run("ppo", tmp_path / "plain", PPO, **inputs)

    run(
        "ppo",
        tmp_path / "watched",
        PPO,
        heldout_reward_model=tmp_path / "second",
        more_reward_models=[],  # type: ignore[arg-type]
        **inputs,
    )

    plain, watched = metrics(tmp_path / "plain"), metrics(tmp_path / "watched")
    heldout = [row.pop("heldout_score") for row in watched]
    assert watched == plain
    assert max(heldout) - min(heldout) > 1e-3
    weights = [results(tmp_path / n)["artifact/model.safetensors"] for n in ("plain", "watched")]
    assert weights[0] == weights[1]
    timings = [
        json.loads(line) for line in (tmp_path / "plain" / "timings.jsonl").read_text().splitlines()
    ]
    for phase in ("collect", "score", "update"):
        assert all(row[f"{phase}_seconds"] > 0 for row in timings)
        assert all(row[f"{phase}_tokens_per_second"] > 0 for row in timings)


# --- a person ---


def test_a_persons_judgment_is_kept_and_not_asked_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return ["7", "soso", "", "2.5", "1"][len(asked) - 1]

    path = tmp_path / "judgments.jsonl"
    scores = PersonReward(path, ask).score(answered(3))

    assert scores.tolist() == [7.0, 2.5, 1.0]
    assert "answer 0" in asked[0]
    assert "Go on." in asked[0]
    assert asked[2] == "'soso' is not a number."
    with path.open("a") as file:
        file.write('{"prompt_id": "pro')  # a crash while the next one was written

    def refuse(question: str) -> str:
        raise AssertionError(question)

    assert PersonReward(path, refuse).score(answered(3)).tolist() == [7.0, 2.5, 1.0]
    PersonReward(path, lambda _: "4").score(answered(4))
    assert PersonReward(path, refuse).score(answered(4)).tolist() == [7.0, 2.5, 1.0, 4.0]


def test_a_person_at_the_terminal(inputs: dict[str, Path], tmp_path: Path) -> None:
    """A real process that reads standard input: it ends early, says so, and goes on where it was."""
    small = PPO | {"episodes": 4, "ptx_coef": 0, "checkpoint_every": 1}
    (tmp_path / "ppo.json").write_text(
        json.dumps(config_class("ppo").model_validate(small).model_dump(mode="json"))
    )
    command = [
        *(sys.executable, "-m", "alignloop", "ppo", "--ask-person", "--run", str(tmp_path / "run")),
        *("--config", str(tmp_path / "ppo.json"), "--policy", str(inputs["policy"])),
        *("--prompts", str(inputs["prompts"]), "--reward-model", str(inputs["reward_model"])),
    ]
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120}
    settings["env"] = {**os.environ, "PYTHONUNBUFFERED": "1"}

    first = subprocess.run(command, input="3\n5\n", **settings)

    assert first.returncode == 2, first.stderr
    assert "no more scores on standard input" in first.stderr
    assert "Answer 1 of 4" in first.stdout
    second = subprocess.run([*command, "--resume"], input="1\n2\n", **settings)
    assert second.returncode == 0, second.stderr
    assert "Answer 1 of 4" not in second.stdout
    assert "Answer 3 of 4" in second.stdout
    rows = (tmp_path / "run" / "judgments.jsonl").read_text().splitlines()
    assert [json.loads(row)["score"] for row in rows] == [3, 5, 1, 2]
    assert metrics(tmp_path / "run")[0]["score_mean"] == pytest.approx(11 / 4)
