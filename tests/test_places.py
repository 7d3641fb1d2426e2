"""Folders that the environment names mean the same in every process."""

import os
import subprocess
import sys

import pytest

from rsprune_lib.data import data_root
from rsprune_lib.places import VARIABLES, bundles_folder, settle

SHOW = """
import os, rsprune_lib
from rsprune_lib.places import VARIABLES
os.chdir("/")
from rsprune_lib.data import data_root
from rsprune_lib.places import bundles_folder
print(*(os.environ[name] for name in VARIABLES), data_root(), bundles_folder(), sep="|")
"""


def test_relative_folders_are_made_absolute_before_anything_starts(tmp_path):
    given = dict.fromkeys(VARIABLES, "cache") | {"PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=tmp_path,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "|".join([str(tmp_path / "cache")] * 5)


def test_a_kernel_takes_them_from_the_folder_of_the_shell(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")  # where Jupyter starts the kernel
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setenv("RSPRUNE_HOME", "cache")
    monkeypatch.setenv("RSPRUNE_MIRROR", "https://example.org/data")
    monkeypatch.setenv("RSPRUNE_BUNDLES", "~/bundles")
    settle()
    assert data_root() == tmp_path / "cache"
    assert os.environ["RSPRUNE_MIRROR"] == "https://example.org/data"
    assert str(bundles_folder()) == os.path.expanduser("~/bundles")


def test_the_address_of_a_folder_is_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RSPRUNE_MIRROR", f"file://{tmp_path}")
    settle()
    assert os.environ["RSPRUNE_MIRROR"] == str(tmp_path)


@pytest.mark.parametrize("name", VARIABLES)
def test_an_empty_variable_is_none(name, monkeypatch):
    monkeypatch.setenv(name, "")
    settle()
    assert os.environ[name] == "" and data_root().is_absolute() and bundles_folder().is_absolute()
