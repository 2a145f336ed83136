"""The words for what changed in a configuration and among files."""

import pytest

from workflow_scripts.trail.why import files, setting_changes

FINDINGS = [f"Finding number {number}" for number in range(6)]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 0.004}}, {"a": {"b": 0.002}}, ["a.b was 0.004, is 0.002"]),
        ({"a": "linear"}, {"a": "cosine"}, ["a was linear, is cosine"]),
        ({"a": None}, {"a": [0.1, 10]}, ["a was null, is [0.1, 10]"]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}, ["a was 1, is 2", "b was 2, is 1"]),
        ({"a": 1}, {}, ["a was 1, is gone"]),
        ({}, {"a": {"b": 1}}, ['a is new: {"b": 1}']),
        ({"c": [16, 32]}, {"c": [32, 16]}, ["c was [16, 32], is [32, 16]"]),
        ({"c": FINDINGS}, {"c": [*FINDINGS, "X"]}, ["c has gained X"]),
        ({"c": FINDINGS}, {"c": FINDINGS[1:]}, ["c has lost Finding number 0"]),
        ({"c": FINDINGS}, {"c": FINDINGS[::-1]}, ["c stand in another order"]),
        # Pairs, which keep an order, read as the mapping that they were.
        (
            {"arms": [["real", {"synthetic": 0}], ["more", {"synthetic": 0.5}]]},
            {"arms": [["real", {"synthetic": 0}], ["more", {"synthetic": 1.0}]]},
            ["arms.more.synthetic was 0.5, is 1.0"],
        ),
        (
            {"arms": [["real", {}], ["more", {}]]},
            {"arms": [["more", {}], ["real", {}]]},
            ["arms stand in another order"],
        ),
        ({"a": "x" * 99}, {"a": "y"}, [f"a was {'x' * 59}…, is y"]),
    ],
)
def test_each_key_is_named_with_both_values(before, now, said):
    assert list(setting_changes(before, now)) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("input", "is new", ["a"]), "input a is new"),
        (("input", "has other content", ["a", "b"]), "inputs a and b have other content"),
        (("code:", "changed", ["a", "b", "c"]), "code: a, b and c changed"),
        (("output", "is missing", ["a", "b", "c", "d"]), "outputs a, b, c and d are missing"),
        (
            ("input", "is read no more", list("abcdef")),
            "inputs a, b, c and 3 more are read no more",
        ),
        (("input", "is new", ["/home/somebody/a.csv"]), "input …/a.csv is new"),
    ],
)
def test_files_are_counted_and_folders_of_the_machine_left_out(arguments, said):
    assert files(*arguments) == said
