"""Pack a trained model into a folder that loads with diffusers alone, with its card."""

import json
import shutil
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from diffusers import DPMSolverMultistepScheduler, EDMDPMSolverMultistepScheduler, __version__

from workflow_scripts.common.figures import plt, save_figure, tile
from workflow_scripts.common.files import whole_file, write_text
from workflow_scripts.common.fingerprint import ROOT
from workflow_scripts.common.levels import shown
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import (
    AVERAGES,
    EXCLUSIONS,
    IMAGES,
    METRICS,
    SAMPLES,
    TRAINING_LOG,
    UNMATCHED,
)
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.common.wording import pixel_words
from workflow_scripts.diffusion.process import make_process
from workflow_scripts.export import card, pipeline

TIMES = 1000  # of a process in continuous time, to diffusers
PREDICTIONS = {"epsilon": "epsilon", "sample": "sample", "v": "v_prediction"}
COLUMNS = 8  # images of each class that are shown


@dataclass(frozen=True)
class Artefacts:
    """What a model and what is known of it consist of; `metrics` by sampler."""

    facts: Path
    unet: Path
    weights: Path
    average: Path
    log: Path
    images: Path
    exclusions: Path
    unmatched: Path
    split: Path
    metrics: dict[str, Path]
    samples: Path
    shards: list[Path]


