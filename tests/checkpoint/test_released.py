"""The released model's weights, end to end: a folder of facts, import-torch, eval."""

import numpy as np
import pytest

from tests.golden_case import FOLDER, golden_graph
from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.checkpoint.released import import_torch, model_from_state_dict, read_state_dict
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data import load_graph
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.evaluate import evaluate_model

OVERRIDES = {"history_len": 3}


@pytest.fixture(params=["static", "plain"])
def released(request, tmp_path):
    """(state file, data folder, golden numbers): the golden facts written out as a data set."""
    with np.load(FOLDER / f"{request.param}.npz") as archive:
        numbers = dict(archive)
    state = tmp_path / "state.npz"
    np.savez(state, **{k.removeprefix("state/"): v for k, v in numbers.items() if k.startswith("state/")})
    folder = tmp_path / "golden"
    folder.mkdir()
    facts = numbers["all_facts"]
    step = facts[:, 3] // numbers["cfg/time_interval"]
    for name, rows in {"train": step <= 6, "valid": step == 7, "test": step == 8}.items():
        np.savetxt(folder / f"{name}.txt", facts[rows], fmt="%d", delimiter="\t")
    (folder / "stat.txt").write_text("17\t5\n")
    if numbers["cfg/use_static"]:
        np.savetxt(folder / "e-w-graph.txt", numbers["static_triples_local"], fmt="%d", delimiter="\t")
    return state, folder, numbers


def test_released_weights_evaluate_to_the_released_figures(released, tmp_path):
    state, folder, numbers = released
    graph = load_graph(folder)
    checkpoint = import_torch(state, graph, tmp_path / "released.npz", OVERRIDES)
    model, config, metadata = load_model(checkpoint)
    assert metadata.model_type == "tirgn" and config.embedding_dim == 8
    result = evaluate_model(model, graph, split="test", history_len=3, history_window=0).to_dict()
    for kind, short in (("entity", "ent"), ("relation", "rel")):
        raw, filtered = numbers[f"eval/mrr_{short}"]
        assert result[f"{kind}_raw"]["mrr"] == pytest.approx(raw, abs=1e-6)
        assert result[kind]["mrr"] == pytest.approx(filtered, abs=1e-6)
    assert result["entity"]["nll"] == pytest.approx(float(numbers["eval/loss_ent"][0]), abs=1e-5)


def break_state(state, tmp_path, change):
    tensors = read_state_dict(state)
    change(tensors)
    np.savez(tmp_path / "broken.npz", **tensors)
    return tmp_path / "broken.npz"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("emb_rel"), ("missing", "'emb_rel'")),
        (lambda t: t.update(surprise=np.zeros(3)), ("spare", "'surprise'")),
        (lambda t: t.update(dynamic_emb=np.zeros((16, 8))), ("'dynamic_emb'", "(16, 8)", "(17, 8)")),
        (lambda t: t.pop("rdecoder_re2.bn1.running_var"), ("missing", "'rdecoder_re2.bn1.running_var'")),
    ],
)
def test_a_missing_spare_or_misshapen_tensor_is_named(released, tmp_path, change, words):
    state, folder, _ = released
    broken = break_state(state, tmp_path, change)
    with pytest.raises(CheckpointError) as error:
        import_torch(broken, load_graph(folder), tmp_path / "out.npz", OVERRIDES)
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message
    assert not (tmp_path / "out.npz").exists()


def test_contradictory_settings_are_named(released, tmp_path):
    state, folder, _ = released
    with pytest.raises(CheckpointError, match="num-layers"):
        import_torch(state, load_graph(folder), tmp_path / "out.npz", OVERRIDES | {"num_layers": 4})


def test_unreadable_states(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_state_dict(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(CheckpointError, match="not a readable"):
        read_state_dict(tmp_path / "text.npz")
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "pickle.npz", a=objects)
    with pytest.raises(CheckpointError, match="not a readable"):
        read_state_dict(tmp_path / "pickle.npz")


def test_a_torch_file(released, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    state, _, _ = released
    tensors = {name: torch.as_tensor(value) for name, value in read_state_dict(state).items()}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "model.pt")
    for name, value in read_state_dict(tmp_path / "model.pt").items():
        np.testing.assert_array_equal(value, tensors[name].numpy())


def test_weights_keep_their_precision():
    with np.load(FOLDER / "plain.npz") as archive:
        numbers = dict(archive)
    state = {k.removeprefix("state/"): v for k, v in numbers.items() if k.startswith("state/")}
    config = TiRGNTrainingConfig(embedding_dim=8, history_len=3, num_layers=1, history_window=0)
    model = model_from_state_dict(state, golden_graph(numbers), config)
    np.testing.assert_array_equal(model.encoder.entity_embedding, state["dynamic_emb"])
