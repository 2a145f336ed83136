"""Reader studies: what readers get says nothing of the truth, and what they send back is scored."""

import base64
import io
import itertools
import json
import re
from math import comb
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.reader_study import CLASSES, study_files
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.schemas import IMAGES, POOLED, READER_KEY, READER_SCORES
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.readers.agreement import alpha
from workflow_scripts.readers.detection import d_prime
from workflow_scripts.readers.intervals import mean_share, resamples
from workflow_scripts.readers.make_reader_study import make_reader_study, shuffled
from workflow_scripts.readers.responses import ALL_READERS, Answers, read_answers
from workflow_scripts.readers.score_readers import score_readers
from workflow_scripts.readers.scores import reader_scores

PER_CLASS = 8


def make(files, folder, seed=5, per_class=PER_CLASS, **options):
    """Run the step and return the text of the page and the key."""
    page, key = folder / "page.html", folder / "key.parquet"
    options = {"classes": CLASSES, "phantom": False} | options
    make_reader_study(
        **files, page_path=page, key_path=key, per_class=per_class, seed=seed, **options
    )
    return page.read_text(), read_table(key, READER_KEY)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return study_files(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def study(files, tmp_path_factory):
    return make(files, tmp_path_factory.mktemp("study"))


def pngs(page):
    """Return the items and the bytes of their images, in the order of the page."""
    text = re.search(r'<script type="application/json" id="study">(.*?)</script>', page).group(1)
    images = json.loads(text)["images"]
    head = "data:image/png;base64,"
    assert all(uri.startswith(head) for _, uri in images)
    return {item: base64.b64decode(uri.removeprefix(head)) for item, uri in images}


def chunks(data):
    """Yield the kinds and lengths of a PNG's chunks."""
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], length
        at += 12 + length


# -- the page


def test_of_every_class_there_are_as_many_real_as_synthetic_images(study):
    _, key = study
    counts = key.groupby(["class_name", "synthetic"]).size()
    assert counts.to_dict() == {(name, k): PER_CLASS for name in CLASSES for k in (False, True)}


def test_real_images_are_test_films_of_one_finding_and_of_each_patient_one(study, files):
    _, key = study
    images = pd.read_parquet(files["images_path"]).set_index("image_id")
    real = images.loc[key.loc[~key["synthetic"], "image_id"]]
    assert set(real["split"]) == {"test"}
    assert (real["findings"] == real["class_name"]).all()
    assert real["patient_id"].is_unique
    assert real["class_name"].tolist() == key.loc[~key["synthetic"], "class_name"].tolist()


def test_the_key_names_the_pixels_that_the_page_shows(study, files):
    page, key = study
    images = pngs(page)
    assert list(images) == key["item"].tolist()
    for synthetic, table, shard in (
        (False, files["images_path"], files["shards"][0]),
        (True, files["samples_path"], files["sample_shards"][0]),
    ):
        rows, pixels = pd.read_parquet(table).set_index("image_id")["row"], np.load(shard)
        for item in key[key["synthetic"] == synthetic].itertuples():
            with Image.open(io.BytesIO(images[item.item])) as image:
                assert np.array_equal(np.asarray(image), pixels[rows[item.image_id]])


def test_the_same_seed_gives_the_same_bytes_and_another_another_study(study, files, tmp_path):
    page, key = study
    again, same_key = make(files, tmp_path)
    other, other_key = make(files, tmp_path, seed=6)
    assert again == page
    pd.testing.assert_frame_equal(key, same_key)
    assert other != page
    assert other_key["study"].iloc[0] != key["study"].iloc[0]
    assert other_key["image_id"].tolist() != key["image_id"].tolist()


def test_other_pixels_under_the_same_names_make_another_study(study, files, tmp_path):
    pixels = np.load(files["sample_shards"][0])
    np.save(tmp_path / "shard_synthetic.npy", 255 - pixels)
    _, key = make(files | {"sample_shards": [tmp_path / "shard_synthetic.npy"]}, tmp_path)
    _, before = study
    assert sorted(key["image_id"]) == sorted(before["image_id"])
    assert key["study"].iloc[0] != before["study"].iloc[0]


