"""The model card: what the artefacts say of a model, in words and tables."""

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from workflow_scripts.common import numbers
from workflow_scripts.common.schemas import POOLED, SPLITS
from workflow_scripts.common.wording import condition_words, sampler_words, space_name

ACCURACY, COPIED, CLOSER = "class_accuracy", "memorised_fraction", "closer_to_train"
COPIES = (COPIED, CLOSER)
SHARES = (ACCURACY, "classification_accuracy_score", "precision", "recall", "coverage")
DRAWN = {
    "natural": "as often as they occur",
    "sqrt": "by the square root of how often they occur",
    "balanced": "equally often",
}
WIDTH = 100  # of a line


def card(template: Path, content: dict[str, Any]) -> str:
    """Fill in the card's Jinja template: Markdown with a YAML front matter.

    `content` becomes the template's variables; one that is missing is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for write in (
        numbers.count,
        numbers.fixed,
        numbers.things,
        listed,
        share,
        sampler_words,
        condition_words,
    ):
        environment.filters[write.__name__] = write
    return tidy(environment.get_template(template.name).render(content))


def tidy(markdown: str) -> str:
    """Return Markdown with its paragraphs and lists wrapped, and one blank line between blocks.

    Headings, tables, quotes, code and the front matter stay as they are.
    """
    # Fences and the front matter hold blank lines of their own.
    pieces = re.split(r"(^```.*?^```$|\A---$.*?^---$)", markdown.strip(), flags=re.M | re.S)
    blocks = []
    for number, piece in enumerate(pieces):
        if number % 2:
            blocks.append(piece)
            continue
        for block in filter(None, map(str.strip, re.split(r"\n\s*\n", piece))):
            if block[0] in "#|>!":
                blocks.append(block)
            else:
                items = re.split(r"\n(?=- )", block)
                blocks.append("\n".join(map(wrapped, items)))
    return "\n\n".join(blocks) + "\n"


def wrapped(text: str) -> str:
    """Return a paragraph or an item of a list as lines of at most WIDTH characters."""
    return textwrap.fill(
        re.sub(r"[ \n]+", " ", text),  # and no other space: some must not break
        WIDTH,
        subsequent_indent="  " if text.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def listed(names: Iterable[str]) -> str:
    """Return "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def data(
    images: pd.DataFrame,
    exclusions: pd.DataFrame,
    unmatched: pd.DataFrame,
    split: dict,
    classes: list[str],
) -> dict:
    """Return who the model was trained on, and who was left out.

    Parameters
    ----------
    images, exclusions, unmatched : tables IMAGES, EXCLUSIONS and UNMATCHED
    split : contents of split_report.json
    """
    parts = [images[images["split"] == name] for name in SPLITS]
    training = parts[0]
    ages = training["age_years"].dropna()
    stated = {
        name: word
        for name, word in {"sex": "Sex", "view": "Views"}.items()
        if training[name].notna().any()
    }
    # Of the cohort: images that were excluded are not looked for twice.
    absent = unmatched.loc[unmatched["found_in"] == "table", "image_id"]
    lost = int((~absent.isin(exclusions["image_id"])).sum())
    excluded = exclusions["reason"].value_counts().sort_index().to_dict()
    return {
        "rows": [
            {"name": name, "counts": [int((part["class_name"] == name).sum()) for part in parts]}
            for name in classes
        ],
        "images": [len(part) for part in parts],
        "patients": [part["patient_id"].nunique() for part in parts],
        "several": int((images["findings"] != images["class_name"]).sum()),
        "shared": split["patients_shared_between_splits"],
        "method": split["method"],
        "aged": len(ages),
        "ages": ages.quantile([0, 0.5, 1]).to_list(),
        "kinds": {word: shares(training[name]) for name, word in stated.items()},
        "unstated": [
            word
            for word, column in {"an age": "age_years", "a sex": "sex", "a view": "view"}.items()
            if training[column].isna().all()
        ],
        "excluded": excluded | ({"no pixels": lost} if lost else {}),
    }


