"""ONNX Runtime for browsers: two files of the npm package onnxruntime-web, fetched once by npm and checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rsprune_lib.data.fetch import data_root
from rsprune_lib.errors import RspruneError
from rsprune_lib.files import atomic
from rsprune_lib.places import absolute

__all__ = ["PACKAGE", "VERSION", "WebRuntime", "web_runtime"]

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# The smallest build without a graphics card; its JavaScript holds the glue, so that two files are all.
SCRIPT, WASM = FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
HASHES = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
_PATIENCE = 600  # s


@dataclass(frozen=True)
class WebRuntime:
    """The runtime as it goes into a page.

    Attributes:
        script: a JavaScript module.
        wasm: the machine that it starts.
        version: of the package; "of your own" where a folder does not say it.
    """

    script: bytes
    wasm: bytes
    version: str = VERSION


def web_runtime(folder: str | Path | None = None) -> WebRuntime:
    """Returns the runtime: from a folder, from the cache, or fetched by npm.

    Args:
        folder: that holds both files, at any depth, such as an unpacked package or a build of your own; None takes the
            version that this was tested with.

    Raises:
        RspruneError: the folder lacks a file, npm is missing or fails, or the package is another one than it should be.
    """
    if folder is not None:
        return _own(absolute(folder))
    cache = data_root() / "web" / f"{PACKAGE}-{VERSION}"
    if not all(_right(cache / name, name) for name in FILES):
        _fetch(cache)
    return WebRuntime(*((cache / name).read_bytes() for name in FILES))


def _own(folder: Path) -> WebRuntime:
    """Both files of a folder of the user's, whatever their version."""
    found = {name: next(iter(sorted(folder.rglob(name))), None) for name in FILES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise RspruneError(f"Found no {' and no '.join(missing)} in {folder}; give a folder of {PACKAGE} {VERSION}.")
    described = next(iter(sorted(folder.rglob("package.json"))), None)
    try:
        version = str(json.loads(described.read_text(encoding="utf-8"))["version"]) if described else "of your own"
    except (ValueError, KeyError, TypeError, OSError):
        version = "of your own"
    return WebRuntime(*(found[name].read_bytes() for name in FILES), version)


def _right(path: Path, name: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == HASHES[name]


def _fetch(cache: Path) -> None:
    """Lets npm fetch the package, and keeps the two files if they are the right ones."""
    npm = shutil.which("npm")
    if npm is None:
        raise RspruneError(
            f"The page needs {PACKAGE} {VERSION}, and npm, which fetches it, is not installed; install Node.js, or "
            f"unpack that package elsewhere and give its folder with --runtime."
        )
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--loglevel=error"]
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            raise RspruneError(
                f"npm did not fetch {PACKAGE} {VERSION} within {_PATIENCE // 60} minutes; try again, or give --runtime."
            ) from None
        packed = next(iter(Path(scratch).glob("*.tgz")), None)
        if done.returncode or packed is None:
            words = (done.stderr.strip().splitlines() or ["no reason was given"])[0][:200]
            raise RspruneError(
                f"npm could not fetch {PACKAGE} {VERSION} ({words}); look at its settings, or unpack the package "
                "elsewhere and give its folder with --runtime."
            )
        _unpack(packed, cache)


def _unpack(packed: Path, cache: Path) -> None:
    """Two files by their exact names; nothing else of the archive is touched."""
    content = dict.fromkeys(FILES, b"")
    with (
        contextlib.suppress(tarfile.TarError, KeyError, AttributeError, EOFError, OSError),
        tarfile.open(packed) as found,
    ):
        content = {name: found.extractfile(f"package/dist/{name}").read() for name in FILES}
    if wrong := [name for name in FILES if hashlib.sha256(content[name]).hexdigest() != HASHES[name]]:
        raise RspruneError(
            f"The package {PACKAGE} {VERSION} that npm fetched does not hold the {wrong[0]} that it should; it is not "
            "used: look at npm's settings, or give --runtime."
        )
    with atomic(cache) as temporary:
        temporary.mkdir()
        for name in FILES:
            (temporary / name).write_bytes(content[name])
