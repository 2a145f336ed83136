"""Training a classifier on images of a store, and asking it what it sees.

What the data order, the augmentation and the initial weights are depends on the seed alone, not
on the device: they are drawn on the CPU.
"""

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.classifier.network import Classifier, build
from workflow_scripts.common.pixels import to_input
from workflow_scripts.common.precision import use_tf32
from workflow_scripts.common.runtime import progress
from workflow_scripts.common.seeds import generator, seed_for
from workflow_scripts.common.store import ImageStore

WARM_UP = 0.15  # share of the steps in which the learning rate rises


def train(
    store: ImageStore,
    labels: np.ndarray,
    settings: dict,
    classes: int,
    seed: int,
    device: torch.device,
    positions: np.ndarray | None = None,
    history: list[dict] | None = None,
    *,
    first: np.ndarray | None = None,
    augmented: bool = True,
    sampling: str = "balanced",
) -> Classifier:
    """Train a classifier for a fixed number of steps and return it in evaluation mode.

    AdamW under a one-cycle learning rate (Smith & Topin 2018); bf16 on a GPU that has it.

    Parameters
    ----------
    store : images, of any number of channels
    labels : class of every image of the store, int64 (len(store),)
    settings : `backbone`, `steps`, `batch_size`, `learning_rate` and `weight_decay`
    classes : number of classes
    seed : decides initial weights, data order and augmentation
    device : where to train
    positions : the images to train on; None: all. May repeat an image.
    history : a list that gets one entry per step: step, loss, learning_rate
    first : the images of the first half of the steps, those at `positions` being left to the
        second: pre-training, then fine-tuning, under one learning rate. None: `positions` all along
    augmented : whether to vary the images (see `augment`)
    sampling : `balanced` shows every class equally often, `natural` every image
    """
    positions = np.arange(len(store)) if positions is None else np.asarray(positions)
    steps, batch_size = settings["steps"], settings["batch_size"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "initial weights"))
        model = build(settings["backbone"], classes, store.channels)
    model = model.to(device, memory_format=torch.channels_last).train()
    half = steps // 2
    phases = [(positions, steps)]
    if first is not None:
        phases = [(np.asarray(first), half), (positions, steps - half)]
    rng = generator(seed, "order")
    order = np.concatenate(
        [phase[ORDERS[sampling](labels[phase], own * batch_size, rng)] for phase, own in phases]
    )
    optimiser = torch.optim.AdamW(
        model.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings["learning_rate"], total_steps=steps, pct_start=WARM_UP
    )
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    for step in progress(range(steps), "training the classifier", unit="step"):
        batch = order[step * batch_size : (step + 1) * batch_size]
        images = to_input(store.gather(batch), device)
        if augmented:
            images = augment(images, generator(seed, "augment", step))
        target = torch.from_numpy(labels[batch]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if history is not None:
            rate = schedule.get_last_lr()[0]
            history.append({"step": step, "loss": loss.item(), "learning_rate": rate})
        schedule.step()
    return model.eval()


@torch.inference_mode()
def predict(
    model: Classifier,
    store: ImageStore,
    device: torch.device,
    positions: np.ndarray | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Return the probability of every class for the images at `positions` (None: all).

    float32 (n, K); rows sum to 1. Computed in float32 on a GPU too, not in TF32.
    """
    use_tf32(False)
    positions = np.arange(len(store)) if positions is None else np.asarray(positions)
    model = model.to(device).eval()
    chunks = [
        model(to_input(store.gather(positions[start : start + batch_size]), device)).softmax(1)
        for start in range(0, len(positions), batch_size)
    ]
    if not chunks:
        return np.empty((0, model.classes), dtype=np.float32)
    return torch.cat(chunks).float().cpu().numpy()


def balanced_order(labels: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return indices into `labels`, int64 (length,), in which every class comes equally often.

    Classes are dealt in shuffled rounds, and within a class its images are: no image comes twice
    before all others of its class came once.
    """
    present = np.unique(labels)
    rounds = -(-length // len(present))
    dealt = rng.permuted(np.tile(present, (rounds, 1)), axis=1).ravel()[:length]
    order = np.empty(length, dtype=np.int64)
    for label in present:
        members, places = np.flatnonzero(labels == label), np.flatnonzero(dealt == label)
        passes = np.tile(members, (-(-len(places) // len(members)), 1))
        order[places] = rng.permuted(passes, axis=1).ravel()[: len(places)]
    return order


def natural_order(labels: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return indices into `labels`, int64 (length,): every image once, in random order, and again."""
    passes = np.tile(np.arange(len(labels)), (-(-length // len(labels)), 1))
    return rng.permuted(passes, axis=1).ravel()[:length]


ORDERS = {"balanced": balanced_order, "natural": natural_order}


def augment(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Shift, scale, turn and re-expose images as much as two takes of one subject differ.

    No mirroring: the heart has a side, and so has a digit. All channels alike, since a colour may
    be what tells the classes apart. Sizes: up to 5 % of the width, 7 % of the scale, 5 degrees,
    15 % of the contrast and 7 % of the range of values.

    Parameters
    ----------
    images : float32 (n, channels, height, width) in [-1, 1]
    """
    count = len(images)

    def draw(limit: float) -> np.ndarray:
        return rng.uniform(-limit, limit, count)

    angle, scale, x, y = np.deg2rad(draw(5)), 1 + draw(0.07), draw(0.1), draw(0.1)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    affine = np.stack([cosine, -sine, x, sine, cosine, y], axis=1).reshape(count, 2, 3)
    contrast, brightness = 1 + draw(0.15), draw(0.14)
    affine, contrast, brightness = (
        torch.from_numpy(value).to(images) for value in (affine, contrast, brightness)
    )
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved * contrast[:, None, None, None] + brightness[:, None, None, None]
