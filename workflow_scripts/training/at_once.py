"""Train a model and choose its average in one step, of a model that nothing else waits for half done."""

from typing import Any

from workflow_scripts.training.choose_average import choose_as_asked
from workflow_scripts.training.train_diffusion import train_as_asked


def train_and_choose(job: Any, config: dict) -> None:
    """Train a model, write which images it is given, and choose the average of its weights.

    Whoever calls it clears the checkpoints (`checkpoint.clear`) when the step is over.

    Parameters
    ----------
    job : Snakemake's object of a rule that has what `train_as_asked` and `choose_as_asked` need
    config : as of `train_diffusion`
    """
    train_as_asked(job, config)
    choose_as_asked(job, job.output, config | {"ema": config["model"]["training"]["ema"]})
