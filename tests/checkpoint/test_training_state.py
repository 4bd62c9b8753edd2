"""A training that goes on with the same facts in another order of ids, with other names, or with newer data."""

import dataclasses

import numpy as np
import pytest

from tests.helpers import renumbered
from tirgn_eqx import TiRGNTrainingConfig, preset, simulate, train_tirgn
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.metadata import DataDescription, TrainingIdentity
from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.checkpoint.training_state import STATE_FILE, _differences, align_with_state
from tirgn_eqx.config import MixtureTrainingConfig
from tirgn_eqx.data.graph import from_facts
from tirgn_eqx.errors import CheckpointError, DataWarning

SMALL = {"embedding_dim": 4, "precision": "f32", "max_buckets": 1, "epochs": 2, "eval_interval": 1}
SETTINGS = {
    "tirgn": SMALL | {"history_len": 2, "num_layers": 1, "static_blocks": 2, "conv_channels": 2, "batch_size": 0},
    "evidence": SMALL | {"evidence_heads": 2, "evidence_hidden": 3},
}
ENTITIES, RELATIONS = [5, 3, 9, 0, 1, 2, 8, 7, 6, 4], [2, 0, 1]


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=10, num_relations=3, num_days=12, facts_per_day=8, seed=2, static_graph=True).graph


@pytest.fixture(scope="module")
def turned(graph):
    """The same facts by name, with ids in another order."""
    return renumbered(graph, ENTITIES, RELATIONS)


def configured(folder, kind="tirgn", **changes):
    base = preset("evidence") if kind == "evidence" else TiRGNTrainingConfig()
    return base.replace(**SETTINGS[kind] | changes, logdir=str(folder / "logs"))


def broken_off(graph, folder, kind="tirgn", steps=3, **options):
    asked = iter(range(10**6))

    def stop():
        return next(asked) + 1 >= steps

    result = train_tirgn(graph, configured(folder, kind), model_dir=folder, stop=stop, **options)
    assert result["status"] == "interrupted"


