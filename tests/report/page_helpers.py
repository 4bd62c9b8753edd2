"""How tests read a page, and what no name on it may do."""

from html.parser import HTMLParser

import pytest

VOID = {"meta", "link", "input", "br", "wbr", "path", "circle", "rect"}
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\x1b[2J'


class Elements(HTMLParser):
    """All elements of a page, which must be closed in their order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.seen if name == tag]


def assert_accessible(view):
    """That axe-core finds nothing on a page in the browser."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(view).response["violations"]
    assert not found, [(one["id"], one["impact"], one["nodes"][0]["html"][:300]) for one in found]
