"""Several devices and processes compute what one device computes."""

import json
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.runtime.process_helpers import environment, free_address
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime import meshes
from tirgn_eqx.runtime.meshes import Blocks, MeshShape, Placement, make_mesh, parse_mesh

CI = pytest.mark.ci


def run_case(case: str, mesh: str, processes: int = 1) -> dict:
    """What `mesh_case.py` found."""
    more = [[]] if processes == 1 else [[address, str(i)] for address in [free_address()] for i in range(processes)]
    command = [sys.executable, "-m", "tests.mesh_case", case, mesh]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    started = [subprocess.Popen([*command, *extra], **pipes) for extra in more]
    said = [process.communicate(timeout=900) for process in started]
    assert all(process.returncode == 0 for process in started), said[0][1][-2000:]
    return json.loads(said[0][0].splitlines()[-1])


def check(found: dict) -> None:
    one, many = found["metrics"]
    assert one["loss"] > 1 and one.keys() == many.keys()
    for name in one:
        assert many[name] == pytest.approx(one[name], rel=2e-5), name
    gradients = {key: value for key, value in found["apart"].items() if key.startswith("gradient")}
    assert len(gradients) > 20
    # In f32; an update of Adam may magnify the rounding of a gradient that is nearly 0.
    assert max(gradients.values()) < 2e-5, max(gradients.items(), key=lambda item: item[1])
    assert max(found["apart"].values()) < 2e-3, max(found["apart"].items(), key=lambda item: item[1])
    assert found["ranks_apart"] <= 2
    assert found["mrr"][1] == pytest.approx(found["mrr"][0], rel=1e-3)
    assert found["nll"][1] == pytest.approx(found["nll"][0], rel=1e-5)


@pytest.mark.parametrize(
    ("case", "mesh", "processes"),
    [
        pytest.param("tirgn", "data=2,entity=2", 1, marks=CI),
        pytest.param("tirgn-sampled", "data=1,entity=4", 1, marks=CI),
        pytest.param("tirgn-shared", "data=2,entity=2", 1, marks=pytest.mark.slow),
        pytest.param("regcn", "data=4,entity=1", 1, marks=pytest.mark.slow),
        pytest.param("regcn-sampled", "auto", 1, marks=pytest.mark.slow),
        pytest.param("tirgn", "data=2,entity=2", 2, marks=CI),
        pytest.param("tirgn-shared", "entity=4", 2, marks=pytest.mark.slow),
        pytest.param("regcn-sampled", "data=2,entity=2", 2, marks=CI),
    ],
)
def test_losses_gradients_and_ranks_are_those_of_one_device(case, mesh, processes):
    check(run_case(case, mesh, processes))


@pytest.mark.parametrize(
    ("text", "shape"),
    [("data=2,entity=3", (2, 3)), (" entity = 4 ", (1, 4)), ("data=8", (8, 1)), ("auto", (1, 8)), ("data=1", (1, 1))],
)
def test_a_mesh_is_read(text, shape):
    assert parse_mesh(text, 8) == shape and parse_mesh(str(MeshShape(*shape)), 8) == shape


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data=3,entity=3", "needs 9 devices and finds 8"),
        ("rows=2", "axis 'rows' does not exist"),
        ("date=2", "did you mean"),
        ("data=0", "write auto, or each axis once"),
        ("data=2,data=2", "write auto, or each axis once"),
        ("data=-2", "write auto"),
        ("data", "write auto"),
        ("", "axis '' does not exist"),
        ("data=٣", "write auto"),
    ],
)
def test_a_mesh_that_is_none_is_said(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_mesh(text, 8)


class Table(eqx.Module):
    """A model with an entity table, another array, and what is no array."""

    entity_embedding: jax.Array
    bias: jax.Array
    name: str = "table"


def table():
    return Table(jnp.arange(6.0).reshape(3, 2), jnp.ones(2))


def test_a_model_goes_to_a_mesh_and_back():
    mesh = make_mesh(MeshShape(1, 1), jax.devices())
    for found in (meshes.placed(table(), mesh), meshes.made(table, mesh)):
        assert found.name == "table" and found.entity_embedding.sharding.mesh == mesh
        back = meshes.for_files(eqx.filter(found, eqx.is_array), 3)
        assert isinstance(back.entity_embedding, np.ndarray)
        np.testing.assert_array_equal(back.entity_embedding, table().entity_embedding)
    shapes = meshes.described(jax.eval_shape(lambda: eqx.filter(table(), eqx.is_array)), mesh)
    rows, bias = shapes.entity_embedding, shapes.bias
    assert (rows.shape, rows.sharding.spec) == ((3, 2), jax.sharding.PartitionSpec("entity"))
    assert (bias.shape, bias.sharding.spec) == ((2,), meshes.WHOLE)
    assert meshes.made(table, None).entity_embedding.shape == (3, 2)


def test_rows_of_zeros_fill_a_table_up(monkeypatch):
    mesh = make_mesh(MeshShape(1, 1))
    assert [meshes.table_rows(rows, mesh) for rows in (3, 4)] == [3, 4] and meshes.table_rows(3, None) == 3
    monkeypatch.setattr(meshes, "table_rows", lambda rows, mesh: -(-rows // 4) * 4)
    for found in (meshes.filled_up(table(), mesh), meshes.placed(table(), mesh)):
        assert found.entity_embedding.tolist() == [[0, 1], [2, 3], [4, 5], [0, 0]] and found.bias.tolist() == [1, 1]


def test_keys_and_numbers_are_placed_as_they_are():
    placement = Placement(make_mesh(MeshShape(1, 1)))
    key = jax.random.key(3)
    assert placement.key(key) == key and Placement().key(key) is key
    wide = placement(np.array([[1, 2]], np.int64), queries=True)
    assert (wide.dtype, wide.tolist()) == (jnp.int32, [[1, 2]])
    assert (placement.num_parts, placement.own_parts, Placement().own_parts) == (1, [0], [0])


def test_a_table_is_copied_to_the_host_in_blocks(monkeypatch):
    monkeypatch.setattr(meshes, "BLOCK_BYTES", 16)
    blocks = Blocks(jnp.arange(10.0).reshape(5, 2), 3)
    assert (blocks.shape, blocks.dtype) == ((3, 2), np.float32)
    assert [block.tolist() for block in blocks] == [[[0, 1], [2, 3]], [[4, 5]]]
