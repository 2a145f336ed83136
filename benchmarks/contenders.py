"""The training loops that training_speed.py measures: ours, and the peers' as they document them.

Each function builds its network, tells `gate.about` what it is, and trains it for ever, calling
`gate()` after every step; that measures, waits, and in the end leaves by SystemExit. Peers read
`job.folder`: `grey/` holds one grey PNG per image, `patches/` the same with 2 x 2 pixels as the four
channels of an RGBA file.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from ours import Ours
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle
from torch.utils.data import DataLoader, Dataset

from workflow_scripts.common.store import ImageStore
from workflow_scripts.diffusion.network import Network, build_network
from workflow_scripts.training.batches import Batches, Split

CLASSES = ["No Finding", "Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax"]
FOREVER = 10**9  # steps


@dataclass(frozen=True)
class Job:
    """What all contenders have in common."""

    folder: Path
    size: int  # height and width of the images in pixels
    batch_size: int
    model: dict  # configuration section of the model
    loaders: int  # processes of a peer's data loader
    threads: int
    device: str

    @property
    def patch_size(self) -> int:
        return self.model["network"]["patch_size"]

    def network(self) -> Network:
        """Return our network without weights."""
        with torch.device("meta"):
            return build_network(self.model["network"], self.size, len(CLASSES) + 1)


class Gate(Protocol):
    """Where a contender waits for its turn."""

    def about(self, network: nn.Module, precision: str, **facts: float) -> None: ...

    def __call__(self) -> None: ...


def ours(job: Job, gate: Gate, precision: str = "auto") -> None:
    """The workflow's own loop, with all that it does in a step: conditions, averages, dropout."""
    index = pd.read_parquet(job.folder / "images.parquet")
    split = Split(index, ImageStore(index, [job.folder / "images.npy"]))
    training = Ours(split, job.model, CLASSES, job.device, precision)
    making = batch_seconds(training.batches, job.device)
    gate.about(training.network, "bf16 mixed" if training.bf16 else "fp32", batch_seconds=making)
    training.train(FOREVER, job.folder, between=lambda step: step and gate())


def ours_fp32(job: Job, gate: Gate) -> None:
    """The same without bf16."""
    ours(job, gate, precision="fp32")


