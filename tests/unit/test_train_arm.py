"""The training of an arm: what it predicts, what all arms share, and what helps one and what not."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.several import with_several
from tests.unit.test_arms import CLASSES, REAL, drawn_images, images_of
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.schemas import ARM_IMAGES, IMAGES, PREDICTIONS
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.phantom.population import Film, describe
from workflow_scripts.phantom.radiograph import draw
from workflow_scripts.study import train_arm as step
from workflow_scripts.study.arms import compose, real_images
from workflow_scripts.study.train_arm import train_arm

SETTINGS = {
    "backbone": "small",
    "steps": 20,
    "batch_size": 16,
    "learning_rate": 0.01,
    "weight_decay": 0.01,
}
NUMBERS = ["p_0", "p_1", "p_2"]


def write_arm(folder, images, samples, films, drawn, arm):
    """Write what `train_arm` reads: images, their pixels, the arm, and its proof.

    Parameters
    ----------
    films : uint8 (n, size, size), those of `images`
    drawn : uint8 (classes, per class, size, size), those of `samples`
    """
    write_table(images, folder / "images.parquet", IMAGES)
    np.save(folder / "archive.npy", films)
    for number, pixels in enumerate(drawn):
        np.save(folder / f"{number}_000.npy", pixels)
    training = compose(real_images(images, 1.0, 0), samples, REAL | arm, CLASSES, "a")
    write_table(training, folder / "arm.parquet", ARM_IMAGES)
    paths = [folder / "images.parquet", folder / "arm.parquet", *folder.glob("?_000.npy")]
    proof = {"sha256": {str(path): sha256_of(path) for path in paths}}
    (folder / "proof.json").write_text(json.dumps(proof))
    return training


def predicted(folder, seed=0, settings=SETTINGS, **arm):
    """Train the arm in `folder` and return its predictions."""
    train_arm(
        folder / "images.parquet",
        [folder / "archive.npy"],
        folder / "arm.parquet",
        [folder / f"{number}_000.npy" for number in range(3)],
        folder / "proof.json",
        folder / "predictions.parquet",
        study="s",
        arm="a",
        seed=seed,
        classes=CLASSES,
        classifier=settings,
        device="cpu",
        **{"order": "mixed", "augmentation": True, "sampling": "balanced"} | arm,
    )
    return read_table(folder / "predictions.parquet", PREDICTIONS)


def bright(folder, arm, several=False):
    """Write an arm of films whose classes differ in brightness."""
    rng = np.random.default_rng(0)
    images = images_of((12, 8, 6), held_out=6)

    def films(class_ids):
        level = 60 + 60 * np.asarray(class_ids)[:, None, None]
        return (level + rng.integers(-30, 30, (len(class_ids), 16, 16))).astype(np.uint8)

    pixels = films(images["class_id"])
    drawn = [films([number] * 10) for number in range(3)]
    images = with_several(images) if several else images
    return write_arm(folder, images, drawn_images(), pixels, drawn, arm)


@pytest.mark.parametrize("arm", [{}, {"synthetic": 1}, {"synthetic": 1, "real": False}])
def test_an_arm_predicts_every_real_test_image_and_nothing_else(tmp_path, arm):
    bright(tmp_path, arm, several=True)
    found = predicted(tmp_path)
    images = read_table(tmp_path / "images.parquet", IMAGES).set_index("image_id")
    test = images[(images["split"] == "test") & (images["findings"] == images["class_name"])]
    assert list(found["image_id"]) == list(test.index)
    for column in ("patient_id", "class_id", "class_name", "sex", "view"):
        assert list(found[column]) == list(test[column])
    probabilities = found[NUMBERS].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == found["class_id"]).mean() > 0.6


def test_the_same_seed_trains_the_same_and_every_setting_makes_a_difference(tmp_path):
    bright(tmp_path, {"synthetic": 1})
    settings = SETTINGS | {"steps": 4}
    first, again = predicted(tmp_path, settings=settings), predicted(tmp_path, settings=settings)
    pd.testing.assert_frame_equal(first, again)
    for changed in (
        {"seed": 1},
        {"order": "pretrain"},
        {"augmentation": False},
        {"sampling": "natural"},
    ):
        other = predicted(tmp_path, settings=settings, **changed)
        assert np.abs(first[NUMBERS] - other[NUMBERS]).to_numpy().max() > 1e-6, changed


@pytest.mark.parametrize("order", ["mixed", "pretrain"])
def test_pre_training_is_on_synthetic_images_and_ends_on_real_ones(tmp_path, monkeypatch, order):
    training = bright(tmp_path, {"synthetic": 1})
    gathered = []

    class Watched(step.ImageStore):
        def gather(self, positions):
            gathered.append(np.asarray(positions))
            return super().gather(positions)

    monkeypatch.setattr(step, "ImageStore", Watched)
    predicted(tmp_path, settings=SETTINGS | {"steps": 6}, order=order)
    share = [training["synthetic"].to_numpy()[batch].mean() for batch in gathered[:6]]
    assert [len(batch) for batch in gathered[:6]] == [16] * 6
    if order == "pretrain":
        assert share == [1, 1, 1, 0, 0, 0]
    else:
        assert all(0 < one < 1 for one in share)


def test_arms_of_one_seed_start_from_the_same_weights_and_take_the_same_steps(
    tmp_path, monkeypatch
):
    starts, ends = [], []
    monkeypatch.setattr(step, "train", watched(step.train, starts, ends))
    for number, (arm, order) in enumerate(
        [({}, "mixed"), ({"synthetic": 1}, "mixed"), ({"synthetic": 1}, "pretrain")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        bright(folder, arm)
        predicted(folder, settings=SETTINGS | {"steps": 5}, order=order)
    assert ends == [5, 5, 5]
    for start in starts[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(starts[0], start, strict=True))


def watched(train, starts, ends):
    """`train`, which notes the weights before the first step, and how many steps there were."""
    import workflow_scripts.classifier.training as training

    build = training.build

    def noting(*arguments):
        model = build(*arguments)
        starts.append([weight.detach().numpy().copy() for weight in model.parameters()])
        return model

    def watching(*arguments, **options):
        history = []
        training.build = noting
        try:
            return train(*arguments, history=history, **options)
        finally:
            training.build = build
            ends.append(len(history))

    return watching


def test_a_training_that_diverges_says_so_instead_of_writing_nonsense(tmp_path):
    bright(tmp_path, {})
    with pytest.raises(InputError, match=r"diverged.*classifier\.learning_rate"):
        predicted(tmp_path, settings=SETTINGS | {"learning_rate": 1e30})
    assert not (tmp_path / "predictions.parquet").exists()


@pytest.mark.parametrize("name", ["images", "arm"])
def test_an_arm_that_is_not_the_one_that_was_proved_does_not_train(tmp_path, name):
    bright(tmp_path, {})
    table = pd.read_parquet(tmp_path / f"{name}.parquet")
    table.iloc[::-1].to_parquet(tmp_path / f"{name}.parquet", index=False)
    with pytest.raises(InputError, match=rf"proof of another .*{name}\.parquet"):
        predicted(tmp_path)


def test_synthetic_pixels_other_than_those_that_were_proved_are_not_trained_on(tmp_path):
    bright(tmp_path, {"synthetic": 0.5, "classes": ["Effusion", "Pneumonia"]})
    np.save(tmp_path / "0_000.npy", 255 - np.load(tmp_path / "0_000.npy"))
    predicted(tmp_path, settings=SETTINGS | {"steps": 2})  # the arm takes none of those
    np.save(tmp_path / "1_000.npy", 255 - np.load(tmp_path / "1_000.npy"))
    with pytest.raises(InputError, match=r"proof of another .*1_000\.npy"):
        predicted(tmp_path)


# -- what must help, and what must not, on phantom films -------------------------------------------

FEW, MORE, TESTED, SIZE = 8, 50, 40, 32  # per class; pixels
SHOWN = ["No Finding", "Cardiomegaly", "Effusion"]


@pytest.fixture(scope="module")
def patients():
    """Films of one phantom patient each: uint8 (classes, FEW + MORE + TESTED, size, size)."""
    truth = describe(patients=1500, archives=1, seed=14).drop_duplicates("patient_id")
    count = FEW + MORE + TESTED
    return np.stack(
        [
            [
                draw(Film(**row), SIZE)
                for row in truth[truth["findings"] == name].head(count).to_dict("records")
            ]
            for name in SHOWN
        ]
    )


def auroc(folder, patients, drawn):
    """Macro AUROC of few real patients, and of `drawn` beside them where there are any."""
    folder.mkdir()
    images = images_of([FEW] * 3, held_out=TESTED)
    few, _, tested = np.split(patients, [FEW, FEW + MORE], axis=1)
    films = np.concatenate([part.reshape(-1, SIZE, SIZE) for part in (few, tested, tested)])
    arm = {} if drawn is None else {"synthetic": MORE / FEW}
    write_arm(folder, images, drawn_images(MORE), films, patients if drawn is None else drawn, arm)
    settings = SETTINGS | {"steps": 80, "batch_size": 32, "learning_rate": 0.003}
    found = [predicted(folder, seed, settings) for seed in (0, 1)]
    return np.mean([roc_auc_score(f["class_id"], f[NUMBERS], multi_class="ovr") for f in found])


def test_more_real_patients_in_the_place_of_synthetic_images_help_and_noise_does_not(
    tmp_path, patients
):
    more = patients[:, FEW : FEW + MORE]
    noise = np.random.default_rng(0).integers(0, 256, more.shape, dtype=np.uint8)
    real, helped, hindered = (
        auroc(tmp_path / name, patients, drawn)
        for name, drawn in (("real", None), ("more", more), ("noise", noise))
    )
    assert helped > real + 0.02
    assert hindered < real + 0.01
