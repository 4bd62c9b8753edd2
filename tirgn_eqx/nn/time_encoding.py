"""The two time vectors of TiRGN: one linear in time, one periodic."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


class TimeEncoding(eqx.Module):
    """w1 T + b1 and sin(w2 T + b2) (TiRGN, section 3.3.1, equation 9; the linear one is unbounded).

    The linear vector goes on beyond the times of training with the slope that it has there: a model is told of a time
    that is as far from them as they last by numbers twice as large as any that it learnt from. On a simulated world of
    60 days the test MRR falls so from .543 to .526 at 60 steps more, .478 at 120, .384 at 300 and .243 at 1,000; all is
    finite at any time. So clocks begin where the data do (`TemporalGraph.clock_origin`), and forecasts of a time far
    ahead hold the clock (`Outlook.time_index`). Before the origin T is negative, and the same holds.

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