def batch_seconds(batches: Batches, device: str, repeats: int = 50) -> float:
    """Return how long a batch takes to make: images read, noise and conditions drawn; the median."""
    seconds = []
    for step in range(repeats):
        start = time.perf_counter()
        batches[step]
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def usual(job: Job, gate: Gate) -> None:
    """PNG files, DataLoader, Lightning's Trainer, float32: what most projects copy."""
    import lightning.pytorch as pl
    from diffusers import DDPMScheduler, UNet2DModel
    from torchvision import transforms

    class Films(Dataset):
        def __init__(self, folder: Path):
            self.paths = sorted(folder.glob("*.png"))
            self.transform = transforms.Compose(
                [transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
            )

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            path = self.paths[index]
            return self.transform(Image.open(path).convert("L")), int(path.stem.split("_")[0])

    class Diffusion(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.unet = UNet2DModel.from_config(job.network().unet.config)
            self.scheduler = DDPMScheduler(num_train_timesteps=1000)

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            images, labels = batch
            x0 = pixel_unshuffle(images, job.patch_size)
            noise = torch.randn_like(x0)
            t = torch.randint(1000, (len(x0),), device=self.device)
            output = self.unet(self.scheduler.add_noise(x0, noise, t), t, labels).sample
            loss = F.mse_loss(output, noise)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-4)

    class Turns(pl.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            gate()

    loader = DataLoader(
        Films(job.folder / "grey"),
        job.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=job.loaders,
        persistent_workers=True,
        pin_memory=job.device == "cuda",
    )
    trainer = pl.Trainer(
        max_epochs=-1,
        accelerator="gpu" if job.device == "cuda" else "cpu",
        devices=1,
        precision="32-true",
        callbacks=[Turns()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Diffusion()
    gate.about(model.unet, "fp32")
    trainer.fit(model, loader)


def lucidrains(job: Job, gate: Gate, patches: bool = False) -> None:
    """denoising-diffusion-pytorch with its own Trainer, data set and defaults, without classes.

    Its Unet knows neither layers per level nor patches; its base width is chosen so that it has
    as nearly our number of parameters as its groups allow.
    """
    from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet

    widths = np.array(job.model["network"]["channels"])
    multiples = tuple(int(m) for m in np.maximum(1, np.round(widths / widths[0])))
    channels = 4 if patches else 1

    def unet(width: int) -> nn.Module:
        return Unet(dim=width, dim_mults=multiples, channels=channels)

    def distance(width: int) -> int:
        with torch.device("meta"):
            return abs(count(unet(width)) - ours)

    ours = count(job.network())
    model = unet(min(range(8, 2 * int(widths[0]), 4), key=distance))
    gate.about(model, "fp32")
    diffusion = GaussianDiffusion(model, image_size=job.size // 2 if patches else job.size)
    trainer = Trainer(
        diffusion,
        job.folder / ("patches" if patches else "grey"),
        train_batch_size=job.batch_size,
        augment_horizontal_flip=False,
        train_num_steps=FOREVER,
        save_and_sample_every=FOREVER,
        calculate_fid=False,
        results_folder=job.folder / "results",
    )
    average = trainer.ema.update

    def step_ends() -> None:  # the Trainer's last act of every step
        average()
        gate()

    trainer.ema.update = step_ends
    trainer.train()


def lucidrains_patches(job: Job, gate: Gate) -> None:
    """As above, on patches: no option of the package, but its RGBA images serve."""
    lucidrains(job, gate, patches=True)


def monai(job: Job, gate: Gate) -> None:
    """MONAI's network, scheduler, inferer and cached data set as in its tutorial 2d_ddpm."""
    from monai.data import CacheDataset
    from monai.inferers import DiffusionInferer
    from monai.networks.nets import DiffusionModelUNet
    from monai.networks.schedulers import DDPMScheduler
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, ScaleIntensityRanged

    config = job.network().unet.config
    transform = Compose(
        [
            LoadImaged(keys=["image"]),
            EnsureChannelFirstd(keys=["image"]),
            ScaleIntensityRanged(
                keys=["image"], a_min=0.0, a_max=255.0, b_min=0.0, b_max=1.0, clip=True
            ),
        ]
    )
    files = [{"image": str(path)} for path in sorted((job.folder / "grey").glob("*.png"))]
    loader = DataLoader(
        CacheDataset(files, transform, progress=False),
        job.batch_size,
        shuffle=True,
        num_workers=job.loaders,
        persistent_workers=True,
    )
    cuda = job.device == "cuda"
    group = config["norm_num_groups"]
    model = DiffusionModelUNet(
        spatial_dims=2,
        in_channels=config["in_channels"],
        out_channels=config["out_channels"],
        channels=config["block_out_channels"],
        attention_levels=[kind.startswith("Attn") for kind in config["down_block_types"]],
        num_res_blocks=config["layers_per_block"],
        norm_num_groups=group,
        num_head_channels=group,
    ).to(job.device)
    gate.about(model, "fp16 mixed" if cuda else "fp32")
    inferer = DiffusionInferer(DDPMScheduler(num_train_timesteps=1000))
    optimizer = torch.optim.Adam(model.parameters(), lr=2.5e-5)
    scaler = torch.amp.GradScaler("cuda", enabled=cuda)
    model.train()
    while True:
        for batch in loader:
            images = pixel_unshuffle(batch["image"].to(job.device), job.patch_size)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", enabled=cuda):
                noise = torch.randn_like(images)
                t = torch.randint(1000, (len(images),), device=images.device).long()
                output = inferer(inputs=images, diffusion_model=model, noise=noise, timesteps=t)
                loss = F.mse_loss(output.float(), noise.float())
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            gate()


def count(network: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
