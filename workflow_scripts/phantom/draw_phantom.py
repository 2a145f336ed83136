"""Draw the films of one phantom archive."""

import gzip
import tarfile
from io import BytesIO
from pathlib import Path

from threadpoolctl import threadpool_limits

from workflow_scripts.common.files import whole_file
from workflow_scripts.common.runtime import progress, step
from workflow_scripts.common.schemas import PHANTOM_TRUTH
from workflow_scripts.common.tables import read_table
from workflow_scripts.phantom.population import Film
from workflow_scripts.phantom.radiograph import draw, png_of


def draw_phantom(truth: Path, archive: Path, name: str, size: int) -> None:
    """Write the tar.gz `archive` with the films that the truth table puts in archive `name`.

    Members are `images/<image_id>`, `size` by `size` pixels. Neither the tar headers nor the
    gzip header hold a time, an owner or a file name, so the same films give the same bytes.
    """
    films = read_table(truth, PHANTOM_TRUTH)
    films = films[films["archive"] == name].to_dict("records")
    with (
        # The matrices are small: threads would cost more than they save.
        threadpool_limits(1),
        whole_file(archive) as partial,
        partial.open("wb") as raw,
        # PNGs do not shrink any further.
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for row in progress(films, f"drawing {name}"):
            film = Film(**row)
            data = png_of(draw(film, size), film.mode)
            member = tarfile.TarInfo(f"images/{film.image_id}")
            member.size = len(data)
            tar.addfile(member, BytesIO(data))


if __name__ == "__main__":
    with step(snakemake) as config:
        draw_phantom(
            Path(snakemake.input.truth),
            Path(snakemake.output.archive),
            snakemake.wildcards.archive,
            config["phantom"]["size"],
        )
