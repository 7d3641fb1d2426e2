"""A page as a PDF, printed by the Chromium or Chrome of this machine."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rsprune_lib.errors import RspruneError, visible
from rsprune_lib.files import atomic

__all__ = ["find_browser", "print_pdf"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_PATIENCE = 180  # s


def print_pdf(page: str | Path, out: str | Path) -> None:
    """Prints an HTML file; the page is the browser's only input, and its profile is a new one.

    Args:
        page: The HTML file.
        out: The PDF file.

    Raises:
        RspruneError: There is no such browser, or it printed nothing.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, atomic(out) as temporary:
        words = [browser, "--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        words += [f"--user-data-dir={profile}", "--no-pdf-header-footer", f"--print-to-pdf={temporary}"]
        words += ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []  # Chromium refuses root otherwise
        try:
            done = subprocess.run(
                [*words, Path(page).resolve().as_uri()], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", timeout=_PATIENCE, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RspruneError(f"{browser} could not print {page} ({error}); the page itself is there.") from None
        if not temporary.is_file() or temporary.read_bytes()[:5] != b"%PDF-":
            said = visible((done.stderr or done.stdout).strip()[-300:]) or f"exit status {done.returncode}"
            raise RspruneError(f"{browser} printed no PDF of {page} ({said}); the page itself is there.")


def find_browser() -> str:
    """Returns the browser that prints: that of ``RSPRUNE_CHROMIUM``, else the first that is found.

    Raises:
        RspruneError: There is none.
    """
    named = os.environ.get("RSPRUNE_CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        what = f"RSPRUNE_CHROMIUM names {named!r}, which is no program" if named else "No Chromium or Chrome was found"
        raise RspruneError(
            f"{what}; a PDF needs one: install it, name it in RSPRUNE_CHROMIUM, or print from a browser."
        )
    return found
