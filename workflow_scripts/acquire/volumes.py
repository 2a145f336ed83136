"""NIfTI files as images: which files are whose, which slices show something, what they are called."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workflow_scripts.acquire.entries import Entry
from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.runtime import log
from workflow_scripts.formats.images import Place, Unreadable, check_size
from workflow_scripts.formats.nifti import AXES, SIDES, Scan, aspect, open_scan

NO_FINDING = "No Finding"
BRIGHT = 0.1  # of the way from black to white: what is brighter is more than the noise of air
TALLEST = 20.0  # that a voxel may be for its width, as in slices across few thick ones
SAME = 1e-3  # mm, by which the places of voxels may differ in files of one volume


class Volume(NamedTuple):
    """The files of one volume: paths below the folder, one for each channel, and that of its mask."""

    name: str
    subject: str
    finding: str | None
    files: list[str]
    mask: str | None


class Measures(NamedTuple):
    """What of a volume becomes images.

    `slices` are (frame, position, whether the mask has voxels there), `empty` (frame, position),
    `limits` the values that are black and white of each channel, `frames` how many volumes there are.
    """

    slices: list[tuple[int, int, bool]]
    empty: list[tuple[int, int]]
    limits: list[tuple[float, float]]
    frames: int


def volumes_of(
    names: Iterable[str], pattern: str, contrasts: Sequence[str], mask: str | None
) -> list[Volume]:
    """Return the volumes among files, in the order of their names.

    A volume is called as its first file, without suffix and contrast.

    Parameters
    ----------
    names : paths below the folder
    pattern : regular expression of a whole path with the group `subject` and, perhaps, `contrast`
        and `finding`
    contrasts : of the channels, in their order; empty: every file is a volume of one channel
    mask : the contrast of files that mark a finding

    Raises
    ------
    InputError
        If no file is as the pattern says, two are the same contrast of one volume, or one lacks a
        contrast or its mask.
    """
    names, expression = list(names), re.compile(pattern)
    wanted = [*(contrasts or [""]), *([mask] if mask else [])]
    files: dict[str, dict[str, str]] = {}
    facts: dict[str, tuple[str, str | None]] = {}
    passed_over = []
    for name in names:
        match = expression.fullmatch(name)
        groups = match.groupdict() if match else {}
        contrast = (groups.get("contrast") or "") if contrasts else ""
        if not groups.get("subject") or contrast not in wanted:
            passed_over.append(name)
            continue
        volume = called(name, match.span("contrast") if contrast else None)
        before = files.setdefault(volume, {}).setdefault(contrast, name)
        if before != name:
            raise InputError(
                f"{before} and {name} are the same of one volume ({volume}) by dataset.nifti.files; "
                "remove one, or write the expression so that only one matches"
            )
        facts[volume] = groups["subject"], groups.get("finding")
    if not files:
        raise InputError(
            f"dataset.nifti.files: none of {len(names)} NIfTI files is as the expression says, such "
            f"as {few(names) or 'none at all'}; it is for the whole path below dataset.nifti.images"
        )
    if passed_over:
        log.info("passed over %d files: %s", len(passed_over), few(passed_over))
    lacking = [
        f"{volume} has no {contrast}"
        for volume, found in sorted(files.items())
        for contrast in wanted
        if contrast not in found
    ]
    if lacking:
        raise InputError(
            f"volumes are not complete: {few(lacking)}. Add the files, remove those of the others, "
            "or name fewer dataset.nifti.contrasts"
        )
    return [
        Volume(
            name, *facts[name], [found[one] for one in contrasts or [""]], found.get(mask or "-")
        )
        for name, found in sorted(files.items())
    ]


def called(name: str, contrast: tuple[int, int] | None) -> str:
    """Return what a volume is called, from the path of a file and where its contrast stands there."""
    ends = re.search(r"\.nii(\.gz)?$", name, re.IGNORECASE).start()
    if contrast is None:
        return name[:ends]
    before, after = name[: contrast[0]], name[contrast[1] : ends]
    if before.endswith(tuple("-_./")) and after.startswith(tuple("-_./")):
        after = after[1:]
    return (before + after).strip("-_./") or name[:ends]


def measured(
    volume: Volume,
    folder: str | Path,
    axis: str,
    window: tuple[float, float] | None,
    percentiles: tuple[float, float],
    span: tuple[float, float],
    every: int,
    empty: float,
) -> Measures:
    """Read a volume and say which of its slices are images.

    Parameters
    ----------
    volume : its files, below `folder`
    axis : axial, coronal or sagittal
    window : the values that are black and white; None: `percentiles` of all voxels of a file, of one
        with several volumes the least and the greatest of each volume's
    span : which slices, as shares of the axis
    every : which of these: the first and each so many behind it
    empty : the least share of a slice's voxels that must be bright, in one channel at least

    Raises
    ------
    InputError
        If a file is damaged or no such image, or the files do not lie on each other.
    """
    paths = [Path(folder, name) for name in [*volume.files, *filter(None, [volume.mask])]]
    count = len(volume.files)

    def read() -> Iterator[tuple[list[np.ndarray], np.ndarray | None]]:
        """Yield the channels of each frame and the mask."""
        with ExitStack() as stack:
            scans = [stack.enter_context(open_scan(path)) for path in paths]
            check_together(scans[:count], scans[count:])
            marks = [x for scan in scans[count:] for x in scan.volumes()] or [None]
            for channels in zip(*(scan.volumes() for scan in scans[:count]), strict=True):
                yield list(channels), marks[0]

    with open_scan(paths[0]) as first:
        shape, frames, oriented = first.shape, first.frames, first.oriented
        tall = aspect(first.affine, axis)
    if not 1 / TALLEST <= tall <= TALLEST:
        raise InputError(
            f"{paths[0]}: in {axis} slices a voxel is {tall:.3g} times as high as it is wide; slice it "
            "along another dataset.nifti.axis, or correct its affine"
        )
    width, height = (shape[side] for side in SIDES[axis])
    try:
        check_size(round(width * max(1, 1 / tall)), round(height * max(1, tall)))
    except Unreadable as reason:
        raise InputError(f"{paths[0]}: a slice {reason}") from None
    if not oriented:
        log.warning(
            "%s says no orientation (qform and sform codes are 0); its axes are taken for those of "
            "Analyze files, from the patient's right to the left first",
            paths[0],
        )
    # A single volume is kept: everything is known after one reading.
    held = list(read()) if frames == 1 else None
    limits = [window] * count
    if window is None:
        each = [[np.percentile(x, percentiles) for x in channels] for channels, _ in held or read()]
        limits = [(float(low.min()), float(high.max())) for low, high in np.moveaxis(each, 0, -1)]
        for path, (low, high) in zip(paths, limits, strict=False):
            if low >= high:
                raise InputError(
                    f"{path}: the percentiles {percentiles[0]:g} and {percentiles[1]:g} of its voxels "
                    f"are both {low:g}, which leaves nothing to see; give dataset.nifti.window, or "
                    "other percentiles, or remove the file"
                )
    length = shape[AXES[axis]]
    middles = (np.arange(length) + 0.5) / length
    wanted = np.flatnonzero((middles >= span[0]) & (middles <= span[1]))[::every]
    slices, dropped = [], []
    others = tuple(number for number in range(3) if number != AXES[axis])
    for frame, (channels, marks) in enumerate(held or read()):
        bright = [
            (x > low + BRIGHT * (high - low)).mean(axis=others)
            for x, (low, high) in zip(channels, limits, strict=True)
        ]
        content = np.max(bright, axis=0)
        marked = (marks != 0).any(axis=others) if marks is not None else np.zeros(length, bool)
        for position in map(int, wanted):
            if content[position] < empty:
                dropped.append((frame, position))
            else:
                slices.append((frame, position, bool(marked[position])))
    return Measures(slices, dropped, limits, frames)


def check_together(scans: Sequence[Scan], masks: Sequence[Scan]) -> None:
    """Refuse files of one volume that do not lie on each other."""
    first = scans[0]
    for scan in (*scans, *masks):
        if scan.shape != first.shape or not np.allclose(
            scan.affine, first.affine, atol=SAME, rtol=0
        ):
            raise InputError(
                f"{scan.path} and {first.path.name} do not lie on each other (shapes {scan.shape} and "
                f"{first.shape} in RAS+, or other affines): register them first"
            )
        expected = 1 if scan in masks else first.frames
        if scan.frames != expected:
            raise InputError(
                f"{scan.path} has {scan.frames} volumes, where {expected} would go with "
                f"{first.path.name}"
            )


def images_of_volume(
    volume: Volume, measures: Measures, axis: str, finding: str | None, facts: Mapping[str, str]
) -> tuple[list[Entry], list[str]]:
    """Return the images of a volume, and the ids of its empty slices.

    Parameters
    ----------
    finding : what slices show that the mask marks, others "No Finding"; None: `facts` say it
    facts : `findings`, `age` and `sex` of the subject
    """

    def image_id(frame: int, position: int) -> str:
        volumes = f"volume_{frame:03d}/" if measures.frames > 1 else ""
        return f"{volume.name}/{volumes}{axis}_{position:03d}"

    entries = []
    for frame, position, marked in measures.slices:
        findings = facts.get("findings", "")
        if finding is not None:
            findings = finding if marked else NO_FINDING
        places = [
            Place(file, position, frame, low, high)
            for file, (low, high) in zip(volume.files, measures.limits, strict=True)
        ]
        entries.append(
            Entry(
                image_id(frame, position),
                volume.subject,
                findings,
                places,
                volume.name,
                facts.get("age", ""),
                facts.get("sex", ""),
            )
        )
    return entries, [image_id(*place) for place in measures.empty]
