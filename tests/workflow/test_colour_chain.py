"""Images in colour, each of a subject of its own, from the files to the report, the card and the audit."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.discs import write_discs

SIZE = 16


@pytest.fixture(scope="module")
def data(snakemake, root, tmp_path_factory):
    """The results of a run that knows classes by their colour alone."""
    folder = tmp_path_factory.mktemp("colour")
    images, labels = write_discs(folder / "data", 120)
    paths = f"dataset={{folder: {{images: '{images}', labels: '{labels}'}}}}"
    arguments = ("--configfile", root / "tests" / "workflow" / "colour.yaml", "--config", paths)
    snakemake(folder, "report", "export", *arguments, "device=cpu")
    snakemake(folder, "audit", *arguments, "device=cpu")
    return folder / "results" / "discs"


def test_every_array_of_images_has_three_channels(data):
    found = sorted(data.rglob("*.npy"))
    images = [path for path in found if np.load(path, mmap_mode="r").ndim > 2]
    assert len(images) == 1 + 2 + 2  # the tensors, the samples, noise and planted copies
    for path in images:
        pixels = np.load(path)
        assert pixels.shape[1:] == (SIZE, SIZE, 3) and pixels.dtype == np.uint8
        assert (np.ptp(pixels, axis=-1) > 20).any(), f"{path} is grey"
    facts = json.loads((data / "models/small/model.json").read_text())
    assert (facts["channels"], facts["bits"]) == (3, 8)


def test_the_judge_knows_what_only_colour_tells(data):
    metrics = pd.read_parquet(data / "evaluate/small/dpm4/metrics.parquet")
    seen = metrics[(metrics["metric"] == "class_accuracy") & (metrics["class_name"] == "pooled")]
    assert seen["floor"].item() > 0.9
    assert not metrics["metric"].isin(["cardiothoracic_ratio_distance"]).any()


def test_every_picture_of_images_is_in_colour(data):
    for name in (
        "samples/small/dpm4/tumour/grid.png",
        "samples/small/dpm4/denoising_strip.png",
        "models/small/forward_strip.png",
        "models/small/progress.png",
        "evaluate/small/dpm4/closest.png",
        "export/small/samples.png",
    ):
        with Image.open(data / name) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        # Ink has a hue as well, but images cover more ground.
        assert (np.ptp(pixels, axis=-1) > 60).mean() > 0.05, f"{name} is grey"


def test_the_pages_speak_of_images_and_subjects(data):
    page = re.sub(r"data:image/[^\"]*", "", (data / "report/index.html").read_text())
    assert f"{SIZE} × {SIZE} pixels, colour, 8 bit" in page
    assert "real against synthetic, of the luminance" in page
    assert "80</b><span>images of 80 subjects" in page
    card = (data / "export/small/README.md").read_text()
    assert "No training image states an age or a sex or a view." in " ".join(card.split())
    wrong = r"(?i)\b(patients?|films?|radiographs?|chests?|hearts?|thora\w+)\b"
    words = re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    for text in (words, card, (data / "audit/index.html").read_text()):
        assert re.findall(wrong, re.sub(r"<[^>]*>|`[^`]*`|\{[^}]*\}", " ", text)) == []
