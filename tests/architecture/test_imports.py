"""Who imports whom: the contracts of pyproject.toml hold, and they bite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts on the sources of `checkout`, not on the installed ones."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
    )


def test_every_contract_is_kept() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("path", "planted", "complaint"),
    [
        ("sft/planted.py", "from alignloop.reward import train", "sft is not allowed to import"),
        ("config.py", "import alignloop.cli.main", "config is not allowed to import"),
        ("nowhere.py", "", "not listed as layers"),
        ("sft/objective.py", "from alignloop import errors", "import alignloop.errors"),
        ("sft/objective.py", "from alignloop.sft import train", "import alignloop.sft.train"),
        ("tensors.py", "import transformers", "import transformers"),
        ("runs/planted.py", "import torch", "import torch"),
        ("judges/planted.py", "from alignloop.data import batches", "import torch"),
        ("data/records.py", "from alignloop.data import batches", "import alignloop.data.batches"),
        ("data/planted.py", "from alignloop import tensors", "import torch"),
    ],
)
def test_a_planted_import_breaks_a_contract(
    tmp_path: Path, path: str, planted: str, complaint: str
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    package = tmp_path / "src" / "alignloop"
    shutil.copytree(
        ROOT / "src" / "alignloop", package, ignore=shutil.ignore_patterns("assets", "__pycache__")
    )
    for stand_in in (path, "sft/train.py", "reward/train.py", "data/batches.py"):
        for module in (package / stand_in, (package / stand_in).with_name("__init__.py")):
            module.parent.mkdir(exist_ok=True)
            module.touch()
    with open(package / "data" / "batches.py", "a", encoding="utf-8") as file:
        file.write("\n\nimport torch\n")
    with open(package / path, "a", encoding="utf-8") as file:
        file.write(f"\n\n{planted}\n")

    done = lint_imports(tmp_path)

    assert done.returncode == 1, done.stdout
    assert complaint in done.stdout


def test_sql_is_written_in_the_store_alone() -> None:
    package = ROOT / "src" / "alignloop"
    outside = [
        path for path in package.rglob("*.py") if "store" not in path.relative_to(package).parts[:1]
    ]
    found = {
        f"{path.relative_to(package)}: {line}"
        for path in outside
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.lstrip().startswith(("import sqlalchemy", "from sqlalchemy"))
        and line.strip() != "from sqlalchemy import Connection"
    }

    assert not found
