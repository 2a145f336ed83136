"""The applications of diffusion models that the configuration puts into the report.

Of each: what was asked, what came out in words, its tables, its figures and its settings.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.common import schemas
from workflow_scripts.common.numbers import count, fixed, percent, setting
from workflow_scripts.common.privacy import without_folders
from workflow_scripts.common.tables import read_table
from workflow_scripts.report.comparisons import listed
from workflow_scripts.report.pictures import picture_file
from workflow_scripts.report.restorations import Task, restoration
from workflow_scripts.report.searches import search

# In the order of the page.
NAMES = ("denoising", "inpainting", "superresolution", "anomaly")
TITLES = {
    "denoising": "Denoising",
    "inpainting": "Inpainting",
    "superresolution": "Super-resolution",
    "anomaly": "Anomalies",
}
QUESTIONS = {
    "denoising": "Does a diffusion model that is given the noisy image denoise better than what "
    "people use?",
    "inpainting": "Does a trained model fill in what is hidden of an image better than smooth "
    "continuation?",
    "superresolution": "Does a diffusion model that is given a reduced image enlarge it better than "
    "interpolation?",
    "anomaly": "Does what a model makes of an image, as if it were healthy, tell whether and where "
    "there is a finding?",
}
FILES = {
    "denoising": "patches, models, restored patches, and each patch’s measures",
    "inpainting": "masks, what was filled in, and each image’s measures",
    "superresolution": "models, enlarged images, and each image’s measures",
    "anomaly": "healthy versions of the images, their scores, and what those show",
}
MASKS = {
    "box": "a hidden box",
    "strokes": "hidden strokes",
    "half": "a hidden half",
    "files": "masks from files",
}
# The figures of an entry, in the order of the page, and what each shows.
FIGURES = {
    "denoising": {
        "examples.png": "Examples with their errors and, where several answers are drawn, their spread.",
        "methods.png": "How near each method comes to the clean patches, by the variance of the noise.",
        "steps.png": "Quality against the number of steps.",
        "uncertainty.png": "Whether drawn answers scatter as the truth does about them.",
    },
    "inpainting": {"panel.png": "Examples with their errors."},
    "superresolution": {"panel.png": "Examples with their errors."},
    "anomaly": {
        "examples.png": "Of each class the test image in the middle by its score, its healthy "
        "versions, and how far they are apart.",
        "sweep.png": "AUROC against the noise up to which images were noised.",
        "findings.png": "Each finding at the levels that validation chose.",
    },
}
# Of a folder of files, by name.
Files = Mapping[str, str]


def by_entry(name: str, paths: Iterable[str]) -> dict[str, dict[str, Files]]:
    """Sort the files of an application by its entry, and by the folder within it.

    Parameters
    ----------
    name : of the application
    paths : …/<name>/<entry>/<file>, or …/<name>/<entry>/<folder>/<file>

    Returns
    -------
    by entry and folder ("" where a file lies in none) the paths by file name
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    for path in paths:
        parts = Path(path).parts
        entry, *folder, file = parts[max(k for k, part in enumerate(parts) if part == name) + 1 :]
        found.setdefault(entry, {}).setdefault("/".join(folder), {})[file] = path
    return found


def application_contents(
    config: Mapping[str, Any], files: Mapping[str, Mapping[str, Mapping[str, Files]]]
) -> list[dict[str, Any]]:
    """Return what is shown of each application that `report.applications` names.

    Parameters
    ----------
    config : the whole configuration
    files : of each application what `by_entry` returns
    """
    return [
        {
            "key": name,
            "title": TITLES[name],
            "question": QUESTIONS[name],
            "files": FILES[name],
            "entries": [
                {
                    "name": entry,
                    "settings": blocks(without_folders(config[name][entry])),
                    "bootstrap": config[name][entry]["bootstrap"],
                    "figures": figures(name, folders),
                    **CONTENT[name](config, config[name][entry], folders),
                }
                for entry, folders in sorted(files[name].items())
            ],
        }
        for name in NAMES
        if name in config["report"]["applications"]
    ]


