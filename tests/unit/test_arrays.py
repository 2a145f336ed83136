"""HDF5 and IDX: every row as it was stored, with its label and subject, and what is refused."""

import gzip
import struct

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.volumes import idx_bytes, write_digits, write_patches
from workflow_scripts.acquire.data_files import data_files, names_of, unpacked
from workflow_scripts.acquire.hash_files import hash_files
from workflow_scripts.acquire.list_images import array_images, list_images
from workflow_scripts.acquire.manifest import read_files
from workflow_scripts.acquire.unpack_file import unpack_file
from workflow_scripts.common.configuration import load
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.schemas import DATA_FILES, DROPPED, LISTING
from workflow_scripts.common.tables import read_table
from workflow_scripts.formats.images import Unreadable
from workflow_scripts.formats.sources import images_of

RNG = np.random.default_rng(8)
DEFAULTS = load({"dataset": {"name": "a", "kind": "phantom"}, "tensors": {"size": 8}})["dataset"]
PATCHES = [
    {
        "images": f"split_{split}_x.h5",
        "labels": f"split_{split}_y.h5",
        "subjects": f"split_{split}_meta.csv",
        "split": name,
    }
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test"))
]
DIGITS = [
    {"images": f"{name}-images-idx3-ubyte", "labels": f"{name}-labels-idx1-ubyte", "split": split}
    for name, split in (("train", "train"), ("t10k", "test"))
]
ONE = [{"images": "a.h5", "labels": None, "subjects": None, "split": None}]


def settings_of(kind, folder, files, **changed):
    """What the configuration says, with the files where they were found, as the rule has them."""
    settings = DEFAULTS[kind] | {"folder": str(folder), "files": files} | changed
    return settings | {"files": data_files(kind, settings)[0]}


def patches(folder, **changed):
    arrays = {"images": "x", "labels": "y", "subjects": "wsi"}
    findings = {"0": "No Finding", "1": "Tumour"}
    options = {"arrays": arrays, "findings": findings} | changed
    return settings_of("hdf5", folder, PATCHES, **options)


