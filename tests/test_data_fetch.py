"""The road to an archive: cache, mirror, download with resume, and a sentence at its end."""

import dataclasses
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rsprune_lib.data import Source, fetch, find, get_card, load_data, verify
from rsprune_lib.errors import DataError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; breaks off after `server.cut` bytes while that is set; knows Range if `server.ranges`."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and server.ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if server.cut:
            body, server.cut = body[: server.cut], server.cut_next
        self.wfile.write(body)
        return self.close_connection


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.requests, server.ranges, server.cut, server.cut_next = (
            {"/set.zip": CONTENT},
            [],
            True,
            0,
            0,
        )
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("RSPRUNE_MIRROR", raising=False)


def card(*sources):
    return dataclasses.replace(get_card("aid"), sources=sources or (Source(None, "set.zip"),))


def sums(folder, sha=SHA):
    (folder / "SHA256SUMS").write_text(f"{sha}  set.zip\n{'0' * 64}  other.zip\n")


def test_mirror_folder_is_used_in_place(tmp_path, monkeypatch):
    mirror, root = tmp_path / "mirror", tmp_path / "root"
    mirror.mkdir()
    (mirror / "set.zip").write_bytes(CONTENT)
    sums(mirror)
    assert fetch(card(), root, mirror) == mirror / "set.zip" and not root.exists()
    monkeypatch.setenv("RSPRUNE_MIRROR", str(mirror))
    assert find(card(), root) == mirror / "set.zip" == find(card(), root, f"file://{mirror}")


def test_wrong_hash_in_the_mirror(tmp_path):
    (tmp_path / "set.zip").write_bytes(CONTENT[:-1])
    sums(tmp_path)
    with pytest.raises(DataError, match=r"sha256 .*expected .*; replace the mirror's copy"):
        fetch(card(), tmp_path / "root", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "set.zip"], "a mirror is left alone"


def test_without_sums_the_hash_of_the_card_counts(tmp_path):
    (tmp_path / "set.zip").write_bytes(CONTENT)
    assert fetch(card(Source(None, "set.zip", md5=MD5)), tmp_path / "root", tmp_path).exists()
    with pytest.raises(DataError, match="md5"):
        fetch(card(Source(None, "set.zip", md5="0" * 32)), tmp_path / "root", tmp_path)


@pytest.mark.parametrize(
    "line", ["{}  ./set.zip", "{} *./set.zip\r", "SHA256 (set.zip) = {}", "\ufeff{}  set.zip", "\\{}  set.zip"]
)
def test_sums_in_many_spellings(tmp_path, line, caplog):
    (tmp_path / "set.zip").write_bytes(CONTENT)
    (tmp_path / "SHA256SUMS").write_text(f"{line.format('0' * 64)}\n# sums\n")
    with pytest.raises(DataError, match="replace the mirror's copy"):
        fetch(card(), tmp_path / "root", tmp_path)
    (tmp_path / "SHA256SUMS").write_text(f"{line.format(SHA.upper())}\n")
    assert fetch(card(), tmp_path / "root", tmp_path) and not caplog.text


def test_a_mirror_without_the_sum_is_told_about(tmp_path, caplog):
    (tmp_path / "set.zip").write_bytes(CONTENT)
    fetch(card(), tmp_path / "root", tmp_path)
    assert "has no SHA256SUMS; nothing can be checked" in caplog.text
    (tmp_path / "SHA256SUMS").write_text(f"{SHA}  other.zip\n")
    fetch(card(Source(None, "set.zip", md5=MD5)), tmp_path / "root", tmp_path)
    assert "does not list set.zip; set.zip is held to the publisher's md5" in caplog.text


def test_mirror_by_address_without_sums_is_used_and_told_about(server, tmp_path, caplog):
    assert fetch(card(), tmp_path, server.url, progress=False).read_bytes() == CONTENT
    assert "has no SHA256SUMS" in caplog.text


def test_mirror_that_is_no_folder(tmp_path):
    with pytest.raises(DataError, match="correct RSPRUNE_MIRROR"):
        fetch(card(), tmp_path, tmp_path / "nowhere")


