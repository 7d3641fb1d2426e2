"""A course run that goes on: what is kept, what is executed again and why, and what the report says of mixtures."""

import errno

import papermill
import pytest

from rsprune_lib.code_version import code_hash
from rsprune_lib.course.headless import runner
from rsprune_lib.course.headless.execute import NotebookRun, execute
from rsprune_lib.course.headless.runner import course_folder, run_course
from rsprune_lib.course.profiles import profile
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import read_json, write_json


def about(content="a" * 64, commit="c" * 40):
    data = {"name": "own", "content_hash": content, "split_hash": "s" * 12, "image_size": 64, "synthetic": False}
    return {"data": data, "git": {"commit": commit, "dirty": False}, "versions": {"torch": "2"}, "device": "cpu"}


class Course:
    """A course of three notebooks whose execution takes no time."""

    def __init__(self, folder, patch):
        self.folder, self.out, self.executed, self.told, self.broken = folder, folder / "out", [], [], ()
        self.measured = about()  # what the notebooks themselves find
        for name in ("00_start", "01_train", "02_more"):
            (folder / "nb").mkdir(exist_ok=True)
            (folder / "nb" / f"{name}.ipynb").write_text(name)
        patch.setattr(runner, "execute", self.execute)
        patch.setattr(runner, "library_hash", lambda: self.library)
        self.library = "one"

    def execute(self, path, folder, how, data, *, size, parameters, progress):
        self.executed.append(path.stem)
        if path.stem in self.broken:
            return NotebookRun(path.stem, False, 1.0, "no luck")
        rows = [{"name": path.stem, "params": 1, "macs": 1, "provenance": self.measured}]
        write_json(folder / "results.json", {"schema": 1, "rows": rows, "figures": []})
        return NotebookRun(path.stem, True, 1.0)

    def run(self, *names, resume=True, origin=None, **options):
        self.executed, self.told = [], []
        self.measured = origin or about()
        return run_course(
            list(names) or None, out=course_folder(self.out, resume=resume), profile_name="smoke", data="own",
            about=self.measured, folder=self.folder / "nb", tell=self.told.append, **options,
        )  # fmt: skip


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The course after its first run of 00 and 02."""
    course = Course(tmp_path, monkeypatch)
    course.run("00", "02", resume=False)
    return course


def rows(course):
    return [row["notebook"] for row in read_json(course.out / "results.json", "results")["rows"]]


def test_what_is_good_is_kept(course):
    found = course.run("00")
    assert course.executed == []
    assert [n.reused for n in found.notebooks] == [True, True]
    assert rows(course) == ["00_start", "02_more"]  # 02 was not asked for and stays
    assert found.results["notes"] == []


def test_without_names_the_list_of_the_run_is_meant(course):
    course.run()
    assert (course.executed, rows(course)) == ([], ["00_start", "02_more"])
    course.run("01")
    assert (course.executed, rows(course)) == (["01_train"], ["00_start", "01_train", "02_more"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.run("00", origin=about(content="b" * 64)), "the data changed"),
        (lambda c: setattr(c, "library", "two") or c.run("00"), "the library"),
        (lambda c: c.run("00", origin=about() | {"device": "cuda"}), "another device"),
    ],
)
def test_what_is_stale_runs_again_and_is_said(course, change, words):
    found = change(course)
    assert course.executed == ["00_start", "02_more"]
    assert [line for line in course.told if words in line and line.startswith("02_more: runs again")]
    assert found.results["notes"] == []


def test_a_changed_notebook_runs_again_alone(course):
    (course.folder / "nb" / "02_more.ipynb").write_text("new")
    course.run()
    assert course.executed == ["02_more"]
    assert "02_more: runs again, because the notebook changed." in course.told


def test_damaged_files_run_again(course):
    (course.out / "02_more" / "results.json").write_text("{")
    course.run()
    assert course.executed == ["02_more"]


def test_what_failed_runs_again_where_it_is_asked_for(course):
    course.broken = ("01_train",)
    assert not course.run("01").ok
    course.run("00")
    assert course.executed == []
    course.broken = ()
    assert course.run("01").ok


def test_two_commits_with_one_library_are_named(course):
    found = course.run("01", origin=about(commit="d" * 40))
    assert course.executed == ["01_train"]
    (note,) = found.results["notes"]
    assert note.startswith("These rows come from 2 commits")
    assert "dddddddddddd (01_train)" in note and "cccccccccccc (00_start, 02_more)" in note
    assert note in (course.out / "report.html").read_text()


def test_data_that_changes_while_notebooks_run_are_named_and_run_again(course):
    course.measured = about()
    execute = course.execute

    def late(path, *rest, **options):
        course.measured = about(content="b" * 64)
        return execute(path, *rest, **options)

    course.execute = late
    runner.execute = late
    found = course.run("01")
    assert "2 data sets or splits" in found.results["notes"][0]
    runner.execute = execute
    found = course.run(origin=about())
    assert (course.executed, found.results["notes"]) == (["01_train"], [])


def test_a_notebook_with_data_of_its_own_is_kept_and_mixes_nothing(course):
    masks = about(content="f" * 64)
    masks["data"]["name"] = "masks"
    execute = course.execute

    def other(path, *rest, **options):
        course.measured = masks
        return execute(path, *rest, **options)

    runner.execute = other
    assert course.run("01").results["notes"] == []
    runner.execute = execute
    course.run(origin=about())
    assert course.executed == []


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr(papermill, "inspect_notebook", full)
    with pytest.raises(RspruneError, match="The disk is full"):
        execute(tmp_path / "00_start.ipynb", tmp_path / "out", profile("smoke"), "own", progress=False)


def test_the_hash_of_the_code_follows_the_code(tmp_path):
    (tmp_path / "table.json").write_text("1")
    before = code_hash(files=[tmp_path / "table.json"])
    (tmp_path / "table.json").write_text("2")
    assert code_hash(files=[tmp_path / "table.json"]) != before
