"""The phantom data set on paper: whom to draw, how their chests are built, what they suffer from.

Nothing is drawn here: a `Film` holds every number that `chest.py` and `radiograph.py` need to draw
one radiograph, and the truth table is one row per `Film`. Each number comes from a random stream
named by the seed, the patient and the follow-up, so a film never depends on how many patients or
archives there are.

Films carry no burnt-in marker: letters in the pixels would teach a generator letters. What says
that a film is a phantom is a text chunk in its PNG, the column `origin` of the truth table, and
whatever shows it.
"""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.seeds import generator, seed_for

ORIGIN = "phantom"

# The distribution's own header: the commas inside the brackets are not quoted, so that a row holds
# eleven values under nine names.
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)

FILM_CM = 40.0  # side of the square film

# How often a film's first finding is which. Not the clinic's mix, where a demonstration would find
# no pneumonia to test on.
MIX = {
    "No Finding": 0.27,
    "Atelectasis": 0.135,
    "Cardiomegaly": 0.135,
    "Effusion": 0.135,
    "Pneumonia": 0.135,
    "Pneumothorax": 0.135,
    "Infiltration": 0.019,
    "Mass": 0.018,
    "Nodule": 0.018,
}
FILMS_PER_PATIENT = (0.45, 0.27, 0.14, 0.08, 0.04, 0.02)  # probability of 1, 2, … films
PERSISTS = 0.6  # probability that a finding is still there on the next film
SECOND = 0.13  # probability of a second finding beside a first
LOBES = ("right upper", "right lower", "left upper", "left lower")

# A real table has flaws. Which patients get them is fixed, so that small data sets have them too.
RGBA_EVERY, IMPOSSIBLE_AGE_EVERY, ZERO_AGE_EVERY = 40, 60, 90


@dataclass(frozen=True)
class Film:
    """One radiograph: lengths in cm on the film, angles in degrees, sides as the patient's own.

    `…_x` runs from 0 at the mediastinum to 1 at the chest wall, `…_y` from 0 at the apex of the
    lung to 1 at the dome of the diaphragm. A sign that is absent has the side or lobe "none" and
    sizes of 0.
    """

    image_id: str
    patient_id: str
    archive: str
    follow_up: int
    findings: str  # joined by '|', as in the label table
    age_years: int  # the age that is drawn
    age_written: int  # the age in the label table, impossible in a few
    sex: str
    view: str
    mode: str  # L or RGBA: how the PNG is stored
    anatomy_seed: int  # vessels and texture, the same on all films of a patient
    film_seed: int  # texture of a consolidation, quantum noise

    habitus: float  # girth; 1 is average
    thorax_width: float  # inner, at its widest
    lung_height: float  # from the apex to the right dome of the diaphragm
    rotation: float  # about the long axis; positive brings the heart to the patient's left
    lean: float  # in the plane of the film
    offset_x: float  # of the patient on the film, to the right of the picture
    offset_y: float  # downwards
    aortic_knob: float  # radius
    bone_density: float  # 1 is a young adult's
    breast: float  # thickness, 0 in men
    cardiothoracic_ratio: float  # width of the heart over `thorax_width`
    exposure: float  # natural logarithm, 0 is ideal
    contrast: float  # slope of the characteristic curve
    photons: float  # in a square of 2 mm where no patient stands in the way

    effusion_side: str = "none"
    effusion_height: float = 0.0  # at the chest wall, over costophrenic angle to apex
    pneumothorax_side: str = "none"
    pneumothorax_width: float = 0.0  # of the gap at the chest wall, over the width of the lung
    atelectasis_lobe: str = "none"
    atelectasis_opacity: float = 0.0  # fraction of the lobe's gas that is gone
    mediastinal_shift: float = 0.0  # positive towards the patient's left
    diaphragm_elevation: float = 0.0  # on the side of the collapsed lobe
    consolidation_side: str = "none"
    consolidation_x: float = 0.0
    consolidation_y: float = 0.0
    consolidation_extent: float = 0.0  # radius over `lung_height`
    consolidation_opacity: float = 0.0  # fraction of the gas that is gone at its densest
    nodule_side: str = "none"
    nodule_x: float = 0.0
    nodule_y: float = 0.0
    nodule_radius: float = 0.0  # up to 1.5 a nodule, above it a mass
    infiltration: float = 0.0  # fraction of the gas that is gone at its densest
    origin: str = ORIGIN


