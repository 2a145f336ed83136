"""What finished runs of the targets `inpainting` and `superresolution` found, in Markdown.

python benchmarks/restorations.py --run . --configfile config.yaml
"""

import argparse
from pathlib import Path

import pandas as pd
import yaml
from common import command, hardware, versions
from denoising import by_method

from workflow_scripts.common.configuration import load
from workflow_scripts.common.schemas import RESTORATION_SUMMARY
from workflow_scripts.common.tables import read_table


def report(summary: pd.DataFrame) -> str:
    """Return the tables of one summary: each metric, and the gain in PSNR over the reference."""
    first = summary.iloc[0]
    parts = [f"{first['n_images']} test images of {first['n_patients']} patients."]
    parts += [by_method(summary, metric, False) for metric in summary["metric"].unique()]
    parts += [
        "Difference in PSNR to the baseline, image by image:",
        by_method(summary, "psnr", True),
    ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path(), help="folder that the study ran in")
    parser.add_argument("--configfile", type=Path, default=Path("config.yaml"))
    arguments = parser.parse_args()
    config = load(yaml.safe_load(arguments.configfile.read_text(encoding="utf-8")))
    data = arguments.run / "results" / config["dataset"]["name"]
    print(
        f"`{command()}`\n\n{hardware('cpu')}. {versions('torch', 'diffusers', 'scikit-image')}.\n"
    )
    for application in ("inpainting", "superresolution"):
        for name in config[application]:
            found = sorted((data / application / name).glob("**/summary.parquet"))
            summary = pd.concat([read_table(path, RESTORATION_SUMMARY) for path in found])
            print(f"## {application}: {name}\n\n{report(summary)}\n")
