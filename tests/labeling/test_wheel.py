"""The wheel brings along what the labeling app reads from its own folders: a page without its template is a bug."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.wheel import build_wheel

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "alignloop"
FOLDERS = {
    "labeling/app/templates": ("*.html", 30),
    "labeling/app/static": ("*.*", 8),
    "web/templates": ("*.html", 2),
    "web/static": ("*.*", 2),
    "labeling/app/locale": ("*.json", 2),
    "labeling/guidelines": ("*.md", 4),
    "serving/page/templates": ("*.html", 6),
    "serving/page/static": ("*.*", 2),
    "serving/page/locale": ("*.json", 2),
    "store/migrations/versions": ("*.sql", 2),
    "assets/prompts": ("*.*", 2),
}
"""Folder -> which files of it, and how many there are at least."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_holds_every_file_that_the_app_reads_byte_for_byte(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        for folder, (pattern, least) in FOLDERS.items():
            files = sorted(path for path in (PACKAGE / folder).rglob(pattern) if path.is_file())
            files = [path for path in files if path.suffix != ".pyc"]
            assert len(files) >= least, folder
            for path in files:
                name = f"alignloop/{path.relative_to(PACKAGE).as_posix()}"
                assert name in names
                inside = hashlib.sha256(packed.read(name)).digest()
                assert inside == hashlib.sha256(path.read_bytes()).digest(), name


def test_it_holds_nothing_that_is_not_the_package_s(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()

    tops = {name.split("/")[0] for name in names}
    assert tops == {"alignloop", next(top for top in tops if top.endswith(".dist-info"))}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".db", ".pyc"))]
    assert not [name for name in names if "/tests/" in name or name.startswith("/") or ".." in name]


def test_the_app_of_the_wheel_alone_shows_a_page(wheel: Path, tmp_path: Path) -> None:
    """Templates, words, styles, guidelines and the schema, from the wheel and from nowhere else."""
    code = """
import sys, tempfile
from pathlib import Path
import alignloop
assert alignloop.__file__.startswith(sys.argv[1]), alignloop.__file__
from starlette.testclient import TestClient
from alignloop.labeling.app.guides import install_guidelines
from alignloop.labeling.app.access import Lab
from alignloop.labeling.app.server import create_app
from alignloop.store import people
from alignloop.store.database import Store
from alignloop.web.security import Origins
folder = Path(sys.argv[2])
store = Store.open(folder)
with store.write() as connection:
    install_guidelines(connection, 0, "test")
    ann = people.add_user(
        connection, 0, "test", email="a@example.org", name="Ann", role="labeler", cohort="training", state="active"
    )
lab = Lab(store, Origins.of(["localhost"]), folder)
with store.write() as connection:
    token = people.start_session(connection, lab.clock(), ann)
http = TestClient(create_app(lab), base_url="http://localhost")
http.cookies.set(lab.session_cookie, token)
for language in ("en", "zh"):
    page = http.get("/guidelines", headers={"Accept-Language": language})
    assert page.status_code == 200, page.status_code
style = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
assert http.get(style).status_code == 200
store.close()
print("shown")
"""
    inside = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(inside)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(inside), str(tmp_path / "lab")],
        env={"PYTHONPATH": str(inside), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "shown\n"
