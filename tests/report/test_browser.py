"""The report in Chromium: drawn whole, used by mouse and keyboard, open to screen readers, deaf to names."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from run_folders import EVIL, Folder, result

import siamkit
from siamkit.report.render.html import render_html

pytest.importorskip("playwright")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NAMES = [EVIL, "x" * 10_000, "مقياس النص", "🦊 ærø \u202e", '"><img src=x onerror=alert(1)>', "plain"]

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("CI"),
        reason="Chromium is not installed; .ci/packages does it",
    ),
]


def png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8), shade).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of all sections, in which every name that can be is hostile."""
    folder = Folder(tmp_path_factory.mktemp("run")).study(name=EVIL, valid=60)
    rng = np.random.default_rng(0)
    for number in range(72):
        factors = {
            **result(0, 1)["factors"],
            "encoder": ["mlp", NAMES[1], NAMES[2]][number % 3],
            "loss": NAMES[number % 6],
            "metric": ["cosine", NAMES[4]][number // 6 % 2],
            "embedding_dim": 8 * (1 + number % 4),
            "data.label_noise": [0.0, 0.2, 0.4][number // 12 % 3],
        }
        value = number / 100
        measures = {"map_at_r": value, "eer": 1 - value, "parameters": 1000.0 * (1 + number % 5)}
        folder.trial(number, value, factors=factors, figures=measures, curve=[value / 2, value])
    for number, cause in enumerate([EVIL, "out of memory", "out of memory", NAMES[1]]):
        folder.trial(100 + number, None, "failed", cause=cause)
    labels = [NAMES[row % 6] for row in range(60)]
    folder.items(labels, [png(4 * row) for row in range(60)], [NAMES[(row + 1) % 6] for row in range(60)])
    for repeat in range(2):
        factors = {**result(0, 1)["factors"], "loss": EVIL}
        measures = {"far": 0.1, "frr": 0.2, "hubness": 1.5, "effective_rank": 3.0}
        folder.confirmed("key5", repeat, 0.5, 0.4, factors=factors, figures=measures)
        rates = np.linspace(0, 1, 20)
        curves = {
            f"{part}_{name}": values
            for part in ("valid", "test")
            for name, values in (("far", rates), ("frr", (1 - rates) ** 3), ("threshold", rates))
        }
        folder.exhibit(
            f"confirm/key5/{repeat}",
            rows=np.arange(60),
            embeddings=rng.normal(size=(60, 8)) + np.repeat(np.eye(6, 8) * 4, 10, axis=0),
            neighbours=np.array([[(row + step) % 60 for step in range(1, 11)] for row in range(60)]),
            size_how=np.array(["whole", "pca", "truncated", "float16", "int8", "binary"]),
            size_dim=np.array([8, 4, 4, 8, 8, 8]),
            size_bytes=np.array([32.0, 16, 16, 16, 8, 1]),
            size_worth=np.array([0.7, 0.6, 0.5, 0.7, 0.69, 0.4]),
            augmented_ids=np.array(NAMES[:5]),
            augmented_steps=np.array('{"noise": {"deviation": 0.1}}'),
            augmented_series=rng.normal(size=(5, 4, 30)),
            **curves,
        )
    folder.page()
    return folder.path / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def open_page(browser: Browser, report: Path, **context: Any) -> tuple[Page, list[str]]:
    """The page with all charts in sight once, and what it complained of."""
    page = browser.new_context(accept_downloads=True, **context).new_page()
    troubles: list[str] = []
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda asked: troubles.append(asked.url) if asked.url.startswith("http") else None)
    page.goto(report.as_uri())
    for chart in page.query_selector_all("[data-chart]"):
        chart.scroll_into_view_if_needed()
    return page, troubles


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    page, troubles = open_page(browser, report)
    yield page
    page.context.close()
    assert troubles == []


def test_every_chart_is_drawn_and_nothing_is_complained_of(page: Page) -> None:
    expect(page.locator("[data-chart]:not([data-drawn])")).to_have_count(0)
    names = page.eval_on_selector_all("[data-chart]", "all => all.map(each => each.dataset.chart)")
    assert {
        "repeats", "leaderboard", "front", "importances", "level-loss", "interaction-metric",
        "interaction-encoder", "data-data.label_noise", "sizes", "roc", "det", "curves", "map-pca",
        "map-t-sne", "confusion", "spectrum", "causes", "augmented",
    } <= set(names)  # fmt: skip
    # Drawn is more than a frame: each has marks, bars, lines or cells in it.
    marks = ".point, .js-line, .heatmaplayer image"
    empty = page.eval_on_selector_all(
        "[data-chart]",
        "(all, marks) => all.filter(each => !each.querySelector(marks)).map(each => each.dataset.chart)",
        marks,
    )
    assert empty == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_people_with_screen_readers_and_keyboards_find_nothing_in_their_way(
    browser: Browser, report: Path, scheme: Any, width: int
) -> None:
    page, troubles = open_page(browser, report, color_scheme=scheme, viewport={"width": width, "height": 900})
    expect(page.locator("[data-chart]:not([data-drawn])")).to_have_count(0)
    found = Axe().run(page)
    serious = [
        (each["id"], each["impact"], each["nodes"][0]["html"][:200])
        for each in found.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert troubles == []
    page.context.close()


def test_plotly_starts_only_when_a_chart_comes_into_sight(browser: Browser, report: Path) -> None:
    """It takes more time than all else on the page together."""
    page = browser.new_context(viewport={"width": 600, "height": 100}).new_page()
    page.goto(report.as_uri())
    page.wait_for_timeout(200)
    assert page.evaluate("typeof Plotly") == "undefined"
    assert page.locator("[data-drawn]").count() == 0
    assert page.locator("[data-listing=trials] tbody tr").count() == 50  # what needs no chart is there
    page.locator("[data-chart]").last.scroll_into_view_if_needed()
    expect(page.locator("[data-chart]").last).to_have_attribute("data-drawn", "yes")
    page.context.close()


def test_names_do_nothing(page: Page) -> None:
    assert page.locator("h1").inner_text() == EVIL
    assert page.evaluate("document.querySelectorAll('img[src=x], img[onerror]').length") == 0
    assert page.evaluate(
        "[...document.querySelectorAll('main script')].every(each => each.type === 'application/json')"
    )


def test_a_table_is_sorted_and_searched(page: Page) -> None:
    listing = page.locator("[data-listing=trials]")
    rows = listing.locator("tbody tr")
    assert rows.count() == 50
    head = listing.locator("th", has_text="map_at_r")
    head.locator("button").click()  # numbers: the highest first
    assert head.get_attribute("aria-sort") == "descending"
    assert rows.first.locator("td").first.inner_text() == "71"
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert rows.first.locator("td").first.inner_text() == "0"
    listing.get_by_role("button", name="Show all rows").click()
    assert rows.count() == 72
    listing.get_by_label("Search").fill("plain 32")
    expect(listing.get_by_role("status")).to_have_text("6 of 6 rows found")
    assert {row.locator("td").nth(3).inner_text() for row in rows.all()} == {"plain"}


def test_the_data_of_a_figure_come_as_csv(page: Page, tmp_path: Path) -> None:
    with page.expect_download() as told:
        page.locator("#block-front [data-csv]").click()
    told.value.save_as(tmp_path / "front.csv")
    with (tmp_path / "front.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert told.value.suggested_filename == "front.csv"
    assert len(rows) == 72
    best = next(row for row in rows if row["trial"] == "71")
    assert (float(best["map_at_r"]), best["Pareto-optimal"]) == (0.71, "yes")
    assert any(EVIL in row["configuration"] for row in rows)


def test_a_figure_has_its_data_as_a_table_too(page: Page) -> None:
    part = page.locator("#block-sizes")
    part.locator("summary").click()
    assert part.locator("tbody tr", has_text="binary").locator("td").nth(3).inner_text() == "0.4000"


def test_pointing_at_a_map_shows_the_item(page: Page) -> None:
    point = page.locator("#block-map-pca .point").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    hover = page.locator("#hover")
    expect(hover).to_be_visible()
    assert hover.locator("img").get_attribute("src").startswith("data:image/png")  # type: ignore[union-attr]


def test_any_item_is_looked_at_with_the_keyboard(page: Page) -> None:
    explored = page.locator("[data-explored]")
    slider = page.locator("[data-explore]")
    slider.focus()
    slider.press("ArrowRight")
    assert slider.input_value() == "1"
    assert "item 1" in explored.locator(".item").first.inner_text()
    # By hand: labels repeat every six items, so of the ten that follow the sixth alone is of its class.
    marks = [each.get_attribute("class") for each in explored.locator(".item").all()[1:]]
    assert [mark == "item right" for mark in marks] == [False] * 5 + [True] + [False] * 4


def test_the_theme_is_the_users(page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.locator("#theme").press("Enter")
    assert page.evaluate(paper) == "rgb(20, 23, 26)"
    ink = "getComputedStyle(document.querySelector('#block-front .xtitle')).fill"
    assert page.evaluate(ink) == "rgb(232, 234, 237)"


def test_it_prints_with_all_its_charts(browser: Browser, report: Path, tmp_path: Path) -> None:
    page = browser.new_context().new_page()
    page.goto(report.as_uri())  # nothing below was in sight
    assert page.locator("[data-chart]:not([data-drawn])").count() > 0
    page.pdf(path=tmp_path / "report.pdf")
    assert page.locator("[data-chart]:not([data-drawn])").count() == 0
    page.context.close()


def test_a_study_without_a_trial_has_a_page_too(browser: Browser, tmp_path: Path) -> None:
    Folder(tmp_path).study().page()
    page, troubles = open_page(browser, tmp_path / "report.html")
    assert "No trial has completed." in page.locator("main").inner_text()
    assert troubles == []
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_comparison_has_a_page_too(browser: Browser, tmp_path: Path, scheme: Any) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 4)
    rows = (rng.normal(size=(20, 4))[labels] + rng.normal(0, 0.6, (80, 4))).astype("float32")
    found = siamkit.compare(
        rows + rng.normal(0, 0.6, rows.shape), rows, labels=[NAMES[each % 2] + str(each) for each in labels],
        names=(EVIL, NAMES[4]), items=[np.full((8, 8), row, np.uint8) for row in range(80)],
    )  # fmt: skip
    (tmp_path / "page.html").write_text(render_html(found.document()), encoding="utf-8")
    page, troubles = open_page(browser, tmp_path / "page.html", color_scheme=scheme)
    expect(page.locator("[data-chart]:not([data-drawn])")).to_have_count(0)
    queries = found.disagreements[EVIL, NAMES[4]]
    shown = page.locator("#block-disagreements-0 .query")
    assert shown.count() == len(queries)
    for each, row in zip(queries, shown.all(), strict=True):
        marks = [mark.get_attribute("class") for mark in row.locator(".item").all()]
        assert marks[1:] == [f"item {'right' if right else 'wrong'}" for right in each.correct or ()]
        assert row.locator("img").count() == 3
    violations = Axe().run(page).response["violations"]
    assert [each["id"] for each in violations if each["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert troubles == []
    page.context.close()
