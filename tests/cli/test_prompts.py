"""`alignloop prompts` as it is typed: what is said, what to type next, errors of one line, a help that loads little."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from alignloop.cli import main
from alignloop.cli.main import app
from alignloop.runs.artifact import open_artifact
from tests.workflow.prompts.conftest import one_language_model  # noqa: F401
from tests.workflow.prompts.helpers import asked, some, write

pytestmark = pytest.mark.usefixtures("one_language_model")

HEAVY = ("torch", "sqlalchemy", "alembic", "pyarrow", "py3langid", "matplotlib")


def typed(*words: object) -> str:
    """What a command prints; it must succeed."""
    done = CliRunner().invoke(app, ["prompts", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / "a.jsonl", some(240, users=59)),
        write(tmp_path / "b.jsonl", some(60, start=200)),
    ]


def test_help_of_every_verb_loads_nothing_that_is_heavy() -> None:
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom alignloop.cli.main import app\n"
        "for verb in ([], ['import'], ['report'], ['export']):\n"
        "    done = CliRunner().invoke(app, ['prompts', *verb, '--help'])\n"
        "    assert done.exit_code == 0, done.output\n"
        f"assert not [name for name in {HEAVY} if name in sys.modules]\n"
    )

    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_an_import_loads_nothing_that_only_training_needs(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", some(24))
    program = (
        "import sys\nfrom alignloop.cli.main import app\n"
        f"app(['prompts', 'import', {str(file)!r}, '--project', {str(tmp_path / 'lab')!r}], standalone_mode=False)\n"
        f"app(['prompts', 'report', '--project', {str(tmp_path / 'lab')!r}], standalone_mode=False)\n"
        "assert not [name for name in ('torch', 'transformers', 'matplotlib', 'pyarrow') if name in sys.modules]\n"
    )

    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_an_import_says_what_it_saw_what_became_of_it_and_what_to_type_next(
    tmp_path: Path, files: list[Path]
) -> None:
    said = typed("import", *files, "--project", tmp_path / "my lab", "--workers", 1)

    assert f"{files[0]}: JSON Lines, read as 'plain'" in said
    assert "have 'prompt'); where that is wrong, name the shape: --shape NAME" in said
    report = json.loads((tmp_path / "my lab/prompts/report.json").read_text())
    numbers = [f"{report[key]:,}" for key in ("read", "kept", "rejected")]
    dropped = f"{sum(report['dropped'].values()):,}"
    assert re.search(rf"the whole project +{' +'.join(numbers)} +{dropped}\n", said)
    assert "no consent 25" in said and "names and addresses are not detected" in said
    assert "prompts/report.html" in said and "rejected.jsonl" in said
    [following] = re.findall(r"^Next: (alignloop .*)$", said, re.MULTILINE)
    words = shlex.split(following)[2:]
    kind = "demonstrations" if report["answers"]["demonstrations"]["valid"] else "prompts"
    assert words[:3] == ["export", "--project", str(tmp_path / "my lab")]
    assert words[3:] == ["--kind", kind, "--run", f"runs/{kind}"]


@pytest.mark.parametrize("kind", ["prompts", "demonstrations", "rankings"])
def test_what_is_said_to_type_next_can_be_typed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = {
        "prompts": {},
        "demonstrations": {"response": "Yes."},
        "rankings": {"candidates": ["A.", "B."], "ranks": [1, 2]},
    }
    given = [{"prompt": asked(n), "user": f"u{n}", **more[kind]} for n in range(60)]
    write(tmp_path / "a.jsonl", given)
    said = typed("import", "a.jsonl", "--project", "lab", "--workers", 1)
    [following] = re.findall(r"^Next: alignloop prompts (.*)$", said, re.MULTILINE)

    done = typed(*shlex.split(following))

    assert done.startswith(f"{kind} in runs/{kind} (rows ")
    assert open_artifact(tmp_path / "runs" / kind, kind)


def test_where_nothing_can_be_exported_yet_it_says_why(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [{"prompt": asked(1), "user": "a"}])

    said = typed("import", file, "--project", tmp_path / "lab", "--workers", 1)

    assert "Next: import prompts of more users" in said


def test_the_same_file_again_says_so(tmp_path: Path, files: list[Path]) -> None:
    typed("import", files[0], "--project", tmp_path / "lab", "--workers", 1)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(files[0].read_bytes())

    said = typed("import", files[0], copy, "--project", tmp_path / "lab")

    assert f"{files[0]}: already imported, nothing was changed" in said
    assert f"{copy}: already imported as {files[0]}, nothing was changed" in said


def test_a_dry_run_says_that_it_is_one(tmp_path: Path, files: list[Path]) -> None:
    said = typed("import", *files, "--project", tmp_path / "lab", "--dry-run", "--workers", 1)

    assert "A dry run: nothing was written." in said and "Next:" not in said
    assert not (tmp_path / "lab").exists()


def test_a_dry_run_begins_no_project_on_a_server(tmp_path: Path, files: list[Path]) -> None:
    done = CliRunner().invoke(
        app,
        [
            *("prompts", "import", str(files[0]), "--project", str(tmp_path / "lab"), "--dry-run"),
            *("--database", "postgresql://nobody@127.0.0.1:1/nothing"),
        ],
    )

    assert done.exit_code != 0
    assert not (tmp_path / "lab").exists()


def test_a_named_shape_and_kind_are_taken(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [{"title": asked(n), "text": "x"} for n in range(3)])

    said = typed(
        *("import", file, "--project", tmp_path / "lab", "--shape", "plain"),
        *("--kind", "labeler_user_based", "--workers", 1),
    )

    assert "read as 'plain', as you say" in said
    report = json.loads((tmp_path / "lab/prompts/report.json").read_text())
    assert sum(side["labeler_user_based"] for side in report["sources"].values()) == 3


def test_a_report_goes_where_it_is_asked_to(tmp_path: Path, files: list[Path]) -> None:
    typed("import", files[0], "--project", tmp_path / "lab", "--workers", 1)

    said = typed("report", "--project", tmp_path / "lab", "--out", tmp_path / "out/mine.html")

    assert said.endswith(f"{tmp_path / 'out/mine.html'}\n")
    assert (tmp_path / "out/mine.html").exists()
    mine = json.loads((tmp_path / "out/mine.json").read_text())
    assert mine == json.loads((tmp_path / "lab/prompts/report.json").read_text())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "nowhere.jsonl", "--project", "lab"], "nowhere.jsonl: no such file or folder"),
        (["import", "a.jsonl", "--project", "lab", "--shape", "plane"], "did you mean 'plain'"),
        (["import", "a.jsonl", "--project", "lab", "--set", "capp=3"], "did you mean 'cap'"),
        (["import", "a.jsonl", "--project", "lab", "--set", 'languages=["xx"]'], "never detected"),
        (["report", "--project", "lab"], "no such database"),
        (["report", "--project", "lab", "--out", "x.json"], "ends in .html"),
        (["export", "--project", "lab", "--kind", "prompts", "--run", "r"], "no such database"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    words: list[str], message: str, tmp_path: Path, run_cli
) -> None:
    write(tmp_path / "a.jsonl", [{"prompt": asked(1)}])

    done = run_cli("prompts", *words, cwd=tmp_path)

    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_package_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    words = ["prompts", "import", str(tmp_path / "a.parquet"), "--project", str(tmp_path / "lab")]
    monkeypatch.setattr(sys, "argv", ["alignloop", *words])

    with pytest.raises(SystemExit) as ended:
        main.main()

    assert ended.value.code == 2
    assert "pip install 'alignloop[parquet]'" in capsys.readouterr().err
