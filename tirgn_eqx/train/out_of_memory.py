"""What a training gives up when the device's memory runs out, one rung at a time."""

import jax

from tirgn_eqx.config import RecurrentTrainingConfig

SMALLEST_BATCH = 16
_STRONGER = {"none": "dots", "dots": "full"}


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is the device's or the host's word for no memory left."""
    if isinstance(error, MemoryError):
        return True
    words = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
    return isinstance(error, jax.errors.JaxRuntimeError) and any(word in str(error) for word in words)


def lighter(config: RecurrentTrainingConfig, units: int) -> RecurrentTrainingConfig | None:
    """The next rung below `config`, None below the last.

    First the loop over the window, without which rematerialisation has no effect, then a stronger one, which changes no
    number; then smaller micro-batches, which change nothing but the rows that the decoders' BatchNorm sees at once.

    **Arguments:** `units`: questions of the largest snapshot, what `batch_size` 0 stands for.
    """
    if config.unroll:
        return config.replace(unroll=False)
    if config.remat in _STRONGER:
        return config.replace(remat=_STRONGER[config.remat])
    whole = min(config.batch_size, units) if config.batch_size else units
    half = (whole + 1) // 2
    return config.replace(batch_size=half) if half >= SMALLEST_BATCH else None
