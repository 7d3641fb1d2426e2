"""``.ci/browser`` with stand-ins for browsers and installers that only write a log."""

import os
import shutil
import subprocess

import pytest

from rsprune_lib.places import project_root

TOOLS = ("bash", "dirname", "id", "timeout", "sh")


@pytest.fixture
def look(tmp_path):
    """Calls ``.ci/browser`` where only some tools exist; returns what it found, the exit status and what was said."""
    project, tools = tmp_path / "project", tmp_path / "tools"
    (project / ".ci").mkdir(parents=True)
    tools.mkdir()
    shutil.copy(project_root() / ".ci" / "browser", project / ".ci" / "browser")
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name))

    def make(name, text):
        path = tools / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
        return path

    def call(*arguments, **variables):
        environment = {"PATH": str(tools), **variables}
        words = [str(tools / "bash"), str(project / ".ci" / "browser"), *arguments]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
        return done.stdout.strip(), done.returncode, done.stderr

    call.make, call.tools = make, tools
    return call


def test_the_first_browser_that_starts_is_taken(look):
    look.make("chromium", "exit 1")  # an empty shell around a package that is not there
    path = look.make("google-chrome", "exit 0")
    assert look("--find") == (str(path), 0, "")


def test_a_named_browser_comes_first_and_must_start(look):
    look.make("chromium", "exit 0")
    mine = look.make("mine", "exit 0")
    assert look(RSPRUNE_CHROMIUM=str(mine)) == (str(mine), 0, "")
    _, status, said = look(RSPRUNE_CHROMIUM="/no/such/browser")
    assert status == 1
    assert "RSPRUNE_CHROMIUM is '/no/such/browser', which does not start" in said


def test_without_a_browser_there_is_one_sentence(look):
    found, status, said = look("--find")
    assert (found, status) == ("", 1)
    assert said.count("\n") == 1
    assert "install one" in said
    assert "RSPRUNE_BROWSER_TESTS=off" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="packages are installed by root only")
def test_root_on_debian_installs_the_package(look):
    put = f"printf '#!/bin/bash\\n' > {look.tools}/chromium; {shutil.which('chmod')} +x {look.tools}/chromium"
    look.make("apt-get", f'case "$*" in *install*chromium) {put} ;; esac')
    found, status, said = look()
    assert (found, status) == (str(look.tools / "chromium"), 0)
    assert "installing one" in said


def test_an_installer_that_fails_ends_in_the_sentence(look):
    look.make("apt-get", "exit 100")
    found, status, said = look()
    assert (found, status) == ("", 1)
    assert "install one" in said.splitlines()[-1]
