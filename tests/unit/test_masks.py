"""Masks: drawn ones hide what they should, files are read or refused with a reason."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.seeds import generator
from workflow_scripts.inpainting.masks import MOST, draw_mask, half, read_masks

SIZES, SHARES, SEEDS = st.integers(8, 96), st.floats(0.01, MOST), st.integers(0, 999)


@given(SIZES, SHARES, SEEDS)
def test_a_box_is_a_rectangle_of_its_share(size, share, seed):
    hidden = draw_mask("box", size, share, np.random.default_rng(seed))
    assert hidden.dtype == bool and hidden.shape == (size, size)
    rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
    assert hidden[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert len(rows) * len(columns) == hidden.sum()
    # A side is rounded by half a pixel at most.
    assert abs(hidden.sum() - share * size**2) <= max(len(rows), len(columns)) / 2 + 1
    assert 0 < hidden.mean() < 1


@given(SIZES, SHARES, SEEDS)
def test_strokes_hide_their_share_and_at_most_a_dab_more(size, share, seed):
    hidden = draw_mask("strokes", size, share, np.random.default_rng(seed))
    dab = np.pi * (max(size / 16, 0.75) + 1) ** 2
    assert share * size**2 <= hidden.sum() <= share * size**2 + dab
    assert not hidden.all()


@given(SIZES, SEEDS)
def test_a_half_is_one_side(size, seed):
    hidden = half(size, np.random.default_rng(seed))
    assert hidden.sum() == size * (size // 2)
    lines = hidden if (hidden == hidden[:, :1]).all() else hidden.T
    assert (lines == lines[:, :1]).all() and (lines[0, 0] != lines[-1, 0])


def test_all_four_sides_and_many_places_occur():
    halves = {draw_mask("half", 8, 0.5, generator(1, k)).tobytes() for k in range(40)}
    assert len(halves) == 4
    assert len({draw_mask("box", 32, 0.2, generator(1, k)).tobytes() for k in range(40)}) > 35


@pytest.mark.parametrize("kind", ["box", "strokes", "half"])
def test_a_seed_draws_the_same_mask_again(kind):
    first, again, other = (draw_mask(kind, 32, 0.3, generator(s)) for s in (3, 3, 5))
    assert (first == again).all() and (first != other).any()


def write(path, hidden):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(hidden, 255, 0).astype(np.uint8)).save(path)
    return path


def part(size=16, rows=4):
    hidden = np.zeros((size, size), dtype=bool)
    hidden[:rows] = True
    return hidden


def test_a_single_file_masks_all(tmp_path):
    path = write(tmp_path / "any name.png", part())
    found = read_masks([path], ["a.png", "b/c.dcm"], tmp_path, 16)
    assert len(found) == 2 and all((mask == part()).all() for mask in found)


def test_each_image_has_its_own(tmp_path):
    names = {"a.png": part(rows=3), "b/c.dcm": part(rows=9), "unused.png": part(rows=1)}
    files = [
        write((tmp_path / name).with_suffix(".png"), mask) for name, mask in sorted(names.items())
    ]
    found = read_masks(files, ["b/c.dcm", "a.png"], tmp_path, 16)
    assert [int(mask.sum()) for mask in found] == [9 * 16, 3 * 16]


def test_a_mask_in_colours_or_with_transparency_is_read_by_its_grey(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.where(part(), 255, 0).astype(np.uint8)).convert("RGBA").save(path)
    assert (read_masks([path], ["a"], tmp_path, 16)[0] == part()).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: write(path, part(rows=16)), "hides everything: nothing is left to go by"),
        (lambda path: write(path, part(rows=0)), r"hides nothing \(white hides\)"),
        (lambda path: write(path, part(size=32)), "is 32 pixels wide and 32 high, images have 16²"),
        (lambda path: path.write_bytes(b"no image"), "cannot be read as an image"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40), "cannot be read"),
    ],
)
def test_a_file_that_is_no_mask_is_refused(tmp_path, make, said):
    path = tmp_path / "mask.png"
    make(path)
    with pytest.raises(InputError, match=said) as error:
        read_masks([path], ["a"], tmp_path, 16)
    assert "mask.png" in str(error.value)


def test_an_image_without_a_mask_is_named(tmp_path):
    files = [write(tmp_path / f"{name}.png", part()) for name in ("a", "b")]
    with pytest.raises(InputError, match=r"holds no mask of d\.png, e\.png\. Put there one PNG"):
        read_masks(files, ["a.png", "d.png", "e.jpg"], tmp_path, 16)
