"""What an image is asked to show, as one vector c: finding, view, sex and age, each with its null.

And of an image that is made of another one, how noisy that is: the variance of its noise.

A block of columns per attribute: its values, then one null column, which stands for "unknown" in
a table and for "hidden" in guidance. What is stated is 1 in its column; several findings are
several ones; an age, or a variance, lies between two columns and has a share in both.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.common.errors import InputError, few

# The order of the blocks, and each one's column in a table of images.
COLUMN = {
    "finding": "findings",
    "view": "view",
    "sex": "sex",
    "age": "age_years",
    "noise": "noise_variance",
}
AGE_STEP = 20
AGES = range(0, 101, AGE_STEP)


class Conditions:
    """The attributes that a model knows and the values of each.

    Parameters
    ----------
    values : for each attribute (any of finding, view, sex, age, noise) its values, in the order of their
        columns; of age and noise the numbers between which is interpolated, rising. Kept as `values`, in the
        order of COLUMN, fit for JSON.

    Raises
    ------
    InputError
        For another attribute.
    ValueError
        If the numbers of age or noise do not rise, or there are none.
    """

    def __init__(self, values: Mapping[str, Sequence]):
        refuse_unknown(values, COLUMN, "attribute")
        self.values = {name: list(values[name]) for name in COLUMN if name in values}
        for name in ("age", "noise"):
            known = self.values.get(name, [0])
            if not known or any(not low < high for low, high in pairwise(known)):
                raise ValueError(f"the values of {name} are to rise, each once, and not {known}")
        self.blocks, start = {}, 0
        for name, known in self.values.items():
            self.blocks[name] = slice(start, start + len(known) + 1)
            start += len(known) + 1
        self.width = start

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes, in the order of their blocks."""
        return list(self.values)

    def block(self, attribute: str) -> slice:
        """Return the columns of an attribute, the last of them its null."""
        refuse_unknown([attribute], self.values, "attribute")
        return self.blocks[attribute]

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Return c of every row of a table of images: float32 (n, width).

        Parameters
        ----------
        table : of the columns `findings` (joined by '|'), `view`, `sex`, `age_years` and
            `noise_variance` those that the attributes need. What is empty, or a view or sex that the model does not know, is
            null.

        Raises
        ------
        InputError
            If the table holds a finding that the model does not know.
        """
        c = np.zeros((len(table), self.width), dtype=np.float32)
        for attribute, values in self.values.items():
            block = c[:, self.blocks[attribute]]
            column = table[COLUMN[attribute]]
            if attribute == "finding":
                rows, texts = pd.factorize(column.fillna(""))
                stated = [set(filter(None, text.split("|"))) for text in texts]
                refuse_unknown(sorted(set().union(*stated)), values, attribute)
                flags = [[name in some for name in values] for some in stated]
                block[:, :-1] = np.array(flags).reshape(-1, len(values))[rows]
            elif attribute in ("age", "noise"):
                # Hat functions: linear between neighbouring columns, constant beyond the ends.
                numbers = column.to_numpy(dtype=np.float64)
                hats = [np.interp(numbers, values, unit) for unit in np.eye(len(values))]
                block[:, :-1] = np.nan_to_num(np.stack(hats, axis=1))
            else:
                block[:, :-1] = column.to_numpy(dtype=object)[:, None] == np.array(values, object)
            block[:, -1] = ~block[:, :-1].any(axis=1)
        return torch.from_numpy(c)

    def vector(
        self,
        finding: str | Sequence[str] | None = None,
        view: str | None = None,
        sex: str | None = None,
        age: float | None = None,
        noise: float | None = None,
    ) -> Tensor:
        """Return c of what is asked for: float32 (width,). What is None is null.

        Raises
        ------
        InputError
            Naming the known values, if the model does not know what is asked for.
        """
        findings = [finding] if isinstance(finding, str) else list(finding or [])
        asked = {"finding": findings or None, "view": view, "sex": sex, "age": age, "noise": noise}
        stated = {name: value for name, value in asked.items() if value is not None}
        refuse_unknown(stated, self.values, "attribute")
        for name, value in stated.items():
            if name == "age":
                self.refuse_age(value)
            elif name != "noise":
                refuse_unknown(value if name == "finding" else [value], self.values[name], name)
        row = {"findings": "|".join(findings), "view": view, "sex": sex}
        numbers = {"age_years": age, "noise_variance": noise}
        return self.encode(pd.DataFrame([row | numbers]))[0]

    def refuse_age(self, age: float) -> None:
        """Raise an `InputError` unless an age of 0 to 120 is one that the model saw, or near it."""
        known = self.values["age"]
        low, high = max(0, known[0] - AGE_STEP), known[-1] + AGE_STEP
        if not low <= age <= high:
            raise InputError(f"no age {age!r} is known; ask for one from {low} to {high} years.")

    def hidden(self, c: Tensor, attributes: Iterable[str] | None = None) -> Tensor:
        """Return c (n, width) with some attributes null; None: with all."""
        c = c.clone()
        for name in self.values if attributes is None else attributes:
            block = self.block(name)
            c[:, block] = 0
            c[:, block.stop - 1] = 1
        return c

    def dropped(self, c: Tensor, rate: float, u: Tensor) -> Tensor:
        """Hide attributes of each sample at random, so that the network learns to do without them.

        All are hidden at `rate`, as the negative branch of guidance asks for (Ho & Salimans 2022).
        Where there are A > 1, so that each subset can be stated and guided, there are also hidden

            at 2 s   each or not, with probability 1/2
            at s     all but one, any of them as often

        with s = min(`rate`, (1 − `rate`) / 3). An attribute is then hidden at `rate` +
        s (2 − 1/A) and stated alone at s (1/A + 2^(1 − A)): at 27.5 % and 3.75 % for four
        attributes and a rate of 10 %, which leaves all stated in 61.25 % of the samples.

        Parameters
        ----------
        c : (n, width)
        u : uniform in [0, 1), (n, 1 + A)
        """
        which, each = u[:, :1], u[:, 1:]
        drop = which < rate
        if (count := len(self.values)) > 1:
            share = min(rate, (1 - rate) / 3)
            kept = (count * each[:, :1]).long()
            rest = torch.arange(count, device=u.device) != kept
            some = torch.where(which < rate + 2 * share, each < 0.5, rest)
            drop = drop | ((which < rate + 3 * share) & some)
        null = self.hidden(c)
        blocks = self.blocks.values()
        if not blocks:
            return c
        parts = [torch.where(drop[:, k, None], null[:, b], c[:, b]) for k, b in enumerate(blocks)]
        return torch.cat(parts, dim=1)


def measured_conditions(
    attributes: Iterable[str],
    classes: Sequence[str],
    images: pd.DataFrame,
    variances: Sequence[float] = (),
) -> Conditions:
    """Return the conditions that a model can learn: the values that its training images have.

    Parameters
    ----------
    attributes : configuration entry `conditions` of a model
    classes : names of the findings
    images : rows of IMAGES, the training split's
    variances : of the noise on the image that the model is given, rising

    Raises
    ------
    InputError
        If an attribute is unknown of every image.
    """
    values = {}
    for name in attributes:
        if name == "noise":
            values[name] = list(variances)
            continue
        stated = images[COLUMN[name]].dropna()
        if stated.empty:
            raise InputError(
                f"the label table states no {name} of any training image, so no model can learn "
                f"it. Remove {name} from the model's conditions, or, of the kinds folder, dicom and "
                "nifti, name the table's column in `columns` of the data set."
            )
        if name == "finding":
            values[name] = list(classes)
        elif name == "age":
            # Only columns that some image has a share in: the others would stay noise.
            ages = stated.clip(upper=AGES[-1])
            low, high = ages.min() - AGE_STEP, ages.max() + AGE_STEP
            values[name] = [age for age in AGES if low < age < high]
        else:
            values[name] = sorted(stated.unique())
    return Conditions(values)


def refuse_unknown(asked: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise an `InputError` that names what is asked for but not known, and what is known."""
    known = list(known)
    strange = [name for name in asked if name not in known]
    if strange:
        raise InputError(
            f"no {what} {few([repr(name) for name in strange])} is known to this model; it knows "
            f"{', '.join(map(str, known))}."
        )