def test_the_order_mixes_kinds_and_classes_and_needs_the_pixels_of_the_images():
    pixels = np.arange(40, dtype=np.uint8).repeat(9).reshape(40, 3, 3)
    orders = np.array([shuffled(pixels, seed) for seed in range(400)])
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(40), (400, 1)))
    # Each image stands in each place equally often: mean place 19.5, standard error 0.58.
    assert np.abs(orders.argsort(axis=1).mean(axis=0) - 19.5).max() < 4 * 0.58
    assert not np.array_equal(shuffled(pixels, 5), shuffled(pixels ^ 1, 5))


def test_the_source_of_the_page_holds_nothing_of_an_image_but_its_pixels(study):
    page, key = study
    rest = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "PIXELS", page)
    assert not [name for name in key["image_id"] if name in page]
    for word in ("film_", "recommended", "dpm20", "archive", "shard", "patient_id", "image_id"):
        assert word not in rest, word
    data = re.search(r'id="study">(.*?)</script>', rest).group(1)
    entries = [[f"image-{number:03d}", "PIXELS"] for number in range(1, len(key) + 1)]
    assert json.loads(data) == {"id": key["study"].iloc[0], "images": entries}
    # A class stands in the page once, where it is asked for: no image is marked with it.
    for name in CLASSES:
        assert rest.count(f'value="{name}"') == 1


def test_images_differ_in_pixels_alone(study):
    page, _ = study
    images = list(pngs(page).values())
    assert len({len(data) for data in images}) == 1, "their size in bytes tells how noisy they are"
    assert len({tuple(chunks(data)) for data in images}) == 1
    assert {kind for kind, _ in chunks(images[0])} == {b"IHDR", b"IDAT", b"IEND"}
    assert len({data[:33] for data in images}) == 1, "size, bit depth, colour type"
    kinds = set()
    for data in images:
        with Image.open(io.BytesIO(data)) as image:
            kinds.add((image.mode, image.size, tuple(sorted(image.info))))
    assert kinds == {("L", (16, 16), ())}


def test_the_page_loads_nothing_and_may_not(study):
    page, _ = study
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")", page)
    assert not re.search(r"unsafe|fetch\(|XMLHttpRequest|sendBeacon|WebSocket", page)


def test_classes_cannot_break_the_page(tmp_path):
    hostile = ["</script><b>x", 'a"b', "plain"]
    page, _ = make(study_files(tmp_path / "in", hostile), tmp_path, per_class=2, classes=hostile)
    assert "</script><b>x" not in page
    assert "&lt;/script&gt;&lt;b&gt;x" in page


def test_a_class_with_few_images_stays_balanced_and_one_without_is_refused(files, tmp_path, caplog):
    caplog.set_level("WARNING", logger="synthorax")
    samples = pd.read_parquet(files["samples_path"])
    few = samples.drop(samples.index[samples["class_name"] == "Effusion"][3:])
    few.to_parquet(tmp_path / "few.parquet")
    _, key = make(files | {"samples_path": tmp_path / "few.parquet"}, tmp_path)
    assert key.groupby(["class_name", "synthetic"]).size()["Effusion"].tolist() == [3, 3]
    assert "Effusion: 3 images of each kind, not 8" in caplog.text
    samples[samples["class_name"] != "Effusion"].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no synthetic image of Effusion"):
        make(files | {"samples_path": tmp_path / "none.parquet"}, tmp_path)


def test_subjects_who_show_every_class_are_shared_out(files, tmp_path):
    """Slices of a volume, or patches of a slide: each test subject has an image of each class."""
    images = pd.read_parquet(files["images_path"])
    rare = images.index[(images["split"] == "test") & (images["class_name"] == CLASSES[0])]
    images = images.drop(rare[8:]).reset_index(drop=True)
    test = images["split"] == "test"
    number = images[test].groupby("class_name").cumcount() % 8
    images.loc[test, "patient_id"] = "slide " + number.astype(str)
    alike = files | {"images_path": tmp_path / "images.parquet"}
    write_table(images, alike["images_path"], IMAGES)
    _, key = make(alike, tmp_path, per_class=2)
    counts = key.groupby(["class_name", "synthetic"]).size()
    assert counts.to_dict() == {(name, k): 2 for name in CLASSES for k in (False, True)}
    owners = images.set_index("image_id").loc[key.loc[~key["synthetic"], "image_id"], "patient_id"]
    assert owners.is_unique


