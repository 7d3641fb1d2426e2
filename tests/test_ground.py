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

import networkx as nx
import pytest
import torch

from rsprune_lib.device import describe_device, give_way, pick_device
from rsprune_lib.errors import RspruneError, unknown
from rsprune_lib.files import atomic, read_json, sha256, write_json

ROOT = Path(__file__).resolve().parents[1]
# ground floor first; what stands beside the rooms (errors, files, device, ...) is below all of them
ROOMS = [
    "tasks", "data", "models", "measure", "pruning", "training", "bundle", "explain", "deploy", "plots", "course",
    "sweeps", "commands", "cli",
]  # fmt: skip
FLOORS = ["rsprune_lib", "rsprune_studio.engine", "rsprune_studio.draw", "rsprune_studio.views"]


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


def _sources(*folders):
    """Module name -> its file, of packages and of folders of scripts."""
    found = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            base = ROOT if (ROOT / folder / "__init__.py").exists() else ROOT / folder
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(modules):
    """Edges (importing module, imported module) between these modules, imports inside functions included."""
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            wanted = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                wanted = [f"{node.module}.{alias.name}" for alias in node.names]
            for target in wanted:
                target = target if target in modules else target.rpartition(".")[0]
                if target in modules and target != name:
                    yield name, target


def _room(module):
    first = module.removeprefix("rsprune_lib").removeprefix(".").split(".")[0]
    return ROOMS.index(first) if first in ROOMS else -1


def _floor(module):
    return next((number for number, floor in enumerate(FLOORS) if module.startswith(floor + ".")), None)


def test_rooms_import_only_rooms_that_stand_before_them():
    modules = _sources("rsprune_lib")
    wrong = [edge for edge in _imports(modules) if _room(edge[1]) > _room(edge[0]) and edge[0] != "rsprune_lib"]
    assert not wrong


def test_the_studio_stands_on_the_library_and_only_its_views_know_widgets():
    modules = _sources("rsprune_lib", "rsprune_studio")
    for name, target in _imports(modules):
        if _floor(name) is not None and target != "rsprune_lib":
            assert _floor(target) is not None and _floor(target) <= _floor(name), f"{name} imports {target}"
    for name, path in modules.items():
        if _floor(name) in (1, 2):
            assert "import ipywidgets" not in path.read_text(), name


def test_no_module_imports_itself_through_others():
    graph = nx.DiGraph(_imports(_sources("rsprune_lib", "rsprune_studio", "benchmarks", "data_scripts")))
    assert [circle for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_no_function_is_longer_than_60_lines():
    for name, path in _sources("rsprune_lib", "rsprune_studio").items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= 60, f"{name}.{node.name} has {lines} lines"


def test_one_public_name_has_one_meaning():
    homes = {}
    for name, path in _sources("rsprune_lib", "rsprune_studio").items():
        for node in ast.parse(path.read_text()).body:
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            made = [target.id for target in targets if isinstance(target, ast.Name)]
            made += [node.name] if isinstance(node, ast.ClassDef) else []
            for one in made:
                homes.setdefault(one, []).append(name)
    for one in ("Fit", "Lesson", "LESSONS", "LOSSES", "RECOVERIES", "CRITERIA", "SELECTORS", "NETWORKS"):
        assert len(homes.get(one, [])) <= 1, f"{one} is made in {homes[one]}"


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
