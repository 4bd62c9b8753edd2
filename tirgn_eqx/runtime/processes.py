"""Several processes that train one model: connecting them, deciding together, and ending together.

JAX connects them (`jax.distributed`) and moves the arrays. This module adds a monitor that names a lost process and
ends all others within seconds, whatever the backend does; and decisions, such as to stop, that all processes take after
the same step.
"""

import contextlib
import functools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

import jax
import numpy as np

from tirgn_eqx.errors import ConfigError, shown

# Seconds without a heartbeat after which JAX ends the other processes; `PeerMonitor` sees a broken connection at once.
HEARTBEAT_SECONDS = 30
_BYE = b"bye"


def join(coordinator: str, num_processes: int | None = None, process_id: int | None = None) -> None:
    """Connect to the other processes of a training, before anything else of JAX is used.

    **Arguments:** `coordinator`: host:port where process 0 listens, or `auto` to take all three from the environment of
    SLURM, Open MPI or a cloud; `num_processes`; `process_id`: of this process.

    **Raises:** ConfigError when the values are invalid, or the others cannot be reached.
    """
    if coordinator == "auto":
        if num_processes is not None or process_id is not None:
            raise ConfigError("--coordinator auto: takes the number of processes from the scheduler; leave it out")
    else:
        host, colon, port = coordinator.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16 - 1):
            raise ConfigError(
                f"--coordinator {shown(coordinator)}: write HOST:PORT of process 0, like node1:4321, or auto"
            )
        if num_processes is None or process_id is None:
            raise ConfigError(f"--coordinator {shown(coordinator)}: give --num-processes and --process-id as well")
        if not 0 <= process_id < num_processes:
            raise ConfigError(f"--process-id {process_id}: must be one of 0 to {num_processes - 1}")
    try:
        jax.distributed.initialize(
            None if coordinator == "auto" else coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"--coordinator {shown(coordinator)}: the processes did not come together ({first.rstrip('.')}); start all "
            "of them, each with its own --process-id, and see that the port can be reached"
        ) from error


def count() -> int:
    """How many processes train together."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this is process 0, which writes files and messages."""
    return jax.process_index() == 0


class PeerMonitor:
    """Detects a lost process; a context manager around everything that the processes do together.

    Every process holds a connection to process 0. The system closes it when a process ends, however that happens, and
    process 0 then tells the others. TCP keepalive probes find a machine that is cut off.

    **Arguments:** `on_lost`: called in a thread with the number of the lost process; it should end this process, whose
    other threads may wait in a collective forever.
    """

    def __init__(self, on_lost: Callable[[int], None]):
        self._on_lost, self._ending, self._told = on_lost, threading.Event(), threading.Lock()
        self._peers: dict[int, socket.socket] = {}

    def __enter__(self) -> "PeerMonitor":
        if count() == 1:
            return self
        from jax.experimental import multihost_utils

        server = socket.create_server(("", 0)) if is_first() else None
        port = 0 if server is None else server.getsockname()[1]
        # The system chooses the port, so process 0 announces it: 256 bytes of its host's name, then the port.
        name = socket.gethostname().encode()[:255] if is_first() else b""
        said = np.frombuffer(name.ljust(256, b"\0"), np.uint8).astype(np.int32)
        found = np.asarray(multihost_utils.broadcast_one_to_all(np.append(said, port).astype(np.int32)))
        if server is not None:
            for _ in range(count() - 1):
                peer, _ = server.accept()
                # Connections arrive in any order, so each begins with the number of its process, in 4 bytes.
                self._peers[int.from_bytes(_exactly(peer, 4), "big")] = peer
            server.close()
        else:
            # The coordinator's address was just reached; the host's own name need not resolve elsewhere.
            host = _coordinator_host() or bytes(found[:256].astype(np.uint8)).rstrip(b"\0").decode()
            peer = socket.create_connection((host, int(found[256])), timeout=60)
            # The monitor reads from this connection until the training ends, however long that takes.
            peer.settimeout(None)
            peer.sendall(jax.process_index().to_bytes(4, "big"))
            self._peers[0] = peer
        for number, peer in self._peers.items():
            _probe(peer)
            # Daemon threads, because they wait in `recv` and must not keep the process alive.
            threading.Thread(target=self._wait, args=(number, peer), daemon=True, name="tirgn-peer-monitor").start()
        return self

    def _wait(self, number: int, peer: socket.socket) -> None:
        """Wait until a process says goodbye, or its connection breaks."""
        lost = number
        with contextlib.suppress(OSError):
            word = peer.recv(64)
            if word == _BYE:
                return
            if word:
                lost = int(word)
        # Report only the first loss: when a process ends because of it, its own connections break as well.
        if self._ending.is_set() or not self._told.acquire(blocking=False):
            return
        for other, connection in self._peers.items():
            # Only process 0 is connected to all others.
            if is_first() and other != lost:
                with contextlib.suppress(OSError):
                    connection.sendall(str(lost).encode())
        self._on_lost(lost)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if not self._peers:
            return
        # SystemExit and KeyboardInterrupt are deliberate: after a goodbye, no other process takes this one for lost.
        if kind is None or not issubclass(kind, Exception):
            self._ending.set()
            for peer in self._peers.values():
                with contextlib.suppress(OSError):
                    peer.sendall(_BYE)
        else:
            # The error here may follow from a lost process: give the message about it time to arrive.
            time.sleep(3)
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.close()


