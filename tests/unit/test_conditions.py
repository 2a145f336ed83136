"""Conditions: what is stated stands in its columns, what is not is null, and nulls are dealt out."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.common.errors import InputError
from workflow_scripts.diffusion.conditions import COLUMN, Conditions, measured_conditions

VALUES = {
    "finding": ["No Finding", "Effusion", "Mass"],
    "view": ["AP", "PA"],
    "sex": ["F", "M"],
    "age": [0, 20, 40, 60, 80, 100],
}
ALL = Conditions(VALUES)
NULLS = [3, 6, 9, 16]  # the last column of each block

some_of = st.lists(st.sampled_from(list(VALUES)), min_size=1, unique=True)
person = st.fixed_dictionaries(
    {
        "findings": st.lists(st.sampled_from(VALUES["finding"]), min_size=1, unique=True),
        "view": st.sampled_from(["AP", "PA", "LATERAL", None]),
        "sex": st.sampled_from(["F", "M", None]),
        "age_years": st.floats(0, 120) | st.just(np.nan),
    }
)


def table(rows):
    frame = pd.DataFrame(rows, columns=["findings", "view", "sex", "age_years"])
    return frame.assign(findings=frame["findings"].map("|".join))


def only(attributes):
    return Conditions({name: VALUES[name] for name in attributes})


@given(some_of, st.lists(person, max_size=8))
def test_blocks_stand_in_one_order_and_hold_what_the_table_says(attributes, rows):
    conditions = only(attributes)
    assert conditions.attributes == [name for name in VALUES if name in attributes]
    c = conditions.encode(table(rows))
    assert c.shape == (len(rows), conditions.width)
    assert c.dtype == torch.float32
    assert conditions.width == sum(len(VALUES[name]) + 1 for name in attributes)
    for row, encoded in zip(rows, c, strict=True):
        for name in attributes:
            *shares, null = encoded[conditions.block(name)].tolist()
            value = row[COLUMN[name]]
            if name == "age":
                known = not np.isnan(value)
                assert sum(shares) == pytest.approx(float(known))
                if known:
                    assert np.dot(shares, VALUES[name]) == pytest.approx(min(value, 100), abs=1e-4)
                    assert all(
                        share == 0 or abs(value - at) <= 20 or value > at == 100
                        for share, at in zip(shares, VALUES[name], strict=True)
                    )
            else:
                stated = value if name == "finding" else [value]
                assert shares == [float(one in stated) for one in VALUES[name]]
                known = any(shares)
            assert null == (not known)


@given(some_of, st.lists(person, min_size=1, max_size=4))
def test_values_survive_json_in_any_order_of_keys(attributes, rows):
    stored = json.loads(json.dumps(only(attributes).values, sort_keys=True))
    rows = table(rows)
    assert torch.equal(Conditions(stored).encode(rows), only(attributes).encode(rows))


def test_a_vector_is_the_row_of_a_table_that_says_the_same():
    rows = table([(["Effusion", "Mass"], "AP", "F", 50.0), (["Mass"], None, None, np.nan)])
    c = ALL.encode(rows)
    assert torch.equal(ALL.vector(["Mass", "Effusion"], view="AP", sex="F", age=50), c[0])
    assert torch.equal(ALL.vector("Mass"), c[1])
    assert c[0].nonzero().flatten().tolist() == [1, 2, 4, 7, 12, 13]
    assert torch.equal(ALL.vector(), ALL.hidden(c)[0])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"finding": "Efusion"}, "no finding 'Efusion' is known .* No Finding, Effusion, Mass"),
        ({"finding": ["Mass", "Hernia"]}, "no finding 'Hernia'"),
        ({"finding": ""}, "no finding ''"),
        ({"view": "LATERAL"}, "no view 'LATERAL' is known .* knows AP, PA"),
        ({"sex": "female"}, "no sex 'female' is known .* knows F, M"),
        ({"age": -1}, "no age -1 .* from 0 to 120 years"),
        ({"age": 120.5}, "from 0 to 120 years"),
        ({"age": float("nan")}, "from 0 to 120 years"),
    ],
)
def test_what_the_model_does_not_know_is_refused_with_what_it_knows(asked, message):
    with pytest.raises(InputError, match=message):
        ALL.vector(**asked)


def test_an_attribute_that_the_model_does_not_know_is_refused():
    conditions = only(["finding", "sex"])
    with pytest.raises(InputError, match=r"no attribute 'age' is known .* knows finding, sex"):
        conditions.vector("Mass", age=50)
    with pytest.raises(InputError, match="no attribute 'view'"):
        conditions.hidden(torch.zeros(1, conditions.width), ["view"])
    with pytest.raises(InputError, match="no attribute 'height'"):
        Conditions({"height": [1, 2]})


def test_a_table_of_other_findings_is_refused():
    with pytest.raises(InputError, match="no finding 'Hernia' is known"):
        ALL.encode(table([(["Mass", "Hernia"], "AP", "F", 50.0)]))


@given(st.lists(person, min_size=1, max_size=5), some_of)
def test_hidden_attributes_are_null_and_the_others_untouched(rows, hidden):
    c = ALL.encode(table(rows))
    before = c.clone()
    found = ALL.hidden(c, hidden)
    assert torch.equal(c, before)
    for name, null in zip(VALUES, NULLS, strict=True):
        block = ALL.block(name)
        assert block.stop == null + 1
        if name in hidden:
            assert (found[:, null] == 1).all()
            assert found[:, block].sum() == len(rows)
        else:
            assert torch.equal(found[:, block], c[:, block])
    assert torch.equal(ALL.hidden(c), ALL.hidden(c, list(VALUES)))


def nulls(conditions, rate, count=200_000):
    """Which attributes of how many samples were hidden: bool (count, A)."""
    c = conditions.vector(**{name: values[0] for name, values in conditions.values.items()}).expand(
        count, -1
    )
    u = torch.rand(
        count, 1 + len(conditions.attributes), generator=torch.Generator().manual_seed(0)
    )
    found = conditions.dropped(c, rate, u)
    last = [conditions.block(name).stop - 1 for name in conditions.attributes]
    null = found[:, last].bool()
    for k, name in enumerate(conditions.attributes):
        block, hidden = conditions.block(name), null[:, k]
        assert torch.equal(found[~hidden, block], c[~hidden, block])  # what is not hidden stays
        assert torch.equal(found[hidden, block], conditions.hidden(c)[hidden, block])
    return null


def share(flags):
    return flags.double().mean(dim=0).tolist()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 1.0])
def test_a_lone_attribute_is_dropped_at_the_rate(rate):
    assert share(nulls(only(["finding"]), rate)) == [pytest.approx(rate, abs=0.004)]


@pytest.mark.parametrize(("rate", "other"), [(0.0, 0.0), (0.1, 0.1), (0.25, 0.25), (0.7, 0.1)])
@pytest.mark.parametrize("attributes", [["finding", "age"], list(VALUES)])
def test_several_attributes_are_dropped_together_and_in_all_subsets(rate, other, attributes):
    null, count = nulls(only(attributes), rate), len(attributes)
    any_subset = 2 * other / 2**count
    each = rate + other + other * (1 - 1 / count)
    alone = any_subset + other / count
    assert share(null) == pytest.approx([each] * count, abs=0.004)
    assert share(null.all(dim=1)) == pytest.approx(rate + any_subset, abs=0.004)
    assert share(~null.any(dim=1)) == pytest.approx(1 - rate - 3 * other + any_subset, abs=0.004)
    for k in range(count):
        only_k = ~null[:, k] & (null.sum(dim=1) == count - 1)
        assert share(only_k) == pytest.approx(alone, abs=0.002)


def test_a_finding_alone_is_trained_often_enough():
    null = nulls(ALL, 0.1)
    assert share(~null[:, 0] & null[:, 1:].all(dim=1)) >= 0.025


@given(
    st.lists(st.lists(st.floats(0, 0.999), min_size=5, max_size=5), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_each_sample_is_dropped_by_its_own_numbers(u, rate):
    c = ALL.vector("Mass", "AP", "F", 50).expand(len(u), -1)
    u = torch.tensor(u, dtype=torch.float64)
    together = ALL.dropped(c, rate, u)
    alone = [ALL.dropped(c[k : k + 1], rate, u[k : k + 1]) for k in range(len(u))]
    assert torch.equal(together, torch.cat(alone))
    assert (together[u[:, 0] < rate][:, NULLS] == 1).all()


def test_conditions_are_measured_on_the_images():
    images = table(
        [(["Mass"], "PA", "M", 15.0), (["Mass"], "AP", "M", 20.0), (["Mass"], None, None, np.nan)]
    )
    found = measured_conditions(["age", "view", "sex", "finding"], VALUES["finding"], images)
    assert found.values == {
        "finding": VALUES["finding"],
        "view": ["AP", "PA"],
        "sex": ["M"],
        "age": [0, 20],
    }
    json.dumps(found.values)
    with pytest.raises(InputError, match=r"no sex 'F' is known .* knows M"):
        found.vector(sex="F")
    with pytest.raises(InputError, match="from 0 to 40 years"):
        found.vector(age=60)


@given(st.lists(st.floats(0, 120) | st.sampled_from([0.0, 120.0]), min_size=1, max_size=6))
def test_every_column_of_age_is_learnt_from_some_image_or_lies_between_such(ages):
    images = pd.DataFrame({"age_years": ages})
    conditions = measured_conditions(["age"], [], images)
    share = conditions.encode(images).sum(dim=0)[:-1]
    assert share[0] > 0 and share[-1] > 0
    assert conditions.encode(images)[:, -1].sum() == 0


@pytest.mark.parametrize(("attribute", "column"), [(a, COLUMN[a]) for a in ("view", "sex", "age")])
def test_an_attribute_that_no_image_states_is_refused_by_name(attribute, column):
    images = table([(["Mass"], "PA", "M", 15.0)] * 3).assign(**{column: None})
    message = re.escape(f"Remove {attribute} from the model's conditions")
    with pytest.raises(InputError, match=message):
        measured_conditions(["finding", attribute], VALUES["finding"], images)


@pytest.mark.parametrize("name", ["age", "noise"])
@pytest.mark.parametrize("values", [[], [0.04, 0.0025, 0.01], [1, 1], [0, float("nan")]])
def test_numbers_between_which_is_interpolated_must_rise(name, values):
    with pytest.raises(ValueError, match=f"values of {name} are to rise"):
        Conditions({name: values})
