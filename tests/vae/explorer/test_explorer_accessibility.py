"""The page for fingers, keyboards, screen readers, dark rooms and paper, and as a browser saves it."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from tests.browser import NARROW, WIDE, accessibility_violations, needs_chromium, opened
from tests.vae.explorer.digits import digits, trained
from tests.vae.explorer.opened_explorer import NEXT_FRAME, Explorer, Open, mixed_code
from vae.model.vae import VAE

pytestmark = needs_chromium

FOCUSED = """() => {
    const element = document.activeElement;
    return [element.id || element.textContent, getComputedStyle(element).outlineStyle];
}"""
LOW_CONTRAST = """() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const luminance = (colour) => {
        const linear = (share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = channels(colour).map((channel) => linear(channel / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return (channels(colour)[3] ?? 1) === 0 && element.parentElement ? ground(element.parentElement) : colour;
    };
    return [...document.body.querySelectorAll("*:not(script)")]
        .filter((element) => element.checkVisibility() && !element.disabled)
        .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
        .filter((element) => {
            const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
        })
        .map((element) => element.textContent);
}"""
# Of the focused element, the share of a grid of its points where something else lies in front of it.
HIDDEN_SHARE = """() => {
    const element = document.activeElement;
    const box = element.getBoundingClientRect();
    const shares = [0.1, 0.3, 0.5, 0.7, 0.9];
    const points = shares.flatMap((across) => shares.map((down) => [across, down]));
    const seen = points.filter(([across, down]) => {
        const top = document.elementFromPoint(box.x + across * box.width, box.y + down * box.height);
        return top && (element.contains(top) || top.contains(element));
    });
    return 1 - seen.length / points.length;
}"""
SWIPE_STEPS = 8


def swipe(page: Page, start: tuple[float, float], move: tuple[float, float]) -> None:
    """Move a finger over the screen, as the browser's own input pipeline sees it."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, points: list[dict[str, float]]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", [{"x": start[0], "y": start[1]}])
    for step in range(1, SWIPE_STEPS + 1):
        share = step / SWIPE_STEPS
        send("touchMove", [{"x": start[0] + share * move[0], "y": start[1] + share * move[1]}])
        page.wait_for_timeout(20)
    send("touchEnd", [])
    page.wait_for_timeout(100)


def middle_of(page: Page, selector: str, across: float = 0.5) -> tuple[float, float]:
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + across * box["width"], box["y"] + box["height"] / 2


# Touch


def test_a_vertical_swipe_that_begins_on_a_slider_scrolls_and_leaves_the_slider(explore: Open, model: VAE) -> None:
    with explore(model, digits(), NARROW, has_touch=True) as explorer:
        slider = explorer["z2"]
        start, before = middle_of(explorer.page, "#z2", 0.8), slider.input_value()
        scrolled = explorer.page.evaluate("scrollY")
        swipe(explorer.page, start, (0, 200))
        assert slider.input_value() == before
        assert explorer.page.evaluate("scrollY") < scrolled - 50


def test_a_touch_that_moves_sideways_drags_the_slider_and_a_tap_sets_it(explore: Open, model: VAE) -> None:
    with explore(model, digits(), NARROW, has_touch=True) as explorer:
        slider = explorer["z2"]
        start = middle_of(explorer.page, "#z2", 0.3)
        swipe(explorer.page, start, (80, 0))
        dragged = float(slider.input_value())
        assert dragged > 0
        explorer.page.touchscreen.tap(*middle_of(explorer.page, "#z2", 0.2))
        assert float(slider.input_value()) < -1


@pytest.mark.parametrize("move", [(0, 90), (0, -90), (70, 70), (-90, 0)], ids=str)
def test_a_finger_on_the_crosshair_drags_it_in_any_direction(
    explore: Open, model: VAE, move: tuple[float, float]
) -> None:
    with explore(model, digits(), NARROW, has_touch=True) as explorer:
        x, y = middle_of(explorer.page, "#map")
        explorer.page.touchscreen.tap(x, y)
        scrolled = explorer.page.evaluate("scrollY")
        swipe(explorer.page, (x, y), move)
        assert explorer.page.evaluate("scrollY") == scrolled
        place = explorer.place(x + move[0], y + move[1])
        explorer.assert_decoded(mixed_code(explorer.places, explorer.codes, place))


def test_a_vertical_swipe_elsewhere_on_the_map_scrolls_the_page(explore: Open, model: VAE) -> None:
    with explore(model, digits(), NARROW, has_touch=True) as explorer:
        x, y = middle_of(explorer.page, "#map")
        explorer.page.touchscreen.tap(x + 100, y)
        explorer.page.evaluate(NEXT_FRAME)
        caption = explorer["source-caption"].text_content()
        swipe(explorer.page, (x - 60, y), (0, -150))
        assert explorer.page.evaluate("scrollY") > 50
        assert explorer["source-caption"].text_content() == caption


# Keyboard


@pytest.mark.parametrize("active", [True, False])
def test_every_control_can_be_reached_by_tab_and_shows_its_focus(explore: Open, model: VAE, active: bool) -> None:
    with explore(model, digits(), active=torch.full((5,), active)) as explorer:
        reached = []
        for _ in range(40):
            explorer.page.keyboard.press("Tab")
            name, outline = explorer.page.evaluate(FOCUSED)
            if explorer.page.evaluate("document.activeElement === document.body"):
                break
            assert outline == "solid", name
            reached.append(name)
        sliders = {f"z{dimension}" for dimension in range(5)} if active else set()
        buttons = {"map", "zoom-in", "keys", "mean", "draw", "posterior", "pin", "take", "colour", "next-worst"}
        buttons |= {"show-contours", *(("hole", "show-draws") if active else ("collapsed",))}
        neighbours = {name for name in reached if "." in name}  # their distances
        assert len(neighbours) == (5 if active else 0)
        assert buttons | set(digits().class_names) | sliders | neighbours == set(reached)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_with_its_background(
    explore: Open, model: VAE, scheme: Literal["light", "dark"]
) -> None:
    """WCAG 2, level AA: 4.5 to 1."""
    with explore(model, digits(), color_scheme=scheme) as explorer:
        explorer.page.get_by_role("button", name="3", exact=True).click()
        assert explorer.page.evaluate(LOW_CONTRAST) == []


@pytest.mark.parametrize("size", [NARROW, (640, 400), (700, 500), (320, 256), WIDE], ids=str)
def test_no_control_is_hidden_behind_another_when_it_has_the_focus(explore: Open, size: tuple[int, int]) -> None:
    """Among them a desktop's window zoomed to 200% and to 400%."""
    model = trained(digits(), steps=0, latent_dim=20)
    with explore(model, digits(), size) as explorer:
        for key in ("Tab", "Shift+Tab"):
            for _ in range(60):
                explorer.page.keyboard.press(key)
                if explorer.page.evaluate("document.activeElement === document.body"):
                    break
                name, _ = explorer.page.evaluate(FOCUSED)
                limit = 0.6 if name == "map" else 0.2  # the map may be larger than the window
                assert explorer.page.evaluate(HIDDEN_SHARE) <= limit, name


# Screen readers


def test_only_one_line_is_announced_when_a_slider_changes_the_code(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        live = explorer.page.locator("output, [aria-live], [role=status], [role=alert], [role=log]")
        spoken = [element.get_attribute("id") for element in live.all() if element.get_attribute("aria-live") != "off"]
        assert spoken == ["status"]


def test_every_control_image_and_region_has_a_name(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        for line in explorer.page.locator("body").aria_snapshot().splitlines():
            role, _, name = line.strip(" -:").partition(" ")
            if role in {"button", "slider", "img", "region", "application", "searchbox", "group", "heading"}:
                assert name.startswith('"'), line
        for role in ("banner", "main", "contentinfo"):
            assert explorer.page.get_by_role(role).count() == 1  # type: ignore[arg-type]  # a role


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("active", [True, False], ids=["active", "collapsed"])
def test_axe_finds_no_violation(
    explore: Open, model: VAE, size: tuple[int, int], scheme: Literal["light", "dark"], active: bool
) -> None:
    with explore(model, digits(), size, color_scheme=scheme, active=torch.full((5,), active)) as explorer:
        explorer["pin"].click()
        explorer["draw"].click()
        explorer["add"].click()
        explorer["colour"].select_option("KL (nats)")
        expect(explorer["path"]).to_be_visible()
        if active:
            explorer["show-draws"].click()
            explorer["z1"].fill("1")
            expect(explorer["traversal"]).to_be_visible()
        explorer["hole" if active else "collapsed"].click()
        expect(explorer["lesson"]).to_be_visible()
        assert accessibility_violations(explorer.page) == []
        explorer["take"].click()
        expect(explorer["python"]).to_be_visible()
        assert accessibility_violations(explorer.page) == []


# Saved pages


def test_a_page_that_a_browser_has_saved_works_like_the_original(
    explore: Open, browser: Browser, model: VAE, tmp_path: Path
) -> None:
    with explore(model, digits()) as explorer:
        explorer["z1"].fill("1")
        explorer.page.mouse.move(*explorer.pixel(explorer.places[explorer.lonely_point()]))
        expect(explorer["tooltip"]).to_be_visible()
        saved = explorer.page.evaluate("document.documentElement.outerHTML")
    path = tmp_path / "saved.html"
    path.write_text(f"<!doctype html>{saved}", encoding="utf-8")
    with opened(browser, path) as seen:
        again = Explorer(seen.page, model, digits())
        expect(again["source-caption"]).to_contain_text("Test image")
        assert seen.page.get_by_role("slider").count() == 5
        assert again["legend"].get_by_role("button").count() == 10
        expect(again["tooltip"]).to_be_hidden()
        again.assert_decoded(again.codes[0])
        again["z1"].fill("2")
        code = again.codes[0].clone()
        code[1] = 2
        again.assert_decoded(code)
        assert seen.complaints == []


# Colours


@pytest.mark.parametrize(
    ("settings", "ink"),
    [({"color_scheme": "dark"}, (163, 171, 181)), ({"color_scheme": "light"}, (87, 96, 106))],
    ids=["dark", "light"],
)
def test_the_map_is_drawn_in_the_colours_of_the_page(
    explore: Open, model: VAE, settings: dict[str, Any], ink: tuple[int, int, int]
) -> None:
    with explore(model, digits(), **settings) as explorer:
        assert explorer.has_colour(ink)


def test_the_map_is_drawn_anew_when_the_colours_of_the_page_change(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer.page.emulate_media(color_scheme="dark")
        explorer.page.wait_for_timeout(100)
        assert explorer.has_colour((163, 171, 181))


@pytest.mark.parametrize("media", [{"forced_colors": "active"}, {"media": "print"}, {"color_scheme": "dark"}], ids=str)
def test_tracks_of_sliders_and_colours_of_classes_are_seen_in_forced_colours_on_paper_and_in_the_dark(
    explore: Open, model: VAE, media: dict[str, Any]
) -> None:
    with explore(model, digits()) as explorer:
        explorer.page.emulate_media(**media)
        for selector in ("#z0", ".swatch"):
            style = explorer.page.locator(selector).first.evaluate(
                """(element) => {
                    const { backgroundImage, backgroundColor, forcedColorAdjust, printColorAdjust } =
                        getComputedStyle(element);
                    return { backgroundImage, backgroundColor, forcedColorAdjust, printColorAdjust };
                }"""
            )
            assert style["forcedColorAdjust"] == "none"
            assert style["printColorAdjust"] == "exact"
            assert "rgb(" in (style["backgroundImage"] if selector == "#z0" else style["backgroundColor"])
