"""What several commands share: checkpoints and their data, files to write, devices and processes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tirgn_cli import output
from tirgn_cli.options import ReadingFlags
from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError, shown

if TYPE_CHECKING:
    from tirgn_eqx.checkpoint.metadata import CheckpointMetadata
    from tirgn_eqx.data import TemporalGraph
    from tirgn_eqx.data.relation_map import RelationMapping
    from tirgn_eqx.models import Model
    from tirgn_eqx.runtime.meshes import MeshShape


@dataclass(frozen=True)
class LoadedCheckpoint:
    """The model in a checkpoint and its settings; `metadata`: what the file says of itself, see `load_model`."""

    path: Path
    model: "Model"
    config: TrainingConfig
    metadata: "CheckpointMetadata"

    @classmethod
    def load(cls, path: Path, model_type: str | None = None) -> "LoadedCheckpoint":
        """The checkpoint at `path`. **Raises:** CheckpointError where there is none, or one of another model type."""
        from tirgn_eqx.checkpoint.models import load_model

        return cls(path, *load_model(path, model_type))

    def check_valid_unseen(self, option: str) -> None:
        """**Raises:** ConfigError for a model that was trained on valid, too, whose figures there `option` asks for."""
        if self.metadata.is_refit:
            raise ConfigError(f"{option}: {self.path} was trained on valid, too; use the checkpoint beside it")


class MappedCheckpoint(NamedTuple):
    """A checkpoint with the vocabulary of other data, and these data; `renamed`: see `Transferred`."""

    loaded: LoadedCheckpoint
    matched: "MatchedGraph"
    renamed: dict[str, str]


class MatchedGraph(NamedTuple):
    """Facts that a model can forecast, with its ids; `difference`: a warning where it was trained on other facts."""

    graph: "TemporalGraph"
    read: "TemporalGraph"  # the same facts with the ids of their files
    difference: str | None


def check_writable(path: Path, folder: bool = False) -> None:
    """Make the folder that `path` lies in, before the work begins.

    **Raises:** ConfigError when a file, or with `folder` a folder, cannot be written at `path`.
    """
    path = path.expanduser() if folder else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Files are replaced by a rename, for which the permissions of their folder count and not their own.
        right = path.is_dir() if folder else path.is_file()
        usable = (right or not path.exists()) and os.access(path.parent, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        what, kind = ("a file, or in", "folder") if folder else ("a folder, a device, or in", "file")
        raise ConfigError(f"{path}: cannot be written ({what} a place without permission); name a {kind} elsewhere")


def check_outputs(outputs: Mapping[str, Path | None], *read: object) -> None:
    """`check_writable` for the files that a command writes, and that none of them is read, or written twice.

    **Arguments:** `outputs`: by option; None is not written. `read`: paths of files that the command reads, of which a
    checkpoint is two; None and what is no path of a file, such as `sim`, is skipped.

    **Raises:** ConfigError, before anything is written.
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    earlier: dict[str, Path] = {}
    for option, path in given.items():
        for name in (name for one in read if one is not None for name in _files_of(os.path.expanduser(str(one)))):
            if _is_same_file(path, name):
                raise ConfigError(f"{option} {path}: is read and would be written over; name another file")
        for other, taken in earlier.items():
            if os.path.realpath(path) == os.path.realpath(taken) or _is_same_file(path, taken):
                raise ConfigError(f"{option} {path}: is the file of {other}, too; name another one")
        earlier[option] = path
    for path in given.values():
        check_writable(path)


def _files_of(path: str) -> tuple[str, ...]:
    stem, suffix = os.path.splitext(path)
    stem = stem if suffix in (".npz", ".json") else path
    return (path, f"{stem}.npz", f"{stem}.json") if not os.path.isdir(path) else ()


def _is_same_file(path: Path, other: str | Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):  # one of them is not there, or is no path at all
        return False


def load_matched_graph(found: LoadedCheckpoint, data_path: str | None, reading: ReadingFlags) -> MatchedGraph:
    """The facts at `data_path`, or those that a checkpoint was trained on, with the ids of its model.

    **Raises:** as `load_evaluation_graph`; DataError for facts that the model does not fit.
    """
    from tirgn_eqx.data.vocabulary import match_checkpoint

    data = load_evaluation_graph(found.path, data_path, found.metadata.provenance, reading)
    graph = match_checkpoint(data, found.metadata, found.path)
    return MatchedGraph(graph, data, describe_difference(graph, data, found.metadata))


