"""NIfTI files as slices: exact values, the same anatomy however it is stored, and what is refused."""

import gzip
import struct
import tracemalloc
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.volumes import head, stored, write_brains, write_nifti
from workflow_scripts.acquire.list_images import volume_images
from workflow_scripts.acquire.subjects import read_subjects
from workflow_scripts.acquire.volumes import Volume, called, images_of_volume, measured, volumes_of
from workflow_scripts.common.configuration import load
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import LISTING
from workflow_scripts.common.tables import table_of
from workflow_scripts.formats import nifti
from workflow_scripts.formats.images import Place, window
from workflow_scripts.formats.nifti import aspect, open_scan, plane, slices
from workflow_scripts.tensors.reduction import reduce

RNG = np.random.default_rng(3)
DEFAULTS = load({"dataset": {"name": "a", "kind": "phantom"}, "tensors": {"size": 8}})["dataset"][
    "nifti"
]
# Every way to name the axes: six orders, each axis in either direction.
CODES = ["".join(code) for order in permutations(("LR", "PA", "IS")) for code in product(*order)]


def volumes(path):
    with open_scan(path) as scan:
        return list(scan.volumes())


def one(path, mask=None, finding=None):
    return Volume("one", "s", finding, [path.name], mask)


def measures(path, **changed):
    settings = {
        "axis": "axial", "window": None, "percentiles": (0.5, 99.5), "span": (0, 1), "every": 1,
        "empty": 0.02,
    }  # fmt: skip
    volume = changed.pop("volume", one(path))
    return measured(volume, path.parent, **(settings | changed))


def listing(entries):
    rows = (
        {"image_id": e.image_id, "part": "part_001", "channel": n, **place._asdict()}
        for e in entries
        for n, place in enumerate(e.places)
    )
    return table_of(rows, LISTING)


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.NII"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_values_come_back_as_they_were_stored(tmp_path, name, kind):
    volume = RNG.integers(0, 200, (5, 6, 7)).astype(kind)
    path = write_nifti(tmp_path / name, volume, "LPS", kind=kind)
    (found,) = volumes(path)
    np.testing.assert_array_equal(found, volume)
    assert found.dtype == kind


