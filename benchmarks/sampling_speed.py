"""Measure sampling: twenty network evaluations against a thousand ancestral steps of one model.

    .venv/bin/python benchmarks/sampling_speed.py
    .venv/bin/python benchmarks/sampling_speed.py --data results/phantom --model recommended --per-class 40

Reads a finished run: the model, the real images and the domain classifier. Draws images by the
sampler of the configuration, with 20 evaluations, and by a thousand ancestral steps, in turns, and
compares both with held-out real images (the test split) by kernel distance in fixed spaces. What is
drawn is kept in --work, so that a run that was stopped goes on.
"""

import argparse
import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import yaml
from common import RESULTS, ROOT, command, feature_spaces, hardware, table, versions, write_report
from judge import RealImages

from workflow_scripts.common.configuration import load
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.pixels import to_pixels
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.model import WEIGHTS, load_guide, load_model
from workflow_scripts.diffusion.sampler import batch_size, image_seeds, sample, stated
from workflow_scripts.metrics.estimates import Estimate
from workflow_scripts.metrics.kernels import kernel_distance


class Draw:
    """Draws images of the classes in turn; image k is the same whatever else is drawn with it."""

    def __init__(self, folder: Path, sampler: dict, classes: list[str], config: dict, device: str):
        self.model = load_model(folder, device)
        self.guide = load_guide(folder, sampler["autoguidance"], device)
        self.asked = [stated(self.model, name, sampler["condition"]) for name in classes]
        self.bf16 = wants_bf16(config["precision"], torch.device(device))
        # Images between two turns: whole batches.
        self.chunk = 48 if device == "cpu" else batch_size(self.model)

    def __call__(self, sampler: dict, numbers: range, seed: int = 0) -> tuple[np.ndarray, float]:
        """Return images uint8 (n, h, w), and the seconds that they took."""
        c = torch.stack([self.asked[k % len(self.asked)] for k in numbers])
        seeds = image_seeds(seed, "sampling speed", numbers)
        start = time.perf_counter()
        images = to_pixels(sample(self.model, c, seeds, sampler, self.guide, self.bf16))
        return images, time.perf_counter() - start

    def in_turns(self, samplers: dict[str, dict], total: int, work: Path) -> dict[str, tuple]:
        """Draw `total` images by each sampler, a chunk at a time: images, and seconds per image."""
        drawn = {name: ([], []) for name in samplers}
        for start, stop in pairwise([*range(0, total, self.chunk), total]):
            for place, (name, sampler) in enumerate(samplers.items()):
                path = work / f"{place}_{start}_{stop}.npz"
                if not path.exists():
                    images, seconds = self(sampler, range(start, stop), seed=place)
                    np.savez(path, images=images, seconds=seconds)
                    print(f"{name}: {stop} of {total}, {seconds:.1f} s", file=sys.stderr)
                with np.load(path) as kept:
                    drawn[name][0].append(kept["images"])
                    drawn[name][1].append(float(kept["seconds"]) / (stop - start))
        return {name: (np.concatenate(i), np.array(s)) for name, (i, s) in drawn.items()}

    def guidance_cost(self, sampler: dict, repeats: int = 5) -> np.ndarray:
        """Return the time of guided sampling over that of the conditional model, per repeat."""
        numbers, ratios = range(self.chunk), []
        for _ in range(repeats):
            alone, guided = (self(sampler | {"guidance": w}, numbers)[1] for w in (1.0, 2.0))
            ratios.append(guided / alone)
        return np.array(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "results" / "phantom")
    parser.add_argument("--model", default="recommended")
    parser.add_argument("--config", type=Path, default=ROOT / "config.yaml", help="of the run")
    parser.add_argument("--sampler", help="its name in the configuration (the first)")
    parser.add_argument("--per-class", type=int, default=40, help="images per class and sampler")
    parser.add_argument("--slow-steps", type=int, default=1000, help="less only to try this out")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--work", type=Path, default=ROOT / "results" / "sampling_speed")
    parser.add_argument("--output", type=Path, help="(benchmarks/results/sampling_<device>.md)")
    given = parser.parse_args()
    given.output = given.output or RESULTS / f"sampling_{given.device}.md"
    torch.set_num_threads(given.threads)

    config = load(yaml.safe_load(given.config.read_text()))
    classes = config["cohort"]["classes"]
    configured = config["samplers"][given.sampler or next(iter(config["samplers"]))]
    # Two evaluations per step where the method is of that kind.
    fast = configured | {"steps": 10 if configured["method"] in ("heun", "edm") else 20}
    slow = fast | {"method": "ddpm", "steps": given.slow_steps, "spacing": "auto"}
    quick, late = "20 evaluations", f"{given.slow_steps:,} ancestral steps"
    draw = Draw(given.data / "models" / given.model, fast, classes, config, given.device)
    size = draw.model.image_size
    draw(fast | {"steps": 2}, range(draw.chunk))  # warm-up
    network = given.data / "models" / given.model / "unet" / WEIGHTS
    parts = [sha256_of(network), fast, slow, given.per_class, given.device, given.threads]
    key = json.dumps(parts)
    work = given.work / str(seed_for(key))
    work.mkdir(parents=True, exist_ok=True)
    total = given.per_class * len(classes)
    drawn = draw.in_turns({quick: fast, late: slow}, total, work)
    cost = draw.guidance_cost(fast)

    real = RealImages(given.data / "tensors" / str(size), classes)
    per_class = min(given.per_class, real.fewest("val", "test"))
    weights = given.data / "classifier" / str(size) / "domain.safetensors"
    spaces = feature_spaces(real.films("train").images, weights)
    reference, floor = (real.films(split, per_class) for split in ("test", "val"))
    few = {key: images[: per_class * len(classes)] for key, (images, _) in drawn.items()}
    rows = []
    for name, space in spaces.items():
        x = {key: space(images) for key, images in few.items()}
        y, z = space(reference.images), space(floor.images)
        of_quick, of_late = (kernel_distance(x[key], y, None, reference.owners) for key in x)
        overlap = of_quick.low <= of_late.high and of_late.low <= of_quick.high
        between = kernel_distance(x[quick], x[late])
        real_floor = kernel_distance(z, y, floor.owners, reference.owners)
        values = map(shown, (of_quick, of_late, between, real_floor))
        rows.append([name, *values, "overlap" if overlap else "**apart**"])
    each = {name: seconds for name, (_, seconds) in drawn.items()}
    ratio = each[late] / each[quick]
    times = [
        [name, f"{np.median(s):.4f}", f"{s.min():.4f} to {s.max():.4f}"] for name, s in each.items()
    ]
    write_report(
        given.output,
        f"Sampling: {quick} against {late}",
        f"`{command()}`: model `{given.model}` of `{given.data.name}`, {size}²; the "
        f"configured sampler ({fast['method']}, guidance {fast['guidance']:g}) with 20 steps, and "
        f"{given.slow_steps:,} ancestral steps with the same guidance; {total} images each, of the "
        f"same classes, in turns of {draw.chunk}; {'bf16' if draw.bf16 else 'fp32'}.",
        f"{hardware(given.device)}; {given.threads} threads. {versions('torch', 'diffusers')}.",
        "## Time per image, end to end",
        table(["sampler", "seconds per image, median", "least to most"], times),
        f"20 evaluations are **{np.median(ratio):.1f}** times faster ({ratio.min():.1f} to "
        f"{ratio.max():.1f}). Guidance, one doubled batch per step, multiplies the time by "
        f"**{np.median(cost):.2f}** ({cost.min():.2f} to {cost.max():.2f}); two calls would by 2.",
        "## Kernel distance to held-out real images",
        table(["space", quick, late, "the two to each other", "real floor", "intervals"], rows),
        f"{per_class} images of each class on either side; 95 % intervals by jackknife over "
        "patients or images. The floor is the validation split against the test split.",
    )


def shown(value: Estimate) -> str:
    return f"{value.value:.4f} ({value.low:.4f} to {value.high:.4f})"


if __name__ == "__main__":
    main()
