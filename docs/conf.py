"""How the documentation site is built: `sphinx-build -W --keep-going -n docs site`.

Nothing is fetched while it is built or read: fonts are the reader's own, equations are MathML made here.
"""

import html
import re
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

project = "tirgn-eqx"
author = "the authors of tirgn-eqx"
version = release = installed("tirgn-eqx")
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_static"]
nitpicky = True
# Types in signatures are read, not followed: shapes of jaxtyping, and classes that have no page.
nitpick_ignore_regex = [("py:.*", ".*")]

# --- pages -----------------------------------------------------------------------------------------------------
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
highlight_language = "none"

# --- reference from docstrings ---------------------------------------------------------------------------------
autodoc_member_order = "bysource"
autoclass_content = "both"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88

# --- look ------------------------------------------------------------------------------------------------------
html_theme = "furo"
html_title = "tirgn-eqx"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {"footer_icons": []}
html_math_renderer = "mathml"
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True


def _math(translator: Any, node: nodes.Element, display: str) -> None:
    """Equations as MathML, which browsers set by themselves."""
    made = convert(node.astext(), display=display)
    spoken = html.escape(node.astext(), quote=True)
    made = made.replace("<math ", f'<math aria-label="{spoken}" ', 1)
    translator.body.append(made if display == "inline" else f'<div class="equation">{made}</div>\n')
    raise nodes.SkipNode


def _as_rst(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are Markdown of a simple kind; Sphinx reads reStructuredText."""
    out: list[str] = []
    code = False
    for line in lines:
        if line.strip().startswith("```"):
            code = not code
            out += ["", line.replace("```python", ".. code-block:: python"), ""] if code else [""]
            continue
        if code:
            out.append(f"    {line}")
            continue
        bullet = re.match(r"\s*- ", line)
        if bullet and out and out[-1].strip() and not re.match(r"\s*(- |  )", out[-1]):
            out.append("")
        line = "**Example:** ::" if line == "**Example:**" else line
        line = re.sub(r"(?<!`)`([^`]+)`(?!`)(?=(\w)?)", lambda m: f"``{m[1]}``" + ("\\ " if m[2] else ""), line)
        out.append(re.sub(r"\[([^\]]+)\]\((https?://[^)]+)\)", r"`\1 <\2>`__", line))
    text = re.sub(
        r"\$\$\s*(.+?)\s*\$\$", lambda m: "\n.. math:: " + " ".join(m[1].split()) + "\n", "\n".join(out), flags=re.S
    )
    lines[:] = text.split("\n")


def _short_types(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> Any:
    """Types as they are written in the code: `Float[Array, "query dim"]`, `PRNGKeyArray`."""

    def short(text: str | None) -> str | None:
        if text is None:
            return None
        text = text.replace("jaxlib._jax.Array", "Array").replace("jaxtyping.", "")
        return re.sub(r"~?Key\[Array, ''\](\s*\|\s*~?UInt32\[Array, '[^']*'\])*", "PRNGKeyArray", text)

    return short(signature), short(returned)


def _finish(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Figures drawn by hand stand in the page itself, so that they take its colours, light or dark; types are short."""
    for text in [node for node in tree.findall(nodes.Text) if "jaxlib._jax." in node]:
        text.parent.replace(text, nodes.Text(text.replace("jaxlib._jax.", "")))
    for image in list(tree.findall(nodes.image)):
        if not image["uri"].endswith(".svg"):
            continue
        drawn = (Path(app.srcdir) / image["uri"]).read_text(encoding="utf-8")
        label = html.escape(" ".join(image.get("alt", "").split()), quote=True)
        drawn = drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        image.replace_self(nodes.raw("", f'<div class="drawn">{drawn}</div>', format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls first."""
    app.add_html_math_renderer(
        "mathml",
        (lambda self, node: _math(self, node, "inline"), None),
        (lambda self, node: _math(self, node, "block"), None),
    )
    app.connect("autodoc-process-signature", _short_types)
    app.connect("doctree-resolved", _finish)
    app.connect("autodoc-process-docstring", _as_rst)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
