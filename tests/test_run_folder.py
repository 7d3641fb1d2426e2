"""Folders of runs: whose files are replaced, when, and what is left after a failure or a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rsprune_lib.errors import RspruneError
from rsprune_lib.files import LOCK, settle
from rsprune_lib.run_folder import NEW, RunFolder
from rsprune_lib.run_mark import MARK, is_run, ours

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("config.json", "checkpoint/state.pt")


def write(folder, text, names=NAMES):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content(folder):
    hidden = (MARK, LOCK)
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in hidden
    }


@pytest.fixture
def out(tmp_path):
    """A finished run with a person's own notes beside it."""
    folder = tmp_path / "run"
    with RunFolder(folder, "train").open(NAMES) as path:
        write(path, "old")
    (folder / "notes.txt").write_text("mine")
    (folder / "checkpoint" / "notes.txt").write_text("mine")
    return folder


def test_a_run_marks_what_it_wrote_and_leaves_no_lock(out):
    assert ours(out) == set(NAMES) and not (out / LOCK).exists()
    assert json.loads((out / MARK).read_text())["kind"] == "train"


@pytest.mark.parametrize("force", [False, True])
def test_what_others_wrote_is_never_replaced(tmp_path, force):
    folder = tmp_path / "thesis"
    folder.mkdir()
    write(folder, "precious")
    before = content(tmp_path)
    with pytest.raises(RspruneError, match="not written by rsprune"):
        RunFolder(folder, "train", force=force)
    assert content(tmp_path) == before


def test_a_run_is_replaced_only_on_demand_and_only_when_the_new_one_is_whole(out):
    with pytest.raises(RspruneError, match="already there; choose another folder, or pass --force"):
        RunFolder(out, "train")
    before = content(out)
    with RunFolder(out, "prune", force=True).open(["config.json", "plan.json"]) as path:
        write(path, "new", ["config.json", "plan.json"])
        assert content(out).items() >= before.items()
    assert content(out) == {
        "config.json": "new", "plan.json": "new", "notes.txt": "mine", "checkpoint/notes.txt": "mine",
    }  # fmt: skip
    assert ours(out) == {"config.json", "plan.json"}


@pytest.mark.parametrize("resumable", [True, False])
def test_a_failed_replacement_leaves_the_old_run(out, resumable):
    before = content(out)
    with pytest.raises(ZeroDivisionError), RunFolder(out, "train", force=True).open(NAMES, resumable=resumable) as path:
        write(path, "half")
        1 / 0  # noqa: B018
    assert content(out).items() >= before.items() and not (out / LOCK).exists()
    assert (out / NEW).exists() == resumable
    if resumable:
        with RunFolder(out, "train", resume=True).open(NAMES) as path:
            assert (path / "config.json").read_text() == "half"
        assert (out / "config.json").read_text() == "half" and not (out / NEW).exists()


@pytest.mark.parametrize("needed", [0, 10**18])
def test_a_run_that_fails_before_it_wrote_leaves_nothing(tmp_path, out, needed):
    folder, before = tmp_path / "a" / "b", content(out)
    with pytest.raises((ZeroDivisionError, RspruneError)), RunFolder(folder, "train").open(NAMES, needed=needed):
        1 / 0  # noqa: B018
    assert not (tmp_path / "a").exists()
    for resumable in (True, False):
        run = RunFolder(out, "train", force=True)
        with pytest.raises((ZeroDivisionError, RspruneError)), run.open(NAMES, needed=needed, resumable=resumable):
            1 / 0  # noqa: B018
        assert content(out) == before and not (out / NEW).exists()


def test_too_little_room_is_told_before_the_work(tmp_path):
    with pytest.raises(RspruneError, match="needs about .* MB in .* but only .* MB are free"):
        with RunFolder(tmp_path / "x", "train").open(needed=10**18):
            pytest.fail("it began")


def test_a_file_in_the_way_is_told_before_the_work(out):
    (out / "plan.json").write_text("mine")
    before = content(out)
    run = RunFolder(out, "prune", force=True)
    with pytest.raises(RspruneError, match=r"plan\.json was not written by rsprune"):
        with run.open(["config.json", "plan.json"]):
            pytest.fail("it began")
    assert content(out) == before


def test_only_runs_of_the_same_kind_are_resumed(tmp_path, out):
    (tmp_path / "strange").mkdir()
    write(tmp_path / "strange", "precious")
    for folder, kind in ((tmp_path / "none", "train"), (tmp_path / "strange", "train"), (out, "prune")):
        with pytest.raises(RspruneError, match="Found .* to go on with"):
            RunFolder(folder, kind, resume=True)
    assert not (tmp_path / "none").exists() and content(tmp_path / "strange") == dict.fromkeys(
        sorted(NAMES), "precious"
    )
    with RunFolder(out, "train", resume=True).open(NAMES) as path:
        assert path == out