@dataclass(frozen=True)
class Patient:
    """What stays the same from film to film; units as in `Film`."""

    number: int
    age: int  # at the first film
    sex: str
    habitus: float
    thorax_width: float
    lung_height: float
    aortic_knob: float
    bone_density: float
    breast: float
    ratio: float  # cardiothoracic, in health
    large_ratio: float  # and in cardiomegaly
    lobe: str  # the one that collapses
    sides: dict[str, str]  # where a finding would sit
    places: dict[str, tuple[float, float]]


def describe(patients: int, archives: int, seed: int) -> pd.DataFrame:
    """Return the truth table of a phantom data set: one row per film, columns as in `Film`.

    Patients are dealt to the archives in turn, so that adding patients moves nobody.
    """
    if archives > patients:
        raise InputError(
            f"dataset.phantom asks for {archives} archives of {patients} patients: an archive would "
            "stay empty. Ask for fewer archives or more patients."
        )
    rows = []
    for number in range(1, patients + 1):
        archive = f"images_{(number - 1) % archives + 1:03d}"
        rows.extend(asdict(film) for film in films_of(number, archive, seed))
    return pd.DataFrame(rows)


def label_table(truth: pd.DataFrame, size: int) -> str:
    """Return the text of the label table as the NIH distribution lays it out.

    The original size in pixels and the pixel spacing in mm are those of the film as drawn.
    """
    spacing = round(10 * FILM_CM / size, 6)
    rows = [
        f"{film.image_id},{film.findings},{film.follow_up},{film.patient_id},{film.age_written},"
        f"{film.sex},{film.view},{size},{size},{spacing},{spacing}"
        for film in truth.itertuples()
    ]
    return "\n".join([HEADER, *rows]) + "\n"


def films_of(number: int, archive: str, seed: int) -> list[Film]:
    """Return the films of patient `number`, in the order they were taken."""
    patient = sample_patient(number, seed)
    rng = generator(seed, "phantom", number, "course")
    count = 1 + int(rng.choice(len(FILMS_PER_PATIENT), p=FILMS_PER_PATIENT))
    films, first = [], None
    for follow_up in range(count):
        if first is None or rng.random() > PERSISTS:
            first = str(rng.choice(list(MIX), p=list(MIX.values())))
        findings = [first]
        if first != "No Finding" and rng.random() < SECOND:
            findings.append(str(rng.choice(others(beside=first))))
        films.append(sample_film(patient, follow_up, findings, archive, seed))
    return films


def others(beside: str) -> list[str]:
    """Return the findings that can stand beside another one; a film draws one nodule at most."""
    taken = {"No Finding", beside} | ({"Mass", "Nodule"} if beside in ("Mass", "Nodule") else set())
    return [name for name in MIX if name not in taken]


def sample_patient(number: int, seed: int) -> Patient:
    """Draw a patient's build and where a disease would sit."""
    rng = generator(seed, "phantom", number)
    age = int(np.clip(rng.normal(50, 17), 16, 90))
    sex = "M" if rng.random() < 0.55 else "F"
    stature = rng.normal(1.0 if sex == "M" else 0.94, 0.03)
    habitus = float(np.clip(rng.normal(1.0, 0.11), 0.8, 1.3))
    ageing = max(age - 40, 0)
    return Patient(
        number=number,
        age=age,
        sex=sex,
        habitus=habitus,
        thorax_width=27.5 * stature * (0.85 + 0.15 * habitus),
        lung_height=23.0 * stature * rng.uniform(0.96, 1.04),
        aortic_knob=rng.uniform(1.3, 1.6) + 0.013 * ageing,
        bone_density=rng.uniform(0.95, 1.15) - (0.005 if sex == "M" else 0.007) * ageing,
        breast=rng.uniform(2.0, 4.0) * habitus if sex == "F" else 0.0,
        ratio=float(np.clip(rng.normal(0.44 + 0.0004 * ageing, 0.02), 0.39, 0.485)),
        large_ratio=rng.uniform(0.58, 0.67),
        lobe=str(rng.choice(LOBES, p=[0.3, 0.25, 0.15, 0.3])),
        sides={name: str(rng.choice(["right", "left"])) for name in MIX},
        places={name: tuple(rng.uniform([0.3, 0.25], [0.7, 0.8]).tolist()) for name in MIX},
    )


