"""Several devices: which arrays are split over which axis of the mesh.

A mesh has two axes. The queries of a snapshot are split along `data`. The rows of the entity table are split along
`entity`, and with them the optimizer's state for it, the evolved states and the scores of candidates. All other arrays
are on every device. XLA partitions the one-device program accordingly (Xu et al., GSPMD, 2021): rows of other devices
arrive as sums of masked gathers; log-sum-exp, ranks, BatchNorm and gradients as sums and maxima. No array of the size
[query, candidate] is ever sent.

Rows of zeros pad the table to a multiple of the `entity` axis. They have weight 0 in every sum, are never a candidate,
and are not written to files.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray, PyTree, Shaped

from tirgn_eqx.errors import ConfigError, nearest, shown

DATA, ENTITY = "data", "entity"
AXES = (DATA, ENTITY)
# Names of leaves with a row for every entity: the table (also in the optimizer state), and the words' counts.
TABLES = ("entity_embedding", "degree")
QUERIES = ("entity_queries", "relation_queries")
WHOLE = PartitionSpec()  # on every device
BLOCK_BYTES = 64 * 2**20  # of a table, copied to the host at once

Axis = Literal["data", "entity"]
Built = TypeVar("Built")


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
    """Parse a shape like `data=2,entity=2`; an axis that is not named has size 1. `auto` puts all `available` devices
    along `entity`, which divides memory and most of the work.

    **Raises:** ConfigError for any other text, or more devices than there are.
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


# To a type checker, `jax.Device` is a variable and no type.
def make_mesh(shape: MeshShape, devices: Sequence[object] | None = None) -> Mesh:
    """A mesh of the first `devices`, by default of all processes; XLA chooses the sharding where none is given."""
    chosen = list(jax.devices() if devices is None else devices)[: shape.devices]
    return Mesh(np.asarray(chosen).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def on(mesh: Mesh | None) -> AbstractContextManager[object]:
    """A context in which traced functions are split over `mesh`; without a mesh, nothing changes."""
    return nullcontext() if mesh is None else jax.set_mesh(mesh)


def split(x: Shaped[Array, "*shape"], *axes: Axis | None) -> Shaped[Array, "*shape"]:
    """`x`, its first dimensions split over these axes of the mesh of the context; unchanged without a mesh."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))


def num_parts() -> int:
    """Into how many parts queries are split on the mesh of the context."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.shape[DATA]


def in_one_part() -> bool:
    """Whether queries are in one part, so that their history is in their order; otherwise the padding of one part comes
    before the next part."""
    return num_parts() == 1


def everywhere(tree: PyTree) -> PyTree:
    """Make arrays whole on every device, for the host to read."""
    return jax.tree.map(split, tree)


# --- from the host to the devices --------------------------------------------------------------------------------


def table_rows(num_entities: int, mesh: Mesh | None) -> int:
    """Rows of the entity table on `mesh`: a multiple of its `entity` axis."""
    parts = 1 if mesh is None else mesh.shape[ENTITY]
    # Rounded up: 10 entities on 4 devices take 12 rows.
    return -(-num_entities // parts) * parts


def is_entity_table(path: tuple) -> bool:
    """Whether a leaf is the entity table, or the optimizer's state for it."""
    # A path ends with the field's name, in the optimizer's moments too, because they have the structure of the model.
    return getattr(path[-1], "name", None) == TABLES[0] if path else False


def _is_table(path: tuple) -> bool:
    return getattr(path[-1], "name", None) in TABLES if path else False


def _spec(path: tuple) -> PartitionSpec:
    return PartitionSpec(ENTITY) if _is_table(path) else WHOLE


def as_placed(tree: PyTree) -> PyTree:
    """A model or optimizer state inside a traced function, split as `placed` splits it."""

    def pin(path: tuple, leaf: object) -> object:
        return split(leaf, *_spec(path)) if isinstance(leaf, jax.Array) else leaf

    return jax.tree_util.tree_map_with_path(pin, tree)


def filled_up(tree: PyTree, mesh: Mesh) -> PyTree:
    """A model or optimizer state whose tables are padded to `table_rows` rows by zeros."""

    def fill(path: tuple, leaf: object) -> object:
        if not (isinstance(leaf, jax.Array) and _is_table(path)):
            return leaf
        more = table_rows(len(leaf), mesh) - len(leaf)
        return jax.numpy.pad(leaf, [(0, more)] + [(0, 0)] * (leaf.ndim - 1))

    return jax.tree_util.tree_map_with_path(fill, tree)


def placed(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """A model or optimizer state of the host, put on `mesh` with its tables padded and split by rows; each device
    receives only its part."""
    if mesh is None:
        return tree

    def put(path: tuple, leaf: object) -> object:
        return put_leaf(path, leaf, mesh) if isinstance(leaf, ArrayLike) else leaf

    return jax.tree_util.tree_map_with_path(put, tree)


def put_leaf(path: tuple, values: ArrayLike, mesh: Mesh | None) -> Array:
    """One leaf of a model or optimizer state, see `placed`; a copy on the default device without a mesh."""
    if mesh is None:
        # A copy, because a step donates the state, and the buffers of the caller's array must stay valid.
        return jax.numpy.array(values)
    if not _is_table(path):
        return put_array(values, mesh)
    host = np.asarray(values)
    rows = table_rows(len(host), mesh)

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        # JAX asks for a range of the padded rows: of 10 entities on 4 devices, the last one asks for rows 9 to 12, of
        # which the host has row 9 alone.
        begin, end, _ = index[0].indices(rows)
        found = host[begin : min(end, len(host))]
        return np.pad(found, [(0, end - begin - len(found))] + [(0, 0)] * (host.ndim - 1))

    return jax.make_array_from_callback((rows, *host.shape[1:]), NamedSharding(mesh, _spec(path)), part)


def put_array(values: ArrayLike | np.generic, mesh: Mesh, spec: PartitionSpec = WHOLE) -> Array:
    """An array of the host, the same in every process, on `mesh`."""
    sharding = NamedSharding(mesh, spec)
    if isinstance(values, jax.Array) and jax.numpy.issubdtype(values.dtype, jax.dtypes.prng_key):
        # An array of keys has no NumPy form: place its bits, and make keys of them again.
        bits = put_array(np.asarray(jax.random.key_data(values)), mesh, spec)
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(values))
    host = np.asarray(values)
    # The type that `jnp.asarray` gives without a mesh: at most 32 bits, unless 64-bit types are enabled.
    host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype))
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def made(build: Callable[[], Built], mesh: Mesh | None) -> Built:
    """`build()`, a model or optimizer state; on a mesh every device makes only its part of the tables."""
    if mesh is None:
        return build()

    with on(mesh):
        return eqx.filter_jit(lambda: as_placed(filled_up(build(), mesh)))()


