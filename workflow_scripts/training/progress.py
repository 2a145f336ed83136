"""What the averaged weights draw on their way through training: one row of images per point."""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from workflow_scripts.common.figures import save_figure, tile
from workflow_scripts.common.levels import shown
from workflow_scripts.common.pixels import to_input, to_pixels
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.common.store import ImageStore
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.degradation import Degradation
from workflow_scripts.diffusion.network import Network, beside
from workflow_scripts.diffusion.process import CLEAN, Process, Regression

COLUMNS = 8
STEPS = 12


class ProgressGrid:
    """Draws the same images, of the findings in turn, again and again as training goes on.

    Where the network is given an image, what it makes of the first ones that are held out. Unguided and with all else hidden, so that it shows what the network itself has learnt; by
    DDIM, written out here: a change to the samplers is to train no model anew.

    Parameters
    ----------
    store : of images that are held out
    path : the picture, drawn anew with each row
    degradation : of the image that the network is given, and a regressor sees alone
    """

    def __init__(
        self,
        process: Process,
        conditions: Conditions,
        store: ImageStore,
        bf16: bool,
        device: torch.device,
        path: Path,
        degradation: Degradation | None = None,
    ):
        self.process, self.bf16, self.path = process, bf16, path
        findings = conditions.values.get("finding", [None])
        asked = [findings[k % len(findings)] for k in range(COLUMNS)]
        variance = torch.zeros(COLUMNS) if degradation is None else degradation.in_turn(COLUMNS)
        noises = variance.tolist() if "noise" in conditions.values else [None] * COLUMNS
        told = [conditions.vector(name, noise=v) for name, v in zip(asked, noises, strict=True)]
        self.c = torch.stack(told).to(device)
        stream = torch.Generator().manual_seed(seed_for("progress"))
        shape = (COLUMNS, store.channels, store.size, store.size)
        noise = process.eps(shape, stream)
        # Evenly in log SNR, from what no image shows through to what no eye sees.
        low, high = process.sigma_range
        ratios = np.geomspace(min(high, 80), max(low, 0.02), STEPS)
        self.levels = [process.level_at(ratio) for ratio in ratios.tolist()]
        self.x, self.given = (self.levels[0].sigma * noise).to(device), None
        if degradation is None:
            return
        x0 = to_input(store.gather(np.arange(COLUMNS) % len(store)), device)
        normal = torch.randn(COLUMNS, degradation.draws, *shape[1:], generator=stream).to(device)
        given = degradation(x0, normal, variance.to(device))
        if isinstance(process, Regression):
            self.x, self.levels = given, [process.level(0.0)]
        else:
            self.given = given

    @torch.no_grad()
    def __call__(self, step: int, network: Network, rows: dict[int, Tensor]) -> None:
        """Add the row of `step` to `rows`, uint8 (COLUMNS, h, w) each, and draw them all.

        Of colour (COLUMNS, h, w, 3).
        """
        x, network = self.x, beside(network, self.given)
        for s, t in pairwise([*self.levels, CLEAN]):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
                x0 = self.process.denoise(network, x, s, self.c, self.given)
            x = t.sigma / s.sigma * x + t.alpha * (1 - t.ratio / s.ratio) * x0
        rows[step] = torch.from_numpy(shown(to_pixels(x)))
        draw_rows(rows, self.path)


def draw_rows(rows: dict[int, Tensor], path: Path) -> None:
    """Draw rows of images, uint8 (n, h, w) or (n, h, w, 3), below one another, each with its step."""
    sheet = tile(torch.cat(list(rows.values())).numpy(), len(next(iter(rows.values()))))
    height, width = sheet.shape[:2]
    figure, cell = plt.subplots(figsize=(8, 8 * height / width), layout="constrained")
    cell.imshow(sheet, cmap="gray", vmin=0, vmax=255)
    centres = [(row + 0.5) * height / len(rows) for row in range(len(rows))]
    cell.set_yticks(centres, [f"step {step:,}" for step in rows], fontsize=7)
    cell.set_xticks([])
    cell.tick_params(length=0)
    cell.spines[:].set_visible(False)
    save_figure(figure, path, dpi=150)
