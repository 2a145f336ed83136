"""The film: X-rays through a chest, caught with scatter, blur and noise, shown as grey."""

from io import BytesIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.ndimage import gaussian_filter, uniform_filter

from workflow_scripts.phantom.chest import Chest, Map, build
from workflow_scripts.phantom.population import FILM_CM, Film

# Linear attenuation in 1/cm near 60 keV, the mean energy of a 120 kVp beam behind its filter.
SOFT, BONE = 0.20, 0.42
SCATTER = {"PA": 0.16, "AP": 0.22}  # of the mean around a ray, added to what passes straight
SCATTER_REACH = 10.0  # cm, side of the square over which that mean is taken, twice
UNSHARPNESS = 0.09  # cm, standard deviation
LABEL = "Synthorax phantom: drawn by a procedure, shows no patient"


def draw(film: Film, size: int) -> np.ndarray:
    """Return the radiograph of `film`: uint8, (size, size). The film's numbers decide every pixel."""
    return expose(film, build(film, size))


def expose(film: Film, chest: Chest) -> np.ndarray:
    """Return the radiograph of `chest`: uint8, (size, size), white where little passes.

    Beer's law along each ray, scatter as a share of the exposure around it, Poisson noise in its
    Gaussian limit, and a logistic characteristic curve in the logarithm of the exposure, which
    automatic exposure control centres on the lungs and the mediastinum.
    """
    size = chest.body.shape[0]
    pixel = FILM_CM / size
    primary = gaussian_filter(np.exp(-attenuation(chest)), UNSHARPNESS / pixel, truncate=3)
    reach = round(SCATTER_REACH / pixel)
    around = np.minimum(primary, 0.3)  # air beside the patient scatters nothing
    for _ in range(2):
        around = uniform_filter(around, reach, mode="nearest")
    exposure = primary + SCATTER[film.view] * around
    quanta = film.photons * (pixel / 0.2) ** 2
    rng = np.random.default_rng(film.film_seed)
    noise = rng.standard_normal((size, size), np.float32)
    exposure = np.maximum(exposure + np.sqrt(exposure / quanta) * noise, 1e-4)
    logarithm = np.log(exposure)
    field = logarithm[size // 5 : -size // 5, size // 5 : -size // 5]
    grey = 255 / (1 + np.exp(film.contrast * (logarithm - field.mean() - film.exposure)))
    return np.round(grey).astype(np.uint8)


def attenuation(chest: Chest) -> Map:
    """Return the negative logarithm of what passes straight through along each ray."""
    return SOFT * (chest.body - chest.gas) + BONE * chest.bone


def png_of(image: np.ndarray, mode: str) -> bytes:
    """Return a PNG of mode L or RGBA (equal channels, opaque) whose text chunk says phantom."""
    label = PngInfo()
    label.add_text("Description", LABEL)
    stream = BytesIO()
    Image.fromarray(image).convert(mode).save(stream, "PNG", pnginfo=label, compress_level=3)
    return stream.getvalue()
