"""Images with what was hidden filled in, and the classical way to fill it in."""

import numpy as np
from skimage.restoration import inpaint_biharmonic


def biharmonic(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Continue an image smoothly into what is hidden of it, by the biharmonic equation.

    As scikit-image does (Damelin & Hoang 2018): a thin plate through the known pixels, cut to the
    range of their levels.

    Parameters
    ----------
    image : uint8 or uint16, (h, w) or (h, w, channels); what is hidden is not looked at
    hidden : bool (h, w)

    Returns
    -------
    of the image's type, rounded
    """
    channel_axis = 2 if image.ndim == 3 else None
    levels = inpaint_biharmonic(image.astype(np.float64), hidden, channel_axis=channel_axis)
    return with_known(levels.round().astype(image.dtype), image, hidden)


def with_known(filled: np.ndarray, images: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return `filled` where images are hidden, and the images' very levels everywhere else.

    Parameters
    ----------
    filled, images : of one type, (..., h, w) or (..., h, w, channels)
    hidden : bool (..., h, w)
    """
    if images.ndim > hidden.ndim:
        hidden = hidden[..., None]
    return np.where(hidden, filled, images)
