"""From an archive to a shard, its index and its rejects."""

import errno
import hashlib
import io
import subprocess
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import REJECTS, SHARD_INDEX
from workflow_scripts.common.store import ImageStore, growing_array
from workflow_scripts.common.tables import read_table
from workflow_scripts.formats.archives import Found
from workflow_scripts.formats.images import Image as Picture
from workflow_scripts.formats.images import Unreadable
from workflow_scripts.formats.sources import decoded, images_of
from workflow_scripts.tensors.reduction import reduce
from workflow_scripts.tensors.resize_archive import resize_archive

RNG = np.random.default_rng(11)


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


FILMS = [RNG.integers(0, 256, (16, 16), dtype=np.uint8) for _ in range(5)]
GOOD = [Found(f"{n}.png", f"images/{n}.png", png(film)) for n, film in enumerate(FILMS)]
NIH = {"kind": "nih", "channels": 1}
BAD = Found("bad.png", "images/bad.png", b"\x89PNG\r\n\x1a\n")


def resized(folder, images, max_rejects=0, size=8, channels=1, bits=8):
    """Resize images, or files that are decoded first."""
    images = (
        image
        for found in images
        for image in (decoded([found], channels) if isinstance(found, Found) else [found])
    )
    paths = [folder / name for name in ("a.npy", "a.parquet", "a.rejects.parquet")]
    resize_archive("a", images, size, max_rejects, *paths, channels, bits)
    return (
        np.load(paths[0], mmap_mode="r"),
        read_table(paths[1], SHARD_INDEX),
        read_table(paths[2], REJECTS),
    )


def test_a_shard_holds_the_reduced_images_in_the_order_of_its_index(tmp_path):
    colour = Found("rgb.png", "rgb.png", png(np.dstack([FILMS[0][:12]] * 3)))
    shard, index, rejects = resized(tmp_path, [*GOOD, colour])
    assert shard.shape == (6, 8, 8) and shard.dtype == np.uint8 and rejects.empty
    for row, film in zip(shard, FILMS, strict=False):
        np.testing.assert_array_equal(row, reduce(film, 8))
    assert index["image_id"].tolist() == [*(f"{n}.png" for n in range(5)), "rgb.png"]
    assert index["sha256"].tolist() == [hashlib.sha256(row.tobytes()).hexdigest() for row in shard]
    assert index.iloc[-1][["width", "height", "mode"]].tolist() == [16, 12, "RGB"]
    store = ImageStore(index, [tmp_path / "a.npy"])
    np.testing.assert_array_equal(store.all(), shard)


def test_the_file_is_the_one_that_numpy_writes(tmp_path):
    for count in (1, 10, 12_345):
        images = RNG.integers(0, 256, (count, 3, 3), dtype=np.uint8)
        for kept in (images, np.stack([images] * 4, axis=-1).astype(np.uint16)):
            with growing_array(tmp_path / "grown.npy", kept.shape[1:], kept.dtype) as append:
                for image in kept:
                    append(image)
            np.save(tmp_path / "saved.npy", kept)
            assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()


def images_of_pixels(*pixels):
    return [Picture(str(n), f"at {n}", image, "I;16") for n, image in enumerate(pixels)]


def test_sixteen_bits_are_kept_as_they_were(tmp_path):
    """Grey levels of whole numbers of 0 to 65535, divided by 257, come back as these numbers."""
    stored = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    grey = stored / np.float32(257)
    shard, index, _ = resized(tmp_path, images_of_pixels(grey, grey[:128, :128]), size=256, bits=16)
    assert shard.dtype == np.uint16 and shard.shape == (2, 256, 256)
    np.testing.assert_array_equal(shard[0], stored)
    assert index["sha256"][0] == hashlib.sha256(stored.astype("<u2").tobytes()).hexdigest()
    small, *_ = resized(tmp_path, images_of_pixels(grey), size=64, bits=16)
    exact = stored.reshape(64, 4, 64, 4).mean(axis=(1, 3), dtype=np.float64)
    assert np.abs(small[0] - exact).max() <= 0.51


def test_sixteen_bits_of_bytes_are_257_times_their_levels(tmp_path):
    film = RNG.integers(0, 256, (16, 16), dtype=np.uint8)
    (kept,), *_ = resized(tmp_path, images_of_pixels(film), size=16, bits=16)
    np.testing.assert_array_equal(kept, film * np.uint16(257))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_every_channel_is_reduced_as_an_image_of_its_own(tmp_path, channels, bits):
    picture = RNG.integers(0, 256, (24, 18, channels), dtype=np.uint8)
    ((kept,), index, _) = resized(
        tmp_path, images_of_pixels(picture), size=6, channels=channels, bits=bits
    )
    assert kept.shape == (6, 6, channels)
    for channel in range(channels):
        np.testing.assert_array_equal(
            kept[..., channel], reduce(picture[..., channel], 6, bits), str(channel)
        )
    assert index.iloc[0][["width", "height"]].tolist() == [18, 24]


