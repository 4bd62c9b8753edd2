"""The built site: whole, and nothing in it is fetched from elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.doc_blocks import ROOT
from tests.docs.test_reference import PUBLIC

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(request, tmp_path_factory):
    given = request.config.getoption("--site", default=None)
    if given:
        return Path(given)
    pytest.importorskip("sphinx", reason="the docs extra is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-n", str(ROOT / "docs"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out


class Links(HTMLParser):
    """What a page loads, where it leads, and its anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.loaded: list[str] = []
        self.leads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.anchors.add(values.get("id", ""))
        if tag in ("script", "img", "iframe", "source", "video", "embed") and "src" in values:
            self.loaded.append(values["src"])
        elif tag == "link":
            self.loaded.append(values.get("href", ""))
        elif tag == "a" and "href" in values:
            self.leads.append(values["href"])


def pages(site: Path) -> dict[Path, Links]:
    return {page: Links(page.read_text(encoding="utf-8")) for page in sorted(site.glob("*.html"))}


def test_nothing_comes_from_another_place(site):
    for page, links in pages(site).items():
        assert not [place for place in links.loaded if urlsplit(place).scheme not in ("", "data")], page.name
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        outside = re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"']+""", text)
        assert not outside, f"{style.name}: {outside}"


def test_every_link_inside_the_site_leads_somewhere(site):
    known = pages(site)
    for page, links in known.items():
        for link in links.leads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.exists(), f"{page.name}: {link}"
            if parts.fragment and target in known:
                assert unquote(parts.fragment) in known[target].anchors, f"{page.name}: {link}"


def test_equations_are_mathml_and_figures_have_a_text(site):
    model = (site / "model.html").read_text(encoding="utf-8")
    assert (
        model.count("<math ") > 20
        and "MathJax" not in model
        and "\\frac" not in re.sub(r'aria-label="[^"]*"', "", model)
    )
    for page in ("model.html", "architecture.html"):
        figures = re.findall(
            r"<svg [^>]*role=\"img\"[^>]*aria-label=\"([^\"]{40,})\"", (site / page).read_text(encoding="utf-8")
        )
        assert len(figures) == 1, page


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_its_place_in_the_built_reference(site, name):
    text = "".join(page.read_text(encoding="utf-8") for page in site.glob("api-*.html"))
    assert re.search(rf'id="tirgn_eqx\.[\w.]*\b{name}"', text), name