def single(folder, **arrays):
    """Write one HDF5 file of named arrays, and return the settings that read it."""
    with h5py.File(folder / "a.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return settings_of("hdf5", folder, ONE)


def entries(kind, settings, channels=1):
    return list(array_images(kind, settings, channels))


def decoded(kind, settings, found, tmp_path, parts=("part_001",), channels=1):
    """List the images, and return what each part yields."""
    outputs = {name: tmp_path / f"{name}.parquet" for name in ("listing", "dropped")} | {
        "labels": tmp_path / "labels.csv"
    }
    list_images(found, [], parts, outputs)
    source = {"kind": kind, "channels": channels, "images": settings["folder"]}
    if kind == "hdf5":
        source |= {"array": settings["arrays"]["images"], "window": settings["window"]}
    files = {tmp_path / name for entry in settings["files"] for name in names_of(entry)}
    hash_files(sorted(files), tmp_path, tmp_path / "data.parquet")
    inputs = {"listing": outputs["listing"], "data": tmp_path / "data.parquet"}
    return [list(images_of(source, part, inputs)) for part in parts]


# -- round trips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_patches_come_back_in_colour_with_label_and_slide(tmp_path, parts):
    pixels = write_patches(tmp_path, {"train": 16, "valid": 8, "test": 8})
    settings = patches(tmp_path)
    found = entries("hdf5", settings, channels=3)
    names = [f"part_{n:03d}" for n in range(1, parts + 1)]
    each = decoded("hdf5", settings, found, tmp_path, names, channels=3)
    images = [image for part in each for image in part]
    assert [image.image_id for image in images] == [entry.image_id for entry in found]
    expected = np.concatenate(list(pixels.values()))
    np.testing.assert_array_equal([image.pixels for image in images], expected)
    assert {image.mode for image in images} == {"uint8"}
    assert images[16].image_id == "split_valid_x/000000"
    assert max(map(len, each)) - min(map(len, each)) <= 1
    truth = pd.concat([pd.read_csv(tmp_path / f"split_{s}_meta.csv") for s in pixels])
    assert [entry.patient_id for entry in found] == truth["wsi"].tolist()
    named = {True: "Tumour", False: "No Finding"}
    assert [e.findings for e in found] == [named[value] for value in truth["tumor_patch"]]
    assert [e.split for e in found] == ["train"] * 16 + ["val"] * 8 + ["test"] * 8


@pytest.mark.parametrize("parts", [1, 2])
def test_digits_come_back_compressed_or_not(tmp_path, parts):
    pixels = write_digits(tmp_path, {"train": 9, "t10k": 6})
    settings = settings_of("idx", tmp_path, DIGITS, findings={"2": "Two"})
    found = entries("idx", settings)
    names = [f"part_{n:03d}" for n in range(1, parts + 1)]
    images = [i for part in decoded("idx", settings, found, tmp_path, names) for i in part]
    np.testing.assert_array_equal(
        [image.pixels for image in images], np.concatenate([pixels["train"], pixels["t10k"]])
    )
    bright = [str(int(image.pixels.mean(axis=1).argmax())) for image in images]
    assert [entry.findings for entry in found] == ["Two" if n == "2" else n for n in bright]
    assert [entry.patient_id for entry in found] == [entry.image_id for entry in found]
    assert images[9].image_id == "t10k-images-idx3-ubyte/000000"


@pytest.mark.parametrize("chunks", [None, (3, 4, 5), (1, 2, 5)])
@pytest.mark.parametrize("shape", [(11, 4, 5), (11, 4, 5, 1)])
def test_sixteen_bits_are_grey_levels_of_their_whole_range(tmp_path, chunks, shape):
    stored = RNG.integers(0, 65536, shape, dtype=np.uint16)
    settings = single(tmp_path, labels=np.arange(11) % 2, subjects=np.arange(11) // 3)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        pieces = chunks and chunks + shape[3:]
        file.create_dataset("images", data=stored, chunks=pieces)
    found = entries("hdf5", settings)
    assert [entry.patient_id for entry in found] == [str(n // 3) for n in range(11)]
    parts = decoded("hdf5", settings, found, tmp_path, ["part_001", "part_002"])
    pixels = np.array([image.pixels for part in parts for image in part])
    assert pixels.shape == (11, 4, 5) and pixels.dtype == np.float32
    np.testing.assert_array_equal(np.rint(pixels * 257), stored.reshape(11, 4, 5))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.uint8])
def test_a_window_says_what_is_black_and_white(tmp_path, kind):
    values = np.array([-100, 0, 50, 100, 300]).clip(0 if kind == np.uint8 else None, 250)
    images = np.broadcast_to(values.astype(kind)[:, None, None], (5, 2, 2))
    settings = single(tmp_path, images=images, labels=[0, 1, 0, 1, 0], subjects=range(5))
    settings |= {"window": [0.0, 100.0]}
    (part,) = decoded("hdf5", settings, entries("hdf5", settings), tmp_path)
    assert [image.pixels[0, 0] for image in part] == pytest.approx([0, 0, 127.5, 255, 255])


def test_an_image_of_no_numbers_is_rejected_with_its_place(tmp_path):
    images = np.ones((3, 2, 2), np.float32)
    images[1, 0, 1] = np.nan
    settings = single(tmp_path, images=images, labels=[0, 1, 0], subjects=range(3))
    settings |= {"window": [0.0, 1.0]}
    (part,) = decoded("hdf5", settings, entries("hdf5", settings), tmp_path)
    assert isinstance(part[1].pixels, Unreadable) and "no number" in str(part[1].pixels)
    assert part[1].name == "a.h5, row 1 of images"
    assert not isinstance(part[0].pixels, Unreadable)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([[0], [1]], np.uint8), ["0", "1"]),
        (np.array([True, False]), ["1", "0"]),
        (np.array([3.0, -1.0]), ["3", "-1"]),
        (np.array([2**63 + 5, 1], np.uint64), ["9223372036854775813", "1"]),
        (np.array([b" benign ", b"malign"]), ["benign", "malign"]),
        (np.array(["Läsion".encode(), b"b"]), ["Läsion", "b"]),
        (np.array(["Läsion", "b"], dtype=h5py.string_dtype()), ["Läsion", "b"]),
    ],
)
def test_labels_are_whole_numbers_truth_values_or_texts(tmp_path, labels, expected):
    settings = single(tmp_path, images=np.ones((2, 3, 3), np.uint8), labels=labels, subjects=[1, 2])
    assert [entry.findings for entry in entries("hdf5", settings)] == expected


