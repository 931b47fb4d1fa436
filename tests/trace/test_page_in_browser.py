"""The page in a real browser: it loads, clicks, filters, goes by keys, and is quick with 100,000 events."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from many import write_many

from typedcb.trace import read
from typedcb.trace.page import write_page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here: make browser installs one")


@dataclass
class Opened:
    """A page that is open, and what it has said and asked for."""

    page: sync_api.Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[str]:
        return self.page.locator(".row").all_inner_texts()

    @property
    def found(self) -> str:
        return self.page.locator("#found").inner_text().replace("\u202f", "")

    @property
    def selected(self) -> str:
        return self.page.locator("#details h1").inner_text()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def settle(self) -> None:
        """Waits for the next picture."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def search(self, words: str) -> None:
        self.page.fill("#query", words)
        self.settle()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


def made(folder: Path, n_events: int) -> Path:
    target = folder / f"{n_events}.html"
    write_page(read(write_many(folder / f"{n_events}.trace", n_events)), target)
    return target


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("pages"), 3000)


def opened(browser: sync_api.Browser, path: Path, scheme: str = "light") -> Opened:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    shown = Opened(page)
    page.on("console", lambda message: shown.said.append(message.text))
    page.on("pageerror", lambda error: shown.said.append(str(error)))
    page.on("request", lambda request: shown.asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    return shown


@pytest.fixture
def shown(browser: sync_api.Browser, short: Path) -> Iterator[Opened]:
    opening = opened(browser, short)
    yield opening
    assert opening.said == [], "no console message, no error"
    assert opening.asked == [short.as_uri()], "no request leaves the page"
    opening.page.context.close()


def test_a_click_shows_the_event_before_and_after_each_callback(shown: Opened) -> None:
    shown.page.locator(".row", has_text="after_loss").nth(1).click()
    shown.page.wait_for_selector("#details table")
    assert shown.selected == "after_loss"
    head = [text.split("\n")[0] for text in shown.page.locator("#details thead th").all_inner_texts()]
    assert head[:5] == ["", "as it came", "AvgStats", "SmoothLoss", "Recorder"]
    row = shown.page.locator("#details tbody tr", has_text="SmoothLoss.count").first
    assert row.locator("td").all_inner_texts() == ["0", "=", "1", "="]


def test_the_timeline_takes_clicks_and_says_what_is_under_the_pointer(shown: Opened) -> None:
    box = shown.page.locator("#lanes").bounding_box()
    assert box is not None
    middle = box["x"] + 118 + (box["width"] - 118) / 2, box["y"] + 60
    shown.page.mouse.move(*middle)
    assert "from the beginning" in shown.page.locator("#tip").inner_text()
    shown.page.mouse.click(*middle)
    shown.page.wait_for_selector("#details h1")
    place = shown.page.locator("#details .place").first.inner_text()
    assert "event 1500" in place or "event 1499" in place or "event 1501" in place


def test_a_search_narrows_the_events_down(shown: Opened) -> None:
    assert shown.found == "3000 events"
    shown.search("after_loss smoothloss epoch:1 batch:3-5")
    assert shown.found == "3 of 3000 events"
    assert [row.split("\n")[1] for row in shown.rows] == ["after_loss"] * 3
    shown.search("nonsense")
    assert shown.found == "0 of 3000 events"
    assert shown.page.locator("#rows").inner_text() == "No event is like that."
    shown.page.keyboard.press("Escape")
    shown.settle()
    assert shown.found == "3000 events"


def test_the_boxes_filter_by_phase_changes_and_answers(shown: Opened) -> None:
    shown.page.locator("#phases button", has_text="train").click()
    shown.page.locator("#phases button", has_text="outside").click()
    shown.settle()
    assert {row.split("\n")[2].split()[0] for row in shown.rows} == {"valid"}
    shown.page.check("#only-answers")
    shown.settle()
    assert {row.split("\n")[1] for row in shown.rows} == {"begin_batch"}


def test_everything_is_there_by_keyboard(shown: Opened) -> None:
    shown.press("j", "j", "j")
    shown.page.wait_for_selector("#details h1")
    assert shown.page.locator(".row[aria-selected=true]").inner_text().startswith("#2")
    shown.press("n")
    assert shown.page.locator(".row[aria-selected=true]").inner_text().startswith("#8")
    shown.press("p", "k")
    assert shown.page.locator(".row[aria-selected=true]").inner_text().startswith("#1")
    shown.press("e")
    shown.settle()
    assert "begin_epoch" in shown.page.locator(".row[aria-selected=true]").inner_text()
    shown.press("/")
    shown.page.keyboard.type("begin_validate")
    shown.press("Enter")
    shown.page.locator("#details h1", has_text="begin_validate").wait_for()
    for key, view in zip("1234", ("events", "curves", "costs", "about"), strict=True):
        shown.press(key)
        assert shown.page.locator(f"#view-{view}").is_visible()
        assert shown.page.locator("[role=tabpanel]:visible").count() == 1
    shown.press("?")
    assert shown.page.locator("dialog[open]").count() == 1


def test_curves_follow_the_timeline_and_a_click_selects_the_event(shown: Opened) -> None:
    shown.press("2")
    shown.page.wait_for_selector("figure")
    captions = shown.page.locator("figcaption b").all_inner_texts()
    assert {"loss", "SmoothLoss.mean", "lr", "weights", "AvgStats.valid_loss"} <= set(captions)
    shown.page.locator("figure canvas").first.click(position={"x": 200, "y": 60})
    shown.press("1")
    shown.page.wait_for_selector("#details h1")
    assert shown.selected == "after_loss"


def test_the_callbacks_view_says_what_each_costs(shown: Opened) -> None:
    shown.press("3")
    first = shown.page.locator("#view-costs tbody tr").first.inner_text()
    assert first.startswith("Recorder")
    shown.page.locator("#view-costs th button", has_text="callback").click()
    assert shown.page.locator("#view-costs tbody tr").first.inner_text().startswith("AvgStats")


def test_a_failed_run_says_why(shown: Opened) -> None:
    assert "Failed" in shown.page.locator("#outcome").inner_text()
    assert "ZeroDivisionError division by zero" in shown.page.locator("#details").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_dark_or_light_as_the_reader_likes(browser: sync_api.Browser, short: Path, scheme: str) -> None:
    shown = opened(browser, short, scheme)
    ground = "getComputedStyle(document.body).backgroundColor"
    assert (shown.page.evaluate(ground) == "rgb(14, 17, 22)") == (scheme == "dark")
    shown.press("t")
    assert (shown.page.evaluate(ground) == "rgb(14, 17, 22)") == (scheme == "light")
    shown.page.context.close()


def test_a_hundred_thousand_events_do_not_stall_it(browser: sync_api.Browser, tmp_path: Path) -> None:
    shown = opened(browser, made(tmp_path, 100_000))
    first_picture = float(shown.page.get_attribute("html", "data-ready") or "nan")
    assert first_picture < 6000, "2 s on a quiet machine: docs/benchmarks.md; here others may be at work"
    assert shown.found == "100000 events"
    shown.search("after_backward epoch:40")
    assert shown.found == "200 of 100000 events"
    shown.press("Escape", "End")
    shown.page.wait_for_selector("#details h1")
    assert shown.selected == "after_fit"
    longest = shown.page.evaluate(
        """async () => {
            let longest = 0;
            for (let place = 0; place < 20; place++) {
                const start = performance.now();
                const key = place % 2 ? "-" : "+";
                document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
                await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
                longest = Math.max(longest, performance.now() - start);
            }
            return longest;
        }"""
    )
    assert longest < 1500, "a look closer is a picture away"
    assert shown.said == []
    shown.page.context.close()