def test_empty_file(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        fetch(card(), tmp_path / "root", tmp_path)


@pytest.mark.parametrize("known", [{"sha256": SHA}, {"md5": MD5}, {}])
def test_download_then_cache(server, tmp_path, known):
    source = Source(f"{server.url}/set.zip", "set.zip", **known)
    path = fetch(card(source), tmp_path, progress=False)
    assert path == tmp_path / "downloads/set.zip" and path.read_bytes() == CONTENT
    assert fetch(card(source), tmp_path, progress=False) == path and len(server.requests) == 1
    assert f"{SHA}  set.zip" in (tmp_path / "downloads/SHA256SUMS").read_text()
    path.write_bytes(
        CONTENT[1:]
    )  # the sum was written down on arrival: later damage is noticed even without a stated hash
    with pytest.raises(DataError, match=r"set aside as set\.zip\.wrong, fetch it again"):
        fetch(card(source), tmp_path, progress=False)
    assert (tmp_path / "downloads/set.zip.wrong").exists()
    assert fetch(card(source), tmp_path, progress=False).read_bytes() == CONTENT


def test_broken_connection_goes_on_within_the_call(server, tmp_path):
    server.cut = 300_000
    path = fetch(card(Source(f"{server.url}/set.zip", "set.zip", sha256=SHA)), tmp_path, progress=False)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=262144-"]  # whole pieces of 64 KiB


def test_download_is_resumed_by_the_next_call(server, tmp_path):
    source = Source(f"{server.url}/set.zip", "set.zip", sha256=SHA)
    server.cut = server.cut_next = 200_000
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch(card(source), tmp_path, progress=False)
    assert not (tmp_path / "downloads/set.zip").exists()
    arrived = (tmp_path / "downloads/set.zip.part").stat().st_size
    assert arrived == 9 * 65536, "three attempts of three whole pieces"
    server.cut = 0
    assert fetch(card(source), tmp_path, progress=False).read_bytes() == CONTENT
    assert server.requests[-1][1] == f"bytes={arrived}-"
    assert not (tmp_path / "downloads/set.zip.part").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_stale_or_useless_part(server, tmp_path, ranges):
    server.ranges = ranges  # True: 416, the part is too long; False: the server sends everything again
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/set.zip.part").write_bytes(CONTENT + b"more" if ranges else b"old")
    path = fetch(card(Source(f"{server.url}/set.zip", "set.zip", sha256=SHA)), tmp_path, progress=False)
    assert path.read_bytes() == CONTENT


def test_wrong_hash_of_a_download(server, tmp_path):
    with pytest.raises(DataError, match="hash"):
        fetch(card(Source(f"{server.url}/set.zip", "set.zip", md5="0" * 32)), tmp_path, progress=False)
    assert not list((tmp_path / "downloads").glob("set.zip*")), "a wrong file was kept"


def test_next_source_and_the_sentence_at_the_end(server, tmp_path):
    sources = Source(f"{server.url}/gone.zip", "first.zip"), Source(f"{server.url}/set.zip", "set.zip")
    assert fetch(card(*sources), tmp_path, progress=False).name == "set.zip"
    with pytest.raises(DataError) as error:
        fetch(card(sources[0]), tmp_path / "other", progress=False)
    for part in ("404", "first.zip", "captain-whu.github.io/AID", str(tmp_path / "other/downloads/first.zip")):
        assert part in str(error.value)
    (tmp_path / "other/downloads/first.zip").write_bytes(CONTENT)  # as the sentence says
    assert fetch(card(sources[0]), tmp_path / "other", progress=False).name == "first.zip"


def test_mirror_by_address(server, tmp_path):
    server.files["/SHA256SUMS"] = f"{SHA} *set.zip\n".encode()
    assert fetch(card(), tmp_path, server.url + "/", progress=False).read_bytes() == CONTENT
    server.files["/SHA256SUMS"] = f"{'0' * 64}  set.zip\n".encode()
    with pytest.raises(DataError, match="hash"):
        fetch(card(), tmp_path / "other", server.url, progress=False)
    server.files.clear()
    with pytest.raises(DataError, match="place it as"):
        fetch(card(), tmp_path / "third", server.url, progress=False)


def test_synthetic_is_not_fetched(tmp_path):
    with pytest.raises(DataError, match="drawn, not fetched"):
        fetch("synthetic", tmp_path)


def test_verify_removes_damaged_arrays(tmp_path, monkeypatch):
    assert verify("aid", tmp_path) == {"name": "aid", "archive": None, "sha256": None, "arrays": [], "ok": False}
    monkeypatch.setattr("rsprune_lib.data.catalogue.CARDS", tiny_synthetic())
    load_data("synthetic", root=tmp_path, progress=False)
    assert verify("synthetic", tmp_path)["ok"]
    images = next(tmp_path.glob("arrays/*/images.npy"))
    images.write_bytes(images.read_bytes()[:-1] + b"\0")
    assert not verify("synthetic", tmp_path)["ok"] and not images.exists()
    load_data("synthetic", root=tmp_path, progress=False)
    assert verify("synthetic", tmp_path)["ok"]


def tiny_synthetic():
    return {"synthetic": dataclasses.replace(get_card("synthetic"), num_images=30)}


def test_real_mirror(mirror, tmp_path):
    assert fetch("eurosat", tmp_path, mirror) == mirror / "EuroSAT_RGB.zip"
    assert find("aid", tmp_path, mirror) is None


def test_without_a_connection_it_is_said_in_plain_words(tmp_path, monkeypatch):
    monkeypatch.delenv("RSPRUNE_MIRROR", raising=False)
    source = Source("http://127.0.0.1:9/set.zip", "set.zip", sha256=SHA)  # nobody listens on port 9
    with pytest.raises(DataError, match=r"9/set\.zip: no connection\); get set\.zip from .* and place it as") as told:
        fetch(card(source), tmp_path, progress=False)
    assert "Max retries" not in str(told.value) and "object at" not in str(told.value)