class Placement(NamedTuple):
    """Puts the arrays of a batch on the devices of `mesh`, or on the default device without one.

    Arrays of queries, `(micro, n, ...)`, are split along n over `data` where that divides n.
    """

    mesh: Mesh | None = None

    def __call__(self, values: np.ndarray | np.generic, queries: bool = False) -> Array:
        if self.mesh is None:
            return jax.numpy.asarray(values)
        return put_array(values, self.mesh, self.spec(np.shape(values), queries))

    @property
    def num_parts(self) -> int:
        """Into how many parts queries are split."""
        return 1 if self.mesh is None else self.mesh.shape[DATA]

    @property
    def own_parts(self) -> list[int]:
        """The parts on devices of this process."""
        if self.mesh is None:
            return [0]
        mine = jax.process_index()
        # `mesh.devices` is [data, entity], so that each of its rows holds one part of the queries.
        return [part for part, row in enumerate(self.mesh.devices) if any(d.process_index == mine for d in row)]

    def spec(self, shape: tuple[int, ...], queries: bool) -> PartitionSpec:
        """How an array of this shape is split; `queries`: whether it is one of queries."""
        divided = queries and len(shape) > 1 and shape[1] % self.num_parts == 0
        return PartitionSpec(None, DATA) if divided else WHOLE

    def key(self, key: PRNGKeyArray) -> PRNGKeyArray:
        """A random key, on every device."""
        return key if self.mesh is None else put_array(key, self.mesh)


def described(tree: PyTree, mesh: Mesh) -> PyTree:
    """Abstract arrays of a model or optimizer state as `placed` would make them."""

    def describe(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        # `split` without axes: an empty PartitionSpec keeps a whole copy on every device.
        rows = (table_rows(leaf.shape[0], mesh),) if _is_table(path) else leaf.shape[:1]
        sharding = NamedSharding(mesh, _spec(path))
        return jax.ShapeDtypeStruct((*rows, *leaf.shape[1:]), leaf.dtype, sharding=sharding)

    return jax.tree_util.tree_map_with_path(describe, tree)


def described_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """Abstract arrays of a batch as `Placement` would make them."""

    def describe(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        queries = getattr(path[0], "name", None) in QUERIES
        sharding = NamedSharding(mesh, Placement(mesh).spec(leaf.shape, queries))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree_util.tree_map_with_path(describe, batch)


# --- and back ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocks:
    """The first `rows` rows of an array on any mesh, copied to the host block by block.

    Every process of a mesh receives all blocks, and must iterate over all of them.
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
        # As many rows as fill BLOCK_BYTES, but at least one.
        size = max(1, BLOCK_BYTES // max(1, math.prod(self.array.shape[1:]) * self.dtype.itemsize))
        for begin in range(0, self.rows, size):
            yield to_host(self.array[begin : min(begin + size, self.rows)])


def for_files(tree: PyTree, num_entities: int) -> PyTree:
    """A model or optimizer state to write to files: its tables as `Blocks` without padding, all else on the host."""

    def write(path: tuple, leaf: ArrayLike) -> Blocks | np.ndarray:
        # On one device, the table has no padding and is copied as a whole.
        if isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1 and _is_table(path):
            return Blocks(leaf, num_entities)
        return to_host(leaf)

    return jax.tree_util.tree_map_with_path(write, tree)


def to_host(array: ArrayLike) -> np.ndarray:
    """Copy an array of any mesh to the host, whole, in every process."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        # This process has only some of the shards. A jitted identity gathers all of them on every device, which is a
        # collective operation: every process must call it.
        assert isinstance(array.sharding, NamedSharding)
        whole = jax.jit(lambda x: x, out_shardings=NamedSharding(array.sharding.mesh, WHOLE))(array)
        return np.asarray(whole.addressable_data(0))
    return np.asarray(array)