def test_inputs_lie_apart(tmp_path, out):
    (tmp_path / "link").symlink_to(out)
    (out / "inner").mkdir()
    for folder, read in ((out, out), (out, tmp_path / "link"), (out, out / "inner"), (out / "inner" / "x", out)):
        for given in (folder, tmp_path / "link" / folder.relative_to(out)):
            with pytest.raises(RspruneError, match="the input"):
                RunFolder(given, "train", force=True, inputs=[read])
    RunFolder(tmp_path / "run2", "train", inputs=[out])


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RspruneError, match="is a file"):
        RunFolder(tmp_path / "file" / "x", "train")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RspruneError, match="may not be written to"):
        RunFolder(tmp_path / "x" / "y", "train")


def test_a_second_run_is_refused_while_the_first_lives_and_a_dead_one_is_no_hindrance(tmp_path):
    out = tmp_path / "run"
    code = """
import sys, time
from rsprune_lib.run_folder import RunFolder
with RunFolder(sys.argv[1], "train").open(["config.json"]) as path:
    (path / "config.json").write_text("first")
    print("at work", flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code, str(out)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "at work\n"
    for flags in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(RspruneError, match="Another run is writing into"):
            RunFolder(out, "train", **flags)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with RunFolder(out, "train", resume=True).open(["config.json"]) as path:
        assert (path / "config.json").read_text() == "first"


def test_the_first_of_two_that_began_together_is_not_lost(tmp_path):
    one, two = (RunFolder(tmp_path / "run", "train") for _ in range(2))
    with one.open(["config.json"]) as path:
        write(path, "one", ["config.json"])
    with pytest.raises(RspruneError, match="already there"), two.open(["config.json"]):
        pytest.fail("it began")
    assert content(tmp_path / "run") == {"config.json": "one"}


def test_a_swap_that_was_killed_is_finished_by_the_next_run(out, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        real = os.replace

        def killed(source, place):
            if Path(place) == out / "config.json":
                raise InterruptedError
            return real(source, place)

        patch.setattr(os, "replace", killed)
        with RunFolder(out, "train", force=True).open(["config.json"]) as path:
            write(path, "new", ["config.json"])
    settle(out)
    assert (out / "config.json").read_text() == "new" and ours(out) == set(NAMES)
    with RunFolder(out, "train", force=True).open(["config.json"]) as path:
        write(path, "newer", ["config.json"])
    assert content(out) == {"config.json": "newer", "notes.txt": "mine", "checkpoint/notes.txt": "mine"}


def test_a_mark_that_leads_out_of_its_folder_is_not_believed(tmp_path, out):
    write(tmp_path, "precious", ["outside.txt"])
    (out / "link").symlink_to(tmp_path)
    mark = json.loads((out / MARK).read_text())
    mark["files"] += ["../outside.txt", str(tmp_path / "outside.txt"), "link/outside.txt", "", "..", 7]
    (out / MARK).write_text(json.dumps(mark))
    assert ours(out) == set(NAMES)
    (out / MARK).write_text(json.dumps(mark | {"files": [*mark["files"], "folder"]}))
    write(out, "mine", ["folder/notes.txt"])
    with RunFolder(out, "train", force=True).open(NAMES) as path:
        write(path, "new")
    assert (tmp_path / "outside.txt").read_text() == "precious" and (out / "folder/notes.txt").read_text() == "mine"


def test_a_folder_that_may_not_be_entered_is_no_run(out, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    assert not is_run(out)


def test_parts_of_a_run_are_made_beside_and_replaced(tmp_path):
    out = tmp_path / "course"
    run = RunFolder(out, "course")
    with run.open(["results.json"]) as path:
        write(path, "1", ["results.json"])
        for text, names in (("1", ["status.json", "old.png"]), ("2", ["status.json", "new.png"])):
            with run.making("00_start") as folder:
                write(folder, text, names)
            (out / "00_start" / "notes.txt").write_text("mine")
        with pytest.raises(ZeroDivisionError), run.making("00_start") as folder:
            write(folder, "half", ["status.json"])
            1 / 0  # noqa: B018
        with (
            pytest.raises(RspruneError, match=r"notes.txt was not written by rsprune"),
            run.making("00_start") as folder,
        ):
            write(folder, "ours", ["notes.txt"])
    expected = {"00_start/new.png": "2", "00_start/notes.txt": "mine", "00_start/status.json": "2", "results.json": "1"}
    assert content(out) == expected
    assert ours(out) == set(expected) - {"00_start/notes.txt"} and is_run(out)
