"""Quality against the number of steps: one diffusion model, sampled in several ways."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import RESTORATION, SWEEP
from workflow_scripts.common.tables import write_table
from workflow_scripts.denoising.denoise import learned
from workflow_scripts.denoising.judged import judged
from workflow_scripts.denoising.noisy import noisy
from workflow_scripts.denoising.restored import Restored
from workflow_scripts.denoising.rows import rows_of
from workflow_scripts.metrics.restoration_summary import summarise


def sweep_steps(
    images: Path, shards: list[Path], model: Path, rows: Path, sweep: Path, config: dict
) -> None:
    """Write RESTORATION of each sampler and number of steps, as methods `ddim 5`, and its summary SWEEP.

    Parameters
    ----------
    images : table IMAGES of the patches
    shards : the store's shards
    model : the model's folder
    config : as of `denoise`, and `sweep` (`samplers`, `steps`, `samples`), `score`, `bootstrap`
    """
    noise, settings = config["noise"], config["sweep"]
    patches = judged(images, shards, "test", settings["images"], config["seed"])
    variances = sorted(noise["variances"])
    degraded = [noisy(patches.clean, patches.names, noise, variance) for variance in variances]
    found, cases = [], {}
    with leased_device(config["device"]) as device:
        for name in settings["samplers"]:
            for steps in sorted(settings["steps"]):
                asked = {"method": name, "steps": steps, "samples": settings["samples"]}
                case = f"{name} {steps}"
                log.info("%s", case)
                method = learned(model, device, config | {"sampler": config["sampler"] | asked})
                answers = [
                    method(y, patches.names, variance)
                    for y, variance in zip(degraded, variances, strict=True)
                ]
                restored = Restored(patches.names, variances, np.stack(answers))
                found += rows_of(case, restored, patches, noise, config["score"])
                cases[case] = {"sampler": name, "steps": steps}
    table = pd.DataFrame(found)
    write_table(table, rows, RESTORATION)
    summary = summarise(table, "", config["bootstrap"], config["seed"])
    about = pd.DataFrame([cases[case] for case in summary["method"]])
    write_table(pd.concat([about, summary], axis=1)[list(SWEEP.columns)], sweep, SWEEP)


if __name__ == "__main__":
    with step(snakemake) as config:
        sweep_steps(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            Path(snakemake.input.source[0]).parent,
            Path(snakemake.output.rows),
            Path(snakemake.output.sweep),
            config,
        )
