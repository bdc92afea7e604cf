"""A browser, and what every page of twinlake is asked in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def browser() -> Any:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield started
        started.close()


@pytest.fixture
def opened_in() -> Callable[[Any, Path, int, str], None]:
    """`opened_in(browser, page, width, scheme)`: nothing on the console, nothing from the network, nothing wider than the
    window, plots with a text instead, no id twice."""

    def check(browser: Any, path: Path, width: int, scheme: str) -> None:
        tab = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        said: list[str] = []
        asked: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        assert said == []
        assert [u for u in asked if not u.startswith("data:")] == [path.as_uri()]
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")
        repeated = "(a => a.length - new Set(a).size)([...document.querySelectorAll('[id]')].map(e => e.id))"
        assert tab.evaluate(repeated) == 0

    return check


@pytest.fixture
def accessible_in() -> Callable[[Any, Path, str], None]:
    """`accessible_in(browser, page, scheme)`: axe-core finds no serious problem by its own rules."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

    def check(browser: Any, path: Path, scheme: str) -> None:
        tab = browser.new_page(viewport={"width": 1200, "height": 844}, color_scheme=scheme)
        tab.goto(path.as_uri())
        for closed in tab.query_selector_all("details:not([open]) > summary"):
            closed.click()
        found = axe.Axe().run(tab).response["violations"]
        worst = [v for v in found if v["impact"] in ("serious", "critical")]
        assert not worst, [(v["id"], v["help"], [n["html"][:200] for n in v["nodes"][:3]]) for v in worst]

    return check
