"""Training from a graph to the best checkpoint."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from beartype import beartype

from tirgn_eqx.checkpoint.run_folder import working_alone
from tirgn_eqx.checkpoint.training_state import as_begun
from tirgn_eqx.config import MixtureTrainingConfig, ModelTrainingConfig, RecurrentTrainingConfig, TrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.load import load_graph
from tirgn_eqx.errors import ConfigError, DataWarning
from tirgn_eqx.models import Model
from tirgn_eqx.runtime.meshes import MeshShape, make_mesh, on
from tirgn_eqx.runtime.processes import is_first
from tirgn_eqx.tracking.logger import NoLogger, TrainingLogger
from tirgn_eqx.train.trainer import Record, Run


@beartype
def train_tirgn(
    data_path: str | Path | TemporalGraph,
    config: TrainingConfig,
    model_dir: str | Path = "models/tkg",
    max_events: int = 0,
    num_days: int | None = None,
    embedding_dim: int | None = None,
    num_layers: int | None = None,
    *,
    on_record: Callable[[Record], None] | None = None,
    run_name: str | None = None,
    resume: bool = False,
    force: bool = False,
    stop: Callable[[], bool] | None = None,
    structure: str | Path | None = None,
    evidence: str | Path | None = None,
    start: Model | None = None,
    mesh: MeshShape | None = None,
) -> dict[str, Any]:
    """Train the model that `config` describes on train, select on valid, and evaluate the best one on test.

    **Main arguments:**

    - `data_path`: what to train on: a path in any form that `load_graph` reads, or a graph that is loaded already.
    - `config`: all settings.
    - `model_dir`: folder of `tirgn_best`, `tirgn_epoch_{N}` and `tirgn_trained` (`.npz` and `.json`).
    - `max_events`, `num_days`: of an event table, how much of it is read, see `load_graph` (all events of 30 days,
      unless given). A graph is taken as it is.
    - `embedding_dim`, `num_layers`: instead of what `config` says, which is 200 and 2 unless it was changed.

    **Other arguments:** `on_record`: called with a dict at every event (`start`, `resume`, `compile`, `step`, `epoch`,
    `validation`, `checkpoint`, `bad_step`, `early_stopping`, `end`); `run_name`: in the logs; `resume`: go on with the
    training in `model_dir`, which then ends as it would have without the break (ids in another order are matched by
    name); `force`: resume it with other data or
    settings too, as far as the arrays fit; `stop`: asked after every step, and True
    saves the state and ends the training; `structure`, `evidence`: with a `MixtureTrainingConfig`, checkpoints to use
    instead of training these parts; `start`: a model of this vocabulary whose weights it begins with (a gate is fitted
    anew); `mesh`: the devices to split it over (one, unless given). With several processes, all call this; the first
    one writes to `model_dir`, which all must see, and calls `on_record`.

    **Returns:** `status` ("complete", or "interrupted" with the figures known so far), `epochs_trained` (whole ones),
    `best_mrr`, `best_epoch`, `total_time` (seconds), `early_stopped`, `model_type`, `checkpoint`, `parameters`,
    `given_up` (settings changed because memory ran out), `bad_steps` (passed over), and the `validation` and
    `test` evaluation of the best checkpoint.

    **Raises:** DataError when data cannot be read, or nothing can be trained on; ConfigError for an impossible
    setting; CheckpointError when a checkpoint cannot be written, there is none of this training to resume, or another
    one is at work in `model_dir`; DivergedError after too many steps without a finite loss or gradient.
    """
    sizes = {"embedding_dim": embedding_dim, "num_layers": num_layers}
    config = config.replace(**{name: size for name, size in sizes.items() if size is not None})
    graph = _loaded(data_path, max_events, num_days)
    options: dict[str, Any] = {"model_dir": model_dir, "on_record": on_record, "run_name": run_name}
    options |= {"resume": resume, "force": force, "stop": stop, "start": start}
    if mesh is not None and not isinstance(config, RecurrentTrainingConfig):
        raise ConfigError("--mesh: evidence is trained on one device; leave out --mesh, or --history evidence")
    if isinstance(config, MixtureTrainingConfig):
        from tirgn_eqx.train.staged import train_staged  # which trains its parts through this module

        return train_staged(graph, config, structure=structure, evidence=evidence, **options)
    for name, given in (("structure", structure), ("evidence", evidence)):
        if given is not None:
            raise ConfigError(f"--{name} {given}: a part of a model with history = evidence, not of {config.family}")
    assert isinstance(config, ModelTrainingConfig)
    return train_alone(graph, config, mesh=mesh, **options)


def _loaded(data_path: str | Path | TemporalGraph, max_events: int, num_days: int | None) -> TemporalGraph:
    """The graph to train on. A DataWarning tells of a selection that a graph in memory does not take."""
    if not isinstance(data_path, TemporalGraph):
        return load_graph(data_path, max_events=max_events, num_days=num_days)
    for name, value in (("max_events", max_events), ("num_days", num_days)):
        if value:
            message = f"{data_path.name}: {name} = {value} is ignored: the graph is loaded already; give its path"
            warnings.warn(message, DataWarning, stacklevel=4)
    return data_path


def train_alone(
    graph: TemporalGraph,
    config: ModelTrainingConfig,
    *,
    model_dir: str | Path,
    on_record: Callable[[Record], None] | None,
    run_name: str | None,
    resume: bool,
    stop: Callable[[], bool] | None,
    force: bool = False,
    start: Model | None = None,
    mesh: MeshShape | None = None,
) -> dict[str, Any]:
    """`train_tirgn` of one model by itself."""
    silent = lambda record: None
    emit, stop = on_record if on_record and is_first() else silent, stop or (lambda: False)
    devices = None if mesh is None else make_mesh(mesh)
    with on(devices), working_alone(Path(model_dir)) if is_first() else nullcontext():
        if resume:
            # Weights that are half trained go on with the ids and the clock they know, by force also on other data.
            graph = as_begun(graph, Path(model_dir), force=force)
        run = Run(graph, config, Path(model_dir), emit, start, devices)
        if resume:
            run.resume(force)
        step = run.global_step if resume else None
        options: dict[str, Any] = {"run_name": run_name, "config": run.config.to_dict(), "resume_step": step}
        with TrainingLogger(config.logdir, **options) if is_first() else NoLogger() as logger:
            run.logger = logger
            if not resume:
                logger.log_metrics({"system/total_params": run.parameters}, 0)
            result = run.train(stop)
    emit({"event": "end"} | result)
    return result
