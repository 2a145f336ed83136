"""Holm's correction."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.study.multiplicity import holm


def test_holms_correction_by_hand():
    # 4 x 0.01; 3 x 0.013 = 0.039, raised to 0.04; 2 x 0.02, no less than that; 0.9 once.
    np.testing.assert_allclose(holm([0.02, 0.9, 0.01, 0.013]), [0.04, 0.9, 0.04, 0.04])
    np.testing.assert_allclose(holm([0.6, 0.5]), [1, 1])
    np.testing.assert_allclose(holm([0.03]), [0.03])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_it_rejects_what_holms_procedure_rejects(p_values):
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    rejected = np.zeros(len(order), dtype=bool)
    for step, place in enumerate(order):  # from the smallest on, until one is not
        if (len(order) - step) * p_values[place] > 0.05:
            break
        rejected[place] = True
    assert ((adjusted <= 0.05) == rejected).all()
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(len(order) * np.array(p_values), 1) + 1e-15).all()


def test_families_of_null_comparisons_err_in_five_percent_of_cases():
    rng = np.random.default_rng(0)
    errors = [holm(rng.random(6)).min() <= 0.05 for _ in range(4000)]
    assert 0.04 < np.mean(errors) < 0.06
    assert np.mean(rng.random((4000, 6)).min(axis=1) <= 0.05) > 0.2  # uncorrected
