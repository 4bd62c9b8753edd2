"""Several devices and processes compute what one device computes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.meshes import MeshShape, parse_mesh
from tirgn_eqx.runtime.processes import join

CI = pytest.mark.ci


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "JAX_PLATFORMS": "cpu", **more}


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


SMALL = [
    *("--data-path", "sim:num_days=12,num_entities=39"),
    *("--precision", "f32", "--remat", "none", "--epochs", "3", "--save-every", "3", "--patience", "9"),
    *(f"--set={name}={value}" for name, value in {"embedding_dim": 8, "history_len": 2, "num_layers": 1}.items()),
    *("--set=conv_channels=3", "--set=max_buckets=1", "--set=batch_size=60"),
]
TRAIN = [sys.executable, "-m", "tirgn_cli", "train", *SMALL]


def places(folder: Path) -> list[str]:
    return ["--model-dir", str(folder / "models"), "--logdir", str(folder / "logs")]


class Team:
    """`tirgn train` in two processes of two devices each; what they say goes to files."""

    def __init__(self, folder: Path, *more: str):
        folder.mkdir(exist_ok=True)
        command = [*TRAIN, *places(folder), "--coordinator", free_address(), "--num-processes", "2", *more]
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
        self.paths = [folder / f"process{number}.txt" for number in range(2)]
        self.processes = []
        for number, path in enumerate(self.paths):
            with path.open("wb") as file:
                own = [*command, "--process-id", str(number)]
                options = {"stdout": file, "stderr": file, "env": environment(XLA_FLAGS=flags)}
                self.processes.append(subprocess.Popen(own, **options))

    def said(self, number: int) -> str:
        return self.paths[number].read_text(errors="replace")

    def wait(self) -> list[int]:
        return [process.wait(900) for process in self.processes]

    def until(self, condition, seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.processes[0].poll() is None and time.monotonic() < end, self.said(0)
            time.sleep(0.05)


@pytest.fixture
def team():
    teams: list[Team] = []
    yield lambda *arguments: teams.append(Team(*arguments)) or teams[-1]
    for process in (process for one in teams for process in one.processes):
        process.kill()
        process.wait()


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files if name != "__metadata__"}


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_lost_process_ends_the_other_and_all_go_on_from_the_state(team, tmp_path, killed):
    whole = team(tmp_path / "whole", "--mesh", "data=2,entity=2")
    assert whole.wait() == [0, 0], whole.said(0)
    folder, state = tmp_path / "broken", tmp_path / "broken" / "models" / "tirgn_state.npz"
    broken = team(folder, "--mesh", "data=2,entity=2")
    broken.until(lambda: state.exists() and "epoch 1/3" in broken.said(0))
    begin = time.monotonic()
    broken.processes[killed].kill()
    assert broken.processes[1 - killed].wait(60) == 1, broken.said(1 - killed)
    assert time.monotonic() - begin < 60
    said = broken.said(1 - killed)
    assert f"process {killed} was lost; start all of them again with --resume" in said and "Traceback" not in said
    again = team(folder, "--mesh", "data=2,entity=2", "--resume")
    assert again.wait() == [0, 0], again.said(0)
    for name in ("tirgn_best.npz", "tirgn_trained.npz"):
        one, other = (arrays(tmp_path / run / "models" / name) for run in ("whole", "broken"))
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=f"{name} {key}")


@pytest.mark.slow
def test_asked_to_stop_all_of_them_save_and_one_device_goes_on(team, tmp_path):
    folder = tmp_path / "stopped"
    running = team(folder, "--mesh", "data=2,entity=2")
    running.until(lambda: "epoch 1/3" in running.said(0))
    running.processes[1].send_signal(signal.SIGTERM)
    assert running.wait() == [143, 143], running.said(0)
    assert "with --resume goes on from there" in running.said(0)
    found = []
    for command in ([*TRAIN, *places(folder), "--resume"], [*TRAIN, *places(tmp_path / "alone")]):
        result = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment(), timeout=900)
        assert result.returncode == 0, result.stderr
        found.append(json.loads(result.stdout)["test"]["entity"])
    # The first steps were summed in another order: equal up to what Adam makes of rounding.
    assert found[0]["nll"] == pytest.approx(found[1]["nll"], rel=1e-2)
    assert found[0]["mrr"] == pytest.approx(found[1]["mrr"], abs=0.02)
    assert arrays(folder / "models" / "tirgn_best.npz")["encoder.entity_embedding"].shape == (39, 8)


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("node1", 2, 0), "write HOST:PORT"),
        (("node1:0", 2, 0), "write HOST:PORT"),
        (("node1:4000", 2, None), "give --num-processes and --process-id"),
        (("node1:4000", 2, 2), "must be one of 0 to 1"),
        (("auto", 2, None), "leave it out"),
    ],
)
def test_processes_that_cannot_come_together_are_said(arguments, words):
    with pytest.raises(ConfigError, match=words):
        join(*arguments)
