"""Findings of axe-core on a page: in light and dark, on a phone and on a desk."""

from __future__ import annotations

from typing import Any, Final, Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

WIDTHS: Final = (390, 1280)
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
SERIOUS: Final = frozenset({"serious", "critical"})


async def findings(page: Page) -> list[str]:
    """Return what people with a disability cannot use, in each width and colour scheme.

    Pages that are wider than the window are a finding, too.
    """
    found = []
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 844})
        wide = await page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            found.append(f"{width} px: the page is {wide} px wide")
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            result = await Axe().run(page)
            found += [
                f"{width} px, {scheme}: {line}"
                for violation in result.response["violations"]
                if violation["impact"] in SERIOUS
                for line in _lines(violation)
            ]
    return found


def _lines(violation: dict[str, Any]) -> list[str]:
    return [f"{violation['id']}: {node['html'][:120]}" for node in violation["nodes"]]