def _coordinator_host() -> str | None:
    """The host of process 0, if JAX knows it."""
    with contextlib.suppress(ImportError, AttributeError):
        # This module of JAX is private and may change; then the host name that process 0 announced is used.
        from jax._src import distributed

        address = distributed.global_state.coordinator_address
        return address.rpartition(":")[0] if address else None
    return None


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def _probe(peer: socket.socket) -> None:
    """Let TCP keepalive detect within half a minute that the other machine is gone."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # 10 s of silence, then 4 probes 5 s apart, make 30 s. Not every system has these options.
    for name, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


class Agreement:
    """Decisions, such as to stop or to save, that all processes take after the same step when one was asked to.

    Each process sends its flags after every step, and all read them `LATER` steps later, when they have arrived, so
    that no process waits. With one process, its flags count at once.
    """

    LATER = 3

    def __init__(self, mesh: jax.sharding.Mesh | None):
        self._mesh = mesh if count() > 1 else None
        self._waiting: deque[jax.Array] = deque()

    def __call__(self, *flags: bool, now: bool = False) -> tuple[bool, ...]:
        """Which flags any process set `LATER` steps ago; `now`: wait for those of this step."""
        if self._mesh is None:
            return flags
        self._waiting.append(self._send(flags))
        if not now and len(self._waiting) <= self.LATER:
            return (False,) * len(flags)
        result = np.zeros(len(flags), bool)
        # At most LATER sums stay under way.
        while self._waiting and (now or len(self._waiting) > self.LATER):
            result |= np.asarray(self._waiting.popleft()) > 0
        return tuple(result.tolist())

    def _send(self, flags: tuple[bool, ...]) -> jax.Array:
        mesh = self._mesh
        assert mesh is not None
        # One row of flags for each device: this process fills the rows of its own devices, and the sum covers all.
        spec = jax.sharding.PartitionSpec(mesh.axis_names)
        mine = np.asarray([flags], np.int32)
        shape = (mesh.size, len(flags))
        sent = jax.make_array_from_callback(shape, jax.sharding.NamedSharding(mesh, spec), lambda index: mine)
        return _sum(mesh)(sent)


# Cached for each mesh, because every new lambda would be compiled again.
@functools.cache
def _sum(mesh: jax.sharding.Mesh) -> Callable[[jax.Array], jax.Array]:
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.jit(lambda flags: flags.sum(0), out_shardings=whole)


def largest_of_all(values: np.ndarray) -> np.ndarray:
    """The elementwise maximum over all processes."""
    if count() == 1:
        return values
    from jax.experimental import multihost_utils

    # Without 64-bit types, JAX would truncate the numbers.
    # So send each as two halves of 31 bits.
    halves = np.stack([values >> 31, values & (2**31 - 1)]).astype(np.int32)
    # [process, half, value]
    every = np.asarray(multihost_utils.process_allgather(halves), np.int64)
    return ((every[:, 0] << 31) | every[:, 1]).max(0)


def barrier(name: str) -> None:
    """Wait until all processes have called this."""
    if count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
