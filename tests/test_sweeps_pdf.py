"""A page becomes a PDF where there is a browser; where there is none, one sentence and no half file."""

import os
import sys

import pytest

from rsprune_lib.errors import RspruneError
from rsprune_lib.sweeps.pdf import print_pdf


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "a page é.html"
    path.write_text("<p>Numbers</p>", encoding="utf-8")
    return path


def browser(folder, monkeypatch, body):
    """A program that stands where a browser is expected."""
    program = folder / "chromium"
    program.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("RSPRUNE_CHROMIUM", str(program))


def test_the_browser_gets_the_page_and_a_new_profile(page, tmp_path, monkeypatch):
    body = (
        "words = dict(word.partition('=')[::2] for word in sys.argv[1:])\n"
        "import os; assert os.path.isdir(words['--user-data-dir']) and not os.listdir(words['--user-data-dir'])\n"
        "from urllib.request import urlopen; text = urlopen(sys.argv[-1]).read()\n"
        "open(words['--print-to-pdf'], 'wb').write(b'%PDF-1.4 ' + text)"
    )
    browser(tmp_path, monkeypatch, body)
    print_pdf(page, tmp_path / "out.pdf")
    assert (tmp_path / "out.pdf").read_bytes() == b"%PDF-1.4 <p>Numbers</p>"


EMPTY = "[open(word.partition('=')[2], 'w') for word in sys.argv if word.startswith('--print-to-pdf=')]"


@pytest.mark.parametrize(
    "body", ["sys.exit('no display')", "print('no display')", EMPTY, r"sys.stderr.buffer.write(b'\xff')"]
)
def test_a_browser_that_prints_nothing_is_told(page, tmp_path, monkeypatch, body):
    browser(tmp_path, monkeypatch, body)
    (tmp_path / "out.pdf").write_bytes(b"%PDF-old")
    with pytest.raises(RspruneError, match="printed no PDF.*the page itself is there"):
        print_pdf(page, tmp_path / "out.pdf")
    assert (tmp_path / "out.pdf").read_bytes() == b"%PDF-old"
    assert sorted(os.listdir(tmp_path)) == ["a page é.html", "chromium", "out.pdf"]


def test_without_a_browser_the_sentence_says_what_to_do(page, tmp_path, monkeypatch):
    monkeypatch.delenv("RSPRUNE_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(RspruneError, match="No Chromium or Chrome was found; a PDF needs one: install it"):
        print_pdf(page, tmp_path / "out.pdf")
    monkeypatch.setenv("RSPRUNE_CHROMIUM", "/no/such/program")
    with pytest.raises(RspruneError, match="'/no/such/program', which is no program"):
        print_pdf(page, tmp_path / "out.pdf")
    assert not (tmp_path / "out.pdf").exists()
