"""The page about the code names folders, files and functions that are there."""

import re

from tests.docs.doc_blocks import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_answer_is_where_the_page_says():
    rows = re.findall(r"^\| [^|]+ \| `([\w/.]+)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 10
    for file, name in rows:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^ *(def|class) {name}\b|^{name}\b.* = ", source, re.MULTILINE), f"{file}: {name}"


def test_the_page_and_the_readme_name_every_folder_of_the_library():
    folders = {path.name for path in (ROOT / "tirgn_eqx").iterdir() if (path / "__init__.py").exists()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for text in (PAGE, readme):
        assert folders <= set(re.findall(r"`(\w+)/`", text))
