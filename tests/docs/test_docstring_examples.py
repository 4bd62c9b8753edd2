"""The ```python blocks in the docstrings of layers, models and array types run as they stand."""

import ast
import re
import textwrap
from pathlib import Path

import pytest

from tests.docs.doc_blocks import ROOT

PACKAGE = ROOT / "tirgn_eqx"
PLACES = [*sorted((PACKAGE / "nn").glob("*.py")), *sorted((PACKAGE / "models").glob("*.py")), PACKAGE / "types.py"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Layers and models that a reader may want to use alone.
WITH_EXAMPLE = """BatchNorm ConvDecoder GRUCell GraphConvolution StaticConvolution TimeEncoding TimeGate
RecurrentEncoder TiRGN FactoredLogits Recurrency log_probabilities""".split()


def examples(path: Path):
    """(name, code) of every block in the docstrings of a file, named after the class or function at its top."""
    for top in ast.parse(path.read_text(encoding="utf-8")).body:
        for node in ast.walk(top):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                for block in BLOCK.findall(ast.get_docstring(node) or ""):
                    yield top.name, textwrap.dedent(block)  # pyright: ignore[reportAttributeAccessIssue]


EXAMPLES = [(path.relative_to(ROOT), *found) for path in PLACES for found in examples(path)]


@pytest.mark.parametrize(("path", "name", "code"), EXAMPLES, ids=[name for _, name, _ in EXAMPLES])
def test_example(path, name, code):
    exec(compile(code, f"{path}: {name}", "exec"), {})


def test_the_main_layers_and_models_have_one():
    assert set(WITH_EXAMPLE) <= {name for _, name, _ in EXAMPLES}