def test_the_slope_of_the_header_is_honoured(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", head(1), slope=0.5)
    (found,) = volumes(path)
    np.testing.assert_array_equal(found, 0.5 * head(1) - 100)
    expected = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata()
    np.testing.assert_array_equal(found, expected)


def test_big_endian_and_second_edition_files_are_read(tmp_path):
    volume = head(2)
    array, affine = stored(volume, "PIR")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nibabel.Nifti1Image(array, affine, header).to_filename(tmp_path / "big.nii")
    assert (tmp_path / "big.nii").read_bytes()[:4] == (348).to_bytes(4, "big")
    nibabel.Nifti2Image(array, affine).to_filename(tmp_path / "second.nii.gz")
    for name in ("big.nii", "second.nii.gz"):
        np.testing.assert_array_equal(volumes(tmp_path / name)[0], volume)


def test_sixteen_bits_of_a_window_over_all_of_them_come_back_exactly(tmp_path):
    volume = np.arange(65536, dtype=np.uint16).reshape(64, 64, 16)
    path = write_nifti(tmp_path / "a.nii.gz", volume, "LAS", kind=np.uint16)
    found = measures(path, window=(0, 65535), empty=0)
    entries, _ = images_of_volume(one(path), found, "axial", None, {})
    for image, position in zip(slices(listing(entries), tmp_path, "axial"), range(16), strict=True):
        np.testing.assert_array_equal(
            reduce(image.pixels, 64, bits=16), plane(volume, "axial", position)
        )
        assert image.mode == "uint16" and image.aspect == 1


# -- orientation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", CODES)
def test_the_same_anatomy_comes_out_however_it_is_stored(tmp_path, codes):
    path = write_nifti(tmp_path / "a.nii", head(0), codes)
    canonical = nibabel.as_closest_canonical(nibabel.load(path))
    assert nibabel.aff2axcodes(nibabel.load(path).affine) == tuple(codes)
    with open_scan(path) as scan:
        (found,) = scan.volumes()
        np.testing.assert_array_equal(found, head(0))
        np.testing.assert_array_equal(found, np.asanyarray(canonical.dataobj))
        np.testing.assert_allclose(scan.affine, canonical.affine)
        assert scan.shape == canonical.shape == head(0).shape and scan.oriented


@pytest.mark.parametrize(("qform", "sform"), [(1, 0), (0, 1), (1, 2), (2, 1), (4, 4)])
def test_where_two_affines_disagree_the_sform_holds(tmp_path, qform, sform):
    array, affine = stored(head(0), "LPS")
    other = np.diag([3.0, -1.0, 2.0, 1.0])
    image = nibabel.Nifti1Image(array, None)
    image.set_qform(other, qform)
    image.set_sform(affine, sform)
    image.to_filename(tmp_path / "a.nii")
    loaded = nibabel.load(tmp_path / "a.nii")
    assert nibabel.aff2axcodes(loaded.affine) == tuple("LPS" if sform else "RPS")
    expected = nibabel.as_closest_canonical(loaded)
    with open_scan(tmp_path / "a.nii") as scan:
        (found,) = scan.volumes()
        np.testing.assert_array_equal(found, np.asanyarray(expected.dataobj))
        np.testing.assert_allclose(scan.affine, expected.affine)
        assert scan.oriented
    assert np.array_equal(found, head(0)) == bool(sform)


@given(st.integers(0, 2**32 - 1), st.sampled_from(CODES))
def test_an_oblique_volume_is_turned_as_nibabel_turns_it(tmp_path_factory, seed, codes):
    """Rotated by up to 40 degrees about any axis, with voxels of three different sides."""
    rng = np.random.default_rng(seed)
    volume = rng.integers(0, 99, (3, 4, 5)).astype(np.int16)
    array, affine = stored(volume, codes)
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    angle = rng.uniform(0, np.deg2rad(40))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    affine[:3, :3] = turn @ np.diag(rng.uniform(0.5, 3, 3)) @ affine[:3, :3]
    image = nibabel.Nifti1Image(array, affine)
    path = tmp_path_factory.mktemp("oblique") / "a.nii"
    image.to_filename(path)
    expected = nibabel.as_closest_canonical(nibabel.load(path))
    with open_scan(path) as scan:
        np.testing.assert_array_equal(next(scan.volumes()), np.asanyarray(expected.dataobj))
        np.testing.assert_allclose(scan.affine, expected.affine)


def test_slices_are_shown_as_radiologists_look_at_them():
    """A volume whose values say where they are: by 100 to the right, by 10 to the front, by 1 up."""
    x, y, z = np.meshgrid(np.arange(3), np.arange(4), np.arange(5), indexing="ij")
    volume = 100 * x + 10 * y + z
    axial, coronal, sagittal = (plane(volume, axis, 1) for axis in ("axial", "coronal", "sagittal"))
    assert axial.shape == (4, 3) and coronal.shape == (5, 3) and sagittal.shape == (5, 4)
    # The patient's right on the left of the picture; anterior or superior up.
    assert axial[0].tolist() == [231, 131, 31] and axial[:, 0].tolist() == [231, 221, 211, 201]
    assert coronal[0].tolist() == [214, 114, 14] and coronal[:, 0].tolist() == [
        214,
        213,
        212,
        211,
        210,
    ]
    assert sagittal[0].tolist() == [134, 124, 114, 104] and sagittal[-1, 0] == 130


def test_the_slices_of_real_brains_stand_upright(shared):
    """The cerebellum is below and behind, a brain is narrower in front; right is where MNI says."""
    with open_scan(shared / "brain-mri" / "MNI152_2009_template.nii.gz") as scan:
        (volume,) = scan.volumes()
        place = np.linalg.inv(scan.affine) @ [60, 0, 0, 1]  # 60 mm to the patient's right
    assert place[0] > volume.shape[0] / 2
    upright = plane(volume, "axial", volume.shape[2] // 2) > 300
    widths = upright.sum(axis=1)
    rows = np.flatnonzero(widths)
    fifth = len(rows) // 5
    assert widths[rows[fifth]] < widths[rows[-fifth]]
    profile = plane(volume, "sagittal", volume.shape[0] // 2 + 8) > 300
    rows = np.flatnonzero(profile.any(axis=1))
    low = profile[rows[len(rows) * 4 // 5] :]
    columns = np.flatnonzero(profile.any(axis=0))
    assert np.flatnonzero(low.any(axis=0)).min() > columns.mean() - 10, "what hangs down is behind"


@pytest.mark.parametrize(
    ("axis", "expected"), [("axial", 2 / 1), ("coronal", 5 / 1), ("sagittal", 5 / 2)]
)
def test_pixels_are_as_high_as_voxels_are_in_mm(axis, expected):
    assert aspect(np.diag([1.0, 2.0, 5.0, 1.0]), axis) == pytest.approx(expected)


def test_a_ball_is_round_whatever_the_sides_of_voxels():
    for spacing in ((1.0, 3.0), (2.0, 1.0)):
        y, x = (np.arange(-40, 41, step) for step in spacing)
        disc = 255.0 * (y[:, None] ** 2 + x[None] ** 2 < 30**2)
        small = reduce(disc.astype(np.float32), 54, aspect=spacing[0] / spacing[1])
        down, across = (small[27, :] > 127).sum(), (small[:, 27] > 127).sum()
        assert abs(int(down) - int(across)) <= 1 and 38 <= down <= 42


# -- which slices ----------------------------------------------------------------------------------


def test_empty_slices_are_told_from_others(tmp_path):
    volume = np.zeros((10, 10, 6), np.int16)
    volume[:, :, 2] = 100
    volume[0, 0, 3] = 100  # one voxel in a hundred
    volume[:2, 0, 4] = 100  # two
    path = write_nifti(tmp_path / "a.nii", volume)
    found = measures(path, window=(0, 100))
    assert found.slices == [(0, 2, False), (0, 4, False)]
    assert found.empty == [(0, 0), (0, 1), (0, 3), (0, 5)]
    assert len(measures(path, window=(0, 100), empty=0).slices) == 6
    entries, empty = images_of_volume(one(path), found, "axial", None, {})
    assert [entry.image_id for entry in entries] == ["one/axial_002", "one/axial_004"]
    assert empty == ["one/axial_000", "one/axial_001", "one/axial_003", "one/axial_005"]


def test_noise_of_air_makes_no_slice_worth_looking_at(tmp_path):
    volume = RNG.rayleigh(4, (16, 16, 8))
    volume[4:12, 4:12, 2:6] += 300
    path = write_nifti(tmp_path / "a.nii", volume.astype(np.int16))
    assert [position for _, position, _ in measures(path).slices] == [2, 3, 4, 5]


def test_part_of_the_slices_and_each_so_many(tmp_path):
    path = write_nifti(tmp_path / "a.nii", np.full((4, 4, 20), 9, np.int16))
    options = {"window": (0, 9), "span": (0.25, 0.75)}
    positions = [place for _, place, _ in measures(path, **options).slices]
    assert positions == list(range(5, 15))
    positions = [place for _, place, _ in measures(path, every=4, **options).slices]
    assert positions == [5, 9, 13]


def test_percentiles_are_those_of_the_whole_volume(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", head(4))
    ((low, high),) = measures(path, percentiles=(1, 99)).limits
    assert (low, high) == tuple(np.percentile(head(4), (1, 99)))
    values = np.array([low - 1, low, (low + high) / 2, high, high + 1])
    np.testing.assert_allclose(window(values, low, high), [0, 0, 127.5, 255, 255], atol=1e-4)


def test_a_volume_of_one_value_has_nothing_to_see(tmp_path):
    path = write_nifti(tmp_path / "flat.nii", np.full((4, 4, 4), 7, np.int16))
    with pytest.raises(InputError, match=r"flat\.nii: the percentiles 0\.5 and 99\.5 .* both 7"):
        measures(path)


@pytest.mark.parametrize("codes", ["RAS", "LPI"])
def test_of_four_dimensions_each_volume_gives_its_slices(tmp_path, codes):
    """The window is that of the whole file: the brightest volume sets white, for all alike."""
    series = np.stack([head(1), head(1) // 2, head(1) // 4], axis=-1)
    path = write_nifti(tmp_path / "dwi.nii.gz", series, codes)
    found = measures(path, span=(0.4, 0.6), empty=0)
    each = [np.percentile(series[..., n], (0.5, 99.5)) for n in range(3)]
    assert found.frames == 3
    assert found.limits == [(min(low for low, _ in each), max(high for _, high in each))]
    entries, _ = images_of_volume(one(path), found, "axial", None, {})
    assert len(entries) == 3 * 4
    assert entries[4].image_id == "one/volume_001/axial_007"
    images = list(slices(listing(entries), tmp_path, "axial"))
    for image, entry in zip(images, entries, strict=True):
        place = entry.places[0]
        expected = window(
            plane(series[..., place.frame], "axial", place.position), *found.limits[0]
        )
        np.testing.assert_array_equal(image.pixels, expected)
        assert image.image_id == entry.image_id


def test_some_slices_of_some_volumes_are_read_in_the_order_of_the_table(tmp_path):
    series = RNG.integers(0, 99, (4, 5, 6, 3)).astype(np.int16)
    path = write_nifti(tmp_path / "a.nii.gz", series, "ARI")
    places = [(2, 1), (2, 4), (0, 3)]
    entries = [
        (f"{frame}-{position}", Place("a.nii.gz", position, frame, 0.0, 99.0))
        for frame, position in places
    ]
    table = table_of(
        (
            {"image_id": name, "part": "p", "channel": 0, **place._asdict()}
            for name, place in entries
        ),
        LISTING,
    )
    found = {image.image_id: image.pixels for image in slices(table, path.parent, "coronal")}
    for frame, position in places:
        np.testing.assert_array_equal(
            found[f"{frame}-{position}"],
            window(plane(series[..., frame], "coronal", position), 0, 99),
        )


@pytest.mark.parametrize("shape", [(4, 5, 6, 2), (4, 3, 6, 3), (4, 5, 6)])
def test_a_volume_that_was_changed_after_it_was_listed_is_named(tmp_path, shape):
    places = [Place("a.nii.gz", 4, 0, 0.0, 99.0), Place("a.nii.gz", 1, 2, 0.0, 99.0)]
    rows = (
        {"image_id": str(n), "part": "p", "channel": 0, **place._asdict()}
        for n, place in enumerate(places)
    )
    table = table_of(rows, LISTING)
    write_nifti(tmp_path / "a.nii.gz", np.ones((4, 5, 6, 3), np.int16))
    assert len(list(slices(table, tmp_path, "coronal"))) == 2
    write_nifti(tmp_path / "a.nii.gz", np.ones(shape, np.int16))
    with pytest.raises(InputError, match=r"a\.nii\.gz has no volume 2 or no slice 4 any more"):
        list(slices(table, tmp_path, "coronal"))


# -- whose files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "contrast", "expected"),
    [
        ("IXI002-Guys-0828-T1.nii.gz", "T1", "IXI002-Guys-0828"),
        ("case_1/case_1_flair.nii", "flair", "case_1/case_1"),
        ("sub-01/anat/sub-01_T1w.nii.gz", "T1w", "sub-01/anat/sub-01"),
        ("T1/person 7.nii.gz", "T1", "person 7"),
        ("a/T1/7.NII", "T1", "a/7"),
        ("a_T1_2.nii", "T1", "a_2"),
        ("T1.nii.gz", "T1", "T1"),
        ("a.b.nii.gz", None, "a.b"),
    ],
)
def test_a_volume_is_called_as_its_files_without_the_contrast(path, contrast, expected):
    span = (
        None if contrast is None else (path.index(contrast), path.index(contrast) + len(contrast))
    )
    assert called(path, span) == expected


BRATS = r".*/(?P<subject>case_\d+)_(?P<contrast>\w+)\.nii\.gz"


def test_contrasts_become_channels_in_their_order_and_others_are_passed_over():
    names = [f"x/case_{n}_{c}.nii.gz" for n in (1, 2) for c in ("flair", "seg", "t1", "t2")]
    found = volumes_of([*names, "x/other.nii"], BRATS, ["t2", "t1"], "seg")
    assert found[0] == Volume(
        "x/case_1",
        "case_1",
        None,
        ["x/case_1_t2.nii.gz", "x/case_1_t1.nii.gz"],
        "x/case_1_seg.nii.gz",
    )
    assert [volume.subject for volume in found] == ["case_1", "case_2"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x/a.nii", "x/b.nii"], r"none of 2 NIfTI files .* such as x/a\.nii, x/b\.nii"),
        ([], "such as none at all"),
        (["x/case_1_t1.nii.gz"], "x/case_1 has no t2"),
        (["x/case_1_t1.nii.gz", "x/case_1_t2.nii.gz"], "x/case_1 has no seg"),
        (["x/case_1_t1.nii.gz", "x/case_1-t1.nii.gz"], "the same of one volume"),
    ],
)
def test_files_that_do_not_make_volumes_are_named(names, message):
    pattern = BRATS.replace("_(?P<c", "[-_](?P<c")
    with pytest.raises(InputError, match=message):
        volumes_of(names, pattern, ["t1", "t2"], "seg")


def brains(tmp_path, **changed):
    folder = write_brains(tmp_path / "brains", 4)
    settings = DEFAULTS | {
        "images": str(folder),
        "files": BRATS,
        "contrasts": ["t1", "t2"],
        "mask": {"contrast": "seg", "finding": "Tumour"},
    }
    return folder, settings | changed


def test_a_mask_says_which_slices_show_the_finding(tmp_path):
    _, settings = brains(tmp_path)
    entries, empty = volume_images(settings, threads=2)
    marked = {entry.image_id for entry in entries if entry.findings == "Tumour"}
    assert marked and {entry.findings for entry in entries} == {"Tumour", "No Finding"}
    for entry in entries:
        number, position = int(entry.patient_id[-3:]), entry.places[0].position
        lesion = head(number, lesion=number % 2 == 0)[:, :, position] == 1000
        assert (entry.image_id in marked) == lesion.any()
        assert [place.file.rsplit("_", 1)[1] for place in entry.places] == [
            "t1.nii.gz",
            "t2.nii.gz",
        ]
    assert {name.split("/")[0] for name in empty} == {f"case_{n:03d}" for n in range(4)}


def test_channels_lie_side_by_side(tmp_path):
    folder, settings = brains(tmp_path)
    entries, _ = volume_images(settings)
    images = list(slices(listing(entries), folder, "axial"))
    for image, entry in zip(images, entries, strict=True):
        volume = head(int(entry.patient_id[-3:]), lesion=entry.patient_id[-1] in "02")
        first, second = entry.places
        expected = window(plane(volume, "axial", first.position), first.low, first.high)
        np.testing.assert_array_equal(image.pixels[..., 0], expected)
        half = (0.5 * volume).astype(np.int16)
        expected = window(plane(half, "axial", second.position), second.low, second.high)
        np.testing.assert_array_equal(image.pixels[..., 1], expected)


def test_what_a_table_says_of_a_subject_is_said_of_each_of_its_slices(tmp_path):
    table = tmp_path / "people.csv"
    table.write_text(
        "id,dx,AGE,SEX\ncase_000, Stroke ,61,F\ncase_001,,40,M\ncase_002,A|B,9,F\ncase_003,A,9,F\ncase_9,A,1,M\n"
    )
    columns = {"subject": "id", "findings": "dx", "age": "AGE", "sex": "SEX"}
    _, settings = brains(tmp_path, mask=None, labels=str(table), columns=columns)
    entries, _ = volume_images(settings)
    said = {(e.patient_id, e.findings, e.age, e.sex) for e in entries}
    assert said == {
        ("case_000", "Stroke", "61", "F"), ("case_001", "", "40", "M"),
        ("case_002", "A|B", "9", "F"), ("case_003", "A", "9", "F"),
    }  # fmt: skip


def test_the_group_finding_gives_the_finding(tmp_path):
    for number, site in enumerate(("Guys", "HH")):
        write_nifti(tmp_path / f"IXI00{number}-{site}-08-T1.nii.gz", head(number))
    pattern = r"IXI0*(?P<subject>\d+)-(?P<finding>\w+)-\d+-(?P<contrast>T1)\.nii\.gz"
    settings = DEFAULTS | {"images": str(tmp_path), "files": pattern, "contrasts": ["T1"]}
    entries, _ = volume_images(settings)
    assert {(e.patient_id, e.findings) for e in entries} == {("0", "Guys"), ("1", "HH")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,dx\ncase_000,A\n", r"people\.csv names 3 subjects of the files not: case_001, case_002"),
        ("person,dx\ncase_000,A\n", r"no column id \(dataset\.nifti\.columns\.subject\); there are person, dx"),
        ("id,dx\n" + "".join(f"case_00{n},A\n" for n in range(4)) + "case_001,B\n",
         "says different things of 1 subjects: case_001"),
        ("", r"no column id .*; there are none at all"),
        ("id,dx\ncase_000,A\ncase_001,Stroke, left\n", r"cannot be read as a table: .*line 3"),
        ("id,dx\ncase_000,Stroke, left\ncase_001,A, right\n", "cannot be read as a table: Length of header"),
        ("id,dx,dx\ncase_000,A,B\n", "more than one column dx"),
        ("id,dx\ncase_000,A\n\n ,B\n", r"names no subject \(column id\) on line 4"),
        ("id,dx\ncase_000,\u00c4".encode("latin-1"), "cannot be read as a table"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, message):
    table = tmp_path / "people.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    columns = DEFAULTS["columns"] | {"subject": "id", "findings": "dx"}
    _, settings = brains(tmp_path, mask=None, labels=str(table), columns=columns)
    with pytest.raises(InputError, match=message):
        volume_images(settings)


@pytest.mark.parametrize("damage", [lambda x: b"id,dx\n", lambda x: x[:-8] + bytes(8)])
def test_a_compressed_table_that_is_damaged_is_named(tmp_path, damage):
    table = tmp_path / "people.csv.gz"
    table.write_bytes(damage(gzip.compress(b"id,dx\ncase_000,A\n")))
    with pytest.raises(InputError, match=r"people\.csv\.gz cannot be read as a table"):
        read_subjects(table, {"subject": "id", "findings": "dx"})


def test_a_table_may_say_the_same_twice(tmp_path):
    table = tmp_path / "people.csv"
    table.write_text("id,dx\n" + "".join(f"case_00{n},A\n" for n in (0, 1, 2, 3, 1)))
    columns = DEFAULTS["columns"] | {"subject": "id", "findings": "dx"}
    _, settings = brains(tmp_path, mask=None, labels=str(table), columns=columns)
    assert len({entry.patient_id for entry in volume_images(settings)[0]}) == 4


# -- what is refused -------------------------------------------------------------------------------


def test_files_of_one_volume_must_lie_on_each_other(tmp_path):
    folder, settings = brains(tmp_path)
    other = head(1, shape=(20, 24, 17)).astype(np.int16)
    write_nifti(folder / "case_001" / "case_001_t2.nii.gz", other, "LPS")
    with pytest.raises(
        InputError, match=r"case_001_t2\.nii\.gz and case_001_t1\.nii\.gz do not lie"
    ):
        volume_images(settings)
    array, affine = stored(head(1), "LPS")
    affine[0, 3] += 1
    nibabel.Nifti1Image(array, affine).to_filename(folder / "case_001" / "case_001_t2.nii.gz")
    with pytest.raises(InputError, match="do not lie on each other"):
        volume_images(settings)
    # In another order on disk, they do.
    write_nifti(folder / "case_001" / "case_001_t2.nii.gz", head(1), "IRP")
    volume_images(settings)
    series = np.stack([head(1)] * 2, axis=-1)
    write_nifti(folder / "case_001" / "case_001_seg.nii.gz", series, "LPS")
    with pytest.raises(InputError, match=r"seg\.nii\.gz has 2 volumes, where 1 would go"):
        volume_images(settings)


def damaged(tmp_path, how):
    """Write a file that is damaged in a way; return its path."""
    path = tmp_path / "bad.nii.gz"
    whole = write_nifti(path, head(0)).read_bytes()
    plain = tmp_path / "bad.nii"
    content = bytearray(gzip.decompress(whole))

    def put(form, place, *values):
        struct.pack_into(form, content, place, *values)
        plain.write_bytes(content)
        return plain

    match how:
        case "truncated gzip":
            path.write_bytes(whole[:-900])
        case "without its end":
            path.write_bytes(whole[:-4])
        case "checksum":
            path.write_bytes(whole[:-8] + bytes(4) + whole[-4:])
        case "truncated":
            plain.write_bytes(content[:-10])
            return plain
        case "only a header":
            plain.write_bytes(content[:200])
            return plain
        case "empty":
            path.write_bytes(b"")
        case "text":
            plain.write_text("no image at all, but words" * 40)
            return plain
        case "NaN" | "infinite":
            volume = head(0).astype(np.float32)
            volume[3, 4, 5] = np.nan if how == "NaN" else -np.inf
            write_nifti(path, volume, kind=np.float32)
        case "NaN in the second volume":
            series = np.stack([head(0)] * 2, axis=-1).astype(np.float32)
            series[1, 1, 1, 1] = np.nan
            write_nifti(path, series, kind=np.float32)
        case "complex":
            nibabel.Nifti1Image(np.ones((4, 4, 4), np.complex64), np.eye(4)).to_filename(path)
        case "colour":
            kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
            nibabel.Nifti1Image(np.ones((4, 4, 4), kind), np.eye(4)).to_filename(path)
        case "five dimensions":
            nibabel.Nifti1Image(np.ones((4, 4, 4, 2, 3), np.int16), np.eye(4)).to_filename(path)
        case "two dimensions":
            nibabel.Nifti1Image(np.ones((4, 4), np.int16), np.eye(4)).to_filename(path)
        case "no voxels":
            return put("<8h", 40, 3, 20, 0, 18, 1, 1, 1, 1)
        case "negative":
            return put("<8h", 40, 3, 20, -24, 18, 1, 1, 1, 1)
        case "absurd":
            return put("<8h", 40, 4, 32000, 32000, 32000, 100, 1, 1, 1)
        case "absurd in gzip":
            put("<8h", 40, 3, 3000, 3000, 50, 1, 1, 1, 1)
            path.write_bytes(gzip.compress(content))
        case "without orientation of an axis":
            put("<2h", 252, 0, 1)
            return put("<12f", 280, *(1, 0, 0, 0), *(0, 1, 0, 0), *(0, 0, 0, 0))
        case "affine of no numbers":
            put("<2h", 252, 0, 1)
            return put("<12f", 280, *[np.nan] * 12)
        case "pair":
            content[344:348] = b"ni1\0"
            plain.write_bytes(content)
            return plain
        case "voxels far away":
            return put("<f", 108, 1e9)
        case "voxels nowhere":
            return put("<f", 108, np.nan)
        case "an extension without end":
            content[348:352] = b"\1\0\0\0"
            put("<f", 108, 400.0)
            content[352:352] = struct.pack("<2i", 2**31 - 16, 6) + bytes(40)
            path.write_bytes(gzip.compress(bytes(content) + bytes(1 << 26)))
        case "bomb behind":
            path.write_bytes(gzip.compress(bytes(content) + bytes(1 << 25)))
        case "flat voxels":
            put("<2h", 252, 0, 1)
            return put("<12f", 280, *(1, 0, 0, 0), *(0, 1e-4, 0, 0), *(0, 0, 1, 0))
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated gzip", "damaged, cut short"),
        ("without its end", "damaged, cut short"),
        ("checksum", "damaged, cut short .*CRC"),
        ("truncated", r"bad\.nii: damaged, cut short or no NIfTI file"),
        ("only a header", "cut short"),
        ("empty", "an empty file"),
        ("text", "no NIfTI file"),
        ("NaN", r"1 voxels are no number \(NaN or infinite\)"),
        ("infinite", "1 voxels are no number"),
        ("NaN in the second volume", "1 voxels of volume 1 are no number"),
        ("complex", "complex numbers"),
        ("colour", "its voxels are colours"),
        ("five dimensions", r"5 dimensions \(4 x 4 x 4 x 2 x 3\)"),
        ("two dimensions", "2 dimensions"),
        ("no voxels", "holds nothing"),
        ("negative", "20 x -24 x 18 voxels: it holds nothing"),
        ("absurd", "more than any scanner's"),
        ("absurd in gzip", "cannot hold"),
        ("without orientation of an axis", "no orientation of all three axes"),
        ("affine of no numbers", "its affine is no number"),
        ("pair", "header of a pair of files"),
        ("voxels far away", r"to begin at byte 1000000000"),
        ("voxels nowhere", "to begin at byte nan"),
        ("an extension without end", "damaged, cut short|behind its voxels"),
        ("bomb behind", "behind its voxels"),
        ("flat voxels", "0.0001 times as high as it is wide"),
    ],
)
def test_a_damaged_or_strange_file_is_named_and_nothing_is_made_of_it(tmp_path, how, message):
    path = damaged(tmp_path, how)
    with pytest.raises(InputError, match=message) as caught:
        measures(path)
    assert str(path) in str(caught.value)


def test_an_extension_is_not_read_beyond_the_voxels(tmp_path):
    path = damaged(tmp_path, "an extension without end")
    tracemalloc.start()
    with pytest.raises(InputError):
        measures(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_no_memory_is_taken_for_what_a_header_only_declares(tmp_path, monkeypatch):
    path = damaged(tmp_path, "absurd")
    monkeypatch.setattr(nifti, "LARGEST_VOLUME", 10**18)
    monkeypatch.setattr(nibabel.arrayproxy.ArrayProxy, "__getitem__", None)
    with pytest.raises(InputError, match="cannot hold"):
        measures(path)


def test_a_header_without_orientation_is_told(tmp_path, caplog):
    path = tmp_path / "a.nii"
    nibabel.Nifti1Image(head(0), None).to_filename(path)
    with caplog.at_level("WARNING", "synthorax"):
        measures(path)
    assert "says no orientation" in caplog.text
