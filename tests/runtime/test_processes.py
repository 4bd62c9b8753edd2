"""Several processes that train together: connecting, deciding, and what happens when one of them is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.runtime.process_helpers import environment, free_address
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime import processes
from tirgn_eqx.runtime.processes import Agreement, PeerMonitor, join

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


def test_one_process_decides_alone():
    agreement = Agreement(None)
    assert agreement(True, False) == (True, False) and agreement(False, now=True) == (False,)
    assert (processes.count(), processes.is_first()) == (1, True)
    processes.barrier("alone")
    values = np.array([3, 2**40])
    assert processes.largest_of_all(values) is values


def test_flags_count_after_as_many_steps_as_they_take_to_arrive(monkeypatch):
    """On a mesh, each device of which stands for a process here."""
    monkeypatch.setattr(processes, "count", lambda: 2)
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), ("data", "entity"))
    agreement = Agreement(mesh)
    steps = [(False, True), *[(False, False)] * 5]
    found = [agreement(*flags) for flags in steps]
    assert found == [(False, False)] * 3 + [(False, True)] + [(False, False)] * 2
    # Asked to wait, it tells what was set in any of the steps that were under way.
    agreement(True, False)
    assert agreement(False, False, now=True) == (True, False)
    assert agreement(False, False, now=True) == (False, False)


def test_the_largest_of_all_is_exact_beyond_32_bits(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    other = np.array([2**31 - 1, 7, 0])
    gathered = []

    def gather(halves):
        """What two processes send, this one and one that has `other`."""
        gathered.append(halves.dtype)
        return np.stack([halves, np.stack([other >> 31, other & (2**31 - 1)]).astype(np.int32)])

    monkeypatch.setattr("jax.experimental.multihost_utils.process_allgather", gather)
    found = processes.largest_of_all(np.array([2**31, 2**40 + 5, 0]))
    assert found.tolist() == [2**31, 2**40 + 5, 0] and gathered == [np.int32]


class Watched:
    """A monitor of process 1 in process 0, and the other ends of its connections."""

    def __init__(self, number=2):
        self.lost, self.told = [], threading.Event()
        self.monitor = PeerMonitor(self._on_lost)
        pairs = {other: socket.socketpair() for other in range(1, number + 1)}
        self.monitor._peers = {other: pair[0] for other, pair in pairs.items()}
        self.peers = {other: pair[1] for other, pair in pairs.items()}
        self.threads = [threading.Thread(target=self.monitor._wait, args=one) for one in self.monitor._peers.items()]
        for thread in self.threads:
            thread.start()

    def _on_lost(self, number):
        self.lost.append(number)
        self.told.set()


@pytest.fixture
def watched():
    found = Watched()
    yield found
    for peer in found.peers.values():
        peer.close()
    for thread in found.threads:
        thread.join(5)
    found.monitor.__exit__(SystemExit, None, None)


def test_a_broken_connection_is_a_lost_process_and_the_others_are_told(watched):
    watched.peers[1].close()
    assert watched.told.wait(5) and watched.lost == [1]
    watched.peers[2].settimeout(5)
    assert watched.peers[2].recv(64) == b"1"
    # When the other ends because of it, its connection breaks as well.
    watched.peers[2].close()
    for thread in watched.threads:
        thread.join(5)
    assert watched.lost == [1]


def test_who_says_goodbye_is_not_lost(watched):
    for peer in watched.peers.values():
        peer.sendall(b"bye")
        peer.close()
    for thread in watched.threads:
        thread.join(5)
    assert not watched.lost


def test_process_0_says_who_is_lost(watched, monkeypatch):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    watched.peers[1].sendall(b"2")
    assert watched.told.wait(5) and watched.lost == [2]


@pytest.mark.parametrize(("kind", "word"), [(None, b"bye"), (KeyboardInterrupt, b"bye"), (ValueError, b"")])
def test_goodbye_is_said_unless_an_error_ends_the_process(watched, monkeypatch, kind, word):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(processes, "is_first", lambda: False)
    for thread, peer in zip(watched.threads, watched.peers.values()):
        peer.sendall(b"bye")
        thread.join(5)
    watched.monitor.__exit__(kind, None, None)
    assert [peer.recv(64) for peer in watched.peers.values()] == [word, word]


def test_a_number_may_arrive_in_pieces():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"\0\0")
        threading.Timer(0.05, lambda: there.sendall(b"\1\2")).start()
        assert processes._exactly(here, 4) == b"\0\0\1\2"
        there.sendall(b"\0")
        there.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError):
            processes._exactly(here, 4)


def test_one_process_needs_no_monitor():
    with PeerMonitor(lambda number: pytest.fail("nobody can be lost")) as monitor:
        assert not monitor._peers


def test_joining_tells_jax_what_was_given(monkeypatch):
    given = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *values, **options: given.append((values, options)))
    join("node1:4000", 2, 1)
    join("auto")
    timeout = {"heartbeat_timeout_seconds": processes.HEARTBEAT_SECONDS}
    assert given == [(("node1:4000", 2, 1), timeout), ((None, None, None), timeout)]

    def fails(*values, **options):
        raise RuntimeError("deadline exceeded.\nmore")

    monkeypatch.setattr(jax.distributed, "initialize", fails)
    with pytest.raises(ConfigError, match=r"did not come together \(deadline exceeded\); start all of them"):
        join("node1:4000", 2, 1)
