"""The time vectors of TiRGN's decoders."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


class TimeEncoding(eqx.Module):
    r"""Two vectors of the time T: one linear, one periodic (TiRGN, section 3.3.1, equation 9).

    $$ \tau_{lin} = w_1 T + b_1, \qquad \tau_{per} = \sin(w_2 T + b_2) $$

    Both are computed in the parameters' own precision: in bf16 a clock of a few thousand steps has no phase. The linear
    vector is unbounded. Times as far beyond the training data as the data are long give the decoders values twice as
    large as any seen in training, and forecasts get worse with that distance (measured in `docs/model.md`). Therefore
    clocks start where the data start (`TemporalGraph.clock_origin`).

    ```python
    import jax.numpy as jnp
    import jax.random as jr
    from tirgn_eqx.nn import TimeEncoding

    linear, periodic = TimeEncoding(8, key=jr.key(0))(jnp.asarray(3.0))
    assert linear.shape == periodic.shape == (8,)
    ```
    """

    weight_linear: Float[Array, " dim"]
    bias_linear: Float[Array, " dim"]
    weight_periodic: Float[Array, " dim"]
    bias_periodic: Float[Array, " dim"]

    def __init__(self, dim: int, *, key: PRNGKeyArray):
        """**Arguments:** `dim`: width of both vectors; `key`: of the initialisation, N(0, 1)."""
        # One draw for all four, in the order of the fields.
        draws = jr.normal(key, (4, dim))
        self.weight_linear, self.bias_linear, self.weight_periodic, self.bias_periodic = draws

    def __call__(self, time_index: Float[Array, ""]) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        """**Arguments:** `time_index`: scalar, in steps of the model's clock.

        **Returns:** the linear and the periodic vector, `(dim,)` each.
        """
        time = time_index.astype(self.weight_linear.dtype)
        linear = self.weight_linear * time + self.bias_linear
        return linear, jnp.sin(self.weight_periodic * time + self.bias_periodic)
