"""`tirgn cache`: the cache of compiled programs, shown and emptied."""

import os
from typing import TYPE_CHECKING

import typer

from tirgn_cli import options
from tirgn_cli.cache_choice import JAX_FOLDER, OFF, VARIABLE, CacheChoice, choose_cache
from tirgn_eqx.errors import ConfigError

if TYPE_CHECKING:
    from tirgn_eqx.runtime.compile_cache import CacheContents

cache_app = typer.Typer(
    no_args_is_help=True,
    help="Show and empty the cache of compiled programs, which makes every command but the first start sooner. "
    f"{VARIABLE}=DIR places it elsewhere, {VARIABLE}={OFF} does without.\n\nExample: tirgn cache info",
)


@cache_app.command("info")
@options.command(compiles=False)
def info(as_json: options.Json = False) -> None:
    """Show where compiled programs are kept, how many there are, and how large they may become.

    Example: tirgn cache info

    Example: tirgn cache info --json
    """
    from tirgn_cli import output, tables

    choice = choose_cache(os.environ)
    contents, reason = _measure(choice), _why_unusable(choice)
    if as_json:
        use = {"enabled": choice.enabled and reason is None, "unusable": reason}
        output.print_json(choice.to_dict() | use | {"programs": contents.programs, "bytes": contents.bytes})
        return
    rows = {
        "folder": "none: no home is known" if choice.root is None else str(choice.root),
        "used": f"no: {reason}" if reason else "yes" if choice.enabled else "no",
        "set by": choice.set_by,
        "programs": contents.programs,
        "size": tables.format_size(contents.bytes),
        "limit": "none" if choice.max_bytes is None else tables.format_size(choice.max_bytes),
    }
    tables.print_table(tables.make_pairs("Compiled programs", rows))


def _why_unusable(choice: CacheChoice) -> str | None:
    """Why commands may not use the folder that they would use; None where they may, or use none."""
    from tirgn_eqx.runtime.compile_cache import machine_folder, why_unusable

    if not choice.enabled or choice.root is None:
        return None
    folder = choice.root if choice.is_jax else machine_folder(choice.root)
    # Before the first program there is no folder, and nothing to say of it.
    reason = why_unusable(folder, choice.is_private) if os.path.exists(folder) else None
    return None if reason is None else f"{folder} {reason}"


def _measure(choice: CacheChoice) -> "CacheContents":
    from tirgn_eqx.runtime.compile_cache import CacheContents, files_in, measure_cache

    if choice.root is None:
        return CacheContents(0, 0)
    if choice.is_jax:
        sizes = [found.st_size for _, found in files_in(choice.root)]
        return CacheContents(len(sizes), sum(sizes))
    return measure_cache(choice.root)


@cache_app.command("clear")
@options.command(compiles=False)
def clear(as_json: options.Json = False) -> None:
    """Remove every compiled program of the cache, for all versions and machines. Commands compile again.

    Example: tirgn cache clear
    """
    from tirgn_cli import output, tables
    from tirgn_eqx.runtime.compile_cache import CacheContents, clear_cache

    choice = choose_cache(os.environ)
    if choice.is_jax:
        raise ConfigError(
            f"{JAX_FOLDER}={choice.root or ''}: other programs may use this folder; remove its files yourself, or "
            f"unset {JAX_FOLDER} to clear the cache of tirgn"
        )
    removed = CacheContents(0, 0) if choice.root is None else clear_cache(choice.root)
    if as_json:
        output.print_json({"folder": choice.root, "programs": removed.programs, "bytes": removed.bytes})
        return
    noun = "program" if removed.programs == 1 else "programs"
    size = tables.format_size(removed.bytes)
    output.print_result(f"removed {removed.programs:,} compiled {noun} ({size}) from {choice.root or 'nowhere'}")
