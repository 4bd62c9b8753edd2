"""The cache of compiled programs that a command uses: where the environment places it, and JAX's use of it."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "TIRGN_CACHE"
OFF = "off"
# JAX's own variables; where one is set, JAX does as it says.
JAX_FOLDER, JAX_SWITCH = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
_LIMIT = "jax_compilation_cache_max_size"


@dataclass(frozen=True)
class CacheChoice:
    """Where compiled programs are kept, and what said so.

    **Arguments:** `root`: the folder that `info` and `clear` look at, None where the user has no home; `enabled`:
    whether commands read and write it; `set_by`: a variable of the environment, or `default`; `max_bytes`: the limit of
    its size, None without.
    """

    root: Path | None
    enabled: bool
    set_by: str
    max_bytes: int | None

    @property
    def is_jax(self) -> bool:
        """Whether the folder is one that JAX was given, which other programs may use as well."""
        return self.set_by == JAX_FOLDER

    @property
    def is_private(self) -> bool:
        """Whether the folder must be the user's alone; one that a variable names is for the user to judge."""
        return self.set_by == "default"

    def to_dict(self) -> dict[str, object]:
        """The choice as plain JSON."""
        return {
            "folder": self.root,
            "enabled": self.enabled,
            "set_by": self.set_by,
            "max_bytes": self.max_bytes,
        }


def choose_cache(environment: Mapping[str, str]) -> CacheChoice:
    """The cache that the variables of `environment` ask for."""
    from tirgn_eqx.runtime.compile_cache import MAX_BYTES, default_cache_root

    switch, folder = environment.get(JAX_SWITCH), environment.get(JAX_FOLDER)
    jax_off = switch is not None and switch.lower() in ("n", "no", "f", "false", "off", "0")
    if folder is not None:
        # JAX bounds its folder itself, by default not at all.
        limit = _jax_limit(environment, -1)
        return CacheChoice(Path(folder).absolute() if folder else None, bool(folder) and not jax_off, JAX_FOLDER, limit)
    given = environment.get(VARIABLE, "")
    if given and given.lower() != OFF:
        try:
            root = Path(given).expanduser().absolute()
        except RuntimeError:  # `~` without a home, or an unknown user's home
            root = None
    else:
        root = default_cache_root()
    limit = _jax_limit(environment, MAX_BYTES)
    set_by = JAX_SWITCH if jax_off else VARIABLE if given else "default"
    # A limit of 0 is JAX's way to say that nothing is kept.
    enabled = root is not None and given.lower() != OFF and not jax_off and limit != 0
    return CacheChoice(root, enabled, set_by, limit)


def _jax_limit(environment: Mapping[str, str], default: int) -> int | None:
    """The limit that JAX's variable sets, None for none; `default` where it is not set or is no number."""
    try:
        limit = int(environment.get(_LIMIT.upper(), default))
    except ValueError:
        return default
    return None if limit < 0 else limit


@contextmanager
def keep_programs() -> Iterator[None]:
    """Let JAX keep the programs that it compiles in a `with` statement, unless the environment says otherwise.

    Whatever is wrong with the folder, the command compiles as without it and says nothing of it.
    """
    from tirgn_eqx.runtime.compile_cache import cache_settings, machine_folder, make_cache_folder, trim_cache

    choice = choose_cache(os.environ)
    if not choice.enabled or choice.is_jax or choice.root is None:
        yield
        return
    folder = machine_folder(choice.root)
    if not make_cache_folder(folder, choice.is_private):
        yield
        return
    with _without_faults(folder), _configured(cache_settings(folder)):
        try:
            yield
        finally:
            if choice.max_bytes is not None and "jax" in sys.modules:
                trim_cache(choice.root, choice.max_bytes)


@contextmanager
def _configured(settings: Mapping[str, str | float | int]) -> Iterator[None]:
    """JAX with `settings`, but for those that the environment sets.

    JAX is not imported for it: it reads variables of the environment when a command, or a process that a command
    starts, imports it.
    """
    # JAX's limit needs files with the time of the last use, which are not written here: `trim_cache` keeps the limit.
    wanted = {name: value for name, value in settings.items() if name.upper() not in os.environ or name == _LIMIT}
    variables = {name.upper(): os.environ.get(name.upper()) for name in wanted}
    before: dict[str, object] = {"jax_compilation_cache_dir": None}
    if "jax" in sys.modules:
        before = _configure(wanted)
    os.environ.update({name.upper(): str(value) for name, value in wanted.items()})
    try:
        yield
    finally:
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if "jax" in sys.modules:
            _configure(before)


def _configure(settings: Mapping[str, object]) -> dict[str, object]:
    """Set values of `jax.config`, and return those before."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    if before != settings:
        # JAX opens a folder once in a process, and asks for it only at the first compilation.
        compilation_cache.reset_cache()
    return before


@contextmanager
def _without_faults(folder: Path) -> Iterator[None]:
    """Hide what JAX says of a cache that it cannot read or write, and remove what it could not read in `folder`."""
    from tirgn_eqx.runtime.compile_cache import remove_damaged

    with warnings.catch_warnings():
        # Python shows a warning once for each line of code and text; every damaged program must be seen.
        warnings.filterwarnings("always", message="Error reading persistent compilation cache entry")
        warnings.filterwarnings("ignore", message="Error writing persistent compilation cache entry")
        show = warnings.showwarning

        def see(message: Warning | str, *place: object, **more: object) -> None:
            if not str(message).startswith("Error reading persistent compilation cache entry"):
                show(message, *place, **more)  # pyright: ignore
            else:
                remove_damaged(folder, str(message))

        warnings.showwarning = see
        yield
