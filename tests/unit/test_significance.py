"""What may be called a gain: how often chance alone would be."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from tests.unit.test_summarise_study import CLASSES, PRIMARY, predicted, row
from tests.unit.test_summarise_study import images_of_patients as images
from workflow_scripts.common.schemas import MACRO
from workflow_scripts.study.bootstrap import p_value
from workflow_scripts.study.significance import seeded_p_value
from workflow_scripts.study.summarise_study import summarise


def equal_recipes(seeds, rng, studies=3000, by_seed=0.010, by_patient=0.008):
    """Differences of as many studies of two equal recipes: on their test sets, and resampled."""
    luck = rng.normal(0, by_patient, studies)
    point = luck + rng.normal(0, by_seed, (seeds, studies))
    drawn = point.mean(axis=0)[:, None] + rng.normal(0, by_patient, (studies, 300))
    return point, drawn


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_recipes_differ_in_five_percent_of_studies_however_many_seeds(seeds):
    # Three standard errors of 3,000 studies are 1.2 %.
    point, drawn = equal_recipes(seeds, np.random.default_rng(seeds))
    found = seeded_p_value(point, drawn, np.full(drawn.shape[0], 30)) <= 0.05
    assert 0.025 < found.mean() < 0.07
    assert (p_value(drawn) <= 0.05).mean() > 0.08, "patients alone would claim too much"


def test_one_seed_has_no_answer():
    point, drawn = equal_recipes(1, np.random.default_rng(0), studies=4)
    assert np.isnan(seeded_p_value(point, drawn, np.full(4, 30))).all()
    assert (p_value(equal_recipes(1, np.random.default_rng(1))[1]) <= 0.05).mean() > 0.2


def test_where_one_part_is_nothing_it_is_the_t_test_of_the_other():
    rng = np.random.default_rng(2)
    point = rng.normal(0.01, 0.01, (5, 8))
    still = np.repeat(point.mean(axis=0)[:, None], 50, axis=1)
    expected = ttest_1samp(point, 0).pvalue
    np.testing.assert_allclose(seeded_p_value(point, still, np.full(8, 30)), expected, rtol=1e-6)


def test_an_arm_against_its_equal_is_certain_to_be_none():
    assert seeded_p_value(np.zeros((2, 1)), np.zeros((1, 50)), np.array([30])) == 1


def null_study(positives, rng):
    """SUMMARY of two arms of one skill, on a test set with that many patients of the rare class."""
    test = images(240, 240)
    test["patient_id"] = np.arange(240).astype(str)
    test["class_id"] = np.r_[np.full(positives, 2), np.arange(240 - positives) % 2]
    test["class_name"] = np.array(CLASSES)[test["class_id"]]
    runs = [[predicted(test, 1.0, rng.integers(2**32)) for _ in range(2)] for _ in range(2)]
    arms = ["real", "better"]
    return summarise(test, np.array(runs), arms, "real", PRIMARY, 120, CLASSES)[0]


@pytest.mark.parametrize("positives", [8, 20])
def test_equal_arms_are_seldom_significant_however_rare_a_class(positives):
    # 30 studies: above 5 in less than 1 % of cases at a true 5 %.
    rng = np.random.default_rng(positives)
    found = [null_study(positives, rng) for _ in range(30)]
    for name in (MACRO, "Pneumonia"):
        hits = sum(row(one, "auroc", name, "better")["significant"] for one in found)
        assert hits <= (0 if positives == 8 else 5), name
