"""Training, from a graph to the best checkpoint."""

import warnings
from pathlib import Path

from beartype import beartype

from tirgn_eqx.config import EventTrainingConfig, MixtureTrainingConfig, ModelTrainingConfig, TrainingConfig
from tirgn_eqx.config.event_options import check_event_options
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.load import load_graph
from tirgn_eqx.errors import ConfigError, DataWarning
from tirgn_eqx.models import Model
from tirgn_eqx.runtime.meshes import MeshShape
from tirgn_eqx.train.event_training import train_events
from tirgn_eqx.train.events import OnRecord, Stop, TrainingResult, ignore, never
from tirgn_eqx.train.families import training_family
from tirgn_eqx.train.refit import train_and_refit
from tirgn_eqx.train.single import RunOptions, train_single
from tirgn_eqx.train.staged import train_staged


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
    on_record: OnRecord | None = None,
    run_name: str | None = None,
    resume: bool = False,
    force: bool = False,
    stop: Stop | None = None,
    structure: str | Path | None = None,
    evidence: str | Path | None = None,
    base: str | Path | None = None,
    start: Model | None = None,
    mesh: MeshShape | None = None,
    refit: bool = False,
) -> TrainingResult:
    """Train the model that `config` describes on train, select on valid, and evaluate the best one on test.

    **Main arguments:**

    - `data_path`: a path in any form that `load_graph` reads, or a graph that is loaded already.
    - `config`: all settings.
    - `model_dir`: folder of `tirgn_best`, `tirgn_epoch_{N}` and `tirgn_trained` (`.npz` and `.json`).
    - `max_events`, `num_days`: how much of an event table is read, see `load_graph` (by default all events of 30 days).
      They do not apply to a loaded graph.
    - `embedding_dim`, `num_layers`: replace the settings of these names.

    **Other arguments:**

    - `on_record`: called with a dataclass of `tirgn_eqx.train.events` at every event.
    - `run_name`: the name in the logs.
    - `resume`: continue the training in `model_dir`, which then ends as it would have without the interruption (ids in
      another order are matched by name); `force`: also with other data or settings, as far as the arrays fit.
    - `stop`: called after every step; True saves the state and ends the training (that of an event model keeps none).
    - `structure`, `evidence`: of a mixture, checkpoints to use instead of training these parts.
    - `base`: of an event model, the checkpoint of a model that ranks, which becomes part of it.
    - `start`: a model of the same vocabulary whose weights it begins with (the gate of a mixture is fitted anew).
    - `mesh`: the devices to split it over, one by default. Where several processes train together, all call this; the
      first one writes to `model_dir`, which all must see, and calls `on_record`.

    - `refit`: train what was selected once more, on train and valid together, see `tirgn_eqx.train.refit`.

    **Returns:** a dict, see `TrainingResult`.

    **Raises:** DataError when data cannot be read, or nothing can be trained on; ConfigError for an impossible
    setting; CheckpointError when a checkpoint cannot be written, when `model_dir` holds no state of this training to
    resume, or another one is at work there; DivergedError after too many steps without finite loss or gradient.

    ```python
    result = train_tirgn("events.parquet", preset("gdelt"), model_dir="models/gdelt", num_days=30)
    print(result["test"]["entity"]["mrr"])
    ```
    """
    sizes = {"embedding_dim": embedding_dim, "num_layers": num_layers}
    config = config.replace(**{name: size for name, size in sizes.items() if size is not None})
    others = {"--mesh": mesh, "--resume": resume, "--force": force, "--refit": refit, "start": start is not None}
    check_event_options(config, model_dir, base, others | {"--structure": structure, "--evidence": evidence})
    graph = _load(data_path, max_events, num_days)
    options = RunOptions(Path(model_dir), on_record or ignore, run_name, resume, force, stop or never, start)
    if isinstance(config, EventTrainingConfig):
        return train_events(graph, config, options, base=base)
    assert isinstance(config, MixtureTrainingConfig | ModelTrainingConfig)
    if mesh is not None and not (isinstance(config, ModelTrainingConfig) and training_family(config).on_mesh):
        raise ConfigError("--mesh: evidence is trained on one device; leave out --mesh, or --history evidence")
    for name, given in (("structure", structure), ("evidence", evidence)):
        if given is not None and not isinstance(config, MixtureTrainingConfig):
            raise ConfigError(f"--{name} {given}: a part of a model with history = evidence, not of {config.family}")
    if refit and mesh is not None:
        raise ConfigError("--refit: trains on one device; leave out --mesh, or --refit")

    def train(options: RunOptions) -> TrainingResult:
        if isinstance(config, MixtureTrainingConfig):
            return train_staged(graph, config, options, structure=structure, evidence=evidence)
        return train_single(graph, config, options, mesh)

    return train_and_refit(graph, options, train) if refit else train(options)


def _load(data_path: str | Path | TemporalGraph, max_events: int, num_days: int | None) -> TemporalGraph:
    """The graph to train on. Warns when a loaded graph makes options ineffective."""
    if not isinstance(data_path, TemporalGraph):
        return load_graph(data_path, max_events=max_events, num_days=num_days)
    for name, value in (("max_events", max_events), ("num_days", num_days)):
        if value:
            message = f"{data_path.name}: {name} = {value} is ignored: the graph is loaded already; give its path"
            # Past `_load`, `train_tirgn` and beartype's wrapper of it, the warning names the caller's line.
            warnings.warn(message, DataWarning, stacklevel=4)
    return data_path
