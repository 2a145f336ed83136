"""The exported folder: it loads where this project is not, samples as it does, and says what is."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from diffusers import DDIMScheduler, UniPCMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from tests.untrained import untrained
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.pixels import to_pixels
from workflow_scripts.common.schemas import (
    AVERAGES,
    EXCLUSIONS,
    IMAGES,
    METRICS,
    SAMPLES,
    SPLITS,
    TRAINING_LOG,
    UNMATCHED,
)
from workflow_scripts.common.tables import write_table
from workflow_scripts.diffusion import load_model, sample
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.network import build_network
from workflow_scripts.diffusion.noise import noise
from workflow_scripts.export import card
from workflow_scripts.export.export_model import (
    Artefacts,
    export_model,
    make_scheduler,
    pipeline_index,
)
from workflow_scripts.export.pipeline import ConditionalPipeline

CLASSES = ["No Finding", "Cardiomegaly", "Effusion"]
SIZE = 16
NETWORK = {
    "patch_size": 2,
    "channels": [8, 16],
    "layers_per_block": 1,
    "attention_levels": [1],
    "dropout": 0.1,
}
DDPM = {
    "process": "ddpm",
    "loss": "l2",
    "timesteps": 1000,
    "schedule": "cosine",
    "betas": None,
    "zero_terminal_snr": True,
    "resolution_shift": False,
    "prediction": "v",
    "weighting": "min_snr",
    "min_snr_gamma": 5,
}
VP_SDE = {
    "process": "vp_sde",
    "loss": "l2",
    "resolution_shift": True,
    "prediction": "v",
    "weighting": "none",
    "min_snr_gamma": 5,
}
EDM = {"process": "edm", "loss": "l1", "p_mean": -1.2, "p_std": 1.2}
FINITE = DDPM | {"zero_terminal_snr": False}
PROCESSES = {
    "recommended": DDPM,
    "finite": FINITE,
    "linear": FINITE | {"schedule": "linear", "prediction": "epsilon", "weighting": "none"},
    "short": DDPM | {"timesteps": 100, "schedule": "sigmoid", "prediction": "sample"},
    "vp-sde": VP_SDE,
    "score": VP_SDE | {"prediction": "epsilon"},
    "cosine-epsilon": FINITE | {"prediction": "epsilon", "weighting": "none"},
    "edm": EDM,
}
TRAINING = {
    "steps": 600,
    "batch_size": 32,
    "learning_rate": 0.001,
    "warmup_steps": 60,
    "weight_decay": 0.01,
    "label_dropout": 0.1,
    "ema": [0.05, 0.1],
    "class_sampling": "balanced",
    "seed": 1,
}
CONDITIONS = Conditions(
    {"finding": CLASSES, "view": ["AP", "PA"], "sex": ["F", "M"], "age": [20, 40, 60, 80]}
)
DPM = {
    "method": "dpm++2m",
    "steps": 20,
    "spacing": "auto",
    "sigma_min": None,
    "sigma_max": None,
    "guidance": 2.0,
    "guidance_interval": None,
    "guided": None,
    "autoguidance": None,
    "condition": {},
}
SAMPLERS = [
    ["dpm20", DPM],
    [
        "narrow",
        DPM | {"guidance_interval": [0.2, 5.0], "guided": ["finding"], "condition": {"view": "AP"}},
    ],
]


# -- stand-ins


def write_model(folder: Path, diffusion: dict, conditions: Conditions = CONDITIONS) -> dict:
    """Write an untrained model as training leaves one, and return its facts."""
    torch.manual_seed(0)
    network = build_network(NETWORK, SIZE, conditions.width, len(conditions.attributes))
    with torch.no_grad():  # a fresh network says little
        network.unet.conv_out.weight.mul_(3)
    network.unet.save_pretrained(folder / "unet")
    facts = {
        "image_size": SIZE,
        "channels": 1,
        "bits": 8,
        "given": None,
        "network": NETWORK,
        "diffusion": diffusion,
        "sigma_data": 0.4,
        "conditions": conditions.values,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": 1_500_000,
    }
    (folder / "model.json").write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def image_table(rng: np.random.Generator, **columns) -> pd.DataFrame:
    """IMAGES, some of their columns replaced."""
    count = 180
    patients = rng.integers(0, 60, count)
    labels = rng.integers(0, len(CLASSES), count)
    names = np.array(CLASSES)[labels]
    return pd.DataFrame(
        {
            "image_id": [f"{number:04d}" for number in range(count)],
            "patient_id": [f"p{number}" for number in patients],
            "class_id": labels,
            "class_name": names,
            "findings": names,
            "age_years": 20.0 + patients,
            "sex": np.array(["F", "M"])[patients % 2],
            "view": rng.choice(["AP", "PA"], count, p=[0.3, 0.7]),
            "split": np.array(SPLITS)[np.array([0, 0, 0, 1, 2])[patients % 5]],
            "shard": "part",
            "row": np.arange(count),
        }
    ).assign(**columns)


def metric_table(copied: bool = False) -> pd.DataFrame:
    """METRICS of one sampler."""
    rows = []
    chance = {"memorised_fraction": (0.0083, 0.0194), "closer_to_train": (0.5, np.nan)}
    for metric, extractor, name, value, floor, ceiling in (
        ("frechet_distance", "domain", "Fréchet distance", 12.3, 4.5, (987.6, "noise")),
        ("kernel_distance", "domain", "Kernel distance", 0.034, 0.002, (5.6, "noise")),
        ("coverage", "domain", "Coverage", 0.72, 0.97, (0, "noise")),
        ("msssim_diversity", "pixels", "Diversity", 0.93, 1.01, (0, "equal images")),
        ("class_accuracy", "domain", "Seen as the class", 0.81, 0.93, (1 / 3, "chance")),
        *(
            (metric, space, name, found if copied else value, floor, (planted, "planted copies"))
            for metric, name, value, found, floor, planted in (
                ("memorised_fraction", "Nearer …", 0.012, 0.2, 0.01, 1.0),
                ("closer_to_train", "Nearer to …", 0.51, 0.9, 0.5, 0.7),
            )
            for space in ("pixels", "domain")
        ),
    ):
        for label in ["pooled", *(CLASSES if metric != "frechet_distance" else [])]:
            known = metric != "frechet_distance"
            rows.append(
                {
                    "metric": metric,
                    "name": name,
                    "extractor": extractor,
                    "weights_sha256": None,
                    "class_name": label,
                    "n": 336,
                    "n_reference": 300,
                    "value": value,
                    "low": 0.8 * value if known else np.nan,
                    "high": min(1.2 * value, 1) if known else np.nan,
                    "interval": "95 %" if known else "none",
                    "floor": floor,
                    "train": floor,
                    "ceiling": float(ceiling[0]),
                    "ceiling_of": ceiling[1],
                    "expected": chance.get(metric, (np.nan, np.nan))[0],
                    "expected_high": chance.get(metric, (np.nan, np.nan))[1],
                    "seed": 4,
                }
            )
    return pd.DataFrame(rows)


def write_artefacts(
    folder: Path,
    diffusion: dict,
    copied: bool = False,
    searched: bool = True,
    said: dict | None = None,
    samplers: list = SAMPLERS,
    **columns,
) -> Artefacts:
    """Write all that the export reads.

    Parameters
    ----------
    copied, searched : whether copies were found, or looked for
    said : facts of the model that are to be others
    columns : of IMAGES, to be replaced
    """
    rng = np.random.default_rng(0)
    facts = write_model(folder, diffusion)
    (folder / "model.json").write_text(json.dumps(facts | (said or {})))
    write_table(
        pd.DataFrame(
            {
                "sigma_rel": [0.05, 0.07, 0.1],
                "validation_loss": [0.31, 0.3, 0.32],
                "chosen": [False, True, False],
            }
        ),
        folder / "average.parquet",
        AVERAGES,
    )
    step = np.arange(100, 601, 100)
    write_table(
        pd.DataFrame(
            {
                "step": step,
                "images": 32 * step,
                "loss": 0.3,
                "validation_loss": 0.3,
                "learning_rate": 1e-3,
                "gradient_norm": 1.0,
            }
        ),
        folder / "training_log.parquet",
        TRAINING_LOG,
    )
    write_table(image_table(rng, **columns), folder / "images.parquet", IMAGES)
    excluded = pd.DataFrame({"image_id": [f"x{k}" for k in range(1234)], "patient_id": "q"})
    excluded["reason"] = ["several findings"] * 1200 + ["no finding stated"] * 34
    write_table(excluded.assign(detail=""), folder / "exclusions.parquet", EXCLUSIONS)
    absent = pd.DataFrame({"image_id": [f"y{k}" for k in range(7)] + ["x0", "x1", "z"]})
    absent = absent.assign(found_in=["table"] * 9 + ["part"], reason="in no archive")
    write_table(absent, folder / "unmatched.parquet", UNMATCHED)
    (folder / "split_report.json").write_text(
        json.dumps({"method": "stratified", "patients_shared_between_splits": 0})
    )
    metrics = {name: folder / f"{name}.parquet" for name, _ in samplers}
    for path in metrics.values():
        table = metric_table(copied)
        of_copies = table["metric"].isin(card.COPIES)
        write_table(table[searched | ~of_copies], path, METRICS)
    samples = []
    for number, name in enumerate(CLASSES):
        stem = f"{name.lower().replace(' ', '_')}_000"
        np.save(folder / f"{stem}.npy", rng.integers(0, 256, (12, SIZE, SIZE), dtype=np.uint8))
        samples.append(
            pd.DataFrame(
                {
                    "image_id": [f"{stem}_{row:03d}" for row in range(12)],
                    "shard": stem,
                    "row": np.arange(12),
                    "class_id": number,
                    "class_name": name,
                    "seed": np.arange(12),
                }
            )
        )
    write_table(pd.concat(samples), folder / "samples.parquet", SAMPLES)
    return Artefacts(
        facts=folder / "model.json",
        unet=folder / "unet" / "config.json",
        weights=folder / "unet" / "diffusion_pytorch_model.safetensors",
        average=folder / "average.parquet",
        log=folder / "training_log.parquet",
        images=folder / "images.parquet",
        exclusions=folder / "exclusions.parquet",
        unmatched=folder / "unmatched.parquet",
        split=folder / "split_report.json",
        metrics=metrics,
        samples=folder / "samples.parquet",
        shards=sorted(folder.glob("*_000.npy")),
    )


def configuration(diffusion: dict, kind: str = "phantom", samplers: list = SAMPLERS) -> dict:
    return {
        "name": "small",
        "settings": {"network": NETWORK, "diffusion": diffusion, "training": TRAINING},
        "samplers": samplers,
        "dataset": {"name": "ours", "kind": kind},
        "classes": CLASSES,
        "references": ["Ho J, Jain A, Abbeel P. Denoising Diffusion Probabilistic Models. 2020."],
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[str, Path]:
    """An exported folder of every process."""
    folders = {}
    for name, diffusion in PROCESSES.items():
        source = tmp_path_factory.mktemp(name)
        folders[name] = tmp_path_factory.mktemp(f"exported-{name}")
        export_model(write_artefacts(source, diffusion), folders[name], configuration(diffusion))
    return folders


# -- the folder


def test_the_folder_holds_what_a_pipeline_of_diffusers_does(exported):
    for folder in exported.values():
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert files == {
            "README.md", "model.json", "model_index.json", "pipeline.py", "samples.png",
            "scheduler/scheduler_config.json", "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
        }  # fmt: skip


ELSEWHERE = """
import importlib.util, json, sys
from pathlib import Path
import numpy as np
import torch
from diffusers import DiffusionPipeline, UNet2DModel