@pytest.fixture(scope="module")
def broken(graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    broken_off(graph, folder)
    return folder


def copy_of(folder, tmp_path):
    for path in folder.glob(f"{STATE_FILE}.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.ci
@pytest.mark.parametrize("kind", list(SETTINGS))
def test_the_same_facts_in_another_order_of_ids_go_on_to_the_same_bits(graph, turned, tmp_path, kind):
    whole, again = tmp_path / "whole", tmp_path / "again"
    train_tirgn(graph, configured(whole, kind), model_dir=whole)
    broken_off(graph, again, kind)
    train_tirgn(turned, configured(again, kind), model_dir=again, resume=True)
    one, other = (load_checkpoint(folder / "tirgn_trained.npz") for folder in (whole, again))
    assert one.metadata["entities"] == other.metadata["entities"] == list(graph.entity_names)
    assert all(one.arrays[name].tobytes() == other.arrays[name].tobytes() for name in one.arrays)


@pytest.mark.ci
def test_other_names_for_the_same_ids_are_refused(graph, broken, tmp_path):
    """The checksum does not see names: weights of one entity would go on as those of another."""
    other = dataclasses.replace(graph, entity_names=(*graph.entity_names[:-1], "NOBODY"))
    assert other.checksum == graph.checksum
    options = {"model_dir": copy_of(broken, tmp_path), "resume": True}
    with pytest.raises(CheckpointError, match="its entities have other names than those of sim; give data"):
        train_tirgn(other, configured(tmp_path), **options)
    swapped = (graph.entity_names[1], graph.entity_names[0], *graph.entity_names[2:])
    with pytest.raises(CheckpointError, match="was trained on 'sim'"):
        train_tirgn(dataclasses.replace(graph, entity_names=swapped), configured(tmp_path), **options)


@pytest.mark.ci
def test_a_state_without_names_takes_no_other_order(graph, turned, broken, tmp_path):
    """As earlier versions wrote it."""
    state = load_checkpoint(copy_of(broken, tmp_path) / STATE_FILE)
    older = {key: value for key, value in state.metadata.items() if key not in ("entities", "relations")}
    save_checkpoint(tmp_path / STATE_FILE, state.arrays, older)
    with pytest.raises(CheckpointError, match="was trained on 'sim'"):
        train_tirgn(turned, configured(tmp_path), model_dir=tmp_path, resume=True)
    assert train_tirgn(graph, configured(tmp_path), model_dir=tmp_path, resume=True)["status"] == "complete"


@pytest.mark.ci
def test_newer_data_by_force_keep_every_name_with_its_weights(graph, broken, tmp_path):
    """Of the newer data one entity is unknown, and their ids stand the other way round."""
    names = (*graph.entity_names[::-1], "NOBODY")
    turned = renumbered(graph, range(9, -1, -1), range(3))
    columns = (turned.subject, turned.relation, turned.object, turned.times[turned.snapshot])
    rows = np.concatenate([np.stack(columns, 1), [[10, 0, 3, int(turned.times[2])]]])
    split = np.append(graph.split, 0)
    named = {"entity_names": names, "relation_names": graph.relation_names, "static": turned.static}
    newer = from_facts("newer", rows, split, 11, 3, time_interval=graph.time_interval, **named)
    folder = copy_of(broken, tmp_path)
    with pytest.warns(DataWarning, match="1 of 99 facts .* are left out .1 entity, such as 'NOBODY'"):
        paired = align_with_state(newer, folder, force=True)
    assert paired.checksum == graph.checksum and paired.entity_names == graph.entity_names
    with pytest.raises(CheckpointError, match="was trained on 'sim'"):
        train_tirgn(newer, configured(tmp_path), model_dir=folder, resume=True)
    with pytest.warns(DataWarning, match="NOBODY"):
        result = train_tirgn(newer, configured(tmp_path), model_dir=folder, resume=True, force=True)
    assert load_model(result["checkpoint"])[2].entities == list(graph.entity_names)


@pytest.mark.ci
def test_a_given_part_is_matched_by_name_or_refused(graph, turned, tmp_path):
    """`--structure` and `--evidence` of other orders of ids."""
    paths = {}
    made = (("structure", "tirgn", turned), ("evidence", "evidence", turned), ("other", "evidence", graph))
    for name, kind, data in made:
        config = configured(tmp_path / name, kind, epochs=1)
        paths[name] = train_tirgn(data, config, model_dir=tmp_path / name)["checkpoint"]
    config = MixtureTrainingConfig.of(configured(tmp_path / "both", epochs=1))
    both = {"structure": paths["structure"], "evidence": paths["evidence"]}
    result = train_tirgn(graph, config, model_dir=tmp_path / "both", **both)
    metadata = load_model(result["checkpoint"])[2]
    assert metadata.entities == list(turned.entity_names) and metadata.data.sha256 == turned.checksum
    again = train_tirgn(turned, config, model_dir=tmp_path / "again", **both)
    assert again["test"] == result["test"]
    with pytest.raises(CheckpointError, match="in another order than the rest of this training; leave --evidence out"):
        train_tirgn(graph, config, model_dir=tmp_path / "mixed", **both | {"evidence": paths["other"]})
    renamed = dataclasses.replace(turned, entity_names=(*turned.entity_names[:-1], "NOBODY"))
    with pytest.raises(CheckpointError, match="has other names for the ids of sim; leave --evidence out"):
        train_tirgn(renamed, config, model_dir=tmp_path / "renamed", **both)


def test_only_a_run_of_constant_steps_can_be_made_longer():
    def whole(config):
        return preset("gdelt").replace(**config).to_dict()

    data = DataDescription(sha256="0", name="x")

    def described(**config):
        return TrainingIdentity(config=whole(config), data=data, num_entities=2, num_relations=1)

    settings = {"epochs": 3, "lr_schedule": "constant", "patience": 2}

    def same(was, now):
        return list(_differences(described(**was), described(**now)))

    assert same(settings, settings | {"epochs": 9, "patience": 5}) == []
    falling = settings | {"lr_schedule": "cosine"}
    (told,) = same(falling, falling | {"epochs": 9, "patience": 5})
    assert told.startswith("was trained with epochs = 3, not 9")
