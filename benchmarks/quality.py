"""Measure quality at equal time: the recommended recipe against the usual one, on real radiographs.

    .venv/bin/python benchmarks/quality.py --data <folder of images.tar and labels.csv>
    .venv/bin/python benchmarks/quality.py --data <folder> --smoke        some minutes, to try it out

The recipes and samplers are in quality.yaml. The workflow decodes the images, splits them by patient
and trains the domain classifier. Each recipe is then trained for the same time: its steps are chosen
from a short timing, so that its learning rate has run down when the time is over. Snapshots of its
weights along the way are sampled and measured against held-out patients (judge.py). Every stage
keeps what it made in --work; delete that folder to start anew.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from common import RESULTS, ROOT, command, feature_spaces, hardware, table, versions, write_report
from judge import HIGHER_IS_BETTER, Films, Judge, Measured, RealImages
from ours import Ours
from PIL import Image
from safetensors.torch import save_file

from workflow_scripts.common.configuration import load
from workflow_scripts.common.figures import ACCENT, MUTED, WARM, plt, save_figure, tile
from workflow_scripts.common.files import sha256_of, whole_file
from workflow_scripts.common.pixels import to_pixels
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.diffusion.model import load_model
from workflow_scripts.diffusion.sampler import image_seeds, sample, stated
from workflow_scripts.metrics.estimates import Estimate
from workflow_scripts.training.batches import read_split

PRECISION = {"recommended": "auto", "baseline": "fp32"}  # of the recipes
SNAPSHOTS = (10, 40, 100)  # % of the steps, among the tenths at which the loop observes
# What is judged at the end: its name, the recipe, which of its weights, the sampler.
FINAL = {
    "recommended": ("recommended", "average", "recommended"),
    "baseline": ("baseline", "weights", "baseline"),
    "baseline, averaged and guided": ("baseline", "average", "baseline-guided"),
    "baseline, 1,000 ancestral steps": ("baseline", "weights", "baseline-ancestral"),
}


@dataclass
class Benchmark:
    """One comparison: its configuration, and the folder in which its stages keep what they made."""

    config: dict
    work: Path
    threads: int

    @property
    def classes(self) -> list[str]:
        return self.config["cohort"]["classes"]

    @property
    def tensors(self) -> Path:
        return self.data / "tensors" / str(self.config["tensors"]["size"])

    @property
    def data(self) -> Path:
        return self.work / "results" / self.config["dataset"]["name"]

    @property
    def classifier(self) -> Path:
        return self.data / "classifier" / self.tensors.name / "domain.safetensors"

    def prepare(self, data: Path) -> None:
        """Decode, split by patient and train the domain classifier, by the workflow's own rules."""
        images = self.work / "images"
        if not images.exists():
            partial = self.work / "images.partial"
            with tarfile.open(data / "images.tar") as tar:
                tar.extractall(partial, filter="data")
            partial.rename(images)
        folder = self.config["dataset"]["folder"]
        folder |= {"images": str(images), "labels": str((data / "labels.csv").resolve())}
        path = self.work / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))
        targets = ["tensors", str(self.classifier.relative_to(self.work))]
        arguments = ["--snakefile", ROOT / "Snakefile", "--configfile", path]
        arguments += ["--workflow-profile", ROOT / "profiles" / "default"]
        arguments += ["--directory", self.work, "--cores", self.threads, "--quiet", "all"]
        snakemake = [sys.executable, "-m", "snakemake", *map(str, arguments), "--", *targets]
        subprocess.run(snakemake, check=True)

    def training(self, recipe: str) -> Ours:
        shards = sorted(self.tensors.glob("*.npy"))
        split = read_split(self.tensors / "images.parquet", shards, "train")
        model = self.config["models"][recipe]
        return Ours(split, model, self.classes, "cpu", PRECISION[recipe])

    def steps_in(self, recipe: str, minutes: float, timed: int) -> int:
        """Return how many steps a recipe takes in a time, in tens, from the time of a few."""
        moments = []
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            self.training(recipe).train(
                timed, Path(folder), between=lambda step: moments.append(time.perf_counter())
            )
        each = statistics.median(np.diff(moments[timed // 4 :]))
        return max(100, round(6 * minutes / each) * 10)

    def train(self, recipe: str, minutes: float, timed: int) -> dict:
        """Train a recipe for a time, and keep snapshots: `seconds` and `steps` of each, by percent."""
        folder = self.work / recipe
        record = folder / "training.json"
        if record.exists():
            found = json.loads(record.read_text())
            if (found["asked"], found["model"]) == (minutes, self.config["models"][recipe]):
                return found
            sys.exit(
                f"{folder} holds another training of {recipe}: remove it, or name other --work"
            )
        steps = self.steps_in(recipe, minutes, timed)
        print(f"{recipe}: {steps} steps for {minutes:g} minutes", file=sys.stderr)
        training = self.training(recipe)
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(json.dumps(training.facts))
        taken = {}

        def observe(step: int, average: torch.nn.Module, _: dict) -> None:
            percent = 10 * round(10 * step / steps)
            if percent in SNAPSHOTS:
                taken[percent] = {"seconds": time.perf_counter() - start, "steps": step}
                save_file(training.network.state_dict(), folder / f"{percent}_weights.safetensors")
                save_file(average.state_dict(), folder / f"{percent}_average.safetensors")

        with tempfile.TemporaryDirectory(dir=self.work) as checkpoints:
            start = time.perf_counter()
            state = training.train(steps, Path(checkpoints), observe=observe)
        found = {"asked": minutes, "model": self.config["models"][recipe], "snapshots": taken}
        found |= {"loss": state["rows"][-1]["loss"], "bf16": training.bf16}
        record.write_text(json.dumps(found))
        return json.loads(record.read_text())

    def samples(self, recipe: str, weights: str, sampler: str) -> Films:
        """Draw `per_class` images of each class from a snapshot."""
        settings = self.config["samplers"][sampler]
        path = self.work / recipe / f"{weights}_{sampler}.npy"
        numbers = range(settings["per_class"])
        if not path.exists():
            start = time.perf_counter()
            folder = self.work / recipe
            model = load_model(folder, weights=folder / f"{weights}.safetensors")
            c = torch.stack([stated(model, name, {}) for name in self.classes for _ in numbers])
            seeds = [image_seeds(settings["seed"], name, numbers) for name in self.classes]
            bf16 = wants_bf16(PRECISION[recipe], model.device)
            images = to_pixels(sample(model, c, torch.cat(seeds), settings, bf16=bf16))
            with whole_file(path) as partial:
                np.save(partial, images)
            seconds = time.perf_counter() - start
            print(f"{recipe} {weights} {sampler}: {seconds:.0f} s", file=sys.stderr)
        images = np.load(path)
        classes = np.repeat(np.arange(len(self.classes)), len(numbers))
        return Films(images, classes, np.arange(len(images)))

    def measured(self, judge: Judge, name: str, films: Films) -> dict[str, Measured]:
        """Measure a set of images, or read what was measured before."""
        resamples, n = len(judge.counts) - 1, len(films.images)
        version = sha256_of(self.classifier)[:8]
        path = self.work / "measured" / f"{name}_{n}_{resamples}_{version}.npz"
        if not path.exists():
            print(f"measuring {name}", file=sys.stderr)
            found = {k: np.append(m.value, m.resampled) for k, m in judge.measure(films).items()}
            with whole_file(path) as partial:
                np.savez(partial, **found)
        with np.load(path) as kept:
            return {key: Measured(float(kept[key][0]), kept[key][1:]) for key in kept}


Measures = dict[str, Measured]


def comparison(ours: Measures, theirs: Measures, floor: Measures) -> str:
    """Return the table of both recipes, their difference, and real images against real ones."""
    rows = []
    for name, mine in ours.items():
        difference = mine.minus(theirs[name])
        sign = 1 if name in HIGHER_IS_BETTER else -1
        low, high = sorted([sign * difference.low, sign * difference.high])
        verdict = "**better**" if low > 0 else "worse" if high < 0 else "not told apart"
        values = [mine.interval, theirs[name].interval, difference]
        rows.append([name, *map(shown, values), f"{floor[name].value:.3g}", verdict])
    header = ["measure", "recommended", "baseline", "recommended − baseline", "real images", ""]
    return table(header, rows)


def training_table(trained: dict[str, dict], config: dict) -> str:
    """Return the table of how each recipe was trained."""
    rows = []
    for recipe, record in trained.items():
        end, batch = record["snapshots"]["100"], config["models"][recipe]["training"]["batch_size"]
        line = [recipe, f"{end['steps']:,}", str(batch), f"{end['seconds'] / 60:.2f}"]
        rows.append([*line, "bf16" if record["bf16"] else "fp32"])
    return table(["recipe", "steps", "images per step", "minutes", "precision"], rows)


def curve_table(curves: dict[str, dict[float, Measures]]) -> str:
    """Return the table of every measure along the training."""
    rows = [
        [recipe, f"{minutes:.1f}", *(f"{measure.value:.3g}" for measure in found.values())]
        for recipe, curve in curves.items()
        for minutes, found in curve.items()
    ]
    names = next(iter(curves["recommended"].values()))
    return table(["recipe", "minutes", *names], rows)


def columns(sets: dict[str, Measures]) -> str:
    """Return the table of several sets side by side."""
    names = next(iter(sets.values()))
    rows = [[name, *(shown(found[name].interval) for found in sets.values())] for name in names]
    return table(["measure", *sets], rows)


def shown(value: Estimate) -> str:
    return f"{value.value:.3g} ({value.low:.3g} to {value.high:.3g})"


def draw_curves(curves: dict[str, dict[float, Measures]], floor: Measures, path: Path) -> None:
    """Draw every measure against minutes of training, one line per recipe."""
    names = list(floor)
    figure, grid = plt.subplots(2, len(names) // 2, figsize=(3 * len(names) // 2, 5))
    for axes, name in zip(grid.T.flat, names, strict=True):
        for (recipe, curve), colour in zip(curves.items(), (ACCENT, WARM), strict=True):
            minutes = list(curve)
            found = [curve[minute][name].interval for minute in minutes]
            axes.plot(minutes, [m.value for m in found], "o-", color=colour, ms=3, label=recipe)
            axes.fill_between(
                minutes,
                [m.low for m in found],
                [m.high for m in found],
                color=colour,
                alpha=0.2,
                lw=0,
            )
        axes.axhline(floor[name].value, color=MUTED, ls="--", lw=1, label="real images")
        axes.set(title=name, xlabel="minutes of training")
        if name not in HIGHER_IS_BETTER and not name.startswith("kernel"):
            axes.set_ylim(bottom=0)
    grid[0, 0].legend()
    figure.tight_layout()
    save_figure(figure, path, dpi=100)


def draw_grid(films: Films, path: Path, per_class: int = 16) -> None:
    """Write the first images of each class, each class in two rows, at twice their size."""
    sheet = Image.fromarray(tile(films.first(per_class).images, columns=8))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST).save(
        path, optimize=True
    )


def smoke(config: dict, given: argparse.Namespace) -> None:
    """Make everything so small that the whole comparison takes a minute."""
    given.minutes, given.timed, given.resamples = 0.1, 20, 20
    given.work = given.work / "smoke"
    given.output = given.work / given.output.name
    config["tensors"]["size"] = 32
    config["classifier"]["steps"] = 20
    for model in config["models"].values():
        model["network"]["channels"] = [8, 16]
        model["training"]["batch_size"] = 4
    for sampler in config["samplers"].values():
        sampler |= {"per_class": min(8, sampler["per_class"] // 2), "steps": 4}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of images.tar, labels.csv")
    parser.add_argument("--minutes", type=float, default=10, help="of training, each (10)")
    parser.add_argument("--timed", type=int, default=60, help="steps that choose their number (60)")
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap (200)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--work", type=Path, default=ROOT / "results" / "quality")
    parser.add_argument("--output", type=Path, default=RESULTS / "quality.md")
    parser.add_argument("--smoke", action="store_true", help="tiny networks, few images, few steps")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = load(yaml.safe_load((ROOT / "benchmarks" / "quality.yaml").read_text()))
    if given.smoke:
        smoke(config, given)

    given.work.mkdir(parents=True, exist_ok=True)
    run = Benchmark(config, given.work.resolve(), given.threads)
    run.prepare(given.data)
    trained = {recipe: run.train(recipe, given.minutes, given.timed) for recipe in PRECISION}
    along = {
        (recipe, percent): run.samples(recipe, f"{percent}_{FINAL[recipe][1]}", recipe)
        for recipe in PRECISION
        for percent in SNAPSHOTS
    }
    final = {name: run.samples(of, f"100_{which}", by) for name, (of, which, by) in FINAL.items()}

    real = RealImages(run.tensors, run.classes)
    most = min(config["samplers"][by]["per_class"] for by in ("recommended", "baseline"))
    per_class = min(most, real.fewest("val", "test"))
    spaces = feature_spaces(real.films("train").images, run.classifier)
    held_out = real.films("test", per_class)
    judge = Judge(held_out, spaces, run.classifier, given.resamples, seed=0)

    def measured(name: str, films: Films, count: int = per_class) -> Measures:
        return run.measured(judge, name, films.first(count))

    floor = measured("real images", real.films("val"))
    *others, ancestral = FINAL
    at_end = {name: measured(name, final[name]) for name in others}
    curves: dict[str, dict[float, Measures]] = {recipe: {} for recipe in PRECISION}
    for (recipe, percent), films in along.items():
        minutes = trained[recipe]["snapshots"][str(percent)]["seconds"] / 60
        curves[recipe][minutes] = measured(f"{recipe} at {percent} %", films)
    few = config["samplers"][FINAL[ancestral][2]]["per_class"]
    sets = {name: final[name] for name in ("recommended", ancestral)} | {"real": real.films("val")}
    with_few = [measured(name, films, few) for name, films in sets.items()]

    stem = given.output.with_suffix("")
    draw_curves(curves, floor, stem.with_suffix(".png"))
    pictures = {recipe: final[recipe] for recipe in PRECISION}  # no patient's: it is published
    for name, films in pictures.items():
        draw_grid(films, stem.with_name(f"{stem.name}_{name}.png"))
    sampler = config["samplers"]["baseline"]
    write_report(
        given.output,
        "Quality at equal time: recommended against baseline",
        f"`{command()}`: paediatric pneumonia, {config['tensors']['size']}², split by patient; "
        "recipes and samplers in `benchmarks/quality.yaml`. One training of each; intervals (95 %) "
        "are of the images and patients judged, not of a second training.",
        f"{hardware('cpu')}; {given.threads} threads. {versions('torch', 'diffusers')}.",
        training_table(trained, config),
        "## At the end",
        f"{per_class} images of each class against as many of held-out patients (test). Both "
        f"recipes are sampled by {sampler['method']} with {sampler['steps']} steps, without guidance "
        "but where it is said. Low is good, but for class consistency, the share of images that the "
        "domain classifier sees as the class asked for. `real images` are those of other patients "
        "(val), measured alike. The domain classifier was trained on the real training split; no "
        "classifier or feature of these spaces had a part in training.",
        comparison(at_end["recommended"], at_end["baseline"], floor),
        "The baseline with what it usually lacks, the average of its weights and guidance 2:",
        columns({name: at_end[name] for name in others[1:]}),
        f"The baseline by its own ancestral sampler, which takes so long that there are {few} images "
        "of each class; the others with as few. Fréchet distances of so few images are far too "
        "high, for real ones too.",
        comparison(*with_few),
        "## Along the training",
        f"![Every measure against minutes of training]({stem.name}.png)",
        curve_table(curves),
        "## Images",
        *(f"{name}:\n\n![{name}]({stem.name}_{name}.png)" for name in pictures),
    )


if __name__ == "__main__":
    main()