def test_colour_files_are_kept_in_colour_where_the_configuration_says_so(tmp_path):
    picture = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    opaque = np.dstack([picture, np.full((8, 8), 255, np.uint8)])
    deep = RNG.integers(0, 65536, (8, 8), dtype=np.uint16)
    files = [
        Found(f"{n}.png", f"{n}.png", png(pixels))
        for n, pixels in enumerate([picture, opaque, picture[..., 0], deep])
    ]
    shard, index, _ = resized(tmp_path, files, channels=3)
    np.testing.assert_array_equal(shard[0], picture)
    np.testing.assert_array_equal(shard[1], picture)
    np.testing.assert_array_equal(shard[2], np.dstack([picture[..., 0]] * 3))
    np.testing.assert_array_equal(shard[3], np.dstack([reduce(deep / np.float32(257), 8)] * 3))
    assert index["mode"].tolist() == ["RGB", "RGBA", "L", "I;16"]
    smooth = np.dstack([np.full((8, 8), level, np.uint8) for level in (200, 120, 40)])
    stream = io.BytesIO()
    Image.fromarray(smooth).save(stream, "JPEG", quality=95)
    (kept,), index, _ = resized(tmp_path, [Found("a.jpg", "a.jpg", stream.getvalue())], channels=3)
    assert np.abs(kept.astype(int) - smooth).max() <= 2 and index["mode"][0] == "RGB"
    with pytest.raises(InputError, match="a colour image"):
        resized(tmp_path, files[:1])


def test_rejects_are_recorded_with_their_reason_and_the_run_goes_on(tmp_path):
    gone = Found("x/gone.png", "x/gone.png", Unreadable("cannot be read: gone"))
    twin = Found("0.png", "elsewhere/0.png", GOOD[1].content)
    shard, index, rejects = resized(tmp_path, [GOOD[0], BAD, gone, twin, GOOD[2]], max_rejects=3)
    assert index["image_id"].tolist() == ["0.png", "2.png"]
    np.testing.assert_array_equal(shard[0], reduce(FILMS[0], 8))
    assert rejects["member"].tolist() == ["images/bad.png", "x/gone.png", "elsewhere/0.png"]
    assert rejects["image_id"].tolist() == ["bad.png", "x/gone.png", "0.png"]
    assert rejects["reason"].tolist() == [
        "damaged PNG: no header",
        "cannot be read: gone",
        "the archive has this image already, as images/0.png",
    ]


def test_past_the_limit_the_step_fails_names_them_and_leaves_nothing(tmp_path):
    worse = BAD._replace(name="images/worse.png")
    with pytest.raises(InputError) as caught:
        resized(tmp_path, [GOOD[0], BAD, worse, GOOD[1]], max_rejects=1)
    text = str(caught.value)
    assert "2 files" in text and "max_rejects allows 1" in text
    assert "images/bad.png: damaged PNG" in text and "images/worse.png" in text
    assert list(tmp_path.iterdir()) == []


def test_an_archive_full_of_rubbish_is_not_read_to_its_end(tmp_path):
    read = []

    def rubbish():
        for number in range(1000):
            read.append(number)
            yield Found(f"{number}.png", f"{number}.png", b"rubbish")

    with pytest.raises(InputError, match="at least 12 files"):
        resized(tmp_path, rubbish(), max_rejects=2)
    assert len(read) == 12


def test_an_archive_without_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match="a holds no image"):
        resized(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_half_written_and_names_the_shard(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "ascontiguousarray", full)
    with pytest.raises(OSError, match="No space left") as caught:
        resized(tmp_path, GOOD)
    assert caught.value.filename == str(tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_archive_leaves_nothing_half_written(tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for found in GOOD:
            header = tarfile.TarInfo(found.name)
            header.size = len(found.content)
            tar.addfile(header, io.BytesIO(found.content))
    path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="damaged or cut short"):
        resized(tmp_path / "out", images_of(NIH, "a", {"archive": path}))
    assert list((tmp_path / "out").iterdir()) == []


def test_twice_gives_the_same_bytes(tmp_path):
    outputs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        resized(tmp_path / name, [*GOOD, BAD], max_rejects=1)
        outputs.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert outputs[0] == outputs[1] and len(outputs[0]) == 3


def test_every_image_of_the_real_archives_decodes(shared, tmp_path):
    frames = []
    for archive in sorted((shared / "nih-mini").glob("images_*.tar.gz")):
        films = images_of(NIH, archive.stem, {"archive": archive})
        shard, index, rejects = resized(tmp_path, films, size=64)
        assert rejects.empty and len(shard) == len(index)
        assert shard[:, 8:-8, 8:-8].reshape(len(shard), -1).std(axis=1).min() > 1
        frames.append(index)
    index = pd.concat(frames)
    assert len(index) == 1509 and index["image_id"].is_unique
    assert (index["mode"] == "RGBA").sum() == 15
    assert (index["width"] == 1024).sum() == 40


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_memory_stays_small(tmp_path):
    """An archive of 200 films of 1024 x 1024, which would fill 210 MB at once."""
    film = png(np.outer(np.arange(1024), np.ones(1024)).astype(np.uint8))
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=0) as tar:
        for number in range(200):
            header = tarfile.TarInfo(f"{number}.png")
            header.size = len(film)
            tar.addfile(header, io.BytesIO(film))
    code = (
        "import sys; from workflow_scripts.tensors.resize_archive import *\n"
        "folder = Path(sys.argv[1])\n"
        "films = images_of({'kind': 'nih', 'channels': 1}, 'a', {'archive': folder / 'a.tar.gz'})\n"
        "resize_archive('a', films, 256, 0, folder / 'a.npy',"
        " folder / 'a.parquet', folder / 'r.parquet')\n"
        "assert not {'torch', 'pydicom', 'nibabel', 'h5py'} & set(sys.modules)\n"
        "print(Path('/proc/self/status').read_text())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True
    )
    peak = next(line for line in run.stdout.splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 250_000
