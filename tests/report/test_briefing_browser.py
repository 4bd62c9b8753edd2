"""The briefing in a real browser: the filter and the address, a phone, the dark, paper, the keyboard, axe-core."""

import pytest

from tests.report.page_helpers import assert_accessible
from tirgn_eqx.report.briefing import read_record
from tirgn_eqx.report.briefing_page import render_briefing

pytestmark = [pytest.mark.ci, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def page(briefing, recorded, forecaster):
    return render_briefing(briefing.model_copy(update={"record": read_record(recorded[0], forecaster)}))


@pytest.fixture
def visit(open_page, page):
    return lambda *size, **options: open_page(page, *size, **options)


def titles(view):
    return view.locator("article:visible :is(h3, h4)").all_inner_texts()


def hash_of(view):
    return view.evaluate("location.hash")


def test_what_is_typed_narrows_every_list(visit):
    view = visit()
    every, field = titles(view), view.get_by_label("Show forecasts with")
    field.fill("china")
    left = titles(view)
    assert 0 < len(left) < len(every) and all("CHINA" in one for one in left)
    assert left == [one for one in every if "CHINA" in one]
    assert view.get_by_role("status").inner_text() == f"{len(left)} of {len(every)} forecasts"
    actors = view.locator(".actor:visible > h3").all_inner_texts()
    assert "CHINA" in actors and view.locator(".index li:visible").all_inner_texts() == actors
    field.fill("  police (IRÁN")
    assert titles(view) and titles(view) == [one for one in every if "POLICE_(IRAN)" in one]
    field.fill("nobody")
    assert view.get_by_role("status").inner_text() == (
        f"0 of {len(every)} forecasts; tirgn brief --actor NAME adds those of an actor"
    )
    field.fill("")
    assert titles(view) == every and view.get_by_role("status").inner_text() == ""


def test_the_address_keeps_what_is_typed(visit):
    view = visit()
    view.get_by_label("Show forecasts with").fill("police_(iran)")
    assert hash_of(view) == "#q=police_(iran)"
    view.get_by_role("link", name="Most unusual").click()
    view.wait_for_function("location.hash.includes('q=')")
    assert hash_of(view) == "#unusual&q=police_(iran)"
    left = titles(view)
    view.reload()
    assert titles(view) == left and view.get_by_label("Show forecasts with").input_value() == "police_(iran)"
    view.get_by_label("Show forecasts with").fill("")
    assert hash_of(view) == "#unusual"


@pytest.mark.parametrize("place", ["#q=%E0%A4%A", "#nowhere&q=", "#q=%3Cimg%20src%3Dx%3E", "#&&q", "#a=b&q=china"])
def test_any_address_leaves_the_page_whole(visit, place):
    view = visit(place=place)
    assert view.get_by_role("heading", level=1).is_visible() and view.locator("img").count() == 0


def test_it_is_used_by_the_keyboard(visit):
    view = visit()
    focused = "document.activeElement.textContent || document.activeElement.id"
    view.keyboard.press("Tab")
    assert view.evaluate(focused) == "Skip to the content"
    for _ in range(5):
        view.keyboard.press("Tab")
    assert view.evaluate(focused) == "Former forecasts"
    view.keyboard.press("Tab")
    view.keyboard.type("ukraine")
    assert all("UKRAINE" in one for one in titles(view))
    view.locator("summary:visible", has_text="Past events").first.focus()
    view.keyboard.press("Enter")
    assert view.locator("details[open] .past").count() == 1


def test_what_has_the_focus_is_not_covered_by_the_field(visit):
    view = visit()
    view.get_by_role("link", name="Most unusual").click()
    view.wait_for_function("scrollY > 0")
    view.wait_for_timeout(800)  # the smooth way there
    top = view.locator("#unusual h2").bounding_box()["y"]
    bar = view.locator(".tools").bounding_box()
    assert bar["y"] == 0 and top >= bar["height"] - 8


def test_on_a_phone_nothing_sticks_out(visit):
    view = visit(360, 740)
    for summary in view.locator("summary").all():
        summary.click()
    assert view.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_scripts_every_list_is_there_and_no_field(visit, briefing):
    view = visit(java_script_enabled=False)
    shown = len(briefing.probable) + len(briefing.unusual) + sum(len(one.facts) for one in briefing.actors)
    assert len(titles(view)) == shown and not view.get_by_role("search").is_visible()
    view.get_by_text("Past events").first.click()
    assert view.locator("details[open] .past").is_visible()


def test_on_paper_the_lists_are_there_without_the_field(visit):
    view = visit()
    view.emulate_media(media="print")
    assert not view.locator(".tools").is_visible() and not view.locator("nav").is_visible()
    assert view.locator("#probable article").first.is_visible() and view.locator("#probable .past").first.is_visible()
    assert view.pdf(format="A4").startswith(b"%PDF")


def test_the_dark_is_dark_and_the_light_is_light(visit):
    paper = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert visit(color_scheme="dark").evaluate(paper) < 60 < 200 < visit(color_scheme="light").evaluate(paper)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing(visit, scheme, width):
    # The page allows no script but its own, axe's neither: for this test alone that rule is passed over.
    view = visit(width, 800, color_scheme=scheme, bypass_csp=True)
    for summary in view.locator("summary").all():
        summary.click()
    assert_accessible(view)
    view.get_by_label("Show forecasts with").fill("china")
    assert_accessible(view)
