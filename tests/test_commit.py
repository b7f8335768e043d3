"""Which commit a run records: that of mozart's own checkout, and never that of another repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from mozart.replay import report

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")
IDENTITY = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path, *tracked: str) -> str:
    """Make a repository with one commit of some of its files; returns the commit."""
    git(folder, "init", "-q")
    (folder / "other").write_text("x")
    git(folder, "add", "other", *tracked)
    git(folder, "commit", "-q", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where the package stands, with the file that asks."""
    here = tmp_path / "theirs" / ".venv" / "site-packages" / "mozart"
    file = here / "replay" / "report.py"
    file.parent.mkdir(parents=True)
    file.write_text("code")
    monkeypatch.setattr(report, "__file__", str(file))
    return here


def test_the_commit_of_a_repository_around_the_installation_is_not_ours(package: Path, tmp_path: Path) -> None:
    repository(tmp_path / "theirs")
    assert report._commit() is None


def test_a_repository_that_does_not_have_the_code_is_not_ours(package: Path) -> None:
    repository(package)
    assert report._commit() is None


def test_a_checkout_has_its_commit_whatever_git_sets_for_hooks(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository(package, "replay/report.py")
    hooked = tmp_path / "hooked"
    hooked.mkdir()
    repository(hooked)
    monkeypatch.setenv("GIT_DIR", str(hooked / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(hooked))
    monkeypatch.chdir(hooked)
    assert report._commit() == commit
    (package / "replay" / "report.py").write_text("changed")
    assert report._commit() == commit + "+"


def test_without_git_there_is_no_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert report._commit() is None
