"""Score what readers sent back: who told real from synthetic, and who saw which finding."""

from pathlib import Path

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import READER_KEY, READER_SCORES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.readers.figure import plot_scores
from workflow_scripts.readers.responses import read_answers
from workflow_scripts.readers.scores import reader_scores


def score_readers(
    key_path: Path,
    response_paths: list[Path],
    scores_path: Path,
    figure_path: Path,
    folder: str,
    classes: list[str],
    seed: int,
    phantom: bool,
) -> None:
    """Write the scores of each reader and of all of them (READER_SCORES), and a figure (PNG).

    Parameters
    ----------
    key_path : table READER_KEY
    response_paths : CSV files that the page wrote, one per reader
    folder : where these were looked for
    seed : of the bootstrap
    phantom : whether the films are drawn ones, which the figure then says

    Raises
    ------
    InputError
        If there is no file, or one that does not belong to the study or is damaged.
    """
    if not response_paths:
        raise InputError(
            f"no CSV file in {folder}: put the files there that readers downloaded from the page, "
            "or set `responses` of this reader study to null"
        )
    key = read_table(key_path, READER_KEY)
    answers = read_answers(response_paths, key, classes)
    log.info("%d readers: %s", len(answers.readers), ", ".join(answers.readers))
    scores = reader_scores(key, answers, classes, seed)
    write_table(scores, scores_path, READER_SCORES)
    plot_scores(scores, figure_path, classes, phantom)


if __name__ == "__main__":
    with step(snakemake) as config:
        score_readers(
            Path(snakemake.input.key),
            [Path(path) for path in snakemake.input.responses],
            Path(snakemake.output.scores),
            Path(snakemake.output.figure),
            **config,
        )
