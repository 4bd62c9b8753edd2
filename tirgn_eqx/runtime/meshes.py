"""Several devices: what is split over which axis of them, said in this one place.

A mesh has two axes. Along `data` go the questions of a snapshot; along `entity` the rows of the entity table, of the
optimizer's figures for it, of the evolved states, and with them the candidates' scores. All else is on every device.
XLA partitions the one-device program accordingly (Xu et al., GSPMD, 2021): what a device needs of others' rows travels
as sums of masked gathers, and log-sum-exp, ranks, BatchNorm and gradients as sums and maxima. Nothing of the size of
[question, candidate] ever travels.

Rows of zeros fill the table up to a multiple of the `entity` axis. They have weight 0 in every sum, are never a
candidate, and are in no file.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PRNGKeyArray, PyTree, Shaped

from tirgn_eqx.errors import ConfigError, nearest, shown

DATA, ENTITY = "data", "entity"
AXES = (DATA, ENTITY)
# Leaves with a row for every entity, by name: the table (and what the optimizer keeps of it), and the words' counts.
TABLES = ("entity_embedding", "degree")
QUESTIONS = ("entity_queries", "relation_queries")
WHOLE = PartitionSpec()  # on every device
BLOCK_BYTES = 64 * 2**20  # of a table, brought to the host at a time

Axis = Literal["data", "entity"]


class MeshShape(NamedTuple):
    """How many devices there are along each axis."""

    data: int
    entity: int

    @property
    def devices(self) -> int:
        return self.data * self.entity

    def __str__(self) -> str:
        return f"data={self.data},entity={self.entity}"


def parse_mesh(text: str, available: int) -> MeshShape:
    """`data=2,entity=2` as a shape; an axis that is not named has one device. `auto` puts all `available` devices
    along `entity`, which divides memory and most of the work.

    **Raises:** ConfigError for another text, or more devices than there are.
    """
    if text.strip() == "auto":
        return MeshShape(1, available)
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = (word.strip() for word in part.partition("="))
        if name not in AXES:
            raise ConfigError(
                f"--mesh {shown(text)}: axis {shown(name)} does not exist{nearest(name, AXES)}; known: data, entity"
            )
        if name in sizes or not (equals and number.isascii() and number.isdecimal() and 1 <= int(number) <= 2**20):
            raise ConfigError(f"--mesh {shown(text)}: write auto, or each axis once, like data=2,entity=2")
        sizes[name] = int(number)
    shape = MeshShape(sizes.get(DATA, 1), sizes.get(ENTITY, 1))
    if shape.devices > available:
        raise ConfigError(
            f"--mesh {shown(text)}: needs {shape.devices} devices and finds {available}; give a smaller mesh, or auto"
        )
    return shape


def make_mesh(shape: MeshShape, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of the first devices of all processes, or of those that are given; XLA fills in what is not said."""
    chosen = list(jax.devices() if devices is None else devices)[: shape.devices]
    return Mesh(np.asarray(chosen).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def on(mesh: Mesh | None) -> AbstractContextManager[Any]:
    """Within it, what is traced is split over `mesh`; without one, nothing changes."""
    return nullcontext() if mesh is None else jax.set_mesh(mesh)


def split(x: Shaped[Array, "*shape"], *axes: Axis | None) -> Shaped[Array, "*shape"]:
    """`x`, its first dimensions split over these axes of the mesh that it is traced in; as it is without a mesh."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))


def num_parts() -> int:
    """In how many parts questions lie on the mesh that is traced in."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.shape[DATA]


def in_one_part() -> bool:
    """Whether questions lie in one piece, so that what is known of them is in their order; in several, the padding of
    one part comes before the next."""
    return num_parts() == 1


def everywhere(tree: PyTree) -> PyTree:
    """Arrays that every device gets whole: what the host reads."""
    return jax.tree.map(split, tree)


# --- from the host to the devices --------------------------------------------------------------------------------


def table_rows(num_entities: int, mesh: Mesh | None) -> int:
    """Rows of the entity table on `mesh`: a multiple of its `entity` axis."""
    parts = 1 if mesh is None else mesh.shape[ENTITY]
    return -(-num_entities // parts) * parts


def is_entity_table(path: tuple) -> bool:
    """Whether a leaf is the entity table, or the optimizer's figures for it."""
    return getattr(path[-1], "name", None) == TABLES[0] if path else False


def _is_table(path: tuple) -> bool:
    return getattr(path[-1], "name", None) in TABLES if path else False


def _spec(path: tuple) -> PartitionSpec:
    return PartitionSpec(ENTITY) if _is_table(path) else WHOLE


def as_placed(tree: PyTree) -> PyTree:
    """A model or optimizer state inside a program, split as `placed` splits it."""
    pin = lambda path, leaf: split(leaf, *_spec(path)) if eqx.is_array(leaf) else leaf
    return jax.tree_util.tree_map_with_path(pin, tree)


def filled_up(tree: PyTree, mesh: Mesh) -> PyTree:
    """A model or optimizer state whose tables have `table_rows` rows; those added are zero."""

    def fill(path: tuple, leaf: Any) -> Any:
        if not (eqx.is_array(leaf) and _is_table(path)):
            return leaf
        more = table_rows(len(leaf), mesh) - len(leaf)
        return jax.numpy.pad(leaf, [(0, more)] + [(0, 0)] * (leaf.ndim - 1))

    return jax.tree_util.tree_map_with_path(fill, tree)


def placed(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """A model or optimizer state of the host on `mesh`, its tables filled up and split by rows; each device is given
    its part alone."""
    if mesh is None:
        return tree
    put = lambda path, leaf: put_leaf(path, leaf, mesh) if eqx.is_array_like(leaf) else leaf
    return jax.tree_util.tree_map_with_path(put, tree)


def put_leaf(path: tuple, values: Any, mesh: Mesh | None) -> Array:
    """One leaf of a model or optimizer state, see `placed`; a copy on the default device without a mesh."""
    if mesh is None:
        return jax.numpy.array(values)
    if not _is_table(path):
        return put_array(values, mesh)
    host = np.asarray(values)
    rows = table_rows(len(host), mesh)

    def part(index: Any) -> np.ndarray:
        begin, end, _ = index[0].indices(rows)
        found = host[begin : min(end, len(host))]
        return np.pad(found, [(0, end - begin - len(found))] + [(0, 0)] * (host.ndim - 1))

    return jax.make_array_from_callback((rows, *host.shape[1:]), NamedSharding(mesh, _spec(path)), part)


def put_array(values: Any, mesh: Mesh, spec: PartitionSpec = WHOLE) -> Array:
    """An array of the host, the same in every process, on `mesh`."""
    sharding = NamedSharding(mesh, spec)
    if isinstance(values, jax.Array) and jax.numpy.issubdtype(values.dtype, jax.dtypes.prng_key):
        bits = put_array(np.asarray(jax.random.key_data(values)), mesh, spec)
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(values))
    host = np.asarray(values)
    host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype))
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def made(build: Callable[[], Any], mesh: Mesh | None) -> Any:
    """`build()`, a model or optimizer state; on a mesh every device makes its part of the tables, and no other."""
    if mesh is None:
        return build()

    with on(mesh):
        return eqx.filter_jit(lambda: as_placed(filled_up(build(), mesh)))()