def figures(name: str, folders: Mapping[str, Files]) -> list[dict[str, Any]]:
    """Return the figures of an entry, folder by folder, each with what it shows."""
    return [
        {
            "picture": picture_file(files[file]),
            # A folder holds what belongs to one factor of enlargement: x2.
            "caption": f"{folder.replace('x', 'Factor ')}: {caption}" if folder else caption,
        }
        for folder, files in in_order(folders)
        for file, caption in FIGURES[name].items()
    ]


def summary_of(folders: Mapping[str, Files], schema: Any) -> pd.DataFrame:
    """Return the summaries of an entry's folders under one another."""
    parts = [read_table(files["summary.parquet"], schema) for _, files in in_order(folders)]
    return pd.concat(parts, ignore_index=True)


def in_order(folders: Mapping[str, Files]) -> list[tuple[str, Files]]:
    """Return folders by their numbers: x2 before x16."""
    return sorted(folders.items(), key=lambda item: (len(item[0]), item[0]))


def denoising(config: Mapping, settings: Mapping, folders: Mapping[str, Files]) -> dict[str, Any]:
    """Return what is shown of a denoising study."""
    summary = summary_of(folders, schemas.RESTORATION_SUMMARY)
    methods, noise = settings["methods"], settings["noise"]
    words = {"nlm": "non-local means", "regression": "the U-Net regressor"}
    several = {kind: sum(m["kind"] == kind for m in methods.values()) > 1 for kind in words}
    names = {
        name: words[method["kind"]]
        if method["kind"] in words and not several[method["kind"]]
        else name_with(name, method.get("strategy", method["kind"]))
        for name, method in methods.items()
    }
    reference = settings["reference"]
    asked = [n for n, m in methods.items() if m["kind"] == "diffusion"]
    task = Task(
        reference=reference,
        truth="clean patch",
        images="patch",
        where="at",
        everywhere="at every noise level",
        conditions={f"{noise['kind']} {v:g}": f"σ²\u00a0=\u00a0{v:g}" for v in noise["variances"]},
        methods=names | {"noisy": "the noisy patch itself"},
        asked=tuple(asked or [n for n in methods if n != reference]),
        kind="diffusion methods" if asked else "methods",
    )
    found = restoration(summary, task)
    uncertainty = read_table(folders[""]["uncertainty.parquet"], schemas.UNCERTAINTY)
    tuned = " The strength of non-local means was chosen on validation patches."
    return found | {
        "asked": (
            f"Patches of {square(settings['patches']['size'])} pixels with {noise['kind']} noise of "
            f"variance σ² = {listed([f'{v:g}' for v in noise['variances']])}, where black is 0 and white "
            "is 1. Learned methods have the same network, but for what takes in the noisy patch and its "
            "variance, "
            f"and took the same {count(settings['training']['steps'])} steps."
            f"{tuned if any(m['kind'] == 'nlm' for m in methods.values()) else ''}"
        ),
        "lead": [*found["lead"], scatter(uncertainty, task)],
    }


def name_with(name: str, kind: str) -> str:
    """Return a method's name, and what it is where the name does not say so."""
    return name if name == kind else f"{name} ({kind})"


def scatter(uncertainty: pd.DataFrame, task: Task) -> str:
    """Return whether the answers of each method scatter as the truth does about them."""
    rows = uncertainty[uncertainty["measure"] == "error_over_spread"]
    parts = []
    for method, own in rows.groupby("method", sort=False):
        verdicts = own["verdict"].unique()
        if len(verdicts) == 1:
            found = f"{verdicts[0]} {task.everywhere}"
        else:
            found = ", ".join(
                f"{row.verdict} {task.where} {task.condition(row.condition)}"
                for row in own.itertuples()
            )
        values = ", ".join(fixed(value, 2) for value in own["value"])
        parts.append(f"{task.method(method)} {found} ({values})")
    return f"Spread of drawn answers (their error over what it predicts): {'; '.join(parts)}."


