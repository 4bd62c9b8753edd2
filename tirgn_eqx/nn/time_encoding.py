"""The two time vectors of TiRGN: one linear in time, one periodic."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


class TimeEncoding(eqx.Module):
    """w1 T + b1 and sin(w2 T + b2) (TiRGN, section 3.3.1, equation 9; the linear one is unbounded).

    Beyond the times of training the linear vector goes on with the slope that it has there: as far away from them as
    they last, it gives the decoders numbers twice as large as any that they learnt from. Everything stays finite at any
    time, also before the origin, where T is negative, but forecasts get worse with the distance (figures in
    `docs/model.md`). So clocks begin where the data do (`TemporalGraph.clock_origin`), and forecasts of a time far
    ahead hold the clock (`ForecastTarget.time_index`).

    Always computed in the parameters' own precision: in bf16 a clock of a few thousand steps has no phase.
    """

    weight_linear: Float[Array, " dim"]
    bias_linear: Float[Array, " dim"]
    weight_periodic: Float[Array, " dim"]
    bias_periodic: Float[Array, " dim"]

    def __init__(self, dim: int, *, key: PRNGKeyArray):
        draws = jr.normal(key, (4, dim))
        self.weight_linear, self.bias_linear, self.weight_periodic, self.bias_periodic = draws

    def __call__(self, time_index: Float[Array, ""]) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        """(linear, periodic) vectors at `time_index`, in steps of the model's clock."""
        time = time_index.astype(self.weight_linear.dtype)
        linear = self.weight_linear * time + self.bias_linear
        return linear, jnp.sin(self.weight_periodic * time + self.bias_periodic)