class Placement(NamedTuple):
    """Brings a batch's arrays to the devices of `mesh`, or to the default device without one.

    Arrays of questions, `(micro, n, ...)`, are split along n over `data` where that divides it.
    """

    mesh: Mesh | None = None

    def __call__(self, values: np.ndarray | np.generic, questions: bool = False) -> Array:
        if self.mesh is None:
            return jax.numpy.asarray(values)
        return put_array(values, self.mesh, self.spec(np.shape(values), questions))

    @property
    def num_parts(self) -> int:
        """In how many parts questions are split."""
        return 1 if self.mesh is None else self.mesh.shape[DATA]

    @property
    def own_parts(self) -> list[int]:
        """Those that this process's devices hold."""
        if self.mesh is None:
            return [0]
        mine = jax.process_index()
        return [part for part, row in enumerate(self.mesh.devices) if any(d.process_index == mine for d in row)]

    def spec(self, shape: tuple[int, ...], questions: bool) -> PartitionSpec:
        """How an array of this shape is split."""
        divided = questions and len(shape) > 1 and shape[1] % self.num_parts == 0
        return PartitionSpec(None, DATA) if divided else WHOLE

    def key(self, key: PRNGKeyArray) -> PRNGKeyArray:
        """A random key, on every device."""
        return key if self.mesh is None else put_array(key, self.mesh)


def described(tree: PyTree, mesh: Mesh) -> PyTree:
    """Shapes of a model or optimizer state as `placed` would make them."""

    def describe(path: tuple, leaf: Any) -> Any:
        rows = (table_rows(leaf.shape[0], mesh),) if _is_table(path) else leaf.shape[:1]
        sharding = NamedSharding(mesh, _spec(path))
        return jax.ShapeDtypeStruct((*rows, *leaf.shape[1:]), leaf.dtype, sharding=sharding)

    return jax.tree_util.tree_map_with_path(describe, tree)


def described_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """Shapes of a batch as `Placement` would make them."""

    def describe(path: tuple, leaf: Any) -> Any:
        questions = getattr(path[0], "name", None) in QUESTIONS
        sharding = NamedSharding(mesh, Placement(mesh).spec(leaf.shape, questions))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree_util.tree_map_with_path(describe, batch)


# --- and back ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocks:
    """The first `rows` rows of an array on any mesh, to be brought to the host a block at a time.

    Every process of a mesh gets all blocks, and must ask for all of them.
    """

    array: Array
    rows: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.array.dtype)

    def __iter__(self) -> Iterator[np.ndarray]:
        size = max(1, BLOCK_BYTES // max(1, math.prod(self.array.shape[1:]) * self.dtype.itemsize))
        for begin in range(0, self.rows, size):
            yield to_host(self.array[begin : min(begin + size, self.rows)])


def for_files(tree: PyTree, num_entities: int) -> PyTree:
    """A model or optimizer state as it is written: its tables as `Blocks` without padding, all else on the host."""

    def write(path: tuple, leaf: Any) -> Any:
        split_up = isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1
        return Blocks(leaf, num_entities) if split_up and _is_table(path) else to_host(leaf)

    return jax.tree_util.tree_map_with_path(write, tree)


def to_host(array: Any) -> np.ndarray:
    """An array of any mesh, whole, in every process."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        mesh = array.sharding.mesh  # pyright: ignore[reportAttributeAccessIssue]
        array = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, WHOLE))(array)
        array = array.addressable_data(0)
    return np.asarray(array)
