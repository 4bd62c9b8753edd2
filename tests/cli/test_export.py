"""`tirgn export`: vectors by name and safetensors, and what is refused."""

import numpy as np
import polars as pl
import pytest

from tests.cli.cli_helpers import measured
from tests.helpers import same_bits
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.checkpoint.safetensors_files import read_safetensors


def test_both_forms_hold_the_bits_of_the_checkpoint(run, checkpoint, tmp_path):
    vectors, arrays = tmp_path / "VECTORS.PARQUET", tmp_path / "a.safetensors"
    found = measured(run("export", checkpoint, "--embeddings", vectors, "--safetensors", arrays, "--json"))
    assert found["vectors"] == 6 + 4 and found["safetensors"] == str(arrays)
    assert found["tables"] == "encoder.entity_embedding, encoder.relation_embedding"
    expected = load_checkpoint(checkpoint)
    frame = pl.read_parquet(vectors)
    assert frame.columns == ["table", "kind", "id", "name", "vector"]
    for table, kinds in (("entity", {"entity": 6}), ("relation", {"relation": 2, "inverse relation": 2})):
        rows = frame.filter(pl.col("table") == f"encoder.{table}_embedding")
        assert rows["kind"].to_list() == [kind for kind, number in kinds.items() for _ in range(number)]
        array = expected.arrays[f"encoder.{table}_embedding"]
        assert rows["vector"].explode().to_numpy().tobytes() == array.tobytes()
        assert rows["id"].to_list() == list(range(len(array)))
    assert frame["name"].to_list() == ["0", "1", "2", "3", "4", "5", "0", "1", "0", "1"]
    # Back as a checkpoint, from which the same model is loaded.
    read = read_safetensors(arrays)
    back, _, metadata = load_model(save_checkpoint(tmp_path / "back.npz", read.arrays, read.metadata))
    model, _, original = load_model(checkpoint)
    assert same_bits(back, model) and metadata == original


@pytest.mark.ci
def test_states_at_a_time_are_those_that_forecasts_use(run, trained, checkpoint, evidence, tmp_path):
    from tirgn_eqx.forecast import Forecaster

    out = tmp_path / "vectors.parquet"
    found = measured(run("export", checkpoint, "--embeddings", out, "--at", "newest", "--json"))
    assert found["time"] == 10 and found["tables"] == "entity_state, relation_state"
    forecaster = Forecaster.load(checkpoint)
    states = pl.read_parquet(out).filter(pl.col("kind") == "entity")["vector"]
    np.testing.assert_array_equal(states.explode().to_numpy(), np.asarray(forecaster.state.encoding.entity).ravel())
    assert measured(run("export", checkpoint, "--embeddings", out, "--at", "9", "--json"))["time"] == 9
    result = run("export", evidence[0], "--embeddings", out, "--at", "newest")
    assert result.exit_code == 2 and "an evidence model has no states that evolve" in result.stderr


def test_what_writes_nothing_is_refused(run, checkpoint, tmp_path):
    vectors, before = ("--embeddings", tmp_path / "a.parquet"), checkpoint.read_bytes()
    for args, words in (
        ((), "nothing to write; give --embeddings FILE, --safetensors FILE, or both"),
        (("--safetensors", tmp_path / "a", "--at", "newest"), "--at: only with --embeddings"),
        ((*vectors, "--data-path", "sim"), "--data-path: only with --at"),
        ((*vectors, "--num-days", "3"), "--num-days: only with --at"),
        (("--embeddings", tmp_path / "a.csv"), "a parquet file; try a.csv.parquet"),
        (("--safetensors", checkpoint), f"--safetensors {checkpoint}: is read and would be written over"),
        ((*vectors, "--safetensors", vectors[1]), f"--safetensors {vectors[1]}: is the file of --embeddings, too"),
    ):
        result = run("export", checkpoint, *args)
        assert result.exit_code == 2 and words in result.stderr, result.output
    assert not list(tmp_path.iterdir()) and checkpoint.read_bytes() == before
