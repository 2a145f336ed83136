"""A list of shards stands for them: where they are, and what they hold."""

import shutil

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import SHARDS
from workflow_scripts.common.store import ImageStore, list_shards, listed
from workflow_scripts.common.tables import read_table

PIXELS = {
    "images_001.npy": np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4),
    "effusion/effusion_000.npy": np.full((2, 4, 4), 200, dtype=np.uint8),
}
INDEX = pd.DataFrame({"shard": ["effusion_000", "images_001", "images_001"], "row": [1, 2, 0]})


@pytest.fixture
def folder(tmp_path):
    """Two shards, one of them in a folder of its own, and the list of both."""
    store = tmp_path / "store"
    for name, pixels in PIXELS.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(store / name, pixels)
    list_shards([store / name for name in PIXELS], store / "shards.parquet")
    return store


def test_it_is_read_as_the_shards_themselves_are(folder):
    paths = [folder / name for name in PIXELS]
    assert listed([folder / "shards.parquet"]) == listed(paths) == paths
    images = ImageStore(INDEX, [folder / "shards.parquet"]).all()
    np.testing.assert_array_equal(images, ImageStore(INDEX, paths).all())
    assert list(read_table(folder / "shards.parquet", SHARDS)["images"]) == [3, 2]


def test_it_knows_no_folder_but_its_own(folder, tmp_path):
    before = (folder / "shards.parquet").read_bytes()
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    assert len(ImageStore(INDEX, [moved / "shards.parquet"])) == 3
    list_shards([moved / name for name in PIXELS], moved / "shards.parquet")
    assert (moved / "shards.parquet").read_bytes() == before


@pytest.mark.parametrize("name", PIXELS)
def test_another_pixel_is_another_list(folder, name):
    before = (folder / "shards.parquet").read_bytes()
    pixels = PIXELS[name].copy()
    pixels[-1, 3, 3] ^= 1
    np.save(folder / name, pixels)
    list_shards([folder / name for name in PIXELS], folder / "shards.parquet")
    assert (folder / "shards.parquet").read_bytes() != before


def test_a_shard_that_is_gone_is_named_with_what_to_do(folder):
    (folder / "images_001.npy").unlink()
    with pytest.raises(InputError, match=r"images_001\.npy.*`snakemake tensors`"):
        ImageStore(INDEX, [folder / "shards.parquet"])
