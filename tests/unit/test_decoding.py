"""Grey levels out of image files, and the kernel that reduces them."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from workflow_scripts.formats.decoding import decode
from workflow_scripts.formats.images import Unreadable
from workflow_scripts.tensors.reduction import reduce

RNG = np.random.default_rng(7)
FILM = RNG.integers(0, 256, (23, 31), dtype=np.uint8)


def saved(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def png(width, height, rows, depth=8, colour=0):
    """A PNG whose header says what it likes about its rows; every checksum is right."""

    def chunk(name, data):
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def rows_of(pixels):
    return b"".join(b"\0" + row.tobytes() for row in pixels)


# -- PNG and JPEG ----------------------------------------------------------------------------------


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40)), st.booleans())
@settings(max_examples=100, deadline=None)
def test_grey_pngs_are_read_as_pillow_wrote_them(pixels, optimise):
    decoded, mode = decode(saved(pixels, optimize=optimise))
    assert mode == "L" and decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


def test_colour_that_is_grey_is_read_and_alpha_ignored():
    alpha = RNG.integers(0, 256, FILM.shape, dtype=np.uint8)
    for mode, channels in {"RGB": [FILM] * 3, "RGBA": [FILM] * 3 + [alpha]}.items():
        decoded, found = decode(saved(np.dstack(channels)))
        assert found == mode
        np.testing.assert_array_equal(decoded, FILM)


def test_colour_that_is_colour_is_refused():
    for channel in (0, 2):
        tinted = np.dstack([FILM] * 3)
        tinted[3, 4, channel] ^= 1
        with pytest.raises(Unreadable, match="differ by up to 1 grey"):
            decode(saved(tinted))


def test_16_bits_keep_their_fraction():
    deep = RNG.integers(0, 65536, FILM.shape, dtype=np.uint16)
    deep[0, :2] = 0, 65535
    decoded, mode = decode(saved(deep))
    assert mode == "I;16"
    np.testing.assert_allclose(decoded, deep / 257, rtol=1e-6)
    assert decoded.min() == 0 and decoded.max() == 255


def test_jpegs_are_read_whether_grey_or_grey_in_rgb():
    smooth = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (40, 1))
    for pixels, mode in ((smooth, "L"), (np.dstack([smooth] * 3), "RGB")):
        content = saved(pixels, "JPEG", quality=95)
        decoded, found = decode(content)
        assert found == mode
        reference = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        np.testing.assert_allclose(decoded, reference, atol=2)
    red = np.dstack([smooth, smooth // 2, smooth // 2])
    with pytest.raises(Unreadable, match="a colour image"):
        decode(saved(red, "JPEG"))


def test_a_png_that_lies_about_its_size_is_refused():
    rows = rows_of(FILM)
    for content in (
        png(31, 46, rows),
        png(62, 23, rows),
        png(6000, 6000, rows),
        png(31, 23, rows[:-1]),
        png(31, 23, rows, colour=2),
    ):
        with pytest.raises(Unreadable, match="damaged PNG"):
            decode(content)


@pytest.mark.parametrize(("width", "height"), [(1 << 20, 1 << 20), (0, 23), (40_000_001, 1)])
def test_a_png_that_declares_absurd_sizes_is_refused_before_memory_is_taken(width, height):
    with pytest.raises(Unreadable, match="declares"):
        decode(png(width, height, b""))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_png_is_refused_or_read_right(data):
    content = bytearray(saved(FILM))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(8, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
    content = content[: data.draw(st.integers(8, len(content)))]
    try:
        decoded, _ = decode(bytes(content))
    except Unreadable:
        return
    np.testing.assert_array_equal(decoded, FILM)


def test_a_jpeg_cut_short_is_refused():
    with pytest.raises(Unreadable, match="damaged JPEG"):
        decode(saved(FILM, "JPEG")[:-200])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"GIF89a..", "neither PNG nor JPEG nor DICOM"),
        (b"\x89PNG\r\n\x1a\n", "no header"),
        (saved(FILM // 128 * 255 > 0), "colour type 0 with 1 bits"),
        (b"\xff\xd8\xff\xe0rest", "damaged JPEG"),
        (bytes(128) + b"DICM" + b"rest", "DICOM"),
    ],
)
def test_other_things_are_refused_with_a_reason(content, why):
    with pytest.raises(Unreadable, match=why):
        decode(content)


# -- DICOM -----------------------------------------------------------------------------------------


def dicom(pixels, syntax=ExplicitVRLittleEndian, **elements):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for name, value in elements.items():
        setattr(dataset, name, value)
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = pixels.tobytes()
        dataset.compress(RLELossless, encoding_plugin="pydicom")
    else:
        dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def lut(first, values):
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(values), first, 16]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = list(values)
    item["LUTData"].VR = "US"
    return [item]


DEEP = RNG.integers(100, 4000, FILM.shape).astype(np.uint16)


def test_8_bits_without_a_window_are_shown_as_they_are():
    decoded, mode = decode(dicom(FILM))
    assert mode == "MONOCHROME2/8"
    np.testing.assert_array_equal(decoded, FILM)


def test_among_colour_it_has_all_channels_alike():
    decoded, _ = decode(dicom(FILM), channels=3)
    np.testing.assert_array_equal(decoded, np.repeat(FILM[..., None], 3, axis=2))


def test_monochrome1_is_the_negative():
    for pixels, more in ((FILM, {}), (DEEP, {"WindowCenter": 2000, "WindowWidth": 3000})):
        plain, _ = decode(dicom(pixels, **more))
        inverted, mode = decode(dicom(pixels, PhotometricInterpretation="MONOCHROME1", **more))
        np.testing.assert_allclose(inverted, 255 - plain, atol=1e-4)
        assert mode.startswith("MONOCHROME1/")


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_windows_agree_with_pydicom(function, kind):
    pixels = DEEP.astype(kind) - kind(2000 if kind is np.int16 else 0)
    content = dicom(
        pixels,
        WindowCenter=[900, 1],
        WindowWidth=[1500, 1],
        VOILUTFunction=function,
        RescaleSlope=1.5,
        RescaleIntercept=-300,
    )
    dataset = pydicom.dcmread(io.BytesIO(content))
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    ends = np.array([np.iinfo(kind).min, np.iinfo(kind).max]) * 1.5 - 300
    expected = 255 * (shown - ends[0]) / (ends[1] - ends[0])
    np.testing.assert_allclose(decode(content)[0], expected, atol=1e-3)


def test_deep_images_without_a_window_run_from_their_least_to_their_greatest_value():
    decoded, _ = decode(dicom(DEEP, BitsStored=12, HighBit=11))
    low, high = int(DEEP.min()), int(DEEP.max())
    np.testing.assert_allclose(decoded, (DEEP - low) / (high - low) * 255, atol=1e-3)
    negative, _ = decode(dicom(DEEP.astype(np.int16) - 2000))
    np.testing.assert_allclose(negative, decoded, atol=1e-3)
    flat, _ = decode(dicom(np.full_like(DEEP, 77)))
    assert (flat == 0).all()


def test_padding_is_black_and_does_not_stretch_the_rest():
    padded = DEEP.copy()
    padded[:, :5] = 65535
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        content = dicom(padded, PixelPaddingValue=65535, PhotometricInterpretation=photometric)
        decoded, _ = decode(content)
        assert (decoded[:, :5] == 0).all()
        assert decoded[:, 5:].max() == 255


def test_look_up_tables_are_applied_and_go_before_windows():
    table = np.linspace(0, 65535, 4096).astype(int) ** 2 // 65535
    content = dicom(
        DEEP, BitsStored=12, HighBit=11, VOILUTSequence=lut(0, table), WindowCenter=1, WindowWidth=2
    )
    np.testing.assert_allclose(decode(content)[0], 255 * table[DEEP] / 65535, atol=1e-3)
    content = dicom(DEEP, BitsStored=12, HighBit=11, ModalityLUTSequence=lut(0, table[::-1]))
    values = table[::-1][DEEP]
    expected = 255 * (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(decode(content)[0], expected, atol=1e-3)


def test_files_that_differ_in_one_element_do_not_share_a_table():
    windows = [
        decode(dicom(DEEP, WindowCenter=center, WindowWidth=2000))[0].mean()
        for center in (1500, 2500, 1500)
    ]
    assert windows[0] > windows[1] + 10 and windows[0] == windows[2]


def test_compressed_dicom_is_read():
    np.testing.assert_array_equal(decode(dicom(FILM, RLELossless))[0], FILM)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (dicom(np.stack([FILM] * 2), NumberOfFrames=2, Rows=23, Columns=31), "2 frames"),
        (
            dicom(
                np.dstack([FILM] * 3),
                SamplesPerPixel=3,
                PhotometricInterpretation="RGB",
                PlanarConfiguration=0,
            ),
            "in RGB",
        ),
        (dicom(FILM, Rows=24), "DICOM"),
        (dicom(FILM, Rows=65535, Columns=65535), "declares"),
        (dicom(DEEP, WindowCenter=5, WindowWidth=0), "Window Width"),
        (dicom(FILM)[:-100], "DICOM"),
    ],
    ids=["frames", "colour", "too few rows", "too many pixels", "window", "cut short"],
)
def test_other_dicom_is_refused_with_a_reason(content, why):
    with pytest.raises(Unreadable, match=why):
        decode(content)


def test_a_dicom_that_is_deflated_as_a_whole_is_refused_before_it_is_inflated():
    bomb = np.zeros((8192, 8192), np.uint8)
    content = dicom(bomb, DeflatedExplicitVRLittleEndian)
    tracemalloc.start()
    with pytest.raises(Unreadable, match="deflated DICOM"):
        decode(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_real_films(shared):
    levels = {path.stem: decode(path.read_bytes()) for path in (shared / "dicom").glob("*.dcm")}
    assert len(levels) == 4
    # The same stored pixels, once flagged as inverted: exact negatives.
    one, two = levels["CR_CHEST_PA_MONO1_8bit"], levels["CR_CHEST_PA_MONO2_8bit"]
    np.testing.assert_array_equal(one[0], 255 - two[0])
    # One film, two codecs.
    jpeg2000, jpegls = levels["RG1_J2KI"], levels["RG1_JLSN"]
    assert jpeg2000[1] == jpegls[1] == "MONOCHROME1/15"
    assert np.abs(jpeg2000[0] - jpegls[0]).mean() < 0.5
    # Shown as a radiologist expects: air beside the patient dark, the mediastinum bright.
    assert two[0][400:600, 480:560].mean() > two[0][:60, :60].mean()
    assert jpegls[0][1000:1200, 900:1000].mean() > jpegls[0][:, -40:].mean()


# -- reduction -------------------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_a_whole_factor_is_the_exact_mean_rounded_half_up(factor, size, seed):
    side = factor * size
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
    sums = pixels.astype(np.int64).reshape(size, factor, size, factor).sum((1, 3))
    expected = (2 * sums + factor**2) // (2 * factor**2)
    np.testing.assert_array_equal(reduce(pixels, size), expected)
    np.testing.assert_array_equal(reduce(pixels.astype(np.float32), size), expected)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_a_flat_image_stays_flat_and_black_surrounds_it(height, width, size, level):
    reduced = reduce(np.full((height, width), level, np.uint8), size)
    assert reduced.shape == (size, size) and reduced.dtype == np.uint8
    assert reduced.max() <= level
    if height == width:
        assert (reduced == level).all()


def test_a_size_that_does_not_divide_is_antialiased():
    """The finest checkerboard becomes grey, never a coarser board."""
    board = (np.indices((1000, 1000)).sum(0) % 2 * 255).astype(np.uint8)
    reduced = reduce(board, 256)[2:-2, 2:-2]
    assert np.abs(reduced.astype(int) - 127.5).max() < 20


def test_means_and_centres_are_kept():
    y, x = np.mgrid[:900, :900]
    blob = (255 * np.exp(-((x - 300) ** 2 + (y - 600) ** 2) / 2 / 90**2)).astype(np.uint8)
    reduced = reduce(blob, 256).astype(float)
    assert reduced.mean() == pytest.approx(blob.mean(), abs=0.3)
    rows, columns = np.mgrid[:256, :256] + 0.5
    scale = 256 / 900
    assert (reduced * columns).sum() / reduced.sum() == pytest.approx(300.5 * scale, abs=0.1)
    assert (reduced * rows).sum() / reduced.sum() == pytest.approx(600.5 * scale, abs=0.1)


def test_aspect_ratio_is_kept_with_black_evenly_around():
    reduced = reduce(np.full((100, 50), 200, np.uint8), 20)
    assert (reduced[:, :5] == 0).all() and (reduced[:, 15:] == 0).all()
    assert (reduced[:, 5:15] == 200).all()


def test_small_images_are_enlarged():
    reduced = reduce(np.array([[0, 255], [0, 255]], np.uint8), 8)
    assert reduced.shape == (8, 8)
    assert (np.diff(reduced.astype(int), axis=1) >= 0).all()
    assert reduced[0, 0] == 0 and reduced[0, -1] == 255
