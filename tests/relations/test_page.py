"""The page in a real browser: it renders, fetches nothing, its links lead somewhere, and it fits a telephone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser to render the page in: install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])


class Opened:
    """The report in a window, with everything that the browser complained of or asked for."""

    def __init__(self, page: Page, report: Path) -> None:
        self.page, self.complaints, self.requests = page, [], []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", lambda request: self.requests.append(request.url))
        self.url = (report / "relations.html").as_uri()
        page.goto(self.url)


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop", "telephone"])
def opened(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    yield Opened(page, report)
    page.close()


def test_it_renders_without_complaint_and_alone(opened: Opened) -> None:
    """No error, no script, no request but for the file itself; pictures have a size; nothing sticks out sideways."""
    assert opened.complaints == []
    assert opened.requests == [opened.url]
    assert opened.page.evaluate("document.scripts.length") == 0
    sizes = opened.page.evaluate("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().toJSON())")
    assert len(sizes) == 3
    assert all(size["width"] > 200 and size["height"] > 80 for size in sizes)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == opened.page.viewport_size["width"]


def test_every_link_has_a_target(opened: Opened) -> None:
    """All links stay in the page, ids are unique, and each target exists."""
    targets = opened.page.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    ids = opened.page.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(targets) > 20 and len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    assert all(target.startswith("#") for target in targets)


LINKS = ("nav a[href='#concepts']", "summary a.concept", "svg a:has(text)", "article .links a")


@pytest.mark.parametrize("link", LINKS)
def test_links_lead_to_their_target(opened: Opened, link: str) -> None:
    """After a click the target is in the window: from the contents, a relation, the graph, and a concept's card."""
    anchor = opened.page.locator(link).last
    target = anchor.get_attribute("href")
    anchor.click()
    opened.page.wait_for_function(
        "id => { const box = document.getElementById(id).getBoundingClientRect();"
        " return box.top > -1 && box.top < innerHeight }",
        arg=target.removeprefix("#"),
    )
    assert opened.page.url.endswith(target)


def test_text_is_shown_as_it_is(opened: Opened) -> None:
    """Markup in the data is text, and line breaks and tabs are visible marks."""
    text = opened.page.evaluate("document.querySelector('#concepts').innerText")
    for shown in ("<script>alert(1)</script>", "& co", "$x_1$", "naïve", "↵", "⇥"):
        assert shown in text
    assert "⟨" not in text


def test_tokens_are_coloured_by_activation(opened: Opened) -> None:
    """The strongest firing of a concept has the deepest colour, and its value as a title."""
    marks = opened.page.evaluate(
        "[...document.querySelectorAll('article:first-of-type li:first-child mark')]"
        ".map(m => [m.style.getPropertyValue('--level'), m.className, m.title])"
    )
    level, kind, title = max(marks, key=lambda mark: float(mark[0]))
    assert float(level) == 1 and kind == "positive focus" and title.startswith("+")