def test_images_of_another_size_are_refused(files, tmp_path):
    np.save(tmp_path / "shard_synthetic.npy", np.zeros((99, 8, 8), np.uint8))
    with pytest.raises(InputError, match="pixels, grey, 8 bit: that would tell them apart"):
        make(files | {"sample_shards": [tmp_path / "shard_synthetic.npy"]}, tmp_path)


# -- answers


def response(key, reader="A", source=None, finding=None):
    """Return the file of a reader who is always right, or answers as given."""
    right = np.where(key["synthetic"], "synthetic", "real")
    return pd.DataFrame(
        {
            "study": key["study"],
            "reader": reader,
            "item": key["item"],
            "real_or_synthetic": right if source is None else source,
            "finding": key["class_name"] if finding is None else finding,
        }
    )


def test_answers_come_back_in_the_order_of_the_key_and_gaps_are_said(study, tmp_path, caplog):
    caplog.set_level("WARNING", logger="synthorax")
    _, key = study
    table = response(key, "Bé").sample(frac=1, random_state=1)
    table.loc[key.index[0], "finding"] = ""
    table = table[table["item"] != key["item"].iloc[1]]
    table.to_csv(tmp_path / "b.csv", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    response(key, "A").to_csv(tmp_path / "a.csv", index=False)
    answers = read_answers([tmp_path / "b.csv", tmp_path / "a.csv"], key, CLASSES)
    assert answers.readers == ["A", "Bé"]
    truth = key["synthetic"].to_numpy(float)
    assert np.array_equal(answers.source[0], truth)
    assert np.isnan(answers.source[1, 1])
    assert np.array_equal(np.delete(answers.source[1], 1), np.delete(truth, 1))
    assert np.flatnonzero(np.isnan(answers.finding[1])).tolist() == [0, 1]
    assert "1 have no answer to “real or synthetic?” and 2 none to the finding" in caplog.text


FAULTS = {
    "another study": (lambda t: t.assign(study="0123456789ab"), "not of this reader study"),
    "a mixture": (lambda t: t.assign(study=[*t["study"][:-1], "x"]), "not of this reader study"),
    "an unknown item": (lambda t: t.assign(item=["image-999", *t["item"][1:]]), "image-999"),
    "a doubled item": (lambda t: pd.concat([t, t.iloc[[3]]]), "more than once: image-004"),
    "another class": (lambda t: t.assign(finding="Effussion"), "cannot be chosen: Effussion"),
    "another word": (lambda t: t.assign(real_or_synthetic="fake"), "cannot be chosen: fake"),
    "two readers": (lambda t: t.assign(reader=[*t["reader"][:-1], "B"]), "must name one reader"),
    "no reader": (lambda t: t.assign(reader=" "), "must name one reader"),
    "everybody": (lambda t: t.assign(reader="All  Readers"), "must name one reader"),
    "a missing column": (lambda t: t.drop(columns="finding"), "must have the columns"),
    "one column more": (lambda t: t.assign(truth=1), "must have the columns"),
    "no row": (lambda t: t.iloc[:0], "holds no answer"),
    "no answer": (lambda t: t.assign(real_or_synthetic="", finding=""), "holds no answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_foreign_and_damaged_answers_are_refused(study, tmp_path, fault):
    _, key = study
    change, message = FAULTS[fault]
    path = tmp_path / "answers.csv"
    change(response(key)).to_csv(path, index=False)
    with pytest.raises(InputError, match=rf"answers\.csv.*{message}"):
        read_answers([path], key, CLASSES)


@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff\xfe\x89PNG", b"study;reader;item\n1;2;3\n", "cut off"]
)
def test_what_is_no_table_of_answers_is_refused(study, tmp_path, data):
    _, key = study
    path = tmp_path / "answers.csv"
    if isinstance(data, str):
        data = response(key).to_csv(index=False).encode()[:-40]
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"answers\.csv"):
        read_answers([path], key, CLASSES)


@pytest.mark.parametrize(
    ("first", "second"), [("AB", "ab"), ("A B", "a  B "), ("STRAßE", "strasse"), ("Ａ", "a")]
)
def test_two_spellings_of_a_name_are_one_reader(study, tmp_path, first, second):
    _, key = study
    for path, name in (("1.csv", first), ("2.csv", second)):
        response(key, name).to_csv(tmp_path / path, index=False)
    with pytest.raises(InputError, match=r"1\.csv and .*2\.csv are both of the reader"):
        read_answers([tmp_path / "1.csv", tmp_path / "2.csv"], key, CLASSES)


def test_a_reader_with_two_files_and_a_folder_without_any_are_refused(study, tmp_path):
    _, key = study
    for name in ("1.csv", "2.csv"):
        response(key).to_csv(tmp_path / name, index=False)
    with pytest.raises(InputError, match=r"1\.csv and .*2\.csv are both of the reader “A”"):
        read_answers([tmp_path / "1.csv", tmp_path / "2.csv"], key, CLASSES)
    outputs = [tmp_path / "scores.parquet", tmp_path / "scores.png"]
    with pytest.raises(InputError, match="no CSV file in returned"):
        score_readers(tmp_path / "key", [], *outputs, "returned", CLASSES, 5, False)


# -- formulas


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_d_prime_is_the_textbooks(synthetic, real, hit_share, alarm_share):
    hits, alarms = round(hit_share * synthetic), round(alarm_share * real)
    value, variance = d_prime(hits, synthetic, alarms, real)
    normal = NormalDist()
    h, f = (hits + 0.5) / (synthetic + 1), (alarms + 0.5) / (real + 1)
    z_h, z_f = normal.inv_cdf(h), normal.inv_cdf(f)
    expected = h * (1 - h) / ((synthetic + 1) * normal.pdf(z_h) ** 2)
    expected += f * (1 - f) / ((real + 1) * normal.pdf(z_f) ** 2)
    assert value == pytest.approx(z_h - z_f, abs=1e-9)
    assert variance == pytest.approx(expected, rel=1e-6)
    assert d_prime(alarms, real, hits, synthetic)[0] == pytest.approx(-value, abs=1e-9)


@pytest.mark.parametrize("truth", [0.0, 1.0, 2.0])
def test_the_interval_of_d_prime_covers_a_known_one(truth):
    rng = np.random.default_rng(3)
    n, criterion = 40, 0.4  # the reader says "synthetic" above it: a biased reader
    hits = (rng.normal(truth, 1, (4000, n)) > criterion).sum(axis=1)
    alarms = (rng.normal(0, 1, (4000, n)) > criterion).sum(axis=1)
    value, variance = d_prime(hits, n, alarms, n)
    covered = (np.abs(value - truth) <= 1.96 * np.sqrt(variance)).mean()
    assert 0.93 < covered < 0.98
    assert value.mean() == pytest.approx(truth, abs=0.05)


def brute_alpha(answers):
    """Krippendorff's α by going through all pairs, as its definition says."""
    units = [[a for a in column if not np.isnan(a)] for column in np.asarray(answers).T]
    units = [unit for unit in units if len(unit) > 1]
    every = [a for unit in units for a in unit]
    observed = sum(
        sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(every)
    expected = sum(a != b for a, b in itertools.permutations(every, 2))
    expected /= len(every) * (len(every) - 1)
    return 1 - observed / expected


def test_alpha_of_the_published_example():
    # Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C: nominal, 0.743.
    nan = np.nan
    answers = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
            [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
        ]
    )
    assert alpha(answers)[0] == pytest.approx(0.743, abs=5e-4)
    assert brute_alpha(answers) == pytest.approx(0.743, abs=5e-4)


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 12))
def test_alpha_is_what_all_pairs_say_and_weights_are_repeated_images(seed, readers, images):
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 3, (readers, images)).astype(float)
    answers[rng.random(answers.shape) < 0.2] = np.nan
    times = rng.integers(0, 3, images)
    for table, found in (
        (answers, alpha(answers)[0]),
        (np.repeat(answers, times, axis=1), alpha(answers, times[None].astype(float))[0]),
    ):
        pairs = table[:, (~np.isnan(table)).sum(axis=0) > 1]
        if len(np.unique(pairs[~np.isnan(pairs)])) > 1:
            assert found == pytest.approx(brute_alpha(table), abs=1e-9)
        else:
            assert np.isnan(found)