def export_model(given: Artefacts, folder: Path, config: dict) -> None:
    """Write the folder.

    Parameters
    ----------
    given : of them, `samples` and `shards` are those of the first sampler
    folder : output
    config : `name` of the model and its `settings`; `samplers` as pairs of name and settings, the
        first of them shown; `dataset` (name and kind), `classes`, `references`
    """
    facts = json.loads(given.facts.read_text(encoding="utf-8"))
    for source, target in (
        (given.facts, "model.json"),
        (given.unet, "unet/config.json"),
        (given.weights, "unet/diffusion_pytorch_model.safetensors"),
        (Path(pipeline.__file__), "pipeline.py"),
    ):
        with whole_file(folder / target) as partial:
            shutil.copyfile(source, partial)
    scheduler = make_scheduler(facts)
    write_text(folder / "scheduler" / "scheduler_config.json", scheduler.to_json_string())
    index = pipeline_index(facts, type(scheduler).__name__)
    write_text(folder / "model_index.json", json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    draw_samples(given.samples, given.shards, config["classes"], folder / "samples.png")
    write_text(folder / "README.md", model_card(given, facts, config))


def make_scheduler(facts: dict) -> DPMSolverMultistepScheduler | EDMDPMSolverMultistepScheduler:
    """Return diffusers' DPM-Solver++ (2M) for the process of a model.

    Discrete time steps keep their ᾱ; those noisier than a sampler begins with are left out.
    Continuous time is cut into TIMES steps to where a sampler begins: diffusers' step k is
    t = (k + 1) / TIMES of it.

    Parameters
    ----------
    facts : contents of model.json
    """
    settings = facts["diffusion"]
    process = make_process(settings, facts["image_size"], facts["sigma_data"])
    if settings["process"] == "edm":
        low, high = process.sigma_range
        return EDMDPMSolverMultistepScheduler(
            sigma_min=low, sigma_max=high, sigma_data=facts["sigma_data"]
        )
    if settings["process"] == "ddpm":
        levels = [process.level(float(t)) for t in range(settings["timesteps"])]
        levels = [level for level in levels if level.ratio <= process.noisiest]
    else:
        end = process.time(process.noisiest)
        levels = [process.level(end * (k + 1) / TIMES) for k in range(TIMES)]
    alpha_bar = np.array([level.alpha**2 for level in levels])
    return DPMSolverMultistepScheduler(
        num_train_timesteps=len(alpha_bar),
        trained_betas=(1 - alpha_bar / np.append(1, alpha_bar[:-1])).tolist(),
        prediction_type=PREDICTIONS[settings["prediction"]],
        timestep_spacing="trailing",
        # Where ᾱ ends at 0 diffusers works with 2⁻²⁴ instead; no beta is changed by it.
        rescale_betas_zero_snr=bool(alpha_bar[-1] == 0),
    )


def pipeline_index(facts: dict, scheduler: str) -> dict:
    """Return model_index.json: which class loads what, and the pipeline's own settings."""
    process = make_process(facts["diffusion"], facts["image_size"], facts["sigma_data"])
    continuous = facts["diffusion"]["process"] == "vp_sde"
    return {
        "_class_name": [Path(pipeline.__file__).stem, pipeline.ConditionalPipeline.__name__],
        "_diffusers_version": __version__,
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", scheduler],
        "conditions": facts["conditions"],
        "time_offset": int(continuous),
        "time_scale": process.time(process.noisiest) if continuous else 1.0,
        "channels": facts["channels"],
    }


def draw_samples(samples: Path, shards: list[Path], classes: list[str], picture: Path) -> None:
    """Draw the first images of each class, a row per class."""
    table = read_table(samples, SAMPLES).sort_values("image_id")
    chosen = table.groupby("class_name").head(COLUMNS)
    figure, axes = plt.subplots(len(classes), 1, figsize=(COLUMNS, len(classes)), squeeze=False)
    for row, name in zip(axes[:, 0], classes, strict=True):
        images = shown(ImageStore(chosen[chosen["class_name"] == name], shards).all())
        row.imshow(tile(images, COLUMNS), cmap="gray", vmin=0, vmax=255)
        row.set(xticks=[], yticks=[])
        row.spines[:].set_visible(False)
        row.set_ylabel(name, rotation=0, ha="right", va="center")
    figure.subplots_adjust(hspace=0.04)
    save_figure(figure, picture, dpi=150)


def model_card(given: Artefacts, facts: dict, config: dict) -> str:
    """Return the card, from what the artefacts say alone."""
    metrics = {name: read_table(path, METRICS) for name, path in given.metrics.items()}
    average = read_table(given.average, AVERAGES)
    extractors = {name for table in metrics.values() for name in table["extractor"]}
    kind, classes = config["dataset"]["kind"], config["classes"]
    return card.card(
        ROOT / "resources" / "export" / "card.md.j2",
        {
            **{name: config[name] for name in ("name", "dataset", "classes", "references")},
            "facts": facts,
            "pixels": pixel_words(facts["channels"], facts["bits"]),
            "columns": COLUMNS,
            "example": card.example(facts["conditions"]),
            "calls": card.calls(dict(config["samplers"])),
            "data": card.data(
                read_table(given.images, IMAGES),
                read_table(given.exclusions, EXCLUSIONS),
                read_table(given.unmatched, UNMATCHED),
                json.loads(given.split.read_text(encoding="utf-8")),
                classes,
            ),
            "recipe": card.recipe(
                config["settings"],
                facts,
                int(read_table(given.log, TRAINING_LOG)["images"].iloc[-1]),
                average.loc[average["chosen"], "sigma_rel"].item(),
            ),
            "samplers": [
                {
                    "name": name,
                    "settings": settings,
                    "measures": card.measures(metrics[name], classes),
                }
                for name, settings in config["samplers"]
            ],
            "verdict": card.verdict(
                pd.concat(table.assign(sampler=name) for name, table in metrics.items())
            ),
            "unmeasured": card.unmeasured(extractors, facts["conditions"], kind == "phantom"),
        },
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        paths = snakemake.input
        names = [name for name, _ in config["samplers"]]
        several = {
            "metrics": dict(zip(names, map(Path, paths.metrics), strict=True)),
            "shards": [Path(path) for path in paths.shards],
        }
        alone = [field.name for field in fields(Artefacts) if field.name not in several]
        export_model(
            Artefacts(**{name: Path(paths[name]) for name in alone}, **several),
            Path(snakemake.output.card).parent,
            config,
        )
