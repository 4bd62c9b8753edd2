"""The page in a real browser: what a click does, what a phone and the dark show, what axe-core finds."""

import dataclasses

import pytest

from tests.report.page_helpers import assert_accessible
from tirgn_eqx.report import render
from tirgn_eqx.report.documents import SnapshotMetrics

pytestmark = [
    pytest.mark.ci,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def visit(open_page, runs):
    """Opens the page of `runs`, or of `shown`."""

    def go(width=1280, height=900, shown=runs, **options):
        return open_page(render(shown), width, height, **options)

    return go


def column(page, table, number):
    return page.locator(f"#{table} tbody tr:visible > :nth-child({number})").all_inner_texts()


def test_a_click_on_a_heading_sorts_and_another_one_turns_it_round(visit):
    page = visit()
    head = page.locator("#relations thead th").nth(1)
    head.get_by_role("button").click()
    down = [int(text.replace(",", "")) for text in column(page, "relations", 2)]
    assert down == sorted(down, reverse=True) and head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").press("Enter")
    up = [int(text.replace(",", "")) for text in column(page, "relations", 2)]
    assert up == down[::-1] != down and head.get_attribute("aria-sort") == "ascending"
    first = page.locator("#relations thead th").first
    first.get_by_role("button").click()
    names = column(page, "relations", 1)
    assert names == sorted(names, key=str.casefold) and head.get_attribute("aria-sort") is None


def test_times_sort_as_numbers_and_what_has_no_figure_is_last(visit, runs):
    rows = tuple(SnapshotMetrics(time=time, queries=3, mrr=mrr) for time, mrr in ((9, 0.5), (10, 0.2), (101, 0.3)))
    measured = [dataclasses.replace(run.measurements, snapshots=some) for run, some in zip(runs, (rows, rows[:2]))]
    shown = [dataclasses.replace(run, measurements=one) for run, one in zip(runs, measured)]
    page = visit(shown=shown)
    page.locator("#snapshots").evaluate("table => { table.closest('details').open = true; }")
    heads = page.locator("#snapshots thead th button")
    heads.first.click()
    assert column(page, "snapshots", 1) == ["9", "10", "101"]
    for wanted in (["50.00", "20.00", "–"], ["20.00", "50.00", "–"]):
        heads.last.click()
        assert column(page, "snapshots", 4) == wanted


def test_what_is_typed_leaves_the_rows_that_hold_it(visit):
    page = visit()
    every = column(page, "all-settings", 1)
    field = page.get_by_label("Show rows with").nth(1)
    field.fill("loss")
    left = column(page, "all-settings", 1)
    assert 0 < len(left) < len(every) and {"loss", "loss_filter"} <= set(left)
    assert page.locator("#all-settings-status").inner_text() == f"{len(left)} of {len(every)} rows"
    field.fill("")
    assert column(page, "all-settings", 1) == every and page.locator("#all-settings-status").inner_text() == ""


def test_on_a_phone_nothing_sticks_out(visit):
    page = visit(360, 740)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_scripts_it_can_be_read(visit):
    page = visit(java_script_enabled=False)
    assert page.get_by_role("heading", level=1).inner_text() == "Trainings: plain, evidence"
    assert page.locator("#relations tbody tr").count() > 2 and not page.locator("input").first.is_visible()


def test_the_dark_is_dark_and_the_light_is_light(visit):
    paper = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert visit(color_scheme="dark").evaluate(paper) < 60 < 200 < visit(color_scheme="light").evaluate(paper)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, scheme):
    # The page allows no script but its own, axe's neither: for this test alone that rule is passed over.
    page = visit(color_scheme=scheme, bypass_csp=True)
    for summary in page.locator("summary").all():
        summary.click()
    assert_accessible(page)


def test_a_box_leaves_the_settings_that_differ(visit):
    page = visit()
    every = column(page, "all-settings", 1)
    box = page.get_by_label("only those that differ")
    box.check()
    left = column(page, "all-settings", 1)
    assert {"family"} <= set(left) and 0 < len(left) < len(every)
    page.get_by_label("Show rows with").nth(1).fill("family")
    assert column(page, "all-settings", 1) == ["family"]
    box.uncheck()
    page.get_by_label("Show rows with").nth(1).fill("")
    assert column(page, "all-settings", 1) == every
