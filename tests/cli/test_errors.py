"""Bad input through the command line: exit code 2, one line that says what, where and what next, never a traceback."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from alignloop.cli.main import main
from alignloop.config import load_config
from alignloop.data.constraints import Constraint
from alignloop.data.jsonl import write_records
from alignloop.data.records import Demonstration
from alignloop.errors import ArtifactError, ConfigError
from alignloop.models.loading import save_model
from alignloop.runs.artifact import write_artifact
from alignloop.workflow.stages import config_class
from tests.helpers import (
    PPO,
    SFT,
    contents,
    demonstration,
    foreign_tokenizer,
    full_disk,
    prompt,
    ranking,
    run,
    tiny_model,
    write_demonstrations,
    write_model,
    write_prompts,
    write_rankings,
    write_text,
)

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good input of every kind; a test that spoils one works on a copy."""
    folder = tmp_path_factory.mktemp("given")
    write_model(folder / "model")
    write_text(folder / "text")
    write_demonstrations(folder / "demos")
    write_prompts(folder / "prompts")
    write_rankings(folder / "rankings")
    (folder / "sft.json").write_text(json.dumps(SFT))
    (folder / "ppo.json").write_text(json.dumps(PPO))
    return folder


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Call the command line in this process; returns its one line of complaint."""

    def call(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["alignloop", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        assert stopped.value.code == 2, said.err
        assert said.out == ""
        assert said.err.startswith("alignloop: ")
        assert said.err.count("\n") == 1, said.err
        return said.err.removeprefix("alignloop: ").strip()

    return call


def sft(given: Path, run: Path, *more: str | Path, **inputs: Path) -> Sequence[str | Path]:
    chosen = {"model": given / "model", "demonstrations": given / "demos", "text": given / "text"}
    options = [part for name, path in (chosen | inputs).items() for part in (f"--{name}", path)]
    return ["sft", *options, "--run", run, "--config", given / "sft.json", *more]


def artefact(folder: Path, kind: str, **files: Any) -> Path:
    """An artefact whose files have given bytes or records; a double underscore stands for a dot."""

    def write(inside: Path) -> None:
        for name, content in files.items():
            path = inside / f"{name}.jsonl.gz"
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                write_records(path, content)

    write_artifact(folder, kind, write, parents=[], facts={})  # type: ignore[arg-type]
    return folder


# --- files ---


def write_judge(folder: Path, **settings: Any) -> None:
    """A random language model in `as_judge`, that calls itself a reward model."""
    judge = write_model(folder / "judge", **settings)
    write_artifact(
        folder / "as_judge",
        "reward-model",
        lambda aside: [  # type: ignore[arg-type,func-returns-value]
            (aside / path.name).write_bytes(path.read_bytes()) for path in judge.iterdir()
        ],
        parents=[],
        facts={},
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (gzip.compress(b""), "the file is empty"),
        (b"", "the file is empty"),
        (gzip.compress(b'{"prompt": {"id": "a", "te'), "line 1: not JSON"),
        (gzip.compress(b"hello\n"), "line 1: not JSON"),
        (gzip.compress(b'\n{"id": "a"}\n'), "line 2: not a Demonstration record: "),
        (gzip.compress(b"\n" * 5000)[:-9], "damaged or half-written"),
        (b"plain text\n", "damaged or half-written"),
    ],
    ids=[
        "no-lines",
        "no-bytes",
        "cut-line",
        "no-json",
        "other-record",
        "cut-archive",
        "no-archive",
    ],
)
def test_a_data_file_that_cannot_be_read(
    given: Path, tmp_path: Path, refused: Refused, content: bytes, complaint: str
) -> None:
    rows = [demonstration(0)]
    demos = artefact(tmp_path / "demos", "demonstrations", train=content, valid=rows)

    said = refused(*sft(given, tmp_path / "run", demonstrations=demos))

    assert complaint in said
    assert "train.jsonl.gz" in said


def test_a_data_file_that_is_missing(given: Path, tmp_path: Path, refused: Refused) -> None:
    demos = artefact(tmp_path / "demos", "demonstrations", valid=[demonstration(0)])

    said = refused(*sft(given, tmp_path / "run", demonstrations=demos))

    assert said.endswith("demos/train.jsonl.gz: no such file")


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "half"])
def test_half_written_weights(
    given: Path, tmp_path: Path, refused: Refused, content: bytes | None
) -> None:
    weights = write_model(tmp_path / "model") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:9000] if content is None else content)

    said = refused(*sft(given, tmp_path / "run", model=tmp_path / "model"))

    assert "not a causal language model" in said


# --- artefacts ---


def test_swapped_artefacts(given: Path, tmp_path: Path, refused: Refused) -> None:
    said = refused(
        *sft(given, tmp_path / "run", demonstrations=given / "text", text=given / "demos")
    )

    assert "text is a 'pretraining-text' artefact, but a 'demonstrations' is needed" in said
    assert "swapped?" in said


def test_an_artefact_that_is_not_there(given: Path, tmp_path: Path, refused: Refused) -> None:
    said = refused(*sft(given, tmp_path / "run", model=tmp_path / "none"))

    assert "none: no such folder; a 'policy' artefact or its run folder is needed" in said


def test_an_artefact_that_changed(given: Path, tmp_path: Path, refused: Refused) -> None:
    demos = write_demonstrations(tmp_path / "demos")
    with gzip.open(demos / "train.jsonl.gz", "at") as file:
        file.write("\n")

    said = refused(*sft(given, tmp_path / "run", demonstrations=demos))

    assert "train.jsonl.gz changed since it was written" in said


def test_an_unfinished_run_as_input(given: Path, tmp_path: Path, refused: Refused) -> None:
    refused(*sft(given, tmp_path / "first", model=tmp_path / "none"))

    said = refused(*sft(given, tmp_path / "second", model=tmp_path / "first"))

    assert "first is an unfinished run (status: failed); finish it with --resume first" in said


def test_a_missing_input_that_the_config_asks_for(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    arguments = [a for a in sft(given, tmp_path / "run") if a not in ("--text", given / "text")]

    assert "give it with --text" in refused(*arguments)


# --- configs ---


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("batchsize=3", "unknown key 'batchsize'; did you mean 'batch_size'?"),
        (
            "optimizer.learningrate=1",
            "unknown key 'optimizer.learningrate'; did you mean 'learning_rate'?",
        ),
        ("zzzzzz=1", "unknown key 'zzzzzz'; known keys: adapters, batch_size, "),
        ("batch_size=0", "'batch_size': Input should be greater than 0 (given: 0)"),
        ("batch_size=many", "'batch_size': Input should be a valid integer"),
        ("optimizer.learning_rate=nan", "'optimizer.learning_rate': Input should be a finite"),
        ("batch_size", "--set batch_size: write it as section.key=value"),
        ("batch_size.x=1", "'batch_size' is a value, not a section"),
    ],
)
def test_a_setting_that_cannot_be(
    given: Path, tmp_path: Path, refused: Refused, setting: str, complaint: str
) -> None:
    said = refused(*sft(given, tmp_path / "run", "--set", setting))

    assert complaint in said
    assert not (tmp_path / "run").exists(), "nothing is begun"


@pytest.mark.parametrize(
    ("stage", "settings", "complaint"),
    [
        ("pretrain", ["model.hidden_size=256"], "'model': hidden_size 256 is not a multiple"),
        ("pretrain", ["model.heads=0"], "'model.heads': Input should be greater than 0"),
        ("sample", ["k_min=1"], "'k_min': Input should be greater than or equal to 2"),
        ("sample", ["k_min=9", "k_max=4"], "k_min 9 is above k_max 4"),
        ("demonstrations", ["demonstrations=0.8", "rankings=0.3"], "leave no RL prompts"),
        ("ppo", ["adaptive_kl.horizon=102"], "horizon 102 counts episodes"),
    ],
)
def test_settings_that_cannot_go_together(stage: str, settings: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_config(config_class(stage), None, settings)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("none.toml", None, "no such config file"),
        ("bad.toml", "batch_size = = 3", "not valid toml"),
        ("bad.json", '{"batch_size": ', "not valid json"),
        ("list.json", "[1]", "a config is a table of keys, not a list"),
        ("latin.toml", "\xe4".encode("latin-1"), "cannot be read"),
        ("typo.toml", "[optimiser]\nlearning_rate = 1.0", "did you mean 'optimizer'?"),
    ],
)
def test_a_recipe_that_cannot_be_read(
    given: Path, tmp_path: Path, refused: Refused, name: str, content: Any, complaint: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    said = refused(*sft(given, tmp_path / "run", "--config", path))

    assert str(path) in said
    assert complaint in said


def test_one_changed_value_keeps_the_defaults_beside_it(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    """The stage's defaults, not those of optimizers in general: PPO's learning rate is constant."""
    said = refused(
        *("ppo", "--policy", tmp_path / "none", "--reward-model", tmp_path, "--prompts", tmp_path),
        *("--run", tmp_path / "run", "--set", "policy_optimizer.learning_rate=1e-5", "--no-doctor"),
    )
    assert "none: no such folder" in said

    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["policy_optimizer"]["learning_rate"] == 1e-5
    assert config["policy_optimizer"]["schedule"] == "constant"


# --- run folders ---


def test_an_existing_run_without_resume(given: Path, tmp_path: Path, refused: Refused) -> None:
    refused(*sft(given, tmp_path / "run", model=tmp_path / "none"))
    before = contents(tmp_path)

    said = refused(*sft(given, tmp_path / "run"))

    assert "already holds a run; go on with --resume, or choose another folder" in said
    assert contents(tmp_path) == before


def test_resuming_with_another_config(given: Path, tmp_path: Path, refused: Refused) -> None:
    refused(*sft(given, tmp_path / "run", model=tmp_path / "none"))

    said = refused(*sft(given, tmp_path / "run", "--resume", "--set", "epochs=9"))

    assert "begun with another config (epochs: 2 then, 9 now)" in said
    assert "go on with its settings (--config" in said


def test_a_run_folder_that_is_a_file(given: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "run").write_text("mine")

    assert "run" in refused(*sft(given, tmp_path / "run"))
    assert (tmp_path / "run").read_text() == "mine"


def test_a_full_disk(
    given: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first checkpoint on; then, with space again, the run goes on to its end."""
    with full_disk(20_000):
        said = refused(*sft(given, tmp_path / "run"))

    assert "could not be " in said
    assert "go on with --resume" in said
    monkeypatch.setattr(
        sys, "argv", ["alignloop", *map(str, sft(given, tmp_path / "run", "--resume"))]
    )
    main()