def sample_film(
    patient: Patient, follow_up: int, findings: list[str], archive: str, seed: int
) -> Film:
    """Draw how a film was taken, and how severe its findings are on that day."""
    number = patient.number
    rng = generator(seed, "phantom", number, follow_up)
    view = "PA" if rng.random() < 0.62 else "AP"
    # An AP film is taken at the bedside: a shallow breath, a patient who sits askew, and a heart
    # far from the detector, which throws a larger shadow.
    bedside = view == "AP"
    large = "Cardiomegaly" in findings
    ratio = (patient.large_ratio if large else patient.ratio) * rng.uniform(0.985, 1.015)
    age = patient.age + follow_up // 2
    signs = {}
    for name in findings:
        signs |= sample_sign(name, patient, generator(seed, "phantom", number, follow_up, name))
    return Film(
        image_id=f"{number:08d}_{follow_up:03d}.png",
        patient_id=str(number),
        archive=archive,
        follow_up=follow_up,
        findings="|".join(sorted(findings)),
        age_years=age,
        age_written=age_as_written(number, age),
        sex=patient.sex,
        view=view,
        mode="RGBA" if number % RGBA_EVERY == 7 and follow_up == 0 else "L",
        anatomy_seed=seed_for(seed, "phantom", number, "anatomy"),
        film_seed=seed_for(seed, "phantom", number, follow_up, "film"),
        habitus=patient.habitus,
        thorax_width=patient.thorax_width * (1.02 if bedside else 1.0),
        lung_height=patient.lung_height * rng.uniform(0.95, 1.02) * (0.9 if bedside else 1.0),
        rotation=rng.normal(0, 3.0 if bedside else 1.5),
        lean=rng.normal(0, 1.5 if bedside else 0.8),
        offset_x=rng.normal(0, 0.7 if bedside else 0.4),
        offset_y=rng.normal(0, 0.7 if bedside else 0.4),
        aortic_knob=patient.aortic_knob,
        bone_density=patient.bone_density,
        breast=patient.breast,
        cardiothoracic_ratio=ratio * (1.05 if bedside else 1.0),
        exposure=rng.normal(0, 0.15),
        contrast=rng.uniform(1.35, 1.75) * (0.92 if bedside else 1.0),
        photons=rng.uniform(3e4, 1.2e5),
        **signs,
    )


def without_findings(film: Film, seed: int) -> Film:
    """Return the film of the same patient on the same day, had they been healthy.

    Parameters
    ----------
    seed : of the data set
    """
    patient = sample_patient(int(film.patient_id), seed)
    return sample_film(patient, film.follow_up, ["No Finding"], film.archive, seed)


def sample_sign(finding: str, patient: Patient, rng: np.random.Generator) -> dict:
    """Draw the parameters of `Film` by which a finding shows."""
    side = patient.sides[finding]
    x, y = patient.places[finding]
    match finding:
        case "Effusion":
            return {"effusion_side": side, "effusion_height": rng.uniform(0.2, 0.5)}
        case "Pneumothorax":
            return {"pneumothorax_side": side, "pneumothorax_width": rng.uniform(0.2, 0.5)}
        case "Atelectasis":
            towards = 1 if patient.lobe.startswith("left") else -1
            return {
                "atelectasis_lobe": patient.lobe,
                "atelectasis_opacity": rng.uniform(0.65, 0.95),
                "mediastinal_shift": towards * rng.uniform(1.0, 2.5),
                "diaphragm_elevation": rng.uniform(1.5, 3.5),
            }
        case "Pneumonia":
            return {
                "consolidation_side": side,
                "consolidation_x": x,
                "consolidation_y": y,
                "consolidation_extent": rng.uniform(0.15, 0.26),
                "consolidation_opacity": rng.uniform(0.6, 0.9),
            }
        case "Nodule" | "Mass":
            sizes = (0.8, 1.4) if finding == "Nodule" else (1.8, 3.0)
            return {
                "nodule_side": side,
                "nodule_x": x,
                "nodule_y": y,
                "nodule_radius": rng.uniform(*sizes),
            }
        case "Infiltration":
            return {"infiltration": rng.uniform(0.25, 0.5)}
    return {}  # Cardiomegaly shows in `cardiothoracic_ratio`, No Finding nowhere


def age_as_written(number: int, age: int) -> int:
    """Return the age as the label table has it: for some patients a slip of the pen."""
    if number % IMPOSSIBLE_AGE_EVERY == 11:
        return 400 + age % 20
    if number % ZERO_AGE_EVERY == 23:
        return 0
    return age
