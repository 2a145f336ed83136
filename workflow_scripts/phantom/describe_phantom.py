"""Write the phantom's label table, as NIH would, and the truth behind it."""

from pathlib import Path

from workflow_scripts.common.files import write_text
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import PHANTOM_TRUTH
from workflow_scripts.common.tables import write_table
from workflow_scripts.phantom.population import describe, label_table


def describe_phantom(table: Path, truth: Path, phantom: dict) -> None:
    """Write `table` (CSV in the NIH layout) and `truth` (`PHANTOM_TRUTH`).

    Parameters
    ----------
    phantom : the configuration's `dataset.phantom`: patients, archives, size (pixels), seed

    Raises
    ------
    InputError
        If there are more archives than patients.
    """
    films = describe(phantom["patients"], phantom["archives"], phantom["seed"])
    write_table(films, truth, PHANTOM_TRUTH)
    write_text(table, label_table(films, phantom["size"]))
    log.info("%d films of %d phantom patients", len(films), phantom["patients"])


if __name__ == "__main__":
    with step(snakemake) as config:
        describe_phantom(
            Path(snakemake.output.table), Path(snakemake.output.truth), config["phantom"]
        )
