"""Archives as they come, and as somebody might make them."""

import gzip
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.acquire.folder import digest, listing
from workflow_scripts.acquire.list_files import list_files
from workflow_scripts.acquire.manifest import read_manifest, verify
from workflow_scripts.acquire.verify_archive import verify_archive
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import FILES
from workflow_scripts.common.tables import read_table
from workflow_scripts.formats import archives
from workflow_scripts.formats.archives import archive_images, folder_images
from workflow_scripts.formats.images import Unreadable
from workflow_scripts.formats.sources import images_of


def member(name, content=b"pixels", **fields):
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for key, value in fields.items():
        setattr(header, key, value)
    return header, content


def write_archive(path, *members, format=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w:gz", format=format, compresslevel=1) as tar:
        for header, content in members:
            tar.addfile(header, io.BytesIO(content))
    return path


def read(path):
    return list(archive_images(path))


def test_images_come_in_order_and_other_members_are_passed_over(tmp_path):
    path = write_archive(
        tmp_path / "a.tar.gz",
        member("images", b"", type=tarfile.DIRTYPE),
        member("images/2.png", b"two"),
        member("README.txt"),
        member("images/._2.png"),
        member("images/" + "x" * 150 + ".PNG", b"long name"),
        member("1.jpeg", b"one"),
    )
    assert [(found.image_id, found.content) for found in read(path)] == [
        ("2.png", b"two"),
        ("x" * 150 + ".PNG", b"long name"),
        ("1.jpeg", b"one"),
    ]


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (member("../x.png"), "outside"),
        (member("images/../../x.png"), "outside"),
        (member("/etc/x.png"), "outside"),
        (member("x.png", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "link"),
        (member("x.png", b"", type=tarfile.LNKTYPE, linkname="../y.png"), "link"),
        (member("x.png", b"", type=tarfile.CHRTYPE), "device"),
        (member("x.png", b"", type=tarfile.FIFOTYPE), "device"),
        (
            member("x.png", b"", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}),
            "claims",
        ),
    ],
    ids=lambda value: value[0].name if isinstance(value, tuple) else value,
)
def test_hostile_members_are_refused_by_name_and_nothing_is_written(tmp_path, hostile, why):
    path = write_archive(tmp_path / "a.tar.gz", member("images/1.png"), hostile)
    with pytest.raises(InputError, match=why) as caught:
        read(path)
    assert "a.tar.gz" in str(caught.value) and repr(hostile[0].name) in str(caught.value)
    assert [item.name for item in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_member_that_claims_too_much_is_refused_before_it_is_read(tmp_path, kind):
    path = tmp_path / "a.tar.gz"
    header = tarfile.TarInfo("x.png")
    header.size, header.type = 200 << 20, kind
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(200):
            stream.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"'x.png' claims 209,715,200 bytes"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("place", ["members", "after the end"])
def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch, place):
    monkeypatch.setattr(archives, "LARGEST_FILE", 1 << 20)
    path = tmp_path / "a.tar.gz"
    if place == "members":
        write_archive(path, *(member(f"{n}.png", bytes(1 << 20)) for n in range(8)))
    else:
        write_archive(path, member("1.png"))
        with gzip.open(path, "ab") as stream:
            stream.write(bytes(8 << 20))
    with pytest.raises(InputError, match="bomb"):
        read(path)


def test_an_archive_cut_anywhere_is_reported_as_damaged(tmp_path):
    members = [member(f"images/{n}.png", bytes([n]) * 3000) for n in range(20)]
    whole = write_archive(tmp_path / "a.tar.gz", *members).read_bytes()
    path = tmp_path / "cut.tar.gz"
    for length in [0, 5, *range(20, len(whole), 37), len(whole) - 8, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.tar\.gz: damaged or cut short after"):
            read(path)


def test_a_tar_cut_before_it_was_compressed_is_reported_too(tmp_path):
    whole = gzip.decompress(
        write_archive(tmp_path / "a.tar.gz", member("1.png"), member("2.png")).read_bytes()
    )
    for length in (512, 700, 1024, 1100, 2048):
        (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(whole[:length]))
        with pytest.raises(InputError, match="damaged or cut short"):
            read(tmp_path / "cut.tar.gz")


def test_a_flipped_bit_is_found_by_a_checksum(tmp_path):
    content = bytes(range(256)) * 16
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=0) as tar:
        header, _ = member("1.png", content)
        tar.addfile(header, io.BytesIO(content))
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(content[:256]) + 300] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(InputError, match="damaged"):
        read(path)