assert importlib.util.find_spec("workflow_scripts") is None
torch.set_num_threads(1)
noise = torch.from_numpy(np.load("noise.npy"))
for name, folder in json.loads(Path("folders.json").read_text()).items():
    UNet2DModel.from_pretrained(Path(folder) / "unet", low_cpu_mem_usage=False)
    pipeline = DiffusionPipeline.from_pretrained(
        folder, trust_remote_code=True, low_cpu_mem_usage=False
    )
    pipeline.set_progress_bar_config(disable=True)
    asked = dict(finding="Effusion", view="AP", sex="F", age=50, noise=noise, output_type="pt")
    np.save(f"{name}.npy", pipeline(**asked, num_inference_steps=20, guidance_scale=2).images)
    narrow = dict(guidance_scale=3, guidance_interval=(0.2, 5), guided=["finding"])
    np.save(f"{name}-narrow.npy", pipeline(**asked, num_inference_steps=10, **narrow).images)
picture = pipeline("Effusion", batch_size=2, num_inference_steps=2).images[1]
picture.save("picture.png")
assert (picture.size, picture.mode) == ((16, 16), "L")
"""


@pytest.fixture(scope="module")
def elsewhere(exported, tmp_path_factory) -> Path:
    """Images that diffusers drew from the folders in a process without this project."""
    folder = tmp_path_factory.mktemp("elsewhere")
    np.save(folder / "noise.npy", noise(torch.arange(3), 0, (1, SIZE, SIZE)).numpy())
    paths = {name: str(path) for name, path in exported.items()}
    (folder / "folders.json").write_text(json.dumps(paths))
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE],
        cwd=folder,
        env={"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


# At zero terminal SNR diffusers begins at √ᾱ = 2⁻¹², not at 0.
@pytest.mark.parametrize("name", PROCESSES)
def test_diffusers_alone_draws_what_our_own_sampler_draws(name, exported, elsewhere):
    model = load_model(exported[name])
    c = model.conditions.vector("Effusion", "AP", "F", 50).expand(3, -1)
    for suffix, settings in (
        ("", {"steps": 20, "guidance": 2}),
        (
            "-narrow",
            {"steps": 10, "guidance": 3, "guidance_interval": (0.2, 5), "guided": ["finding"]},
        ),
    ):
        ours = sample(model, c, torch.arange(3), settings | {"method": "dpm++2m"}).numpy()
        theirs = np.load(elsewhere / f"{name}{suffix}.npy")
        assert ours.std() > 0.1
        off = np.sqrt(np.square(theirs - ours).mean()) / ours.std()
        assert off < (0.02 if PROCESSES[name].get("zero_terminal_snr") else 5e-4)


@given(
    finding=st.none() | st.sampled_from(CLASSES) | st.lists(st.sampled_from(CLASSES)),
    view=st.sampled_from([None, "AP", "PA"]),
    sex=st.sampled_from([None, "F", "M"]),
    age=st.none() | st.floats(0, 100),
)
def test_the_pipeline_asks_in_the_same_words_as_the_engine(pipeline, finding, view, sex, age):
    theirs = pipeline.condition(finding, view, sex, age)
    torch.testing.assert_close(theirs, CONDITIONS.vector(finding, view, sex, age))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> ConditionalPipeline:
    folder = tmp_path_factory.mktemp("model")
    facts = write_model(folder, DDPM)
    unet = load_model(folder).network.unet
    return ConditionalPipeline(unet, make_scheduler(facts), facts["conditions"])


@pytest.mark.parametrize("name", ["recommended", "vp-sde", "score"])
@pytest.mark.parametrize(
    ("solver", "options", "method"),
    [(DDIMScheduler, {"clip_sample": False}, "ddim"), (UniPCMultistepScheduler, {}, "unipc")],
)
def test_other_solvers_of_diffusers_fit_and_agree_with_ours(
    exported, name, solver, options, method
):
    model = load_model(exported[name])
    settings = json.loads((exported[name] / "model_index.json").read_text())
    other = ConditionalPipeline(
        model.network.unet,
        solver.from_config(make_scheduler(model.facts).config, **options),
        settings["conditions"],
        settings["time_offset"],
        settings["time_scale"],
    )
    other.set_progress_bar_config(disable=True)
    start = noise(torch.arange(2), 0, (1, SIZE, SIZE))
    theirs = other("Effusion", "AP", guidance_scale=2, noise=start, output_type="pt").images
    c = model.conditions.vector("Effusion", "AP").expand(2, -1)
    ours = sample(model, c, torch.arange(2), {"method": method, "steps": 20, "guidance": 2})
    assert (theirs - ours).square().mean().sqrt() < 2e-3 * ours.std()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"finding": "Fracture"}, "finding 'Fracture' is not one of No Finding, Cardiomegaly"),
        ({"view": "LATERAL"}, "view 'LATERAL' is not one of AP, PA"),
        ({"age": 500}, "no age 500 is known; ask for 0 to 100 years"),
        ({"age": -1}, "no age -1 is known; ask for 0 to 100 years"),
        ({"guided": ["finding", "dose"]}, "knows no dose; it knows finding, view, sex, age"),
    ],
)
def test_the_pipeline_refuses_what_the_model_does_not_know(pipeline, asked, message):
    with pytest.raises(ValueError, match=message):
        pipeline(**asked)
    pipeline.register_to_config(conditions={"finding": CLASSES})
    with pytest.raises(ValueError, match="knows no sex; it knows finding"):
        pipeline(sex="F")
    pipeline.register_to_config(conditions=CONDITIONS.values)


@pytest.mark.parametrize("age", [-1, -0.5, 0, 100, 100.5, 120])
def test_the_pipeline_refuses_the_ages_that_the_engine_refuses(pipeline, age):
    def refused(ask: Callable, error: type[Exception]) -> bool:
        try:
            ask(age=age)
        except error:
            return True
        return False

    assert refused(pipeline.condition, ValueError) == refused(CONDITIONS.vector, InputError)


def test_a_scheduler_without_noise_levels_is_not_asked_to_guide_between_them(pipeline):
    config = pipeline.scheduler.config
    other = ConditionalPipeline(
        pipeline.unet, DDIMScheduler.from_config(config, clip_sample=False), CONDITIONS.values
    )
    other.set_progress_bar_config(disable=True)
    assert len(other("Effusion", num_inference_steps=2).images) == 1
    with pytest.raises(ValueError, match="DDIMScheduler states no noise levels"):
        other("Effusion", guidance_scale=2, guidance_interval=(0.2, 5))


def test_the_pipeline_imports_torch_numpy_and_diffusers_alone(exported):
    text = (exported["edm"] / "pipeline.py").read_text()
    found = re.findall(r"^(?:import|from) (\w+)", text, flags=re.MULTILINE)
    assert set(found) == {"math", "numpy", "torch", "diffusers"}


def test_the_same_bytes_twice(exported, tmp_path):
    given = write_artefacts(tmp_path / "source", DDPM)
    export_model(given, tmp_path / "again", configuration(DDPM))
    for path in exported["recommended"].rglob("*.*"):
        again = tmp_path / "again" / path.relative_to(exported["recommended"])
        assert again.read_bytes() == path.read_bytes(), path


# -- the card


def the_card(
    folder: Path,
    diffusion: dict = DDPM,
    kind: str = "phantom",
    samplers: list = SAMPLERS,
    **options,
) -> str:
    """Return the text of a card, in one line."""
    given = write_artefacts(folder / "source", diffusion, samplers=samplers, **options)
    export_model(given, folder / "out", configuration(diffusion, kind, samplers))
    return " ".join((folder / "out" / "README.md").read_text().split())


def test_the_card_says_loudly_that_phantoms_are_no_patients(tmp_path, exported):
    text = (exported["recommended"] / "README.md").read_text()
    assert "**These are not radiographs of anybody.**" in text
    assert text.index("not radiographs") < text.index("## How to load it")
    real = the_card(tmp_path, kind="folder")
    assert "phantom" not in real.lower()
    assert "radiographs" not in real
    assert "synthetic images" in real
    assert "chest" not in real
    assert "radiographs" in the_card(tmp_path, kind="nih")


def test_the_card_is_valid_for_a_hub_and_tidy(exported):
    for folder in exported.values():
        text = (folder / "README.md").read_text()
        front, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, flags=re.DOTALL).groups()
        facts = yaml.safe_load(front)
        assert facts["library_name"] == "diffusers"
        assert facts["license"] == "mit"
        assert "\n\n\n" not in text
        assert not re.search(r"[ \t]$", text, flags=re.MULTILINE)
        assert "None" not in body and "{{" not in body and "nan" not in body
        widths = [
            len(line)
            for line in body.splitlines()
            if line and line[0] not in "|#" and "](" not in line
        ]
        assert max(widths) <= 100
        for table in re.findall(r"(?:^\|.*\n)+", body, flags=re.MULTILINE):
            assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_the_card_shows_every_number_beside_its_interval_floor_and_ceiling(exported):
    text = (exported["recommended"] / "README.md").read_text()
    for row in (
        "| Kernel distance | our own classifier | 0.0340 | 0.0272 to 0.0408 | 0.00200 | 5.60 (noise) | 336 |",
        "| Coverage | our own classifier | 72 % | 58 % to 86 % | 97 % | 0 % (noise) | 336 |",
        "| Effusion | 81 % | 65 % to 97 % | 93 % | 33 % (chance) | 336 |",
    ):
        assert text.count(row) == len(SAMPLERS)
    assert "FID or KID" in text.split("Not measured")[1], "no published extractor was used"
    images = image_table(np.random.default_rng(0))
    counts = [(images["split"] == name).sum() for name in SPLITS]
    assert f"| **All classes** | {' | '.join(map(str, counts))} |" in text
    assert "1,200 for “several findings”" in text
    assert "1,200 for “several findings”, 7 for “no pixels”." in " ".join(text.split())
    narrow = (
        "guidance 2 of finding where σ/α is above 0.2 and at most 5. Asked for beside the class: "
        "view AP."
    )
    assert narrow in " ".join(text.split())
    share = "| 1.2 % | 1.0 % to 1.4 % | 0.8 %, up to 1.9 % | 1.0 % | 100.0 % | 336 |"
    closer = "| 51.0 % | 40.8 % to 61.2 % | 50.0 % | 50.0 % | 70.0 % | 336 |"
    for row in (share, closer):
        for space in ("pixels", "our own classifier"):
            assert text.count(f"| {space} {row}") == len(SAMPLERS)
    assert "99 %" not in text
    assert "Neither is clearly above what chance" in text


def test_the_card_describes_every_process(exported):
    words = {
        "recommended": ("zero terminal SNR", "min-SNR weighting with γ = 5", "squared error of v"),
        "linear": ("linear schedule", "squared error of ε"),
        "short": ("DDPM, 100 time steps, sigmoid schedule", "of x₀"),
        "vp-sde": ("VP-SDE in continuous time, cosine schedule, shifted",),
        "edm": ("N(−1.2, 1.2²)", "absolute error of the preconditioned denoiser"),
    }
    for name, expected in words.items():
        text = (exported[name] / "README.md").read_text()
        for part in (*expected, "relative width 0.07", "600 steps of 32 images (19,200 seen)"):
            assert part in text, name


def test_what_the_card_tells_to_type_works(exported, monkeypatch):
    text = (exported["recommended"] / "README.md").read_text()
    ours = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]
    monkeypatch.chdir(exported["recommended"].parent)
    name = exported["recommended"].name
    scope: dict = {}
    exec(
        ours.replace('"small"', f'"{name}"').replace("count=4, steps=20", "count=2, steps=2"), scope
    )
    assert scope["images"].shape == (2, SIZE, SIZE)
    theirs = re.search(r"pipeline\((.*?)\)\.images", text, flags=re.DOTALL).group(1)
    asked = eval(f"dict({theirs})")
    assert asked == {
        "finding": "Effusion", "view": "PA", "sex": "M", "age": 60, "batch_size": 4,
        "num_inference_steps": 20, "guidance_scale": 2,
    }  # fmt: skip


def verdict(floor: float = 0.02, **found: float) -> str:
    """The verdict on such shares copied, by chance at most 0.03, and such ends of intervals."""
    rows = [
        {"sampler": "s", "extractor": space, "class_name": "pooled", "metric": metric}
        | {"value": found.get(f"{metric}_{space}", 0.0), "low": found.get(f"{metric}_{space}", 0.0)}
        | chance
        for metric, chance in (
            (card.COPIED, {"floor": floor, "expected": 0.01, "expected_high": 0.03, "low": 0.0}),
            (card.CLOSER, {"floor": 0.5, "expected": 0.5, "expected_high": np.nan, "value": 0.9}),
        )
        for space in ("domain", "xrv")
    ]
    return card.verdict(pd.DataFrame(rows))


def test_copies_need_both_signs_in_one_feature_space():
    assert verdict() == "none"
    assert verdict(memorised_fraction_domain=0.025) == "none", "what chance may give"
    assert verdict(0.2, memorised_fraction_domain=0.1) == "none", "within the floor"
    assert verdict(memorised_fraction_domain=0.1) == "typical"
    assert verdict(closer_to_train_xrv=0.6) == "leaning"
    assert verdict(memorised_fraction_domain=0.1, closer_to_train_xrv=0.6) == "typical"
    assert verdict(memorised_fraction_xrv=0.1, closer_to_train_xrv=0.6) == "copies"


def test_the_card_warns_of_copies(tmp_path, exported):
    assert "look copied" not in (exported["recommended"] / "README.md").read_text()
    assert "**Some of its images look copied from training images**" in the_card(
        tmp_path, copied=True
    )


def test_a_sampler_that_diffusers_cannot_follow_is_not_promised():
    ancestral = DPM | {"method": "ddpm", "steps": 1000}
    early = DPM | {"autoguidance": "early"}
    assert card.calls({"a": ancestral, "b": early})["sampler"] is None
    for elsewhere in ({"spacing": "karras"}, {"sigma_min": 0.01}, {"sigma_max": 20.0}):
        assert card.calls({"a": DPM | elsewhere})["sampler"] is None
    found = card.calls({"a": ancestral, "c": DPM | {"guidance_interval": [0.2, 5.0]}})
    assert found["sampler"] == "c"
    assert found["draw"] == ", steps=20, guidance=2, guidance_interval=[0.2, 5.0]"


def test_the_card_of_a_hospitals_films_with_much_unknown(tmp_path):
    images = image_table(np.random.default_rng(0))
    training = images["split"] == "train"
    number = np.arange(len(images))
    text = the_card(
        tmp_path,
        kind="nih",
        samplers=[
            [
                "heun5",
                DPM
                | {"method": "heun", "steps": 5, "spacing": "log_snr", "sigma_max": 20.0}
                | {"guidance": 1.0, "condition": {"findings": ["Effusion"], "age": 60}},
            ]
        ],
        searched=False,
        said={"image_size": 512},
        findings=images["findings"].where(number % 6 > 0, "Cardiomegaly|Effusion"),
        sex=images["sex"].where(number % 4 > 0),
        view=None,
        age_years=images["age_years"].where(number % 2 > 0),
    )
    assert "The weights carry the terms of NIH ChestX-ray14" in text
    assert "30 images with several findings stand in the row of the rarest; the distances" in text
    unknown = (training & (number % 4 == 0)).sum() / training.sum()
    assert f"unknown {card.share(unknown)}." in text.split("Sex of the training images:")[1]
    assert "No training image states a view." in text
    assert "Views of" not in text
    assert f"On the {(training & (number % 2 > 0)).sum()} training images that state it" in text
    assert "This was not measured. Do not take the images for anonymous." in text
    assert "By chance" not in text.split("This was not measured")[1]
    assert "no sampler measured below can be followed with it" in text
    assert "heun, 5 steps, spacing log_snr, σ/α to 20, no guidance. Asked for beside" in text
    assert "So its images show several findings, while distances" in text
    assert "show no fine signs" not in text
    assert "conditions all hidden in 10 % of samples, and some of them in further ones" in text


def test_the_card_of_films_that_state_no_age(tmp_path):
    text = the_card(tmp_path, age_years=np.nan)
    assert "No training image states an age." in text
    assert "16 × 16 pixels show no fine signs" in text
    assert "with several findings stand" not in text
    assert "So its images show several findings" not in text


def test_the_card_says_what_the_pixels_are(tmp_path):
    def say(folder: str, **said) -> str:
        return the_card(tmp_path / folder, kind="hdf5", said=said)

    plain = say("grey")
    assert "draws images of 16 × 16 pixels (grey, 8 bit)" in plain
    assert 'images[0].save("image.png")' in plain and "output_type" not in plain
    assert "(colour, 8 bit)" in say("colour", channels=3)
    deep = say("deep", bits=16)
    assert "(grey, 16 bit)" in deep
    assert "Those images have 8 bits" in deep and 'images[0].save("image.png")' in deep
    several = say("several", channels=2, bits=16)
    assert "(2 channels, 16 bit)" in several
    assert ', output_type="np", ).images ```' in several, "there are no such pictures"


def test_a_model_of_colour_is_exported_as_one(tmp_path):
    model = load_model(untrained(tmp_path, channels=3, image_size=SIZE))
    index = pipeline_index(model.facts, "DPMSolverMultistepScheduler")
    assert index["channels"] == 3
    given = [index[name] for name in ("conditions", "time_offset", "time_scale", "channels")]
    pipeline = ConditionalPipeline(model.network.unet, make_scheduler(model.facts), *given)
    pipeline.set_progress_bar_config(disable=True)
    start = noise(torch.arange(2), 0, (3, SIZE, SIZE))
    asked = {"guidance_scale": 2, "num_inference_steps": 10, "noise": start}
    theirs = pipeline("Effusion", "AP", output_type="pt", **asked).images
    c = model.conditions.vector("Effusion", "AP").expand(2, -1)
    ours = sample(model, c, torch.arange(2), {"method": "dpm++2m", "steps": 10, "guidance": 2})
    assert theirs.shape == (2, 3, SIZE, SIZE)
    assert (theirs - ours).square().mean().sqrt() < 0.02 * ours.std()
    picture = pipeline("Effusion", "AP", **asked).images[1]
    assert (picture.size, picture.mode) == ((SIZE, SIZE), "RGB")
    np.testing.assert_allclose(np.asarray(picture), to_pixels(theirs)[1], atol=1)


def test_a_model_of_two_channels_draws_no_pictures(tmp_path):
    model = load_model(untrained(tmp_path, channels=2, image_size=SIZE))
    pipeline = ConditionalPipeline(
        model.network.unet, make_scheduler(model.facts), model.facts["conditions"], channels=2
    )
    pipeline.set_progress_bar_config(disable=True)
    with pytest.raises(ValueError, match='no "pil" image has 2 channels'):
        pipeline("Effusion")
    drawn = pipeline("Effusion", num_inference_steps=2, output_type="np").images
    assert drawn.shape == (1, SIZE, SIZE, 2)


def test_paragraphs_are_wrapped_and_code_is_not():
    code = "```python\n" + "x = 1  # " + "long " * 40 + "\n\n\ny = 2\n```"
    text = card.tidy(
        f"---\na: 1\n---\n\n# T\n\n\n\n{'word ' * 60}\n\n- {'item ' * 60}\n- b\n\n{code}\n"
    )
    assert code in text
    assert text.startswith("---\na: 1\n---\n\n# T\n\nword word")
    assert re.search(r"\n- item.*\n  item", text)
    assert card.tidy(text) == text
