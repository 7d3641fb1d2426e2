"""The environment: what the lock promises, and ``.ci/env`` with a stand-in for Python that only writes a log."""

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from rsprune_lib.places import project_root

FAKE = """#!/bin/bash
case "$*" in
  *version_info*) exit ${FAKE_OLD:-0} ;;
  --version) echo "Python 3.9.9"; exit 0 ;;
  "-m venv "*)
    echo venv >> "$LOG"
    mkdir -p .venv/bin
    [ -n "$FAKE_NO_VENV" ] && exit 1
    cp "$0" .venv/bin/python
    exit 0 ;;
  *"pip --version"*) exit 0 ;;
  *"index versions"*) echo "Available versions: ${FAKE_TORCH:-2.13.0+cpu, 2.13.0}"; exit 0 ;;
  *"--requirement"*)
    echo install >> "$LOG"
    [ -n "$FAKE_FAIL" ] && exit 1
    printf '#!/bin/sh\\nexit 0\\n' > .venv/bin/rsprune
    chmod +x .venv/bin/rsprune
    exit 0 ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Calls ``.ci/env`` in a folder of its own; returns what was done, the exit status and what was said."""
    project, tools = tmp_path / "project", tmp_path / "tools"
    (project / ".ci").mkdir(parents=True)
    tools.mkdir()
    shutil.copy(project_root() / ".ci" / "env", project / ".ci" / "env")
    (project / "requirements.lock").write_text("torch==2.13.0\n")
    (tools / "python3").write_text(FAKE)
    (tools / "python3").chmod(0o755)
    log = tmp_path / "log"

    def call(**variables):
        log.write_text("")
        environment = os.environ | {"PATH": f"{tools}:/usr/bin:/bin", "LOG": str(log), "PYTHON": "", **variables}
        done = subprocess.run(
            ["bash", str(project / ".ci" / "env")], env=environment, capture_output=True, text=True, timeout=60
        )
        return log.read_text().split(), done.returncode, done.stderr

    call.project = project
    return call


def test_the_second_call_does_nothing(make):
    assert make()[:2] == (["venv", "install"], 0)
    assert make() == ([], 0, "")


def test_another_lock_updates_the_same_environment(make):
    make()
    (make.project / "requirements.lock").write_text("torch==2.14.0\n")
    assert make()[:2] == (["install"], 0)
    assert make()[0] == []


def test_an_environment_that_was_interrupted_is_made_anew(make):
    did, status, _ = make(FAKE_FAIL="1")
    assert (did, status) == (["venv", "install"], 1)
    did, status, said = make()
    assert (did, status) == (["venv", "install"], 0)
    assert "not whole" in said


def test_a_moved_environment_is_mended(make):
    make()
    (make.project / ".venv" / "bin" / "rsprune").unlink()
    assert make()[:2] == (["install"], 0)


def test_an_old_python_gets_a_sentence(make):
    for candidate in ("python3.11", "python3.12", "python3.13"):
        shutil.copy(make.project.parent / "tools" / "python3", make.project.parent / "tools" / candidate)
    did, status, said = make(FAKE_OLD="1")
    assert (did, status) == ([], 1)
    assert "Found no Python 3.11 or later (python3 is Python 3.9.9)" in said


def test_a_python_without_venv_gets_the_package_to_install(make):
    _, status, said = make(FAKE_NO_VENV="1")
    assert status == 1
    assert "apt install python3-venv" in said
    assert not (make.project / ".venv").exists()


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a GPU")
def test_gigabytes_are_announced(make):
    assert "GB of GPU libraries" in make(FAKE_TORCH="2.13.0, 2.12.0")[2]


def test_the_lock_pins_every_dependency_exactly_and_within_its_bounds():
    lines = (project_root() / "requirements.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins.values())  # no build tags, no paths
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    project = tomllib.loads((project_root() / "pyproject.toml").read_text())["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        wanted = Requirement(text)
        assert pinned[canonicalize_name(wanted.name)] in wanted.specifier, text


def test_the_lock_suits_the_oldest_python_that_is_promised():
    """Debian 12 has Python 3.11.2; a package that asks for 3.11.5 ends its ``make env``."""
    lines = (project_root() / "requirements.lock").read_text().splitlines()
    oldest = tomllib.loads((project_root() / "pyproject.toml").read_text())["project"]["requires-python"]
    first = oldest.removeprefix(">=") + ".0"
    for name, version in (line.split("==") for line in lines if not line.startswith("#")):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found = importlib.metadata.metadata(name)
            if found["Version"].split("+")[0] == version:  # elsewhere this environment is not the lock's
                assert first in SpecifierSet(found["Requires-Python"] or ""), f"{name} {version}"


def test_ci_and_conda_take_the_same_road():
    assert (project_root() / ".ci" / "run").read_text().strip().endswith("exec make test")
    assert "-r requirements.lock" in (project_root() / "environment.yml").read_text()
    shown = subprocess.run(["make", "help"], cwd=project_root(), capture_output=True, text=True, check=True).stdout
    for target in ("env", "data", "course", "test", "lab", "app", "bench", "clean"):
        assert f"make {target} " in shown
