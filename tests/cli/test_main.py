"""`python -m tirgn_cli` is `tirgn`."""


def test_the_package_runs_as_a_module(program):
    result = program("-m", "tirgn_cli", "train", "--epoch", "1")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: no such option: --epoch")
    assert "see `tirgn train --help`" in result.stderr
