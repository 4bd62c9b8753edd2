"""Several devices and processes on the command line."""

import os
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tirgn_eqx.runtime.meshes import MeshShape


def several(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Connect this process to the others, where there are any."""
    if coordinator is not None:
        from tirgn_eqx.runtime.processes import join

        join(coordinator, num_processes, process_id)


def devices(mesh: str | None, coordinator: str | None) -> "MeshShape | None":
    """The shape that `--mesh` asks for; all devices where processes come together and nothing is said."""
    if mesh is None and coordinator is None:
        return None
    import jax

    from tirgn_eqx.errors import ConfigError
    from tirgn_eqx.runtime.meshes import parse_mesh

    shape = parse_mesh(mesh or "auto", jax.device_count())
    if jax.process_count() > 1 and shape.devices < jax.device_count():
        raise ConfigError(
            f"--mesh {shape}: {jax.process_count()} processes have {jax.device_count()} devices, and all of them must "
            "be used; give a mesh of as many, or start fewer processes"
        )
    return shape


def lost(process: int) -> NoReturn:
    """Say which process was lost, and end: another thread may wait for it for good."""
    from tirgn_cli import show

    show.error(f"process {process} was lost; start all of them again with --resume to go on from the last saved state")
    os._exit(1)