def test_headers_that_no_tool_writes_are_damage_of_the_archive(tmp_path):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a.png")
        member.pax_headers = {"GNU.sparse.map": "a,b"}
        tar.addfile(member)
    with pytest.raises(InputError, match=r"a\.tar\.gz: damaged or cut short"):
        list(archive_images(archive))


def test_what_is_no_archive_is_named(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"<html>Not found</html>")
    with pytest.raises(InputError, match=r"a\.tar\.gz: damaged .* its beginning"):
        read(tmp_path / "a.tar.gz")


def test_files_of_a_folder_come_with_their_reason_if_they_cannot(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FILE", 10)
    (tmp_path / "a.png").write_bytes(b"image")
    (tmp_path / "b.png").write_bytes(b"a larger image")
    names = ["a.png", "b.png", "c.png"]
    good, large, gone = folder_images((f"x/{name}", str(tmp_path / name)) for name in names)
    assert good == ("x/a.png", "x/a.png", b"image")
    assert isinstance(large.content, Unreadable) and "14 bytes" in str(large.content)
    assert isinstance(gone.content, Unreadable) and "No such file" in str(gone.content)


# -- manifest --------------------------------------------------------------------------------------


def manifest(tmp_path, *rows, header="archive\tbytes\tmd5"):
    path = tmp_path / "archives.tsv"
    path.write_text("\n".join([header, *("\t".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_the_tracked_manifest_lists_the_twelve_archives(root):
    archives = read_manifest("resources/nih_archives.tsv")
    assert list(archives) == [f"images_{number:03d}" for number in range(1, 13)]
    assert all(archive.url.startswith("https://") for archive in archives.values())
    assert len({archive.md5 for archive in archives.values()}) == 12
    assert sum(archive.bytes for archive in archives.values()) == 45_079_862_784


def test_a_choice_keeps_the_order_of_the_table():
    chosen = read_manifest("resources/nih_archives.tsv", ["images_003.tar.gz", "images_001"])
    assert list(chosen) == ["images_001", "images_003"]
    with pytest.raises(InputError, match=r"images_013 not in .*images_012"):
        read_manifest("resources/nih_archives.tsv", ["images_013"])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (("../x.tar.gz", 1, "0" * 32), "line 2: archive '../x.tar.gz'"),
        (("images.tar.gz", 1, "0" * 32), "line 2: archive"),
        (("x.zip", 1, "0" * 32), "line 2: archive"),
        (("x.tar.gz", "1 GB", "0" * 32), "line 2: bytes '1 GB'"),
        (("x.tar.gz", 1, "123"), "line 2: md5 '123'"),
        (("x.tar.gz",), "line 2: bytes ''"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path, row, why):
    with pytest.raises(InputError, match=why):
        read_manifest(manifest(tmp_path, row))


def test_a_manifest_may_not_lack_columns_or_repeat_itself(tmp_path):
    with pytest.raises(InputError, match="lacks the column md5"):
        read_manifest(manifest(tmp_path, header="archive\tbytes"))
    row = ("x.tar.gz", 1, "0" * 32)
    with pytest.raises(InputError, match=r"line 3: x\.tar\.gz stands there twice"):
        read_manifest(manifest(tmp_path, row, row))
    with pytest.raises(InputError, match="there is no file"):
        read_manifest(tmp_path / "none.tsv")


def test_a_local_archive_is_verified(tmp_path):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(b"content")
    md5 = hashlib.md5(b"content").hexdigest()
    right = read_manifest(manifest(tmp_path, ("x.tar.gz", 7, md5.upper())))["x"]
    verify_archive(path, right, tmp_path / "receipt.json")
    verify(path, right._replace(bytes=None))  # a manifest of files may not know it
    assert json.loads((tmp_path / "receipt.json").read_text()) == {
        "archive": "x",
        "bytes": 7,
        "md5": md5,
    }
    for wrong, why in [
        (right._replace(bytes=8), "7 bytes, expected 8 .cut short"),
        (right._replace(md5="0" * 32), f"MD5 {md5}, expected 000"),
    ]:
        with pytest.raises(InputError, match=why):
            verify_archive(path, wrong, tmp_path / "other.json")
    with pytest.raises(InputError, match="no such archive"):
        verify_archive(tmp_path / "y.tar.gz", right, tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


# -- folders ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    names = ["b/2.JPEG", "b/10.png", "a.jpg", "notes.txt", "a.csv", ".hidden/x.png", ".x.png"]
    for name in [*names, "scan", "c.dcm", "DICOMDIR"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(struct.pack("B", len(name)))
    (folder / "circle").symlink_to(folder)
    return folder


def test_a_folder_is_listed_by_kind_and_sorted(folder):
    assert [file.image_id for file in listing(folder, "folder")] == [
        "a.jpg",
        "b/10.png",
        "b/2.JPEG",
    ]
    assert [file.image_id for file in listing(folder, "dicom")] == ["c.dcm", "scan"]
    with pytest.raises(InputError, match=r"dataset\.folder\.images: there is no folder"):
        listing(folder / "none", "folder")


def test_a_link_to_nothing_is_passed_over(folder):
    before = listing(folder, "folder")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    assert listing(folder, "folder") == before
    digest.cache_clear()
    assert digest(folder, "folder")


def test_the_digest_sees_what_is_added_removed_and_edited(folder):
    states = set()
    for change in (
        lambda: None,
        lambda: (folder / "new.png").write_bytes(b"1"),
        lambda: (folder / "new.png").write_bytes(b"2"),
        lambda: (folder / "a.jpg").unlink(),
    ):
        change()
        digest.cache_clear()
        states.add(digest(folder, "folder"))
    assert len(states) == 4
    (folder / "notes.txt").write_text("more")
    digest.cache_clear()
    assert digest(folder, "folder") in states


def test_files_are_dealt_out_to_jobs(folder, tmp_path):
    list_files(folder, "folder", ["part_001", "part_002"], tmp_path / "files.parquet")
    table = read_table(tmp_path / "files.parquet", FILES)
    assert table["part"].tolist() == ["part_001", "part_001", "part_002"]
    assert table["image_id"].tolist() == ["a.jpg", "b/10.png", "b/2.JPEG"]
    assert str(tmp_path) not in table.to_csv()
    with pytest.raises(InputError, match=r"hold 3 images .*parts: 4"):
        list_files(folder, "folder", ["1", "2", "3", "4"], tmp_path / "other.parquet")


def test_a_job_reads_its_files_wherever_the_folder_is(folder, tmp_path):
    list_files(folder, "folder", ["part_001", "part_002"], tmp_path / "files.parquet")
    moved = folder.rename(tmp_path / "moved")
    films = {}
    for number, name in enumerate(("a.jpg", "b/10.png", "b/2.JPEG"), start=1):
        films[name] = np.full((2, 2), 20 * number, np.uint8)
        Image.fromarray(films[name]).save(moved / name)
    source = {"kind": "folder", "channels": 1, "images": str(moved)}
    for part, names in (("part_001", ["a.jpg", "b/10.png"]), ("part_002", ["b/2.JPEG"])):
        found = list(images_of(source, part, {"files": tmp_path / "files.parquet"}))
        assert [image.image_id for image in found] == names
        for image in found:
            np.testing.assert_array_equal(image.pixels, films[image.image_id])


def test_the_label_table_comes_out_of_the_package_without_torch(tmp_path):
    code = (
        "import sys; from workflow_scripts.acquire.extract_label_table import *; "
        "extract_label_table(sys.argv[1]); assert 'torch' not in sys.modules"
    )
    output = tmp_path / "table.csv"
    subprocess.run([sys.executable, "-c", code, output], check=True)
    lines = output.read_text().splitlines()
    assert lines[0].startswith("Image Index,Finding Labels,") and len(lines) == 112_121
