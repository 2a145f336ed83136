"""Images with several findings, planted among others."""

import pandas as pd


def with_several(images: pd.DataFrame) -> pd.DataFrame:
    """Return IMAGES with a copy of every second image, which shows another finding as well.

    A copy stands behind its image and is of the same patient, split and pixels.
    """
    copies = images.iloc[::2].assign(
        image_id=images["image_id"] + "x", findings=images["findings"] + "|Hernia"
    )
    return pd.concat([images, copies]).sort_values("image_id", ignore_index=True)
