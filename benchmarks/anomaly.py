"""What a finished search of the target `anomaly` found, and how large a planted lesion has to be.

    python benchmarks/anomaly.py --run . --configfile config.yaml

Prints a section in Markdown. Beside the findings of the test films, round lesions of rising size are
planted in the healthy ones, drawn as the phantom draws nodules and masses, and healed by the models and
at the levels of the search.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from common import hardware, table, versions

from workflow_scripts.anomaly.heal_images import as_healthy, heal, seeds_of
from workflow_scripts.anomaly.judged import judged_images
from workflow_scripts.anomaly.reconstruct_images import load_autoencoder
from workflow_scripts.anomaly.residuals import image_scores, peak_inside, residual_maps
from workflow_scripts.common.configuration import load
from workflow_scripts.common.levels import DEPTHS
from workflow_scripts.common.pixels import to_input, to_pixels
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.common.schemas import ANOMALY_SUMMARY, IMAGES, MACRO, PHANTOM_TRUTH
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.metrics.clusters import interval, resamples
from workflow_scripts.metrics.ranking import Ranking
from workflow_scripts.phantom.population import Film
from workflow_scripts.phantom.radiograph import draw
from workflow_scripts.tensors.reduction import reduce

CPU = torch.device("cpu")
# Radii in cm of what is planted: the phantom's nodules go from 0.8 to 1.4, its masses from 1.8 to 3.0.
RADII = (0.8, 1.1, 1.4, 1.8, 2.4, 3.0)
NAMES = {"gaussian": "Gaussian", "simplex": "simplex", "autoencoder": "autoencoder"}


def value(row: pd.Series) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def by_finding(summary: pd.DataFrame, measure: str) -> str:
    """Return a table: a measure of each finding, at the levels that validation chose."""
    rows = summary[(summary["measure"] == measure) & summary["chosen"]]
    names = [name for name in rows["class_name"].unique() if name != MACRO]
    methods = list(rows["method"].unique())
    lines = []
    for name in [*names, MACRO]:
        own = rows[rows["class_name"] == name].set_index("method")
        first = own.iloc[0]
        shown = "mean of findings" if name == MACRO else name
        counts = f"{first['positives']} of {first['positive_patients']}"
        chance = f"{first['chance']:.3f}"
        lines.append([shown, counts, *(value(own.loc[method]) for method in methods), chance])
    header = ["finding", "films of patients", *(NAMES[method] for method in methods), "chance"]
    return table(header, lines)


def sweep(summary: pd.DataFrame) -> str:
    """Return a table: the mean AUROC by method and level, of test and validation films."""
    rows = summary[(summary["measure"] == "auroc") & (summary["class_name"] == MACRO)]
    lines = [
        [NAMES[r["method"]], f"{r['level']:g}" if r["level"] else "–", value(r),
         f"{r['validation']:.3f}{' (chosen)' if r['chosen'] and r['level'] else ''}"]
        for _, r in rows.iterrows()
    ]  # fmt: skip
    return table(["method", "σ/α", "AUROC, test", "AUROC, validation"], lines)


def healers(data: Path, config: dict, search: dict, folder: Path, summary: pd.DataFrame):
    """Yield each method's name and a function from stored images and their rows to healthy ones."""
    for method, level in (
        summary.loc[summary["chosen"], ["method", "level"]].drop_duplicates().values
    ):
        if method == "autoencoder":
            continue
        place = folder / "model" if method == "simplex" else data / "models" / search["model"]
        model = load_model(place)

        def healed(pixels, rows, model=model, level=level):
            c, seeds = (
                as_healthy(model, rows, search["healthy"]),
                seeds_of(search["seed"], rows["image_id"]),
            )
            bf16 = wants_bf16(config["precision"], CPU)
            x = heal(model, to_input(pixels, CPU), c, seeds, level, search, bf16)
            return to_pixels(x, model.bits)

        yield method, healed


def planted(data: Path, config: dict, search: dict, folder: Path, summary: pd.DataFrame) -> str:
    """Return a table: AUROC and hits of healthy test films against those with a lesion."""
    tensors = data / "tensors" / str(config["tensors"]["size"])
    rows = judged_images(
        read_table(tensors / "images.parquet", IMAGES), search["per_class"], search["seed"]
    )
    rows = rows[(rows["split"] == "test") & (rows["class_name"] == search["healthy"])]
    store = ImageStore(rows, [tensors / "shards.parquet"])
    truth = read_table(data / "raw" / "truth.parquet", PHANTOM_TRUTH).set_index("image_id")
    films = [Film(image_id=k, **truth.loc[k]) for k in rows["image_id"]]
    rng, size = generator("planted"), config["dataset"]["phantom"]["size"]
    places = [
        (str(rng.choice(["left", "right"])), *rng.uniform([0.3, 0.25], [0.7, 0.8])) for _ in films
    ]
    methods = dict(healers(data, config, search, folder, summary))
    autoencoder = load_autoencoder(
        folder / "autoencoder" / "weights.safetensors", store, search["autoencoder"]
    )

    @torch.inference_mode()
    def reconstructed(pixels, rows):
        return to_pixels(autoencoder(to_input(pixels, CPU)), store.bits)

    methods["autoencoder"] = reconstructed
    well, grey = store.all(), 255 / DEPTHS[store.bits][1]
    base = {m: image_scores(residual_maps(well, f(well, rows))) for m, f in methods.items()}
    patients = np.tile(rows["patient_id"].to_numpy(), 2)
    blocks = list(resamples(patients, search["bootstrap"], generator("planted", "patients")))
    ill = np.arange(2 * len(rows)) < len(rows)
    lines = []
    for radius in RADII:
        signs = [
            replace(film, nodule_side=side, nodule_x=x, nodule_y=y, nodule_radius=radius)
            for film, (side, x, y) in zip(films, places, strict=True)
        ]
        drawn = np.stack([reduce(draw(film, size), store.size, store.bits) for film in signs])
        cells = []
        for method, function in methods.items():
            maps = residual_maps(drawn, function(drawn, rows))
            scores = np.concatenate([image_scores(maps), base[method]])
            ranking = Ranking(scores, ill)
            once = ranking.auroc(np.ones((len(scores), 1)))[0]
            low, high = interval(np.concatenate([ranking.auroc(w) for w in blocks]))
            changed = grey * np.abs(drawn.astype(int) - well) > 8
            hits = np.mean([peak_inside(m, c) for m, c in zip(maps, changed, strict=True)])
            cells.append(f"{once:.3f} ({low:.3f} to {high:.3f}), {hits:.0%}")
        lines.append([f"{2 * radius:g} cm", *cells])
    return table(["diameter", *(NAMES[m] for m in methods)], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="working directory of the run")
    parser.add_argument("--configfile", type=Path, required=True, help="its configuration")
    parser.add_argument("--search", default="pathology", help="entry of `anomaly`")
    arguments = parser.parse_args()
    config = load(yaml.safe_load(arguments.configfile.read_text(encoding="utf-8")))
    search = config["anomaly"][arguments.search]
    data = arguments.run / "results" / config["dataset"]["name"]
    folder = data / "anomaly" / arguments.search
    summary = read_table(folder / "summary.parquet", ANOMALY_SUMMARY)
    parts = [f"{hardware('cpu')}. {versions('torch', 'diffusers')}.", sweep(summary)]
    for measure in ("auroc", "pixel_auroc", "average_precision", "dice", "hit"):
        parts += [f"`{measure}`:", by_finding(summary, measure)]
    parts += ["Planted lesions:", planted(data, config, search, folder, summary)]
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
