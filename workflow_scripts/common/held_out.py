"""Test images to try something on: as many as are asked for, spread over classes and patients."""

import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.seeds import generator


def held_out(images: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return up to `count` test images, class by class in turn, new patients first.

    The first images of a larger count are those of a smaller one.

    Parameters
    ----------
    images : table IMAGES
    seed : of the lot within a class

    Raises
    ------
    InputError
        If there is no test image.
    """
    test = images[images["split"] == "test"].sort_values("image_id")
    if test.empty:
        raise InputError(
            "no image of the cohort is in the test split: there is nothing to try this on. Give a "
            "larger share in split.fractions.test."
        )
    test = test.iloc[generator(seed, "held out").permutation(len(test))]
    again = test.groupby("patient_id").cumcount()
    test = test.assign(again=again).sort_values("again", kind="stable")
    turn = test.groupby("class_id").cumcount()
    test = test.assign(turn=turn).sort_values(["turn", "class_id"], kind="stable")
    return test.drop(columns=["again", "turn"]).head(count).reset_index(drop=True)
