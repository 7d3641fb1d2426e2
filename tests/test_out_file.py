"""A file that a command writes takes nobody's place."""

import os

import pytest

from rsprune_lib.errors import RspruneError
from rsprune_lib.out_file import writable


def test_what_is_read_and_what_is_there_stay(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("{}")
    os.link(tmp_path / "run" / "results.json", tmp_path / "again.json")
    (tmp_path / "old.md").write_text("notes")
    inputs = [tmp_path / "run"]
    for out in ("run/results.json", "run/new.md", "run/../run/new.md"):
        with pytest.raises(RspruneError, match="which is read"):
            writable(tmp_path / out, inputs, force=True)
    with pytest.raises(RspruneError, match="which is read"):
        writable(tmp_path / "again.json", [tmp_path / "run" / "results.json"], force=True)
    with pytest.raises(RspruneError, match="is a folder"):
        writable(tmp_path, [], force=True)
    with pytest.raises(RspruneError, match="already there"):
        writable(tmp_path / "old.md", inputs)
    assert writable(tmp_path / "old.md", inputs, force=True) == tmp_path / "old.md"
    assert writable(tmp_path / "new.md", inputs) == tmp_path / "new.md"
