"""The settings: the paper's numbers, what is refused, and the docs that list them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alignloop.config import load_config
from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.outcomes import REASONS
from alignloop.data.curation.spans import KINDS, NOTICE
from alignloop.data.importing import ImportConfig
from alignloop.errors import ConfigError
from tests.docs.tables import DOCS


def test_the_defaults_are_the_papers_and_the_imports() -> None:
    config, imported = CurationConfig(), ImportConfig(kind="prompts")

    assert (config.cap, config.cap_by, config.max_tokens) == (200, "user", 1000)
    assert config.pii_action == "drop" and config.pii == KINDS
    assert (config.valid, config.test) == (imported.valid, imported.test)


@pytest.mark.parametrize(
    ("overrides", "field", "value"),
    [
        (["prefix_characters=none"], "prefix_characters", None),
        (["cap=none"], "cap", None),
        (["pii=false"], "pii", ()),
        (["pii=true"], "pii", KINDS),
        (["pii=['email']"], "pii", ("email",)),
        (["languages=['en', 'zh']"], "languages", ("en", "zh")),
    ],
)
def test_steps_can_be_switched_off(overrides: list[str], field: str, value: object) -> None:
    assert getattr(load_config(CurationConfig, overrides=overrides), field) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prefix_characters=0", "greater than or equal to 1"),
        ("cap=0", "greater than or equal to 1"),
        ("pii=['emails']", "no kind of personal data is called 'emails'"),
        ("languages=['English']", "'English' is no language code"),
        ("valid=0.95", "leave nothing to train on"),
        ("prefix_chars=5", "did you mean 'prefix_characters'"),
    ],
)
def test_what_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(CurationConfig, overrides=[override])


PAGE = DOCS / "prompt-curation.md"


def test_the_code_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    monkeypatch.chdir(tmp_path)

    exec(compile(block, str(PAGE), "exec"), {})

    assert "train en 7 Write a poem about a fox." in capsys.readouterr().out


def test_the_page_has_every_setting_with_its_default() -> None:
    text = PAGE.read_text(encoding="utf-8")

    for name, field in CurationConfig.model_fields.items():
        row = re.search(rf"^\| `{name}` \| (.+?) \|", text, re.MULTILINE)
        assert row, f"{name} is not documented"
        default = field.default
        if isinstance(default, int | float | str):
            assert row[1].strip('`"') == str(default).strip(), name
        assert field.description, f"{name} has no docstring"


def test_the_page_has_every_step_in_its_order_and_what_is_not_detected() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| `(\w+)` \|", text, re.MULTILINE)

    assert tuple(rows) == REASONS
    assert NOTICE in text
    assert (
        NOTICE in (CurationConfig.model_fields["pii"].description or "").replace("\n", " ").lower()
    )


def test_the_picture_is_there() -> None:
    assert Path(DOCS / "pictures" / "prompt-curation.svg").is_file()
