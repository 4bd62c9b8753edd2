"""Vectors by name: which tables each family has."""

import jax.random as jr
import numpy as np
import polars as pl
import pytest

from tests.helpers import family_config, tiny_config
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.forecast.embeddings import learnt_embeddings, write_embeddings
from tirgn_eqx.models import Mixture, build_model
from tirgn_eqx.models.gate import Gate

NARROW = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 2}
BACKGROUND = ["subject", "object", "neighbour", "relation", "gate"]


@pytest.fixture(scope="module")
def evidence():
    return build_model(5, 2, family_config("evidence", **NARROW), key=jr.key(0))


def test_tables_of_evidence_and_of_a_mixture(evidence, tmp_path):
    found = learnt_embeddings(evidence)
    assert [table.name for table in found] == [f"background.{name}" for name in BACKGROUND]
    structure = build_model(5, 2, tiny_config("regcn"), key=jr.key(1))
    both = learnt_embeddings(Mixture(structure, evidence, Gate(2, True, key=jr.key(2))))
    assert [table.name for table in both] == [
        *("structure.encoder.entity_embedding", "structure.encoder.relation_embedding"),
        *(f"evidence.background.{name}" for name in BACKGROUND),
    ]
    count = write_embeddings(tmp_path / "a.parquet", both, list("ABCDE"), ["visit", "praise"])
    frame = pl.read_parquet(tmp_path / "a.parquet")
    assert frame.height == count == 4 * 5 + 3 * 4
    # Tables of other widths stand in one file.
    assert frame["vector"].list.len().to_list() == [8] * 9 + [4] * 23
    gates = frame.filter(pl.col("table") == "evidence.background.gate")
    assert gates["name"].to_list() == ["visit", "praise"] * 2
    assert gates["kind"].to_list() == ["relation"] * 2 + ["inverse relation"] * 2
    written = gates["vector"].explode().to_numpy()
    assert written.tobytes() == np.asarray(evidence.background.gate).tobytes()
    assert frame.filter(name="C")["id"].to_list() == [2] * 4


def test_evidence_without_background_has_none(tmp_path):
    model = build_model(5, 2, family_config("evidence", evidence_background=False, **NARROW), key=jr.key(0))
    with pytest.raises(ConfigError, match="without background has no embeddings"):
        learnt_embeddings(model)
    # Beside a structure, that of the structure is left.
    structure = build_model(5, 2, tiny_config("regcn"), key=jr.key(1))
    assert len(learnt_embeddings(Mixture(structure, model, Gate(2, True, key=jr.key(2))))) == 2
