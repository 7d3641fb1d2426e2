"""``rsprune doctor``: what this machine has, what is missing, and what to do about it."""

import importlib
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from rsprune_lib.commands.common import Json, emit

__all__ = ["Finding", "doctor", "examine"]

PACKAGES = (
    "torch",
    "torchvision",
    "torch-pruning",
    "accelerate",
    "numpy",
    "matplotlib",
    "papermill",
    "ipywidgets",
    "voila",
)
NEEDED_GB = 3  # environment aside: archive, decoded images, runs


@dataclass(frozen=True)
class Finding:
    """One line of the examination; ``state`` is ok, warn or fail."""

    name: str
    state: str
    text: str


def doctor(as_json: Json = False) -> None:
    """Examine this machine; exit status 1 only if something is missing without which the course cannot run."""
    findings = examine()
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    text = "\n".join(f"{marks[f.state]}  {f.name:12} {f.text}" for f in findings)
    failed = any(f.state == "fail" for f in findings)
    emit({"ok": not failed, "findings": [asdict(f) for f in findings]}, as_json, text)
    if failed:
        raise typer.Exit(1)


def examine() -> list[Finding]:
    """Looks at everything; a look that itself goes wrong becomes a failed finding, never a traceback."""
    findings = []
    for look in (_python, _packages, _devices, _torchvision, _kernel, _disk, _cache, _mirror, _browser):
        try:
            findings.append(look())
        except Exception as error:
            findings.append(Finding(look.__name__.strip("_"), "fail", f"{type(error).__name__}: {error}"))
    return findings


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} on {platform.platform(terse=True)}"
    return Finding("python", "ok" if good else "fail", text if good else f"{text}; expected 3.11 or later")


def _packages() -> Finding:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "fail", f"missing: {', '.join(missing)}; run: make env")
    return Finding("packages", "ok", ", ".join(found))


def _devices() -> Finding:
    import torch

    from rsprune_lib.device import describe_device, pick_device, supports_bf16

    device = pick_device()
    precision = "bfloat16" if supports_bf16(device) else "float32"
    return Finding(
        "device", "ok", f"{describe_device(device)}; {torch.get_num_threads()} threads; trains in {precision}"
    )


def _torchvision() -> Finding:
    from rsprune_lib import _torchvision as cure

    importlib.import_module("torchvision.transforms")
    cured = ", its missing operator schemas defined by us (CPU build of torch)" if cure._libraries else ""
    return Finding("torchvision", "ok", f"imports{cured}")


def _kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager

    command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    mine = Path(command).name.startswith("python") and (not os.path.isabs(command) or command == sys.executable)
    hint = f"the kernel python3 starts {command}, not this environment; run: python -m ipykernel install --sys-prefix"
    return Finding("kernel", "ok" if mine else "warn", "python3 starts this environment" if mine else hint)


def _disk() -> Finding:
    from rsprune_lib.data.fetch import data_root

    free = shutil.disk_usage(_existing(data_root())).free / 1e9
    text = f"{free:.1f} GB free for data"
    return Finding(
        "disk", "ok" if free >= NEEDED_GB else "warn", text if free >= NEEDED_GB else f"{text}; {NEEDED_GB} are better"
    )


def _cache() -> Finding:
    from rsprune_lib.data import card_names, get_card
    from rsprune_lib.data.fetch import data_root

    root = data_root()
    nearest = _existing(root)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        return Finding("cache", "fail", f"{root} cannot be written; set RSPRUNE_HOME to a folder of yours")
    ready = [n for n in card_names() if not get_card(n).synthetic and any((root / "arrays").glob(f"{n}-*/"))]
    return Finding("cache", "ok", f"{root}; decoded: {', '.join(ready) or 'nothing yet'}")


def _mirror() -> Finding:
    mirror = os.environ.get("RSPRUNE_MIRROR")
    if not mirror:
        return Finding("mirror", "ok", "RSPRUNE_MIRROR is not set; data sets are downloaded")
    if "://" in mirror:
        return Finding("mirror", "ok", f"{mirror} (not tried)")
    folder = Path(mirror).expanduser()
    if not (folder / "SHA256SUMS").is_file():
        return Finding(
            "mirror", "warn", f"RSPRUNE_MIRROR={mirror} has no SHA256SUMS; expected a folder of archives with it"
        )
    return Finding(
        "mirror", "ok", f"{folder} with {sum(1 for p in folder.iterdir() if p.suffix in ('.zip', '.npz'))} archives"
    )


def _browser() -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome", "firefox")
    found = next((path for path in map(shutil.which, names) if path), None)
    hint = "none found; the notebooks run, only the app's browser test is left out (apt install chromium)"
    return Finding("browser", "ok" if found else "warn", found or hint)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