# -- scores


def simulated(key, truth, criteria, rng, finding_share=0.7, item_sd=0.0):
    """Return answers of readers whose d′ is known: signal detection with equal variances.

    `item_sd` is the part of what they perceive that all of them share.
    """
    synthetic, n, readers = key["synthetic"].to_numpy(), len(key), len(criteria)
    noise = rng.normal(0, item_sd, n) + rng.normal(0, np.sqrt(1 - item_sd**2), (readers, n))
    source = (noise + truth * synthetic > np.asarray(criteria)[:, None]).astype(float)
    classes = key["class_name"].map(CLASSES.index).to_numpy()
    right = rng.random((readers, n)) < finding_share
    finding = np.where(right, classes, (classes + 1) % len(CLASSES)).astype(float)
    return Answers([f"R{number}" for number in range(readers)], source, finding)


def big_key(per_class):
    """Return a key with `per_class` images of each class and kind."""
    rows = list(itertools.product(CLASSES, [False, True], range(per_class)))
    return pd.DataFrame(
        {
            "study": "s",
            "item": [f"image-{number}" for number in range(len(rows))],
            "image_id": [f"id {number}" for number in range(len(rows))],
            "class_name": [name for name, _, _ in rows],
            "synthetic": [kind for _, kind, _ in rows],
        }
    )


