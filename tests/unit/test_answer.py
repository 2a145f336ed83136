"""The paragraph in plain words: it says what the numbers show, and no more."""

import pandas as pd
import pytest

from workflow_scripts.report.answer import headline, paragraph
from workflow_scripts.report.comparisons import arm_in_words, comparisons

CLASSES = ["Effusion", "Hernia", "Nodule"]
NONE = (0.004, -0.012, 0.020)
PLAIN = {
    "real": True,
    "synthetic": 0,
    "classes": "all",
    "order": "mixed",
    "augmentation": True,
    "sampling": "balanced",
}
GAIN, LOSS = (0.030, 0.010, 0.050), (-0.030, -0.050, -0.010)


def settings(**given):
    arms = {
        "real": {},
        "real+1": {"synthetic": 1},
        "alone": {"real": False, "synthetic": 2},
    } | given.pop("arms", {})
    return {
        "arms": {name: PLAIN | arm for name, arm in arms.items()},
        "patients": 1,
        "reference": "real",
        "primary": {"arm": "real+1", "metric": "auroc"},
        "seeds": [0, 1, 2],
        "bootstrap": 2000,
    } | given


def summary(primary=NONE, alone=NONE, classes=(NONE,) * 3, sure=(), error=NONE, **more):
    """SUMMARY in which the rows of `sure` (the names of classes, or macro) are significant."""
    rows = []

    def add(metric, class_name, arm, numbers):
        rows.append(
            {
                "metric": metric,
                "class_name": class_name,
                "arm": arm,
                "primary": (metric, class_name, arm) == ("auroc", "macro", "real+1"),
                "n_images": 400,
                "n_patients": 190,
                "value": 0.85 + (0 if numbers is None else numbers[0]),
                "low": 0.80,
                "high": 0.90,
                "difference_seed_sd": 0.0042,
                "significant": (metric, arm) == ("auroc", "real+1") and class_name in sure,
                "detectable": 0.023,
                "seeds": 3,
                "fewest_patients": 20,
            }
            | dict(
                zip(
                    ("difference", "difference_low", "difference_high"),
                    numbers or (float("nan"),) * 3,
                    strict=True,
                )
            )
            | more
        )

    for arm, numbers in (("real", None), ("real+1", primary), ("alone", alone)):
        add("auroc", "macro", arm, numbers)
    for name, numbers in zip(CLASSES, classes, strict=True):
        add("auroc", name, "real+1", numbers)
    add("calibration_error", "macro", "real+1", error)
    return pd.DataFrame(rows)


def groups(low=-0.01, difference=(-0.02, 0.02)):
    rows = [("sex", "F", 0.80, 0.75), ("sex", "M", 0.86, 0.82), ("sex", "gap", 0.06, low)]
    frame = pd.DataFrame(rows, columns=["attribute", "group", "value", "low"])
    return frame.assign(
        arm="real+1",
        high=0.11,
        classes=3,
        difference_low=difference[0],
        difference_high=difference[1],
    )


def said(table=None, study=None, subgroups=None):
    return paragraph(
        summary() if table is None else table,
        study or settings(),
        groups() if subgroups is None else subgroups,
    )


def test_the_primary_comparison_comes_first_with_what_could_have_been_seen():
    text = said()
    assert text.index("Primary comparison") < text.index("Secondary comparison")
    assert "(real+1, 1 synthetic image per real one): no evidence of a gain, +0.004" in text
    assert (
        "The trained classifiers given, this test set could have shown a gain of 0.023 with 80\u00a0% power"
        in text
    )
    assert "moves the difference by 0.004 (standard deviation over 3 seeds)" in text
    assert "a gain of +" not in text


def test_a_class_counts_only_where_it_is_significant():
    uncorrected = summary(classes=(GAIN, LOSS, NONE))
    assert "Of its 3 classes, after Holm's correction for their number, none shows" in said(
        uncorrected
    )
    corrected = summary(classes=(GAIN, LOSS, NONE), sure=CLASSES[:2])
    text = said(corrected)
    assert "Effusion a gain of +0.030 (+0.010 to +0.050) and Hernia a loss of −0.030" in text
    assert "the others show neither" in text


def test_nothing_is_claimed_of_secondary_arms():
    text = said(summary(alone=GAIN))
    assert "Secondary comparison: alone +0.030 (+0.010 to +0.050). The interval excludes 0." in text
    assert "a gain of +0.030" not in text
    assert headline(comparisons(summary(alone=GAIN), settings())) == "No evidence of a gain"


def test_a_lower_calibration_error_is_better():
    assert "−0.050 to −0.010): better calibrated than the reference (exploratory" in said(
        summary(error=LOSS)
    )
    assert "less well calibrated" in said(summary(error=GAIN))
    assert "no evidence of a change (exploratory, not corrected" in said(summary(error=NONE))


def test_a_gap_is_named_only_where_its_interval_excludes_zero():
    assert "By sex" not in said()
    text = said(subgroups=groups(low=0.02))
    assert "By sex its macro AUROC (over 3 classes) is 0.860 for M and 0.800 for F" in text
    assert "a gap of 0.060 (0.020 to 0.110) (exploratory, not corrected for their number)." in text
    assert "wider than the reference's" in said(subgroups=groups(0.02, (0.01, 0.05)))
    assert "narrower than the reference's" in said(subgroups=groups(0.02, (-0.05, -0.01)))


def test_low_data_studies_say_that_the_generator_had_more():
    assert "generator" not in said()
    text = said(study=settings(patients=0.1))
    assert "10\u00a0% of the training subjects, but the generator" in text
    assert "had seen all of them" in text


def test_one_seed_and_too_few_patients_are_admitted():
    assert "trained once" in said(summary(difference_seed_sd=float("nan")))
    text = said(summary(primary=GAIN, seeds=1))
    assert "+0.030 (+0.010 to +0.050) of these classifiers; another training was not tried" in text
    assert "a gain of +" not in text
    text = said(summary(primary=GAIN))
    assert "the interval excludes 0, but not once it carries the spread over seeds as well" in text
    text = said(summary(primary=GAIN, fewest_patients=19))
    assert "+0.050), too few test subjects to tell" in text
    assert "too narrow to conclude from" in text
    assert "a gain of +" not in text
    assert "80\u00a0% power" not in text


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ({"synthetic": 0.5}, "0.5 synthetic images per real one"),
        ({"synthetic": 1, "real": False}, "synthetic images alone, 1 in place of each real one"),
        (
            {"synthetic": 2, "order": "pretrain"},
            "first 2 synthetic images per real one, then the real ones",
        ),
        (
            {"synthetic": 1, "classes": ["Hernia", "Nodule"]},
            "1 synthetic image per real one, the synthetic ones of Hernia and Nodule alone",
        ),
        ({"augmentation": False}, "real images alone, without classic augmentation"),
        ({"sampling": "natural"}, "real images alone, every image shown equally often"),
    ],
)
def test_an_arm_is_said_in_words(arm, words):
    assert arm_in_words("a", settings(arms={"a": arm})) == f"a, {words}"
