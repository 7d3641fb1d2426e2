"""The ground beside the rooms: atomic files, errors, device, the torchvision cure, and the order of rooms."""

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from rsprune_lib.device import describe_device, give_way, pick_device
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.files import atomic, read_json, sha256, write_json

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ["data", "models", "measure", "pruning", "training", "explain", "deploy", "plots", "course", "commands", "cli"]


def test_atomic_keeps_the_old_state_when_the_block_fails(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert read_json(tmp_path / "a.json", "a test") == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_atomic_swaps_whole_folders(tmp_path):
    for content in ("one", "two"):
        with atomic(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / "file").write_text(content)
    assert (tmp_path / "folder" / "file").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_killed_writer_leaves_the_old_folder_whole(tmp_path):
    """Swap two whole folders over and over, kill at random moments: the folder is always there and always whole."""
    child_code = """
import sys, itertools
from rsprune_lib.files import atomic
for i in itertools.count():
    with atomic(sys.argv[1]) as t:
        t.mkdir()
        (t / "a").write_text(str(i)); (t / "b").write_text(str(i))
"""
    target = tmp_path / "bundle"
    for delay in (0.0, 0.013, 0.029, 0.051):
        child = subprocess.Popen([sys.executable, "-c", child_code, str(target)], cwd=ROOT)
        deadline = time.monotonic() + 60
        while not target.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.1 + delay)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert (target / "a").read_text() == (target / "b").read_text()


def test_read_json_says_what_is_wrong(tmp_path):
    with pytest.raises(RspruneError, match="Found no file .*expected a plan"):
        read_json(tmp_path / "no.json", "a plan")
    (tmp_path / "broken.json").write_text('{"a": ')
    with pytest.raises(RspruneError, match="Cannot read .*broken.json as a plan"):
        read_json(tmp_path / "broken.json", "a plan")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(RspruneError, match="holds a JSON list"):
        read_json(tmp_path / "list.json", "a plan")


def test_write_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")


def test_unknown_offers_the_nearest():
    assert "did you mean 'eurosat'?" in str(unknown("data set", "eurosta", ["eurosat", "aid"]))
    assert "did you mean" not in str(unknown("data set", "zzz", ["eurosat", "aid"]))


def test_device_can_be_chosen_and_bad_choices_are_explained(monkeypatch):
    monkeypatch.setenv("RSPRUNE_DEVICE", "cpu")
    assert pick_device() == torch.device("cpu") and describe_device(pick_device())
    monkeypatch.setenv("RSPRUNE_DEVICE", "toaster")
    with pytest.raises(RspruneError, match="RSPRUNE_DEVICE='toaster' is no device"):
        pick_device()


@pytest.mark.parametrize("first", ["rsprune_lib", "torch"])
def test_torchvision_and_grad_cam_import_after_the_package(first):
    code = f"import {first}, rsprune_lib, torchvision.transforms, torchvision.models, pytorch_grad_cam; print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "fine", done.stderr


def test_cure_passes_other_failures_on(monkeypatch):
    from rsprune_lib import _torchvision

    def broken(name):
        raise RuntimeError("another trouble")

    monkeypatch.setattr(_torchvision.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="another trouble"):
        _torchvision.ensure_torchvision()


def test_cure_does_nothing_where_torchvision_works():
    from rsprune_lib._torchvision import ensure_torchvision

    assert ensure_torchvision() is False  # by now it is importable, cured or not


def test_rooms_import_only_rooms_that_stand_before_them():
    for path in (ROOT / "rsprune_lib").rglob("*.py"):
        parts = path.relative_to(ROOT / "rsprune_lib").with_suffix("").parts
        if parts[0] not in ROOMS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""] + [f"{node.module}.{a.name}" for a in node.names]
            for module in modules:
                there = module.split(".")[1:2]
                if module.startswith("rsprune_lib.") and there and there[0] in ROOMS:
                    assert ROOMS.index(there[0]) <= ROOMS.index(parts[0]), f"{path} imports {module}"


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_a_thread_that_gives_way_takes_no_other_with_it():
    before, found = os.getpriority(os.PRIO_PROCESS, 0), []

    def work():
        give_way()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [max(before, 10)] and os.getpriority(os.PRIO_PROCESS, 0) == before


def test_device_names_stand_in_one_place():
    for path in (ROOT / "rsprune_lib").rglob("*.py"):
        if path.name != "device.py":
            assert ".cuda(" not in path.read_text() and '"cuda' not in path.read_text(), path


def test_versions_agree():
    import tomllib

    import rsprune_lib

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == rsprune_lib.__version__
    assert json.dumps(rsprune_lib.__version__)
