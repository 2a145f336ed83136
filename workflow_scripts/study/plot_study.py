"""Draw what a study shows: a forest plot, the gain against the synthetic ratio, and calibration."""

from pathlib import Path

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import CALIBRATION, SUMMARY
from workflow_scripts.common.tables import read_table
from workflow_scripts.study.forest import draw_forest
from workflow_scripts.study.ratios import draw_ratios
from workflow_scripts.study.reliability import draw_reliability


def plot_study(
    summary_path: Path,
    calibration_path: Path,
    forest_path: Path,
    ratios_path: Path,
    reliability_path: Path,
    arms: list[tuple[str, dict]],
    reference: str,
    bootstrap: int,
    phantom: bool,
) -> None:
    """Write three figures (PNG).

    Parameters
    ----------
    arms : name and configuration section of each arm, in order
    reference : the arm that every other is compared with
    bootstrap : resamples that were drawn
    phantom : whether the films are drawn ones, which the figures then say
    """
    summary = read_table(summary_path, SUMMARY)
    calibration = read_table(calibration_path, CALIBRATION)
    save_figure(draw_forest(summary, reference, bootstrap, phantom), forest_path)
    save_figure(draw_ratios(summary, arms, reference, phantom), ratios_path)
    names = [name for name, _ in arms]
    save_figure(draw_reliability(calibration, summary, names, phantom), reliability_path)


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_study(
            Path(snakemake.input.summary),
            Path(snakemake.input.calibration),
            Path(snakemake.output.forest),
            Path(snakemake.output.ratios),
            Path(snakemake.output.calibration),
            **config,
        )
