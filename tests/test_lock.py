"""The lock files hold what setup.cfg asks for: exact versions, hashes, no host, one version for all jobs."""

import importlib.machinery
import importlib.util
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
NAMES = sorted(path.stem for path in LOCKS.glob("*.txt"))


def scripts_lock():
    """Load scripts/lock, which has no suffix, as a module."""
    loader = importlib.machinery.SourceFileLoader("scripts_lock", str(ROOT / "scripts" / "lock"))
    found = importlib.util.spec_from_loader("scripts_lock", loader)
    assert found is not None
    module = importlib.util.module_from_spec(found)
    loader.exec_module(module)
    return module


LOCK = scripts_lock()
SETUP = LOCK.read_setup()
PYTHONS = [{"sys_platform": "linux", "python_full_version": f"{each}.0"} for each in LOCK.PYTHONS]


def pinned(name):
    """Read a lock file: requirement and hashes of each package, by its name."""
    text = (LOCKS / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    entries = [line.split(" --hash=") for line in lines]
    return {canonicalize_name(Requirement(first).name): (Requirement(first), hashes) for first, *hashes in entries}


def version(requirement):
    (exact,) = requirement.specifier
    assert exact.operator == "=="
    return exact.version


def test_all_lock_files_are_there():
    assert set(NAMES) == {"uv", "ryu-build", "ryu", *LOCK.JOBS}


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_has_exact_versions_hashes_and_no_host(name):
    for package, (requirement, hashes) in pinned(name).items():
        assert version(requirement), package
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes), package
    text = (LOCKS / f"{name}.txt").read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text


@pytest.mark.parametrize("job", LOCK.JOBS)
def test_a_lock_holds_what_setup_cfg_asks_for(job):
    locked = pinned(job)
    for line in [*LOCK.requirements(SETUP, *LOCK.JOBS[job]), *LOCK.build_requirements()]:
        asked = Requirement(line)
        name = canonicalize_name(asked.name)
        if name == LOCK.SOURCE_ONLY:
            assert name not in locked  # its build has lock files of its own
            continue
        assert name in locked, f"{line} is not in requirements/{job}.txt; run: make lock ARGS=--keep"
        found = version(locked[name][0])
        holds = [locked[name][0].marker.evaluate(each) for each in PYTHONS]
        assert all(holds), f"{line} is not locked for each Python"
        assert asked.specifier.contains(found, prereleases=True), f"{line}, and {found} is locked; run: make lock"


def test_all_jobs_have_the_same_versions():
    dev = pinned("dev")
    for job in LOCK.JOBS:
        for name, (requirement, hashes) in pinned(job).items():
            assert (requirement, hashes) == dev[name]


def test_what_builds_ryu_is_what_its_lock_was_made_from():
    locked = pinned("ryu-build")
    lines = (LOCKS / "ryu-build.in").read_text().splitlines()
    for asked in map(Requirement, [line for line in lines if not line.startswith("#")]):
        assert asked.specifier.contains(version(locked[canonicalize_name(asked.name)][0]))
    (wanted,) = [line for line in LOCK.requirements(SETUP, "live") if line.startswith(LOCK.SOURCE_ONLY)]
    assert str(Requirement(wanted).specifier) == str(pinned("ryu")["ryu"][0].specifier)


def test_extras_that_include_others_are_followed():
    names = {Requirement(line).name for line in LOCK.requirements(SETUP, "dev")}
    assert {"numpy", "pytest", "polars", "dask", "ruff"} <= names and "mozart" not in names
