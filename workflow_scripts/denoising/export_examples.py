"""Write example images of all methods as 32-bit TIFF, to measure on, and as PNG, to look at."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from workflow_scripts.common.figures import tile
from workflow_scripts.common.files import whole_file
from workflow_scripts.common.levels import shown
from workflow_scripts.common.runtime import log, step
from workflow_scripts.denoising.judged import chosen, judged
from workflow_scripts.denoising.noisy import NOISY, condition, noisy
from workflow_scripts.denoising.patches.cutting import stored
from workflow_scripts.denoising.restored import read_restored

EXAMPLES = 4  # patches


def export_examples(
    images: Path,
    shards: list[Path],
    restored: dict[str, Path],
    tiff: Path,
    png: Path,
    config: dict,
) -> None:
    """Write of a few patches at every noise level what each method makes of them.

    The pages of the TIFF are float32 in units in which clean patches span [0, 1], not clipped, each
    with its description: patch, noise and method. Of a method that draws several answers there are
    one, their mean and their standard deviation. A row of the PNG is a patch at a noise level: clean,
    noisy, and each method, of several answers the mean.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    restored : file of each method
    tiff, png : outputs
    config : `noise`, `images` (how many are judged), `seed`
    """
    noise = config["noise"]
    variances = sorted(noise["variances"])
    patches = judged(images, shards, "test", config["images"], config["seed"])
    places = chosen(patches, EXAMPLES)
    rows = {}
    for place in places:
        name, clean = patches.names[place], patches.clean[place]
        for level, variance in enumerate(variances):
            degraded = noisy(clean[None], [name], noise, variance)[0]
            rows[place, level] = [("clean", clean), (NOISY, degraded)]
    for method, path in restored.items():
        found = read_restored(path)
        for (place, level), row in rows.items():
            row += pages_of(method, found.images[level, place])
    with whole_file(tiff) as partial, tifffile.TiffWriter(partial) as file:
        for (place, level), row in rows.items():
            about = f"{patches.names[place]}, {condition(noise, variances[level])}"
            for name, image in row:
                write_page(file, image, f"{about}, {name}")
    looked_at = [[image for name, image in row if best(name)] for row in rows.values()]
    columns = len(looked_at[0])
    sheet = np.stack([image for row in looked_at for image in row])
    with whole_file(png) as partial:
        Image.fromarray(tile(shown(stored(255 * sheet.clip(0, 1), 8)), columns)).save(partial)
    log.info("%d pages of %d patches", sum(map(len, rows.values())), len(places))


def pages_of(method: str, answers: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is shown of a method's answers to one patch, (K, h, w) or with channels."""
    if len(answers) == 1:
        yield method, answers[0]
        return
    yield f"{method}, one answer", answers[0]
    yield f"{method}, mean of {len(answers)}", answers.mean(axis=0)
    yield f"{method}, standard deviation", answers.std(axis=0, ddof=1)


def best(name: str) -> bool:
    """Whether a page of `pages_of` is a method's best guess."""
    return not name.endswith((", one answer", ", standard deviation"))


def write_page(file: tifffile.TiffWriter, image: np.ndarray, description: str) -> None:
    """Add a page: float32 (h, w), or (h, w, c) of which three are colours."""
    file.write(
        image.astype(np.float32),
        photometric="rgb" if image.ndim == 3 and image.shape[2] == 3 else "minisblack",
        description=description.encode("ascii", "replace").decode(),
        metadata=None,
        software="",
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        export_examples(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            dict(zip(config["methods"], map(Path, snakemake.input.restored), strict=True)),
            Path(snakemake.output.tiff),
            Path(snakemake.output.png),
            config,
        )