def shares(column: pd.Series) -> list[tuple[str, float]]:
    """Return the share of each value, the commonest first; what is empty is unknown."""
    found = column.fillna("unknown").value_counts(normalize=True)
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def recipe(settings: dict, facts: dict, images_seen: int, width: float) -> dict[str, str]:
    """Return how the model was made, as rows of a table.

    Parameters
    ----------
    settings : configuration section of the model
    facts : contents of model.json
    images_seen : in training, with repetitions
    width : relative width of the average of the weights that was chosen
    """
    network, training = settings["network"], settings["training"]
    levels = network["attention_levels"]
    hidden = f"hidden in {numbers.percent(training['label_dropout'])} of samples"
    if len(facts["conditions"]) > 1:
        hidden = f"all {hidden}, and some of them in further ones"
    return {
        "Process": process_words(facts["diffusion"]),
        "Loss": loss_words(facts["diffusion"]),
        "Network": f"U-Net (`UNet2DModel`) on patches of {network['patch_size']} pixels; channels "
        f"{numbers.setting(network['channels'])}; {numbers.things(network['layers_per_block'], 'layer')} per "
        f"level; {f'attention at level {numbers.setting(levels)}' if levels else 'no attention'}; "
        f"dropout {network['dropout']:g}",
        "Training": f"{training['steps']:,} steps of {training['batch_size']} images "
        f"({images_seen:,} seen), AdamW, learning rate {training['learning_rate']:g} after "
        f"{training['warmup_steps']:,} steps of warm-up, then cosine to zero; weight decay "
        f"{training['weight_decay']:g}; classes drawn {DRAWN[training['class_sampling']]}; "
        f"conditions {hidden}; no flips",
        "Weights": f"power-function average of relative width {width:.3g}, chosen by the loss on "
        "validation images",
        "Compute": f"{6 * facts['macs'] * images_seen / 1e12:,.3g} TFLOP of training; "
        f"{2 * facts['macs'] / 1e9:,.3g} GFLOP per network evaluation",
    }


def process_words(diffusion: dict) -> str:
    """Return a process in a line."""
    if diffusion["process"] == "edm":
        return (
            f"EDM; ln σ in training from N({diffusion['p_mean']:g}, {diffusion['p_std']:g}²)"
        ).replace("(-", "(" + numbers.MINUS)
    shift = ", shifted for the image's size" if diffusion["resolution_shift"] else ""
    if diffusion["process"] == "vp_sde":
        return f"VP-SDE in continuous time, cosine schedule{shift}"
    schedule = {"betas": "given betas"}.get(
        diffusion["schedule"], f"{diffusion['schedule']} schedule"
    )
    end = ", zero terminal SNR" if diffusion["zero_terminal_snr"] else ""
    return f"DDPM, {diffusion['timesteps']:,} time steps, {schedule}{shift}{end}"


def loss_words(diffusion: dict) -> str:
    """Return what the network predicts and how its errors count, in a line."""
    loss = {"l2": "squared error", "l1": "absolute error", "huber": "Huber’s loss"}
    words = loss[diffusion["loss"]]
    if diffusion["process"] == "edm":
        return f"{words} of the preconditioned denoiser, weighted as in EDM"
    said = {"epsilon": "ε", "sample": "x₀", "v": "v"}[diffusion["prediction"]]
    weighted = diffusion["weighting"] == "min_snr"
    weighting = f", min-SNR weighting with γ = {diffusion['min_snr_gamma']:g}" if weighted else ""
    return f"{words} of {said}{weighting}"


def measures(metrics: pd.DataFrame, classes: list[str]) -> dict[str, list[dict]]:
    """Return what was measured on one sampler's images: of all together, of copies, by class.

    Parameters
    ----------
    metrics : table METRICS
    """
    rows = [written(row) for row in metrics.to_dict("records")]
    pooled = [row for row in rows if row["class_name"] == POOLED]
    seen = {row["class_name"]: row for row in rows if row["metric"] == ACCURACY}
    return {
        "all": [row for row in pooled if row["metric"] not in COPIES],
        "copies": [row for row in pooled if row["metric"] in COPIES],
        "classes": [seen[name] for name in classes if name in seen],
    }


