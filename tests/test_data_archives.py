"""Archives: read without writing anything, and refused in one sentence when broken or hostile."""

import gzip
import io
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsprune_lib.data import archives
from rsprune_lib.data.archives import folder_files, read_members
from rsprune_lib.data.leftovers import Left
from rsprune_lib.errors import DataError

FILES = {
    "set/a/1.jpg": b"one",
    "set/b/2.PNG": b"two",
    "set/readme.txt": b"no",
    "__MACOSX/a/1.jpg": b"no",
    "set/.b/3.jpg": b"no",
}


def make_zip(path, files, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def read(path, **options):
    return dict(read_members(path, **options))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar", "folder"])
def test_images_are_found_and_all_else_is_left_out(tmp_path, kind):
    path = tmp_path / f"set.{kind}"
    if kind == "folder":
        for name, content in FILES.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    else:
        make_zip(path, FILES) if kind == "zip" else make_tar(path, FILES, "w:gz" if kind == "tar.gz" else "w")
    before = sorted(tmp_path.rglob("*"))
    assert read(path) == {"set/a/1.jpg": b"one", "set/b/2.PNG": b"two"}
    assert read(path, contents=False) == {"set/a/1.jpg": b"", "set/b/2.PNG": b""}
    assert sorted(tmp_path.rglob("*")) == before, "reading wrote to the disk"


@pytest.mark.parametrize("name", ["../evil.jpg", "a/../../evil.jpg", "/etc/evil.jpg", "C:/evil.jpg", "..\\evil.jpg"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_path_traversal(tmp_path, name, make):
    path = make(tmp_path / "set.archive", {"a/1.jpg": b"x", name: b"evil"})
    with pytest.raises(DataError, match="points outside the archive"):
        read(path)


def test_zip_bomb_by_ratio(tmp_path):
    path = make_zip(tmp_path / "bomb.zip", {"a/1.jpg": bytes(8 << 20)})
    with pytest.raises(DataError, match="absurd size"):
        read(path)


def test_zip_that_lies_about_its_sizes(tmp_path):
    path = make_zip(tmp_path / "liar.zip", {"a/1.jpg": bytes(1 << 20)})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # declared size: 10 bytes
        position = data.index(signature) + offset
        data[position : position + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        read(path)


def test_tar_bombs(tmp_path, monkeypatch):
    header = tarfile.TarInfo("a/1.jpg")
    header.size = 1 << 40
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf() + bytes(1 << 16)))
    with pytest.raises(DataError, match="absurd size"):
        read(path)
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 << 30  # a name of 8 GB
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)))
    with pytest.raises(DataError, match="no zip or tar archive"):
        read(path)
    with_name = tarfile.TarInfo("a/1.jpg").tobuf() + header.tobuf(tarfile.GNU_FORMAT)  # the same behind a good member
    path.write_bytes(gzip.compress(with_name + bytes(1 << 16)))
    with pytest.raises(DataError, match="header of 8,589,934,592 bytes"):
        read(path)
    monkeypatch.setattr(archives, "MAX_TOTAL", 5)
    with pytest.raises(DataError, match="absurd size"):
        read(make_tar(path, {"a/1.jpg": b"xxx", "a/2.jpg": b"xxx"}))


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_truncated(tmp_path, make):
    path = make(tmp_path / "set.archive", {f"a/{i}.jpg": bytes(range(256)) * 40 for i in range(30)})
    whole = path.read_bytes()
    for share in (0.02, 0.5, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match="take a whole copy"):
            read(path)


def test_damaged_content_is_noticed(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that the flipped byte is content
        archive.writestr("a/1.jpg", b"content " * 100)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="CRC"):
        read(path)


def test_empty_foreign_and_rar(tmp_path):
    for name, content, expected in (
        ("empty.zip", b"", "empty"),
        ("page.zip", b"<html>not found</html>", "no zip or tar archive"),
        ("AID.rar", b"Rar!", "--data PATH"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=expected):
            read(tmp_path / name)


def test_links_in_tar_are_not_followed(tmp_path):
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("a/1.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(member)
    assert read(path) == {}


@given(noise=st.binary(max_size=400), flips=st.lists(st.integers(0, 10_000), max_size=6))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_a_data_error(tmp_path, noise, flips):
    for make in (make_zip, make_tar):
        path = make(tmp_path / "set.archive", FILES)
        data = bytearray(path.read_bytes() + noise)
        for flip in flips:
            data[flip % len(data)] ^= 0x55
        path.write_bytes(data)
        try:
            read(path)
        except DataError:
            pass


def test_linked_folders_are_followed_and_loops_are_not(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/1.jpg").write_bytes(b"x")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/loop").symlink_to(tmp_path / "set")
    assert [name for name, _ in folder_files(tmp_path / "set")] == ["a/1.jpg"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_first_of_two_members_of_one_name_counts_and_the_other_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for name, content in (("a/1.png", b"first"), ("./a/1.png", b"second"), ("a/1.png", b"third")):
            archive.writestr(name, content)
    left = Left()
    assert list(read_members(tmp_path / "two.zip", left=left)) == [("a/1.png", b"first")]
    assert left.line() == "2 second files of the same name (a/1.png, …)"
