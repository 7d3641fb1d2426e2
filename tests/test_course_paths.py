"""Ways through the course: the notebooks of a path, `rsprune run --path`, and the pages beside the notebooks."""

import re

import pytest

from rsprune_lib.commands.course import _of_path
from rsprune_lib.course import CHAPTERS, notebook_names, project_root
from rsprune_lib.course.headless.notebooks import notebooks_folder
from rsprune_lib.course.syllabus import PATHS, path_of
from rsprune_lib.errors import RspruneError


@pytest.mark.parametrize("name", PATHS)
def test_a_path_names_chapters_in_order_and_splits_by_what_is_here(name):
    order = [chapter.name for chapter in CHAPTERS]
    assert list(PATHS[name]) == sorted(PATHS[name], key=order.index) and set(PATHS[name]) <= set(order)
    here, missing = path_of(name)
    assert sorted(here + missing) == sorted(PATHS[name])
    assert here[0] == "00_start" and "03_prune" in here
    found = set(notebook_names(notebooks_folder()))
    assert set(here) <= found and not set(missing) & found


def test_the_command_takes_a_path_or_notebooks_and_not_both(capsys):
    assert _of_path("zero", None) == path_of("zero")[0]
    assert "Path zero: 00_start, 01_train, 03_prune" in capsys.readouterr().err
    with pytest.raises(RspruneError, match="one of the two"):
        _of_path("zero", ["03"])
    with pytest.raises(RspruneError, match="zero"):
        _of_path("hero", None)


def test_pages_for_readers_lead_somewhere_and_hold_what_they_promise():
    root = project_root()
    pages = [root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]
    assert {"glossary.md", "questions.md", "teachers.md"} <= {page.name for page in pages}
    for page in pages:
        links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert not missing, f"{page.name}: {missing}"
    for part in (root / "docs" / "questions.md").read_text().split("\n## ")[1:]:
        numbers = [int(n) for n in re.findall(r"^(\d+)\. ", part, re.MULTILINE)]
        assert numbers == list(range(1, 11)) and part.count("<details>") == part.count("</details>") == 5, part[:40]