def written(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of METRICS with its numbers as they are printed."""
    write = dict.fromkeys(SHARES, share) | dict.fromkeys(COPIES, tenths)
    write = write.get(row["metric"], numbers.short)
    chance = write(row["expected"])
    if numbers.known(row["expected_high"]):
        chance += f", up to {write(row['expected_high'])}"
    return row | {
        "space": space_name(row["extractor"]),
        "value": write(row["value"]),
        "span": numbers.span(row["low"], row["high"], write),
        "floor": write(row["floor"]),
        "ceiling": write(row["ceiling"]),
        "chance": chance,
    }


def tenths(value: float) -> str:
    """Return a share in percent with one decimal."""
    return f"{100 * value:.1f} %"


def share(value: float) -> str:
    """Return a share in percent, with a decimal where it is small."""
    return f"{100 * value:.{1 if 0 < value < 0.1 else 0}f} %"


def verdict(metrics: pd.DataFrame) -> str:
    """Say what the search for copies amounts to, in the worst feature space and sampler.

    An image may be near to training images because it is typical: then it is as near to unseen ones.
    So `copies` needs both measures above chance and above their floors in one feature space: the
    fraction of copies itself above what chance alone would find, the interval of nearness to seen
    images. `typical` has the former alone, `leaning` the latter, `none` neither. `unmeasured` where
    there are no such rows.

    Parameters
    ----------
    metrics : rows of METRICS of all samplers, and their `sampler`
    """
    rows = metrics[(metrics["class_name"] == POOLED) & metrics["metric"].isin(COPIES)]
    if rows.empty:
        return "unmeasured"
    copied = rows["metric"] == COPIED
    least = rows["value"].where(copied, rows["low"])
    limit = rows["expected_high"].where(copied, rows["expected"])
    table = rows.assign(above=(least > limit) & (least > rows["floor"])).pivot(
        index=["sampler", "extractor"], columns="metric", values="above"
    )
    if (table[COPIED] & table[CLOSER]).any():
        return "copies"
    if table[COPIED].any():
        return "typical"
    return "leaning" if table[CLOSER].any() else "none"


def unmeasured(extractors: set[str], conditions: dict, phantom: bool) -> list[str]:
    """Return what nothing in the artefacts says."""
    texts = [
        "whether people who know such images would take these for real, and see what was asked for"
    ]
    if not extractors & {"inception", "xrv"}:
        texts.append(
            "distances in a feature space from outside this data set, such as Inception’s: no "
            "number here can be set beside a published FID or KID"
        )
    others = [name for name in conditions if name != "finding"]
    if others:
        texts.append(f"how well the images follow the {listed(others)} asked for")
    if not phantom:
        texts.append("how the model does on subjects, devices and places outside its data set")
    return texts


def example(conditions: dict[str, list]) -> str:
    """Return arguments that ask for one image, as they stand in a call."""
    asked = {name: values[len(values) // 2] for name, values in conditions.items()}
    if "finding" in asked:
        asked["finding"] = conditions["finding"][-1]
    quoted = {name: f'"{value}"' for name, value in asked.items() if name != "age"}
    return ", ".join(f"{name}={quoted.get(name, value)}" for name, value in asked.items())


def calls(samplers: dict[str, dict]) -> dict[str, str | None]:
    """Return the arguments with which to call diffusers' pipeline and our own `draw`.

    Both follow the first sampler that diffusers can follow: DPM-Solver++ (2M) at the noise levels
    of its process, not guided by another model. Where there is none, they are left to their
    defaults.

    Returns
    -------
    `sampler`, its name or None, and the arguments of `pipeline` and `draw`, each after a comma
    """
    fitting = {
        name: settings
        for name, settings in samplers.items()
        if settings["method"] == "dpm++2m"
        and settings["spacing"] == "auto"
        and (settings["autoguidance"], settings["sigma_min"], settings["sigma_max"]) == (None,) * 3
    }
    if not fitting:
        return {"sampler": None, "pipeline": "", "draw": ""}
    name, settings = next(iter(fitting.items()))
    ours = {key: settings[key] for key in ("steps", "guidance", "guidance_interval", "guided")}
    theirs = {"steps": "num_inference_steps", "guidance": "guidance_scale"}
    stated = {key: value for key, value in ours.items() if value is not None}
    stated["guidance"] = f"{stated['guidance']:g}"
    return {
        "sampler": name,
        "pipeline": "".join(f", {theirs.get(key, key)}={value}" for key, value in stated.items()),
        "draw": "".join(f", {key}={value}" for key, value in stated.items()),
    }