def value_of(scores, reader, measure, class_name=POOLED):
    here = scores[(scores["reader"] == reader) & (scores["measure"] == measure)]
    return here.set_index("class_name").loc[class_name]


def test_simulated_readers_are_scored_to_their_truth():
    key = big_key(150)
    criteria = [-0.3, 0.75, 1.6]  # one says "synthetic" often, one seldom
    scores = reader_scores(key, simulated(key, 1.5, criteria, np.random.default_rng(0)), CLASSES, 5)
    READER_SCORES.validate(scores)
    normal = NormalDist()
    for reader, criterion in zip(("R0", "R1", "R2"), criteria, strict=True):
        row = value_of(scores, reader, "d_prime")
        assert row["value"] == pytest.approx(1.5, abs=0.3)  # standard error 0.1
        assert 0.3 < row["high"] - row["low"] < 0.6
        accuracy = (normal.cdf(criterion) + 1 - normal.cdf(criterion - 1.5)) / 2
        row = value_of(scores, reader, "accuracy")
        assert row["value"] == pytest.approx(accuracy, abs=0.05)
        assert row["low"] < row["value"] < row["high"] < row["low"] + 0.07
        assert row["n"] == len(key)
        for name in CLASSES:
            assert value_of(scores, reader, "d_prime", name)["value"] == pytest.approx(1.5, abs=0.6)
            for kind in ("real", "synthetic"):
                row = value_of(scores, reader, f"finding_accuracy_{kind}", name)
                assert (row["n"], row["chance"]) == (150, pytest.approx(1 / 3))
                assert row["value"] == pytest.approx(0.7, abs=0.12)
    together = value_of(scores, ALL_READERS, "d_prime")
    assert together["low"] < 1.5 < together["high"]
    # Answers thrown together would give less, since the readers' criteria differ.
    assert together["value"] == pytest.approx(1.5, abs=0.2)


