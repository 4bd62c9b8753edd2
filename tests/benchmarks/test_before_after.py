"""What is counted of a source tree, on sources made by hand."""

import ast

import pytest

from benchmarks.before_after import count_circles, docstring_lines, logged, take_census


@pytest.mark.parametrize(
    "edges,count",
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, 0),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, 1),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"e"}, "e": {"d", "a"}}, 2),
    ],
)
def test_circles_are_groups_of_files_that_reach_each_other(edges, count):
    assert count_circles(edges) == count


def test_docstrings_are_counted_with_all_their_lines():
    assert (
        docstring_lines(ast.parse('"""One."""\ndef f():\n    """Two\n    lines."""\n    x = """no docstring"""\n')) == 3
    )


def test_a_census_of_a_small_tree(tmp_path):
    (tmp_path / "tirgn_eqx").mkdir()
    (tmp_path / "cli").mkdir()
    (tmp_path / "tirgn_eqx" / "a.py").write_text("from tirgn_eqx import b\n\nf = lambda x: x  # why\n")
    text = "from typing import Any\n\n\ndef g(x: dict[str, Any]):\n    from tirgn_eqx.a import f\n\n    return f(x)\n"
    (tmp_path / "tirgn_eqx" / "b.py").write_text(text)
    found = take_census(tmp_path)
    assert (found["modules"], found["lines"], found["circles_of_files"], found["named_lambdas"]) == (2, 10, 1, 1)
    assert (found["any"], found["lines_with_dict_str_any"], found["comment_share"]) == (1, 1, 0.1)


def test_times_are_left_out_of_the_comparison():
    record = {"step": 3, "time": 1.0, "train/loss": 2.0, "system/epoch_duration_s": 5.0}
    assert logged([record]) == [{"step": 3, "train/loss": 2.0}]
