"""Parse the label table: who is on each image, and one column per finding."""

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.findings import NO_FINDING, column_name, titles, vocabulary
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import LABEL_ISSUES, LABELS, METADATA
from workflow_scripts.common.tables import write_table
from workflow_scripts.curate.ages import OLDEST, years
from workflow_scripts.curate.label_table import NIH_COLUMNS, read_label_table

SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}
# DICOM's View Position (0018,5101), and the plain word.
VIEWS = frozenset(["AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LATERAL"])
# Columns that no finding may be called.
RESERVED = {*METADATA.columns, "follow_up"}


def parse_labels(
    table: Path,
    labels: Path,
    issues: Path,
    columns: Mapping[str, str | None] = NIH_COLUMNS,
    aliases: Mapping[str, str] | None = None,
    classes: Collection[str] | None = None,
) -> None:
    """Write `labels` (one row per image, sorted by image) and `issues` (what was odd in the table).

    Parameters
    ----------
    table : label table as CSV
    labels : parquet, LABELS and one bool column per finding
    issues : parquet, LABEL_ISSUES
    columns : from our name of a column to the table's
    aliases : from another spelling of a finding to the finding
    classes : the configured classes, for a table with findings of its own: every finding in it
        becomes a column, and every class. None: NIH's table, whose findings are known.

    Raises
    ------
    InputError
        If the table cannot be read, or holds findings that are unknown or cannot be columns.
    """
    raw = read_label_table(table, columns)
    spelling = {column_name(name): column_name(to) for name, to in (aliases or {}).items()}
    found, odd = people(raw, columns)
    flags = findings(raw, table, spelling, classes)
    odd += contradictions(raw, flags, columns["findings"])
    write_table(pd.concat([found, flags], axis=1).sort_values("image_id"), labels, LABELS)
    issue_table = pd.DataFrame(
        [issue for part in odd for issue in part.itertuples(index=False)],
        columns=list(LABEL_ISSUES.columns),
        dtype=str,
    ).sort_values(["image_id", "column"])
    write_table(issue_table, issues, LABEL_ISSUES)
    log.info("%d images, %d patients", len(found), found["patient_id"].nunique())
    for reason, count in issue_table["reason"].value_counts().sort_index().items():
        log.info("%d recorded: %s", count, reason)


def people(
    raw: pd.DataFrame, columns: Mapping[str, str | None]
) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Return ids, age in years, sex and view of each row, and what of these was not understood."""
    nothing = pd.Series("", index=raw.index)
    age, sex, view = (raw.get(name, nothing) for name in ("age", "sex", "view"))
    found = raw[["image_id", "patient_id"]].assign(
        age_years=age.map({text: years(text) for text in age.unique()}).astype("float64"),
        sex=sex.str.strip().str.upper().map(SEXES).astype("str"),
        view=view.str.strip().str.upper().pipe(lambda text: text.where(text.isin(VIEWS))),
    )
    understood = {
        "age": (found["age_years"], f"no age between 0 and {OLDEST:.0f} years: set to null"),
        "sex": (found["sex"], "neither F nor M: set to null"),
        "view": (found["view"], "no known view: set to null"),
    }
    if "follow_up" in raw:
        number = pd.to_numeric(raw["follow_up"], errors="coerce")
        found["follow_up"] = number.where(number % 1 == 0).astype("Int64")
        understood["follow_up"] = (found["follow_up"], "no whole number: set to null")
    odd = [
        noted(raw[value.isna()], name, columns[name], reason)
        for name, (value, reason) in understood.items()
        if name in raw
    ]
    return found, odd


def findings(
    raw: pd.DataFrame,
    table: Path,
    spelling: Mapping[str, str],
    classes: Collection[str] | None,
) -> pd.DataFrame:
    """Return one bool column per finding, named as the finding is normalised."""
    codes, texts = pd.factorize(raw["findings"])
    sets = [columns_of(text, spelling) for text in texts]
    held = set().union(*sets)
    if classes is None:
        names = list(vocabulary())
        unknown = sorted(held - set(names))
        if unknown:
            raise unknown_findings(raw, table, codes, sets, unknown)
    else:
        first = [spelling.get(name, name) for name in map(column_name, classes)]
        names = list(dict.fromkeys([*first, *sorted(held)]))
        bad = [name for name in names if name in RESERVED or not name]
        if bad:
            raise InputError(
                f"{table}: no finding can be called {', '.join(map(repr, bad))}, which is another "
                "column of labels.parquet or nothing at all. Give it another name with `aliases` of "
                "the data set, or of the kinds hdf5 and idx with `findings`."
            )
    flags = np.array([[name in found for name in names] for found in sets], dtype=bool)
    return pd.DataFrame(flags[codes], columns=names, index=raw.index)


def columns_of(text: str, spelling: Mapping[str, str]) -> set[str]:
    """Return the columns of findings joined by '|'."""
    names = (column_name(part) for part in text.split("|") if part.strip())
    return {spelling.get(name, name) for name in names}


def unknown_findings(
    raw: pd.DataFrame, table: Path, codes: np.ndarray, sets: list[set[str]], unknown: list[str]
) -> InputError:
    """Name the findings that nobody knows, where they stand, and which may have been meant."""
    known, lines = vocabulary(), []
    for name in unknown[:5]:
        here = np.array([name in found for found in sets])[codes]
        places = [f"line {line} ({image})" for line, image in raw["image_id"][here].items()]
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {known[near[0]]}?" if near else ""
        lines.append(f"\n  {name}: {few(places, most=3)}{meant}")
    return InputError(
        f"{table} names {len(unknown)} unknown finding{'s' * (len(unknown) > 1)}:{''.join(lines)}\n"
        f"NIH's findings are {', '.join(known.values())}. Correct the table, or use it with "
        "dataset.kind folder, which takes any finding."
    )


def contradictions(raw: pd.DataFrame, flags: pd.DataFrame, column: str) -> list[pd.DataFrame]:
    """Return the rows without any finding, and those that state one beside "No Finding".

    Both keep their flags as they stand in the table; the filter excludes them.
    """
    count = flags.sum(axis=1)
    both = (count > 1) & flags.get(NO_FINDING, False)
    name = titles([NO_FINDING])[NO_FINDING]
    return [
        noted(raw[count == 0], "findings", column, "no finding stated"),
        noted(raw[both], "findings", column, f"{name} beside another finding"),
    ]


def noted(rows: pd.DataFrame, name: str, column: str, reason: str) -> pd.DataFrame:
    """Return issues, one for each of some rows."""
    return pd.DataFrame(
        {"image_id": rows["image_id"], "column": column, "value": rows[name], "reason": reason}
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        parse_labels(
            Path(snakemake.input.table),
            Path(snakemake.output.labels),
            Path(snakemake.output.issues),
            **config,
        )
