"""The page of a reader study in a real Chromium, by keyboard and by finger, and then scored."""

import numpy as np
import pandas as pd
import pytest

from tests.chromium import Chromium, executable
from tests.reader_study import CLASSES, study_files
from workflow_scripts.common.schemas import POOLED, READER_KEY, READER_SCORES
from workflow_scripts.common.tables import read_table
from workflow_scripts.readers.make_reader_study import make_reader_study
from workflow_scripts.readers.score_readers import score_readers

pytestmark = pytest.mark.skipif(
    executable() is None, reason="needs a Chromium: apt-get install chromium"
)
PER_CLASS = 2
TOTAL = 2 * PER_CLASS * len(CLASSES)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return the page and the key of a small study."""
    folder = tmp_path_factory.mktemp("reader study")
    page, key = folder / "reader_study.html", folder / "key.parquet"
    inputs = study_files(folder / "in", size=64)
    make_reader_study(**inputs, page_path=page, key_path=key, classes=CLASSES,
                      per_class=PER_CLASS, seed=5, phantom=True)  # fmt: skip
    return page, key


@pytest.fixture
def browser(tmp_path):
    (tmp_path / "downloads").mkdir()
    with Chromium(tmp_path / "profile", tmp_path / "downloads") as browser:
        yield browser


def text(browser, name):
    return browser.eval(f"document.getElementById('{name}').innerText")


def complaints(browser):
    """What the browser had to say against the page: errors, refused resources."""
    return [
        event
        for event in browser.events
        if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")
    ]


def requests(browser):
    """The addresses that the page asked for, but for those that it carries itself."""
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    return {url for url in asked if not url.startswith(("data:", "about:", "blob:"))}


def test_a_study_is_answered_by_keyboard_resumed_after_a_reload_and_scored(
    study, browser, tmp_path
):
    page, key_path = study
    key = read_table(key_path, READER_KEY)
    rng = np.random.default_rng(2)
    source = np.where(rng.random(TOTAL) < 0.7, key["synthetic"], ~key["synthetic"])
    finding = [*(CLASSES.index(name) for name in key["class_name"][:-1]), 0]

    def answer(first, last):
        for position in range(first, last):
            assert text(browser, "place") == f"Image {position + 1} of {TOTAL}"
            browser.press("s" if source[position] else "r")
            browser.press(str(finding[position] + 1))
            browser.press("Enter")

    browser.open(page.as_uri())
    browser.write("Dr. A")
    browser.press("Enter")
    answer(0, 5)

    # Enter does not go on from an image that is half answered; the page says what is missing.
    browser.press("r")
    browser.press("Enter")
    assert text(browser, "message") == "Still to say: what it shows."

    # After a reload: the same image, its half answer and all others.
    browser.reload()
    browser.press("Enter")
    assert text(browser, "place") == f"Image 6 of {TOTAL}"
    assert text(browser, "who") == "· Dr. A"
    assert text(browser, "count") == f"5 of {TOTAL} answered"
    assert browser.eval("document.querySelector('input:checked').value") == "real"

    # Back and forward; an answer that was given can be changed.
    for _ in range(5):
        browser.press("ArrowLeft")
    assert text(browser, "place") == f"Image 1 of {TOTAL}"
    browser.press("r" if source[0] else "s")
    browser.press("s" if source[0] else "r")
    for _ in range(5):
        browser.press("ArrowRight")
    answer(5, TOTAL)

    assert text(browser, "done") == "Finished. Thank you!"
    browser.press("Enter")
    path = browser.downloaded()
    assert path.name == f"reader_study_{key['study'].iloc[0]}_Dr_A.csv"
    assert complaints(browser) == []
    assert requests(browser) == {page.as_uri()}

    table = pd.read_csv(path)
    assert table["item"].tolist() == key["item"].tolist()
    assert (table["real_or_synthetic"] == np.where(source, "synthetic", "real")).all()
    assert table["finding"].tolist() == [CLASSES[number] for number in finding]

    score_readers(key_path, [path], tmp_path / "s.parquet", tmp_path / "s.png", "returned",
                  CLASSES, 5, True)  # fmt: skip
    scores = read_table(tmp_path / "s.parquet", READER_SCORES)
    pooled = scores[scores["class_name"] == POOLED].set_index("measure")
    assert set(pooled["reader"]) == {"Dr. A"}
    assert pooled.loc["accuracy", "value"] == (source == key["synthetic"]).mean()
    right = np.array(finding) == key["class_name"].map(CLASSES.index)
    for kind, here in (("real", ~key["synthetic"]), ("synthetic", key["synthetic"])):
        assert pooled.loc[f"finding_accuracy_{kind}", "value"] == right[here].mean()


def test_a_tablet_needs_no_keyboard_and_an_unfinished_study_can_be_sent(study, browser):
    page, _ = study
    browser.screen(768, 1024, touch=True)
    browser.open(page.as_uri())
    browser.eval("document.getElementById('name').value = 'B'")
    browser.tap("document.querySelector('#enter button')")
    browser.until("!document.getElementById('reading').hidden")
    browser.tap("document.querySelector('input[value=synthetic]')")
    browser.tap("document.querySelector('input[value=Effusion]')")
    browser.tap("document.getElementById('next')")
    browser.until(f"document.getElementById('place').innerText === 'Image 2 of {TOTAL}'")

    # Everything that a finger must meet is large enough, and nothing lies beyond the screen's side.
    sizes = browser.eval(
        "[...document.querySelectorAll('button, fieldset label')].filter(e => e.offsetParent)"
        ".map(e => e.offsetHeight)"
    )
    assert min(sizes) >= 44
    assert browser.eval("document.documentElement.scrollWidth <= innerWidth")
    film = browser.eval("document.getElementById('film').offsetWidth")
    assert film > 400

    for _ in range(TOTAL):
        browser.press("ArrowRight")
    assert "Not quite finished" in text(browser, "end")
    assert browser.eval("document.querySelectorAll('#unanswered button').length") == TOTAL - 1
    browser.tap("document.getElementById('download')")
    table = pd.read_csv(browser.downloaded(), keep_default_na=False)
    assert table["real_or_synthetic"].tolist() == ["synthetic"] + [""] * (TOTAL - 1)
    assert table["finding"].tolist() == ["Effusion"] + [""] * (TOTAL - 1)
    assert complaints(browser) == []


def test_readers_at_one_browser_do_not_see_each_others_answers(study, browser):
    page, _ = study
    browser.open(page.as_uri())
    for name, place in (("A", 1), ("B", 1), ("A", 2)):
        browser.write(name)
        browser.press("Enter")
        assert text(browser, "place") == f"Image {place} of {TOTAL}"
        assert text(browser, "count") == f"{place - 1} of {TOTAL} answered"
        if place == 1 and name == "A":
            for key in ("s", "2", "Enter"):
                browser.press(key)
        browser.eval("document.getElementById('change').click()")


def test_whoever_opens_the_page_next_sees_a_name_and_no_answer(study, browser):
    page, _ = study
    browser.open(page.as_uri())
    browser.write("A")
    for key in ("Enter", "s", "2", "Enter", "r"):
        browser.press(key)

    browser.reload()
    assert browser.eval("document.getElementById('start').hidden") is False
    assert browser.eval("document.getElementById('reading').hidden") is True
    assert text(browser, "who") == ""
    assert browser.eval("document.querySelectorAll('input:checked').length") == 0
    assert browser.eval("document.getElementById('name').value") == "A"

    # The name is selected: another reader writes over it.
    browser.write("B")
    browser.press("Enter")
    assert text(browser, "who") == "· B"
    assert text(browser, "place") == f"Image 1 of {TOTAL}"
    assert text(browser, "count") == f"0 of {TOTAL} answered"


def test_another_spelling_of_a_name_is_the_same_reader(study, browser):
    page, _ = study
    browser.open(page.as_uri())
    browser.write("Dr. A")
    for key in ("Enter", "s", "2", "Enter"):
        browser.press(key)
    browser.reload()
    browser.write(" dr.  a")
    browser.press("Enter")
    assert text(browser, "who") == "· dr. a"
    assert text(browser, "count") == f"1 of {TOTAL} answered"


def test_what_is_still_to_say_covers_no_answer(study, browser):
    page, _ = study
    browser.screen(768, 900, touch=True)
    browser.open(page.as_uri())
    browser.eval("document.getElementById('name').value = 'C'")
    browser.tap("document.querySelector('#enter button')")
    browser.until("!document.getElementById('reading').hidden")
    browser.eval("scrollTo(0, 0)")
    browser.press("r")
    browser.press("Enter")
    assert text(browser, "message") == "Still to say: what it shows."
    covered = (
        "Math.max(...[...document.querySelectorAll('#finding label')]"
        ".map(e => e.getBoundingClientRect().bottom))"
        " - document.querySelector('.foot').getBoundingClientRect().top"
    )
    assert browser.eval(covered) <= 0


def test_every_question_has_its_label_and_words_stand_out_from_their_ground(study, browser):
    page, _ = study
    browser.open(page.as_uri())
    browser.write("A")
    browser.press("Enter")
    browser.press("s")
    unlabelled = browser.eval(
        "[...document.querySelectorAll('input')].filter(e => !e.labels.length).length"
    )
    assert unlabelled == 0
    assert browser.eval("document.querySelectorAll('fieldset > legend').length") == 2
    assert browser.eval("document.getElementById('film').alt") == f"Image 1 of {TOTAL}"
    assert browser.eval("document.activeElement.id") == "place"

    browser.press("Tab")  # the focus that follows can be seen
    outline = (
        "getComputedStyle(document.activeElement.nextElementSibling ?? document.activeElement)"
    )
    assert browser.eval(f"{outline}.outlineStyle") != "none"

    for selector in ("#place", ".soft", "legend", "input:checked + span", "button.main", ".banner"):
        assert contrast(browser, selector) >= 4.5, selector


def contrast(browser, selector):
    """Return the contrast of an element's text with its ground (WCAG 2.2, 1 to 21)."""
    rgb = browser.eval(
        f"""(e => {{
          const colour = getComputedStyle(e).color;
          while (getComputedStyle(e).backgroundColor === "rgba(0, 0, 0, 0)") e = e.parentElement;
          return [colour, getComputedStyle(e).backgroundColor].map(c => c.match(/[0-9]+/g).map(Number));
        }})([...document.querySelectorAll("{selector}")].find(e => e.offsetParent))"""
    )
    light = []
    for colour in rgb:
        c = np.array(colour[:3]) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        light.append(linear @ [0.2126, 0.7152, 0.0722])
    return (max(light) + 0.05) / (min(light) + 0.05)