def test_links_within_a_file_are_followed(tmp_path):
    settings = single(tmp_path, **GOOD)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["linked"] = h5py.SoftLink("/images")
    arrays = settings["arrays"] | {"images": "linked"}
    assert len(entries("hdf5", settings | {"arrays": arrays})) == 4


def test_the_order_of_bytes_does_not_matter(tmp_path):
    stored = RNG.integers(0, 65536, (3, 4, 5), dtype=np.uint16)
    settings = single(tmp_path, images=stored.astype(">u2"), labels=[0, 1, 0], subjects=range(3))
    (part,) = decoded("hdf5", settings, entries("hdf5", settings), tmp_path)
    np.testing.assert_array_equal(np.rint([image.pixels * 257 for image in part]), stored)
    assert {image.mode for image in part} == {"uint16"}


def test_arrays_may_stand_in_groups_and_every_image_may_be_its_own_subject(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/images"] = np.ones((2, 3, 3), np.uint8)
        file["train/labels"] = [0, 1]
    arrays = {"images": "train/images", "labels": "/train/labels", "subjects": "none"}
    settings = settings_of("hdf5", tmp_path, ONE, arrays=arrays, own_subjects=True)
    assert [entry.patient_id for entry in entries("hdf5", settings)] == ["a/000000", "a/000001"]


@pytest.mark.parametrize("character", ["\r", "\n", "\x00", "\x1b"])
def test_what_would_end_a_line_of_the_label_table_is_refused(tmp_path, character):
    settings = single(tmp_path, images=np.ones((2, 3, 3), np.uint8), labels=[0, 1], subjects=[1, 2])
    found = entries("hdf5", settings | {"findings": {"0": f"a{character}b"}})
    with pytest.raises(InputError, match=r"findings of 'a/000000' is .* control character"):
        decoded("hdf5", settings, found, tmp_path)
    assert not (tmp_path / "listing.parquet").exists()


def test_a_file_that_was_changed_after_it_was_listed_is_refused(tmp_path):
    write_digits(tmp_path, {"train": 9, "t10k": 6})
    settings = settings_of("idx", tmp_path, DIGITS)
    found = entries("idx", settings)
    decoded("idx", settings, found, tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes() + b"0")
    source = {"kind": "idx", "channels": 1, "images": str(tmp_path)}
    inputs = {"listing": tmp_path / "listing.parquet", "data": tmp_path / "data.parquet"}
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte was changed"):
        list(images_of(source, "part_001", inputs))
    path.write_bytes(idx_bytes(np.zeros((3, 16, 8), np.uint8)))  # of as many bytes
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte has no row 5 any more"):
        list(images_of(source, "part_001", inputs))


# -- the tables ------------------------------------------------------------------------------------


def test_the_tables_and_lists_say_what_was_found(tmp_path):
    write_patches(tmp_path, {"train": 8, "valid": 4, "test": 4})
    found = entries("hdf5", patches(tmp_path), channels=3)
    outputs = {name: tmp_path / f"{name}.parquet" for name in ("listing", "dropped")}
    outputs |= {
        name: tmp_path / f"{name}.txt" for name in ("train_val_list", "val_list", "test_list")
    }
    outputs |= {"labels": tmp_path / "labels.csv"}
    list_images(found, ["a/axial_001"], ["part_001", "part_002"], outputs)
    listing = read_table(outputs["listing"], LISTING)
    assert listing["image_id"].tolist() == [entry.image_id for entry in found]
    assert listing["file"].unique().tolist() == [
        f"split_{s}_x.h5" for s in ("train", "valid", "test")
    ]
    assert str(tmp_path) not in listing.to_csv()
    dropped = read_table(outputs["dropped"], DROPPED)
    assert dropped.to_dict("records") == [{"image_id": "a/axial_001", "reason": "empty slice"}]
    lists = {
        name: outputs[name].read_text().split()
        for name in ("train_val_list", "val_list", "test_list")
    }
    ids = [entry.image_id for entry in found]
    assert lists == {"train_val_list": ids[:12], "val_list": ids[8:12], "test_list": ids[12:]}
    table = pd.read_csv(outputs["labels"], dtype=str, keep_default_na=False)
    assert table["patient_id"].tolist() == [entry.patient_id for entry in found]
    assert list(table) == ["image_id", "patient_id", "findings", "age", "sex"]


@pytest.mark.parametrize("dropped", [["a/000001"], ["b", "b"]])
def test_images_of_one_name_are_refused_and_nothing_is_written(tmp_path, dropped):
    settings = single(tmp_path, images=np.ones((2, 3, 3), np.uint8), labels=[0, 1], subjects=[1, 2])
    outputs = {name: tmp_path / f"{name}.parquet" for name in ("listing", "dropped")}
    outputs |= {"labels": tmp_path / "labels.csv"}
    with pytest.raises(InputError, match=f"1 images are called as another one is: {dropped[0]}"):
        list_images(entries("hdf5", settings), dropped, ["part_001"], outputs)
    assert not any(path.exists() for path in outputs.values())


def test_two_files_whose_images_would_have_the_same_names_are_refused(tmp_path):
    settings = single(tmp_path, images=np.ones((2, 3, 3), np.uint8), labels=[0, 1], subjects=[1, 2])
    found = entries("hdf5", settings)
    with pytest.raises(InputError, match="2 images are called as another one is: a/000000"):
        decoded("hdf5", settings, [*found, *found], tmp_path)


def test_more_jobs_than_images_are_refused(tmp_path):
    settings = single(tmp_path, images=np.ones((2, 3, 3), np.uint8), labels=[0, 1], subjects=[1, 2])
    with pytest.raises(InputError, match="not enough to read for 3 jobs: 2 volumes or images"):
        decoded("hdf5", settings, entries("hdf5", settings), tmp_path, ["1", "2", "3"])
    assert not (tmp_path / "listing.parquet").exists()


# -- what is refused: HDF5 -------------------------------------------------------------------------

GOOD = {
    "images": np.ones((4, 3, 3), np.uint8),
    "labels": np.array([0, 1, 0, 1]),
    "subjects": np.arange(4),
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": None}, r"a\.h5: holds no array images; there are labels \(4,\), subjects \(4,\)\. Name one"),
        ({"labels": None}, r"holds no array labels; there are images \(4, 3, 3\), subjects \(4,\)"),
        ({"subjects": None}, r"holds no array subjects; .* set dataset\.hdf5\.own_subjects to true"),
        ({"labels": [0, 1, 0]}, r"array labels: 3 labels for 4 images \(images of a\.h5\)"),
        ({"subjects": np.arange(5)}, "array subjects: 5 subjects for 4 images"),
        ({"labels": np.eye(4)}, r"labels is \(4, 4\), and one value for each image is expected"),
        ({"labels": [0.5, 1, 0, 1]}, "neither whole numbers nor texts"),
        ({"labels": [np.nan, 1, 0, 1]}, "neither whole numbers nor texts"),
        ({"labels": np.ones(4, complex)}, "neither whole numbers nor texts"),
        ({"subjects": np.array([b"a", b"", b"c", b" "])}, "subjects says nothing in row 1 and 1 more"),
        ({"images": np.ones((4, 3, 3), np.float32)}, r"images holds float32, .* give dataset\.hdf5\.window"),
        ({"images": np.ones((4, 3, 3), np.int32)}, "images holds int32, whose black and white"),
        ({"images": np.ones((4, 3, 3), complex)}, "no numbers that could be grey levels"),
        ({"images": np.ones((4, 3))}, r"images is \(4, 3\), no images \(n, height, width\)"),
        ({"images": np.ones((4, 3, 3, 3), np.uint8)}, r"no images \(n, height, width\) of tensors\.channels: 1"),
        ({"images": np.float32(3)}, r"images is \(\), no images"),
        ({"images": np.ones((4, 0, 3), np.uint8)}, "declares 3 x 0 pixels"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_named_with_what_is_in_it(tmp_path, changed, message):
    arrays = {name: values for name, values in (GOOD | changed).items() if values is not None}
    settings = single(tmp_path, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        entries("hdf5", settings)
    assert str(tmp_path / "a.h5") in str(caught.value)


@pytest.mark.parametrize(
    "kind", [h5py.vlen_dtype(np.int32), h5py.ref_dtype, np.dtype([("a", int)])],
    ids=["lists", "references", "records"],
)  # fmt: skip
def test_labels_that_are_no_values_are_named(tmp_path, kind):
    settings = single(tmp_path, images=GOOD["images"], subjects=GOOD["subjects"])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_dataset("labels", (4,), kind)
    with pytest.raises(InputError, match=r"a\.h5: labels holds .*neither whole numbers nor texts"):
        entries("hdf5", settings)


def test_labels_in_a_damaged_chunk_are_named(tmp_path):
    settings = single(tmp_path, images=GOOD["images"], subjects=GOOD["subjects"])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        labels = file.create_dataset("labels", data=np.arange(4), fletcher32=True, chunks=(4,))
        place = labels.id.get_chunk_info(0).byte_offset
    with (tmp_path / "a.h5").open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff")
    with pytest.raises(InputError, match=r"a\.h5: damaged, cut short"):
        entries("hdf5", settings)


def test_a_column_that_is_missing_is_named_with_those_that_are_there(tmp_path):
    write_patches(tmp_path, {"train": 4, "valid": 4, "test": 4})
    settings = patches(tmp_path, arrays={"images": "x", "labels": "y", "subjects": "slide"})
    with pytest.raises(
        InputError, match=r"no column slide .*tumor_patch, wsi.*own_subjects to true"
    ):
        entries("hdf5", settings, 3)
    meta = pd.read_csv(tmp_path / "split_valid_meta.csv")
    meta[:-1].to_csv(tmp_path / "split_valid_meta.csv", index=False)
    with pytest.raises(InputError, match="column wsi: 3 subjects for 4 images"):
        entries("hdf5", patches(tmp_path), 3)


@pytest.mark.parametrize("channels", [2, 4])
def test_colour_needs_as_many_channels_as_there_are(tmp_path, channels):
    write_patches(tmp_path, {"train": 4, "valid": 4, "test": 4})
    with pytest.raises(InputError, match=r"with 3 channels, set tensors\.channels to 3"):
        entries("hdf5", patches(tmp_path), channels)


@pytest.mark.parametrize(
    "content", [b"", b"no HDF5 at all", None], ids=["empty", "text", "truncated"]
)
def test_what_is_no_hdf5_file_is_named(tmp_path, content):
    settings = single(tmp_path, **GOOD)
    path = tmp_path / "a.h5"
    path.write_bytes(path.read_bytes()[:-500] if content is None else content)
    with pytest.raises(InputError, match=r"a\.h5: damaged, cut short or no HDF5 file"):
        entries("hdf5", settings)


def test_values_that_lie_in_other_files_are_refused(tmp_path):
    """A file could name any other on the machine, whose content would come out as images."""
    settings = single(tmp_path, **GOOD)
    (tmp_path / "a.h5").rename(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = h5py.ExternalLink("secret.h5", "images")
        file["labels"], file["subjects"] = GOOD["labels"], GOOD["subjects"]
        file["groups"] = h5py.ExternalLink("secret.h5", "/")
        file["soft"] = h5py.SoftLink("/images")
        file["inside"] = h5py.SoftLink("/groups/images")
    for name in ("images", "groups/images", "soft", "inside"):
        arrays = settings["arrays"] | {"images": name}
        with pytest.raises(InputError, match=f"{name} is a link to another file"):
            entries("hdf5", settings | {"arrays": arrays})
    layout = h5py.VirtualLayout((4, 3, 3), np.uint8)
    layout[:] = h5py.VirtualSource("secret.h5", "images", (4, 3, 3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    with pytest.raises(InputError, match="lies in other files"):
        entries("hdf5", settings)
    (tmp_path / "raw").write_bytes(bytes(36))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (4, 3, 3), "u1", external=[(str(tmp_path / "raw"), 0, 36)])
    with pytest.raises(InputError, match="lies in other files"):
        entries("hdf5", settings)


def test_a_chunk_that_unpacks_to_too_much_is_refused(tmp_path):
    settings = single(tmp_path, labels=GOOD["labels"], subjects=GOOD["subjects"])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_dataset(
            "images", (4, 6000, 6000), "u1", chunks=(4, 6000, 6000), compression="gzip"
        )
    with pytest.raises(InputError, match="chunks of more than 134,217,728 bytes"):
        entries("hdf5", settings)


# -- what is refused: IDX --------------------------------------------------------------------------


def digits(tmp_path, images=None, labels=None):
    """Write a pair of IDX files, or other content in their place; return the settings."""
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    default = idx_bytes(pixels), idx_bytes(np.array([7, 1], np.uint8))
    for name, content, usual in zip(("i", "l"), (images, labels), default, strict=True):
        (tmp_path / name).write_bytes(usual if content is None else content)
    return settings_of("idx", tmp_path, [{"images": "i", "labels": "l", "split": None}])


PIXELS = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


def packed(content: bytes) -> bytes:
    """Compress without the time, which would make the names of tests differ from process to process."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (b"", "ends too early"),
        (PIXELS[:3], "ends too early"),
        (PIXELS[:10], "ends too early"),
        (PIXELS[:-1], "39 bytes, and its header means 40"),
        (PIXELS + b"0", "41 bytes, and its header means 40"),
        (packed(PIXELS[:-1]), "ends too early"),
        (packed(PIXELS + b"0"), "goes on behind its last row"),
        (packed(PIXELS)[:-2], "damaged or cut short"),
        (packed(PIXELS)[:-8] + bytes(8), "damaged or cut short"),
        (packed(PIXELS)[:20] + bytes(9), "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "its magic number is another"),
        (struct.pack(">HBB3I", 0, 13, 3, 2, 3, 4) + bytes(96), "type 0x0d; readable is 0x08"),
        (struct.pack(">HBB4I", 0, 8, 4, 2, 3, 4, 1) + bytes(24), "its magic number is another"),
        (idx_bytes(np.zeros(5, np.uint8)), "1 dimensions; images .* exchanged"),
        (struct.pack(">HBB3I", 0, 8, 3, 1, 2**20, 2**20), "an image declares 1048576 x 1048576 pixels"),
        (struct.pack(">HBB3I", 0, 8, 3, 1, 0, 3), "an image declares 3 x 0 pixels"),
        (packed(struct.pack(">HBB3I", 0, 8, 3, 2**31, 28, 28)), "ends too early"),
    ],
)  # fmt: skip
def test_a_damaged_idx_file_is_named(tmp_path, images, message):
    settings = digits(tmp_path, images)
    with pytest.raises(InputError, match=message) as caught:
        entries("idx", settings)
    assert str(tmp_path / "i") in str(caught.value)


def test_as_many_labels_as_images(tmp_path):
    settings = digits(tmp_path, labels=idx_bytes(np.array([1, 2, 3], np.uint8)))
    with pytest.raises(InputError, match=r"3 labels for 2 images \(i\)"):
        entries("idx", settings)
    settings = digits(tmp_path, labels=PIXELS)
    with pytest.raises(InputError, match=r"3 dimensions; labels \(1 dimension\)"):
        entries("idx", settings)


# -- where the files are ---------------------------------------------------------------------------


def test_the_tracked_manifests_name_what_the_presets_use(root):
    mnist, pcam = (read_files(f"resources/{name}_files.tsv") for name in ("mnist", "pcam"))
    assert sum(file.bytes for file in mnist.values()) == 11_594_722
    assert (
        len(pcam) == 9 and pcam["camelyonpatch_level_2_split_train_x.h5.gz"].bytes == 6_421_353_462
    )
    for file in (*mnist.values(), *pcam.values()):
        assert file.url.startswith("https://") and file.name in file.url and len(file.md5) == 32


def test_what_is_downloaded_is_what_the_files_name(tmp_path):
    manifest = tmp_path / "m.tsv"
    rows = [("x.h5.gz", 10), ("y.h5", 5), ("meta.csv.gz", ""), ("other.h5", 3)]
    lines = [f"{name}\t{size}\t{'0' * 32}\thttps://host.org/{name}" for name, size in rows]
    manifest.write_text("\n".join(["file\tbytes\tmd5\turl", *lines]) + "\n")
    files = [{"images": "x.h5", "labels": "y.h5", "subjects": "meta.csv", "split": None}]
    settings = DEFAULTS["hdf5"] | {"manifest": str(manifest), "files": files}
    (entry,), wanted = data_files("hdf5", settings)
    assert names_of(entry) == ["x.h5", "y.h5", "meta.csv"]
    assert list(wanted) == ["x.h5.gz", "y.h5", "meta.csv.gz"]
    assert wanted["meta.csv.gz"].bytes is None
    assert unpacked([entry], wanted) == ["meta.csv", "x.h5"]
    settings["files"] = [files[0] | {"images": "z.h5"}]
    with pytest.raises(InputError, match=r"there is no z\.h5 and no z\.h5\.gz in .*m\.tsv"):
        data_files("hdf5", settings)


def test_a_table_of_the_user_is_named_as_it_lies_there(tmp_path):
    single(tmp_path, images=GOOD["images"])
    (tmp_path / "y.csv.gz").write_bytes(gzip.compress(b"labels,subjects\n1,a\n0,b\n1,c\n0,d\n"))
    files = [{"images": "a.h5", "labels": "y.csv", "subjects": "y.csv", "split": None}]
    settings = settings_of("hdf5", tmp_path, files)
    assert names_of(settings["files"][0]) == ["a.h5", "y.csv.gz", "y.csv.gz"]
    assert [entry.findings for entry in entries("hdf5", settings)] == ["1", "0", "1", "0"]


def test_idx_files_are_named_as_they_lie_there(tmp_path):
    (tmp_path / "i.gz").touch()
    (tmp_path / "l").touch()
    settings = DEFAULTS["idx"] | {
        "folder": str(tmp_path), "files": [{"images": "i", "labels": "l", "split": None}],
    }  # fmt: skip
    (entry,), wanted = data_files("idx", settings)
    assert names_of(entry) == ["i.gz", "l"] and not wanted


def test_a_compressed_hdf5_file_of_the_user_is_to_be_unpacked_by_them(tmp_path):
    (tmp_path / "a.h5.gz").touch()
    with pytest.raises(InputError, match=r"a\.h5\.gz is compressed.*gunzip"):
        settings_of("hdf5", tmp_path, ONE)


@pytest.mark.parametrize(
    "name",
    [
        "../x.h5",
        "/x.h5",
        ".x.h5",
        "labels.csv",
        "part_001.h5",
        "listing.parquet",
        "x.exe",
        "",
        "listing.parquet.gz",
        "data_files.parquet.gz",
        "train_val_list.txt.gz",
        "labels.csv.gz",
    ],
)
def test_a_manifest_names_no_file_that_is_another(tmp_path, name):
    manifest = tmp_path / "m.tsv"
    manifest.write_text(f"file\tbytes\tmd5\turl\n{name}\t1\t{'0' * 32}\thttps://host.org\n")
    with pytest.raises(InputError, match="line 2: file"):
        read_files(manifest)


def test_files_are_listed_by_their_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.h5").write_bytes(b"123")
    hash_files([tmp_path / "a" / "x.h5"], tmp_path, tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", DATA_FILES)
    expected = {"file": "a/x.h5", "bytes": 3, "sha256": sha256_of(tmp_path / "a" / "x.h5")}
    assert table.to_dict("records") == [expected]


# -- unpacking -------------------------------------------------------------------------------------


def test_a_file_is_unpacked_whole_or_not_at_all(tmp_path, monkeypatch):
    content = RNG.bytes(3_000_000)
    packed, target = tmp_path / "x.h5.gz", tmp_path / "x.h5"
    packed.write_bytes(gzip.compress(content))
    unpack_file(packed, target)
    assert target.read_bytes() == content
    target.unlink()
    for damaged in (gzip.compress(content)[:-100], gzip.compress(content)[:-8] + bytes(8), b"text"):
        packed.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or cut short"):
            unpack_file(packed, target)
    packed.write_bytes(gzip.compress(bytes(10_000_000)))
    monkeypatch.setattr("workflow_scripts.acquire.unpack_file.ALWAYS", 1_000_000)
    with pytest.raises(InputError, match="a decompression bomb"):
        unpack_file(packed, target)
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5.gz"]
