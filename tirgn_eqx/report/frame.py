"""What all pages have in common: one HTML document that loads nothing, with its own style and script and no other."""

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tirgn_eqx.report.formats import FILTERS, METRICS, safe_text
from tirgn_eqx.report.plots import draw_marker


def render_page(
    template: str,
    sections: Mapping[str, object],
    values: Mapping[str, object],
    *,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
) -> str:
    """A page as one HTML document that loads nothing and sends nothing.

    **Arguments:** `template`: its name; it extends `frame.html` and titles its sections; `sections`: what the template
    of each section shows, in the order of the page, those without content left out; `values`: what the templates need
    besides, `title` and `made_by` among them; `styles`, `scripts`: files beside those that every page has.
    """
    style = "".join(_source(name) for name in ("style.css", *styles))
    script = "".join(_source(name) for name in ("page.js", *scripts))
    # The browser runs only the script with this hash: text from data that got through the escaping could do nothing.
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            policy=policy + "base-uri 'none'; form-action 'none'",
            # Not escaped: browsers read these elements as they are, and the hashes are of these very texts.
            style=Markup(style),
            script=Markup(script),
            sections={name: content for name, content in sections.items() if content},
        )
    )


@functools.cache
def _environment() -> Environment:
    # `finalize` makes every value harmless where it is put into a template, so that none can be forgotten.
    environment = Environment(
        loader=PackageLoader("tirgn_eqx.report"),
        autoescape=True,
        finalize=safe_text,
        # A wrong name in a template is an error, not an empty text.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    environment.globals |= {"draw_marker": draw_marker, "METRICS": METRICS}
    return environment


def _source(name: str) -> str:
    """The text of a file among the templates that is not a template."""
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _digest(content: str) -> str:
    """The hash by which the page allows its own style and script, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def name_versions(versions: Mapping[str, str]) -> str:
    """The packages that computed a model, in a few words; empty where nothing is known."""
    return ", ".join(f"{key} {versions[key]}" for key in ("tirgn-eqx", "jax") if key in versions)
