"""Draw where the findings of one phantom archive are: what the chest would not show in health."""

from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from workflow_scripts.common.files import whole_file
from workflow_scripts.common.runtime import progress, step
from workflow_scripts.common.schemas import PHANTOM_TRUTH, REGIONS
from workflow_scripts.common.tables import read_table, table_of, write_table
from workflow_scripts.phantom.chest import build
from workflow_scripts.phantom.population import Film, without_findings
from workflow_scripts.phantom.radiograph import attenuation

# Change of attenuation along a ray: by e^−0.3, a quarter less or a third more passes. A lung beside a
# pneumothorax is denser by less, vessels that are pulled aside move less; a nodule of 8 mm is more.
VISIBLE = 0.3


def draw_regions(truth: Path, masks: Path, index: Path, name: str, size: int, seed: int) -> None:
    """Write the regions of the films in archive `name` that have a finding.

    Parameters
    ----------
    truth : table PHANTOM_TRUTH
    masks : output, uint8 (films, size, size): 1 in the region
    index : output, table REGIONS; `finding` are all of the film's, as in the label table
    size : width and height of the masks in pixels
    seed : of the data set
    """
    films = read_table(truth, PHANTOM_TRUTH)
    films = films[(films["archive"] == name) & (films["findings"] != "No Finding")]
    drawn = np.zeros((len(films), size, size), dtype=np.uint8)
    with threadpool_limits(1):  # as for the films
        for row, film in enumerate(progress(films.to_dict("records"), f"regions of {name}")):
            drawn[row] = region_of(Film(**film), size, seed)
    rows = (
        {
            "image_id": film.image_id,
            "finding": film.findings,
            "shard": masks.stem,
            "row": row,
            "pixels": int(drawn[row].sum()),
        }
        for row, film in enumerate(films.itertuples())
    )
    with whole_file(masks) as partial:
        np.save(partial, drawn)
    write_table(table_of(rows, REGIONS), index, REGIONS)


def region_of(film: Film, size: int, seed: int) -> np.ndarray:
    """Return where a film's findings change what passes through the chest: bool (size, size).

    The same chest is built with its findings and without, from the same seeds; nothing but the
    findings differs, neither exposure nor noise.
    """
    ill, well = (build(one, size) for one in (film, without_findings(film, seed)))
    return np.abs(attenuation(ill) - attenuation(well)) > VISIBLE


if __name__ == "__main__":
    with step(snakemake) as config:
        draw_regions(
            Path(snakemake.input.truth),
            Path(snakemake.output.masks),
            Path(snakemake.output.index),
            snakemake.wildcards.archive,
            config["size"],
            config["seed"],
        )