def load_mapped_graph(
    found: LoadedCheckpoint, data_path: str | None, reading: ReadingFlags, how: "RelationMapping"
) -> MappedCheckpoint:
    """The facts at `data_path` with their own entities, and the model of a checkpoint made to fit them.

    **Raises:** as `load_evaluation_graph` and `transfer`; before anything is read for a model that knows entities.
    """
    from tirgn_eqx.train.transfer import check_transferable, transfer

    check_transferable(found.model, found.config, found.path)
    data = load_evaluation_graph(found.path, data_path, found.metadata.provenance, reading)
    made = transfer(found.model, found.config, found.metadata, data, how, found.path)
    output.print_note(describe_mapping(made.metadata.num_relations, data.num_relations, made.renamed))
    difference = describe_difference(made.graph, data, found.metadata)
    loaded = LoadedCheckpoint(found.path, made.model, found.config, made.metadata)
    return MappedCheckpoint(loaded, MatchedGraph(made.graph, data, difference), made.renamed)


def describe_mapping(known: int, total: int, renamed: dict[str, str]) -> str:
    """How many relations of the data a checkpoint knows, and one that it knows by another name."""
    told = f"relations: {known:,} of {total:,} are known to the checkpoint"
    if renamed:
        name, other = next(iter(renamed.items()))
        told += f", {len(renamed):,} by another name, such as {shown(name, 40)} as {shown(other, 40)}"
    return told


def load_evaluation_graph(
    checkpoint: Path, data_path: str | None, provenance: dict[str, Any], reading: ReadingFlags
) -> "TemporalGraph":
    """The facts at `data_path`, or those that a checkpoint was trained on.

    **Arguments:** `provenance`: where the data of the checkpoint came from, empty if it is not known; `reading`: the
    options that were given win over those of the training.

    **Raises:** CheckpointError when neither names any data; DataError when they cannot be read.
    """
    from tirgn_eqx.data.readers.load import load_graph, reading_of

    if data_path is not None:
        # A moved or copied event table is read as the one of the training, unless told otherwise.
        return load_graph(data_path, **reading_of(provenance, data_path) | reading.given())
    if not provenance:
        raise CheckpointError(f"{checkpoint}: does not say where its data came from; give --data-path")
    try:
        return load_graph(**provenance | reading.given())
    except DataError as error:
        raise DataError(f"{error} (the data that {checkpoint} was trained on; --data-path names another)") from error


def describe_difference(graph: "TemporalGraph", data: "TemporalGraph", metadata: "CheckpointMetadata") -> str | None:
    """A warning if the facts may differ from those that a checkpoint was trained on; None if they are the same.

    **Arguments:** `data`: the facts as they were read; `graph`: the same facts with the ids of the checkpoint, so that
    the order of ids does not matter; `metadata`: of the checkpoint.
    """
    found, expected = graph.checksum, metadata.checksum
    if found == expected:
        return None
    if expected is None:
        return "the checkpoint has no checksum of its data; whether these are the same facts is not known"
    named = all((data.entity_names, data.relation_names, metadata.entities, metadata.relations))
    by_id = "" if named else "; without names, entities and relations were paired by id"
    return (
        f"CHECKSUM DIFFERS: these facts (sha256 {found[:12]}) are not those that the checkpoint was trained "
        f"on (sha256 {expected[:12]}); the figures below say nothing about the original data{by_id}"
    )


def connect_processes(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Connect this process to the others, if `--coordinator` was given."""
    if coordinator is not None:
        from tirgn_eqx.runtime.processes import join

        join(coordinator, num_processes, process_id)


def choose_mesh(mesh: str | None, coordinator: str | None) -> "MeshShape | None":
    """The device mesh that `--mesh` asks for; by default one device, or all devices of several processes.

    **Raises:** ConfigError when devices of another process would be left out.
    """
    if mesh is None and coordinator is None:
        return None
    import jax

    from tirgn_eqx.runtime.meshes import parse_mesh

    shape = parse_mesh(mesh or "auto", jax.device_count())
    if jax.process_count() > 1 and shape.devices < jax.device_count():
        raise ConfigError(
            f"--mesh {shape}: {jax.process_count()} processes have {jax.device_count()} devices, and all of them must "
            "be used; give a mesh of as many, or start fewer processes"
        )
    return shape


def exit_on_lost_process(process: int) -> NoReturn:
    """Say which process was lost and exit at once: another thread may wait for that process forever."""
    output.print_error(
        f"process {process} was lost; start all of them again with --resume to go on from the last saved state"
    )
    os._exit(1)