def test_ranks_that_nobody_numbered(
    given: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert "start with torchrun, or unset WORLD_SIZE" in refused(*sft(given, tmp_path / "run"))


def test_several_processes_for_a_stage_that_does_not_train(
    given: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rank would do all of the work, and write the same files."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    stories = ["data", "stories", "--run", str(tmp_path / "run")]

    assert "'stories' works in one process: start it without torchrun" in refused(*stories)


def test_going_on_with_another_number_of_processes(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    folder = tmp_path / "run"
    refused(*sft(given, folder, demonstrations=tmp_path / "none"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"world_size": 4}))

    said = refused(*sft(given, folder, "--resume"))

    assert "begun by 4 processes, this is 1" in said


# --- tokenizers ---


@pytest.mark.parametrize(
    ("tokenizer", "complaint"),
    [
        (foreign_tokenizer(eos=None), "the tokenizer has no EOS token"),
        (foreign_tokenizer(pad="<|endoftext|>"), "the pad token is the EOS token"),
    ],
    ids=["no-end", "pad-is-end"],
)
@pytest.mark.parametrize("stage", ["sft", "sample", "reward", "ppo"])
def test_a_tokenizer_with_which_responses_cannot_end(
    given: Path, tmp_path: Path, refused: Refused, stage: str, tokenizer: Any, complaint: str
) -> None:
    save_model(tiny_model(vocabulary=len(tokenizer)), tokenizer, tmp_path / "model")
    judge = write_artifact(
        tmp_path / "judge", "reward-model", lambda folder: None, parents=[], facts={}
    )
    inputs: dict[str, list[str | Path]] = {
        "sft": ["--model", tmp_path / "model", "--demonstrations", given / "demos"],
        "sample": ["--model", tmp_path / "model", "--prompts", given / "prompts"],
        "reward": [
            *("--model", tmp_path / "model", "--rankings", given / "rankings"),
            *("--demonstrations", given / "demos"),
        ],
        "ppo": [
            *("--policy", tmp_path / "model", "--reward-model", judge.path),
            *("--prompts", given / "prompts", "--text", given / "text"),
        ],
    }

    assert complaint in refused(stage, *inputs[stage], "--run", tmp_path / "run")


# --- lengths ---


def test_a_prompt_longer_than_the_context_in_sft(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    long = Demonstration(prompt=prompt(7, text="many words " * 60), response="Yes.")
    demos = artefact(
        tmp_path / "demos",
        "demonstrations",
        train=[demonstration(0), long],
        valid=[demonstration(1)],
    )

    said = refused(*sft(given, tmp_path / "run", demonstrations=demos))

    assert "demonstration 'prompt-7' has " in said
    assert "the context is 96" in said
    assert "set max_prompt_tokens to leave such rows out" in said


def test_a_prompt_longer_than_the_context_in_sampling(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    long = [prompt(0), prompt(7, text="many words " * 60)]
    prompts = artefact(tmp_path / "prompts", "prompts", rankings=long, valid=long)

    said = refused(
        *("sample", "--model", given / "model", "--prompts", prompts, "--run", tmp_path / "run"),
        *("--set", "sampling.max_new_tokens=8"),
    )

    assert "prompt 'prompt-7' has " in said
    assert "context of 96" in said


def test_a_prompt_longer_than_the_context_in_ranking_and_in_rl(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    long = prompt(7, text="many words " * 60)
    rows = [ranking(0), ranking(1).model_copy(update={"prompt": long})]
    rankings = artefact(tmp_path / "rankings", "rankings", train=rows, valid=rows[:1])
    said = refused(
        *("reward", "--model", given / "model", "--rankings", rankings),
        *("--demonstrations", given / "demos", "--run", tmp_path / "rm"),
    )
    assert "ranking of prompt 'prompt-7'" in said
    assert "the context is 96" in said

    prompts = artefact(tmp_path / "prompts", "prompts", rl=[prompt(0), long])
    write_judge(tmp_path)
    said = refused(
        *("ppo", "--policy", given / "model", "--reward-model", tmp_path / "as_judge"),
        *("--prompts", prompts, "--text", given / "text", "--run", tmp_path / "ppo"),
        *("--config", given / "ppo.json"),
    )
    assert "prompt 'prompt-7' has " in said
    assert "does not fit the context of 96" in said


def test_a_reward_model_with_a_shorter_context_than_the_policy(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    write_judge(tmp_path, context=24)

    said = refused(
        *("ppo", "--policy", given / "model", "--reward-model", tmp_path / "as_judge"),
        *("--prompts", given / "prompts", "--text", given / "text", "--run", tmp_path / "ppo"),
        *("--config", given / "ppo.json"),
    )

    assert "does not fit the context of 24" in said


def test_pretraining_sequences_longer_than_the_context_in_rl(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    write_judge(tmp_path)

    said = refused(
        *("ppo", "--policy", given / "model", "--reward-model", tmp_path / "as_judge"),
        *("--prompts", given / "prompts", "--text", given / "text", "--run", tmp_path / "ppo"),
        *("--config", given / "ppo.json", "--set", "ptx_tokens=200"),
    )

    assert "ptx_tokens" in said
    assert "96" in said


def test_pretraining_sequences_longer_than_the_context_in_sft(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    said = refused(
        *("sft", "--model", given / "model", "--demonstrations", given / "demos"),
        *("--text", given / "text", "--run", tmp_path / "sft"),
        *("--set", "pretraining_mix=0.1", "--set", "pretraining_tokens=200"),
    )

    assert "pretraining_tokens 200" in said
    assert "96" in said


@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_a_response_without_tokens(
    given: Path, tmp_path: Path, refused: Refused, stage: str
) -> None:
    good = demonstration(0)
    if stage == "sft":
        rows = [good, demonstration(7, response="")]
        demos = artefact(tmp_path / "demos", "demonstrations", train=rows, valid=[good])
        said = refused(*sft(given, tmp_path / "run", demonstrations=demos))
        assert "demonstration 'prompt-7': a response has no tokens" in said
    else:
        row = ranking(7)
        empty = row.completions[0].model_copy(update={"text": ""})
        row = row.model_copy(update={"completions": (empty, *row.completions[1:])})
        rankings = artefact(
            tmp_path / "rankings", "rankings", train=[ranking(0), row], valid=[ranking(0)]
        )
        said = refused(
            *("reward", "--model", given / "model", "--rankings", rankings),
            *("--demonstrations", given / "demos", "--run", tmp_path / "run"),
        )
        assert "ranking of prompt 'prompt-7': a response has no tokens" in said


def test_rankings_of_ties_alone(given: Path, tmp_path: Path, refused: Refused) -> None:
    rows = [ranking(i, (1, 1, 1)) for i in range(3)]
    rankings = artefact(tmp_path / "rankings", "rankings", train=rows, valid=rows)

    said = refused(
        *("reward", "--model", given / "model", "--rankings", rankings),
        *("--demonstrations", given / "demos", "--run", tmp_path / "run"),
    )

    assert "all are ties" in said


def test_demonstrations_none_of_which_fits_the_reward_model(
    given: Path, tmp_path: Path, refused: Refused
) -> None:
    """Their mean could not be taken: no division by zero at the very end of the training."""
    long = [Demonstration(prompt=prompt(7, text="many words " * 60), response="Yes.")]
    demos = artefact(tmp_path / "demos", "demonstrations", train=long, valid=long)

    said = refused(
        *("reward", "--model", given / "model", "--rankings", given / "rankings"),
        *("--demonstrations", demos, "--run", tmp_path / "run"),
    )

    assert "demonstration" in said


# --- what is not an error of ours ---


def test_a_bug_of_ours_is_not_hidden(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback means a bug: nothing may turn one into a friendly line."""

    def broken(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr("alignloop.workflow.stages.run_stage", broken)
    monkeypatch.setattr(sys, "argv", ["alignloop", *map(str, sft(given, tmp_path / "run"))])
    with pytest.raises(KeyError, match="bug"):
        main()


def test_a_wrong_option_shows_how_it_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["alignloop", "sft", "--modle", "x"])
    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
    assert "--modle" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("chat", "somewhere", "--temperature", "0"),
        ("chat", "somewhere", "--max-new-tokens", "0"),
        ("doctor", "--policy", "a"),
        ("evaluate", "policies", "--policy", "sft=a", "--policy", "sft=b"),
    ],
)
def test_an_option_that_cannot_be(
    arguments: Sequence[str], run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_cli(*arguments)

    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["best_of_n", "text"])
def test_a_policy_that_is_called_like_something_else(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=f"a policy cannot be called '{name}'"):
        run(
            "evaluate",
            tmp_path / "evaluation",
            {},
            policies={"sft": tmp_path, "rl_init": tmp_path, name: tmp_path},
            **dict.fromkeys(
                ("reward_model", "prompts", "rankings", "lexicon", "text", "outside_judge"),
                tmp_path,
            ),
        )


@pytest.mark.parametrize("value", ["two", "0", "-1", ""])
def test_a_constraint_that_no_program_can_check(value: str) -> None:
    with pytest.raises(ValueError, match="'sentences' needs a number above 0"):
        Constraint(kind="sentences", value=value)
    with pytest.raises(ValueError, match="'mentions' needs a word"):
        Constraint(kind="mentions", value=" ")


# --- what is not installed ---

WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "tokenizers", "safetensors", "jaxtyping", "matplotlib"):
    sys.modules[name] = None
from alignloop.cli.main import main
main()
"""


def run_without_torch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder`, as where the base alone is installed."""
    return subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_TORCH, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "arguments", [("demo", "--out", "demo"), ("chat", "model"), ("demo", "--precision", "float32")]
)
def test_without_torch_a_command_says_which_extra_to_install(
    arguments: Sequence[str], tmp_path: Path
) -> None:
    """And before any work is done."""
    done = run_without_torch(tmp_path, *arguments)

    assert done.returncode == 2, done.stderr
    assert "pip install 'alignloop[train]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*/stories"))


def test_without_torch_records_are_brought_in(tmp_path: Path) -> None:
    rows = [{"id": f"p{i}", "text": f"Tell story {i}."} for i in range(60)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    done = run_without_torch(
        tmp_path, "data", "import", "prompts.jsonl", "--kind", "prompts", "--run", "prompts"
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "prompts" / "artifact" / "rl.jsonl.gz").exists()
