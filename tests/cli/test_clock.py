"""Every command that takes a checkpoint and data counts time as the checkpoint's training did."""

import dataclasses
import json
import shutil
from typing import Any

import pytest

from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.data import load_graph
from tirgn_eqx.evaluate.protocol import evaluate_model
from tirgn_eqx.forecast import Forecaster

ORIGIN = -30  # of the checkpoint's clock; that of its data is 0


@pytest.fixture(scope="module")
def shifted(trained, tmp_path_factory):
    """The folder of a training whose checkpoint says that its clock began earlier than its data do."""
    folder = tmp_path_factory.mktemp("shifted") / "models"
    shutil.copytree(trained[0] / "models", folder)
    found = load_checkpoint(folder / "tirgn_best.npz")
    data = found.metadata["data"]
    assert data["clock_origin"] == 0 and (data["first_time"], data["last_time"]) == (0, 9)
    changed = found.metadata | {"data": data | {"clock_origin": ORIGIN}}
    save_checkpoint(folder / "tirgn_best.npz", found.arrays, changed)
    return folder


@pytest.fixture(scope="module")
def graph(trained):
    return load_graph(trained[0] / "tiny")


def expected(folder, graph, origin):
    """The test figures of the checkpoint, with a clock from `origin`."""
    model, config, _ = load_model(folder / "tirgn_best.npz")
    window: dict[str, Any] = config.window()
    return evaluate_model(model, dataclasses.replace(graph, clock_origin=origin), split="test", **window).entity


@pytest.mark.ci
def test_every_command_gives_the_figures_of_the_checkpoints_clock(run, trained, shifted, graph, tmp_path):
    checkpoint, right = shifted / "tirgn_best.npz", expected(shifted, graph, ORIGIN)
    assert right["nll"] != pytest.approx(expected(shifted, graph, 0)["nll"], rel=1e-3)

    def document(*words):
        result = run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    assert document("eval", checkpoint)["entity"]["nll"] == pytest.approx(right["nll"], rel=1e-5)
    # Two checkpoints, each with its own clock on the same data.
    sides = document("compare", checkpoint, trained[0] / "models" / "tirgn_best.npz")["models"]
    plain = expected(trained[0] / "models", graph, 0)
    assert [side["entity"]["nll"] for side in sides] == pytest.approx([right["nll"], plain["nll"]], rel=1e-5)
    told = document("report", shifted, "--out", tmp_path / "page.html", "--samples", 1)
    assert told["runs"][0]["entity"]["nll"] == pytest.approx(right["nll"], rel=1e-5)
    model, config, _ = load_model(checkpoint)
    ours = Forecaster(model, config, dataclasses.replace(graph, clock_origin=ORIGIN)).forecast("1", "0")
    asked = document("predict", checkpoint, "--subject", "1", "--relation", "0")
    assert [c["probability"] for c in asked["candidates"]] == pytest.approx([c.probability for c in ours.candidates])


@pytest.mark.ci
@pytest.mark.parametrize("key", ["clock_origin", "time_interval", "first_time", "last_time"])
@pytest.mark.parametrize("value", ["5", 0.5, True, None, [1], 2**60, -(2**60), 10**400])
def test_a_clock_that_cannot_be_is_refused_in_one_line(run, shifted, tmp_path, key, value):
    found = load_checkpoint(shifted / "tirgn_best.npz")
    metadata = found.metadata | {"data": found.metadata["data"] | {key: value}}
    path = save_checkpoint(tmp_path / "hostile", found.arrays, metadata)
    result = run("eval", path)
    assert result.exit_code == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {path}: says nothing usable about its data ({key} = ") and "train again" in line
