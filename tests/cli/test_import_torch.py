"""`tirgn import-torch`: what it refuses, in a line."""

import numpy as np


def test_import_names_what_is_missing(run, folder, tmp_path):
    state = tmp_path / "state.npz"
    np.savez(state, something=np.zeros(3))
    out = tmp_path / "imported.npz"
    result = run("import-torch", state, "--data-path", folder, "--out", out)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    assert not out.exists()
