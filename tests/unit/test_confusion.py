"""The class asked against the class seen."""

import numpy as np
from sklearn.metrics import confusion_matrix

from workflow_scripts.common.figures import plt, save_figure
from workflow_scripts.common.schemas import CONFUSION
from workflow_scripts.evaluate.confusion import as_table, counts, draw, shares


def test_counts_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    asked, seen = rng.integers(0, 4, (2, 200))
    np.testing.assert_array_equal(counts(asked, seen, 4), confusion_matrix(asked, seen))


def test_shares_of_a_class_that_was_not_asked_are_unknown():
    np.testing.assert_array_equal(shares(np.array([[3, 1], [0, 0]])), [0.75, np.nan])


def test_table_and_figure(tmp_path):
    table = np.array([[8, 2], [1, 9]])
    frame = CONFUSION.validate(as_table(table, ["A", "B"]))
    assert frame.to_numpy().tolist() == [["A", "A", 8], ["A", "B", 2], ["B", "A", 1], ["B", "B", 9]]
    for name in ("a", "b"):
        figure = draw(table, ["A", "B"])
        shown = [text.get_text() for text in figure.axes[0].texts]
        assert shown == ["80", "20", "10", "90"]
        save_figure(figure, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not plt.get_fignums()