def inpainting(config: Mapping, settings: Mapping, folders: Mapping[str, Files]) -> dict[str, Any]:
    """Return what is shown of an inpainting."""
    task = Task(
        reference="biharmonic",
        truth="hidden part",
        images="masked image",
        where="with",
        everywhere="with every kind of mask",
        conditions=MASKS,
        methods={"biharmonic": "the biharmonic answer", "repaint": "the model"},
        asked=("repaint",),
    )
    sampler = settings["sampler"]
    told = config["models"][settings["model"]]["conditions"]
    return restoration(summary_of(folders, schemas.RESTORATION_SUMMARY), task) | {
        "asked": (
            f"The model {settings['model']} fills in by RePaint’s resampling, with {sampler['steps']} "
            f"steps, jumps of {sampler['jump_length']} and {sampler['resamples']} resamplings. It is told "
            f"the test image’s own {listed(told)}, as far as known; the biharmonic answer knows of "
            "nothing but the image. What is not hidden is left as it is. PSNR, SSIM and absolute error are of the hidden part, LPIPS of the whole image."
        )
    }


def superresolution(
    config: Mapping, settings: Mapping, folders: Mapping[str, Files]
) -> dict[str, Any]:
    """Return what is shown of a super-resolution."""
    factors = settings["factors"]
    task = Task(
        reference="bicubic",
        truth="true image",
        images="image",
        where="at",
        everywhere="at every factor",
        conditions={f"x{factor}": f"factor {factor}" for factor in factors},
        methods={"bicubic": "cubic interpolation", "sr3": "the model"},
        asked=("sr3",),
    )
    return restoration(summary_of(folders, schemas.RESTORATION_SUMMARY), task) | {
        "asked": (
            f"Images of {square(config['tensors']['size'])} pixels, reduced by means over "
            f"{listed([square(factor) for factor in factors])} pixels and enlarged again, by a model for "
            "each factor that is given the reduced image and was trained for "
            f"{count(settings['training']['steps'])} steps. Inconsistency: how far an answer, reduced "
            "again, is from what it was made of."
        )
    }


def anomaly(config: Mapping, settings: Mapping, folders: Mapping[str, Files]) -> dict[str, Any]:
    """Return what is shown of a search for anomalies."""
    summary = summary_of(folders, schemas.ANOMALY_SUMMARY)
    return search(summary, config["cohort"]["classes"]) | {
        "asked": (
            f"Each image is noised up to σ/α = {listed([setting(level) for level in settings['levels']])} "
            f"and denoised as “{settings['healthy']}”, with guidance {setting(settings['guidance'])}. How "
            f"far the two are apart is the map, the mean of its largest {percent(schemas.TOP)} the score. "
            "The autoencoder reconstructs the image as it is. The two are not told the same: the "
            "diffusion model has learned from all classes with their labels, and its level is chosen on "
            "labelled validation images; the autoencoder has seen healthy images alone, and nothing of "
            "it is chosen by findings."
        )
    }


CONTENT: dict[str, Callable[..., dict[str, Any]]] = {
    "denoising": denoising,
    "inpainting": inpainting,
    "superresolution": superresolution,
    "anomaly": anomaly,
}


def square(size: int) -> str:
    """Return "64 × 64"."""
    return f"{size} × {size}"


def blocks(settings: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return settings in blocks to show: a title and values, the keys of deeper ones joined.

    What stands alone comes first; of a mapping of named mappings each is a block.
    """
    found = [("", {k: v for k, v in settings.items() if not isinstance(v, Mapping)})]
    for title, part in settings.items():
        if not isinstance(part, Mapping):
            continue
        if part and all(isinstance(value, Mapping) for value in part.values()):
            found += [(f"{title}: {name}", flat(value)) for name, value in part.items()]
        else:
            found.append((title, flat(part)))
    return [(title, values) for title, values in found if values]


def flat(settings: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return nested settings in one mapping, keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = value
    return found