def test_readers_who_are_always_right_agree_and_are_not_beyond_doubt(study):
    _, key = study
    truth, classes = key["synthetic"].to_numpy(float), key["class_name"].map(CLASSES.index)
    answers = Answers(["A", "B"], np.stack([truth] * 2), np.stack([classes.to_numpy(float)] * 2))
    scores = reader_scores(key, answers, CLASSES, 5)
    for what in ("source", "finding"):
        row = value_of(scores, ALL_READERS, f"agreement_{what}")
        assert row["value"] == 1
        assert row["interval"] == "none"
        assert np.isnan(row["low"])
    row = value_of(scores, ALL_READERS, "accuracy")
    assert (row["value"], row["high"]) == (1, 1)
    # Clopper & Pearson for as many answers as there are images, not twice as many.
    assert row["low"] == pytest.approx(0.025 ** (1 / len(key)))
    assert np.isfinite(value_of(scores, ALL_READERS, "d_prime")["high"])


def test_the_interval_of_one_reader_is_clopper_pearsons_and_gaps_are_left_out(study):
    _, key = study
    source, finding = key["synthetic"].to_numpy(float), np.full(len(key), np.nan)
    source[:4] = 1 - source[:4]
    source[4:14] = np.nan
    scores = reader_scores(key, Answers(["A"], source[None], finding[None]), CLASSES, 5)
    assert set(scores["reader"]) == {"A"}
    assert set(scores["measure"]) == {"answered", "accuracy", "d_prime"}
    row = value_of(scores, "A", "accuracy")
    n = len(key) - 10
    assert (row["n"], row["value"]) == (n, pytest.approx((n - 4) / n))

    def at_least(p, k):  # P(X >= k) of the binomial distribution
        return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))

    assert at_least(row["low"], n - 4) == pytest.approx(0.025, rel=1e-6)
    assert 1 - at_least(row["high"], n - 3) == pytest.approx(0.025, rel=1e-6)
    assert value_of(scores, "A", "answered")["value"] == 0


def test_the_interval_of_all_readers_covers_where_answers_depend_on_each_other():
    """Images that are hard for all, and readers who differ: independence would claim too much."""
    rng, n, readers = np.random.default_rng(1), 60, 6
    covered, naive = 0, 0
    grid = rng.normal(0, 0.8, (200_000, 1)) + rng.normal(0, 0.8, (200_000, 1)) + 0.5
    truth = (grid + rng.normal(0, 1, grid.shape) > 0).mean()
    draws = resamples(np.repeat([0, 1], n // 2), readers, 5)
    for _ in range(200):
        ease = rng.normal(0, 0.8, n) + rng.normal(0, 0.8, (readers, 1)) + 0.5
        right = (ease + rng.normal(0, 1, (readers, n)) > 0).astype(float)
        estimate = mean_share(right, draws)
        covered += estimate.low <= truth <= estimate.high
        half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / right.size)
        naive += abs(right.mean() - truth) <= half
    assert covered / 200 > 0.88
    assert naive / 200 < 0.7


def test_the_step_writes_table_and_figure_the_same_twice(study, tmp_path):
    _, key = study
    key.to_parquet(tmp_path / "key.parquet")
    rng = np.random.default_rng(4)
    paths = []
    for name in ("A", "B", "C"):
        source = np.where(rng.random(len(key)) < 0.6, response(key)["real_or_synthetic"], "real")
        path = tmp_path / f"{name}.csv"
        response(key, name, source).to_csv(path, index=False)
        paths.append(path)
    written = []
    for run in ("first", "second"):
        outputs = [tmp_path / f"{run}.parquet", tmp_path / f"{run}.png"]
        score_readers(tmp_path / "key.parquet", paths, *outputs, "r", CLASSES, 5, True)
        written.append([path.read_bytes() for path in outputs])
    assert written[0] == written[1]
    scores = read_table(tmp_path / "first.parquet", READER_SCORES)
    assert list(scores["reader"].unique()) == ["A", "B", "C", ALL_READERS]
    assert (scores["measure"] == "agreement_source").sum() == 1
    with Image.open(tmp_path / "first.png") as image:
        assert image.width > 1000
