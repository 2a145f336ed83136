"""From the bytes of an image file to grey levels, or to those of red, green and blue.

Grey levels run from 0 (black) to 255 (white): uint8 where the file has 8 bits, float32 where it
has more, so that rounding happens once, after the reduction. Deeper files are scaled by their full
range, the same for every file; only a DICOM file without a window is shown from its own least to
its own greatest value.
"""

import io
import struct

import kornia_rs
import numpy as np
from PIL import Image

from workflow_scripts.formats.images import Unreadable, check_size

# JPEG keeps grey as luminance; what it keeps of chrominance may be off by rounding.
LARGEST_TINT = 4  # grey levels
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# (colour type, bit depth) of a PNG: the mode in Pillow's words, and in kornia's
PNG_MODES = {
    (0, 8): ("L", "mono"),
    (0, 16): ("I;16", "mono"),
    (2, 8): ("RGB", "rgb"),
    (6, 8): ("RGBA", "rgba"),
}


def decode(content: bytes, channels: int = 1) -> tuple[np.ndarray, str]:
    """Decode a PNG, JPEG or DICOM file by what its first bytes say it is.

    Parameters
    ----------
    content : bytes of the file
    channels : 1: grey; a colour file must be grey in fact (equal channels). 3: red, green and blue; a
        grey file has all three alike. An alpha channel is ignored

    Returns
    -------
    Grey levels (height, width) or (height, width, 3), uint8 or float32 in [0, 255], and the mode
    before decoding.

    Raises
    ------
    Unreadable
        With the reason.
    """
    if content.startswith(PNG_SIGNATURE):
        return decode_png(content, channels)
    if content.startswith(b"\xff\xd8\xff"):
        return decode_jpeg(content, channels)
    if content[128:132] == b"DICM":
        # Imported here: archives of PNGs need none of pydicom's 50 MB.
        from workflow_scripts.formats.dicom import decode_dicom

        pixels, mode = decode_dicom(content)
        return shaped(pixels[..., None], channels, 0), mode
    raise Unreadable("neither PNG nor JPEG nor DICOM" if content else "an empty file")


def decode_png(content: bytes, channels: int) -> tuple[np.ndarray, str]:
    """Decode a PNG with checksums verified; one that has fewer rows than it declares is refused.

    Pillow would fill missing rows with black and say nothing.
    """
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise Unreadable("damaged PNG: no header")
    width, height, depth, colour = struct.unpack(">IIBB", content[16:26])
    check_size(width, height)
    if (colour, depth) not in PNG_MODES:
        raise Unreadable(
            f"PNG of colour type {colour} with {depth} bits; readable are grey with 8 or 16 bits, "
            "RGB and RGBA with 8"
        )
    mode, kind = PNG_MODES[colour, depth]
    read = kornia_rs.io.decode_image_png_u16 if depth == 16 else kornia_rs.io.decode_image_png_u8
    try:
        pixels = read(content, (height, width), kind)
    except Exception as error:  # kornia_rs raises nothing more specific
        text = str(error).removeprefix("Failed to decode the png image. ")
        raise Unreadable(f"damaged PNG: {text}") from None
    if mode == "I;16":
        pixels = pixels / np.float32(257)
    return shaped(pixels, channels, 0), mode


def decode_jpeg(content: bytes, channels: int) -> tuple[np.ndarray, str]:
    """Decode a JPEG of grey or RGB."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            check_size(*image.size)
            if image.mode not in ("L", "RGB"):
                raise Unreadable(f"JPEG of mode {image.mode}; readable are L and RGB")
            pixels = np.asarray(image)
            return shaped(np.atleast_3d(pixels), channels, LARGEST_TINT), image.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(f"damaged JPEG: {error}") from None


def shaped(pixels: np.ndarray, channels: int, tolerance: int) -> np.ndarray:
    """Return what a file holds (height, width, any number) as grey or, with 3 `channels`, as colour.

    `tolerance` is by how much the channels of a grey image may differ.
    """
    if channels == 1:
        return grey(pixels, tolerance)
    return pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1].repeat(3, axis=-1)


def grey(pixels: np.ndarray, tolerance: int) -> np.ndarray:
    """Return the one channel that (height, width, any number) holds; refuse real colour."""
    green = pixels[..., min(1, pixels.shape[-1] - 1)]
    for channel in (0, 2) if pixels.shape[-1] >= 3 else ():
        other = pixels[..., channel]
        if not np.array_equal(other, green):
            tint = int(np.abs(other.astype(np.int16) - green).max())
            if tint > tolerance:
                raise Unreadable(f"a colour image: channels differ by up to {tint} grey levels")
    return green
