r"""Event rates: how often every fact is expected within a horizon, and how likely it is to occur at all.

The expected number of what has the features x and the relation r, within the h steps from the target on, is

    mu(h) = sum over steps j < h  of  [sum_m c_m(x, r) 2^(-lag_j / half-life_m)] exp(w_r . phase_j)

with c_m > 0 from a small network, so it grows with h. lag_j is the time from the end of what is known to step j, and
phase_j its place in the periods of the data, such as a week. Facts are known, novel or unseen, see
`data.index.activity`. Known facts have a rate each. So has, as a whole, what a known pair (s, r) does to objects that
are new to it; p(o | s, r) of a model that ranks divides it among the objects. The rate of an unseen pair is a product
of what its subject and its relation are, so that the total over all of them is known without listing any.

The number of a fact varies more than a Poisson number does: what is busy stays busy. With a gamma factor of mean 1 and
shape k on its rate, the same for the whole horizon, it is negative binomial, and occurs with probability
1 - (1 + mu / k)^-k. For k to infinity that is Poisson.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.config import EventTrainingConfig
from tirgn_eqx.data.index.activity import FACT_FEATURES, PAIR_FEATURES, RELATION_FEATURES, SUBJECT_FEATURES
from tirgn_eqx.nn.segments import segment_sum, take_rows
from tirgn_eqx.types import ActivityRows, EventBatch, Horizons

HALF_LIVES = (float("inf"), 32.0, 8.0, 2.0)  # of what is added to a rate by what happened lately, in steps
MAX_LOG_RATE = 12.0
LEAST_LOG_SHAPE, LOG_SHAPE_LIMIT = -6.0, 6.0  # e^6: as good as Poisson


class ExpectedCounts(NamedTuple):
    """The negative binomial number of rows within horizons: `log_mean` by horizon, and `log_shape` of the gamma factor,
    which is that of all horizons."""

    log_mean: Float[Array, "row horizon"]
    log_shape: Float[Array, " row"]

    def log_likelihood(self, count: Float[Array, "row horizon"]) -> Float[Array, "row horizon"]:
        """log of the probability of the counts, but for a constant of the data, log n!."""
        log_shape = self.log_shape[:, None]
        shape, ratio = jnp.exp(log_shape), jnp.exp(self.log_mean - log_shape)
        more = jnp.log1p(ratio)
        ways = _log_gamma(count + shape) - _log_gamma(shape)
        return ways + count * (self.log_mean - log_shape - more) - shape * more


def at_least_once(
    mean: Float[np.ndarray, "row horizon"], shape: Float[np.ndarray, "row 1"]
) -> Float[np.ndarray, "row horizon"]:
    """The probability that a negative binomial number with this mean, and shape of its gamma factor, is not 0."""
    return -np.expm1(-shape * np.log1p(mean / shape))


def _log_gamma(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log Gamma for positive numbers: Stirling's series at x + 3, whose error is below 4e-6 there. It costs a tenth of
    JAX's own, which is exact to the last bit."""
    y = x + 3
    series = (y - 0.5) * jnp.log(y) - y + 0.5 * math.log(2 * math.pi) + 1 / (12 * y) - 1 / (360 * y**3)
    return series - jnp.log(x * (x + 1) * (x + 2))


class RateNetwork(eqx.Module):
    """log c_m and log k of rows of features: two hidden layers; the biases of the first and of the output belong to the
    relation."""

    inner: Float[Array, "feature hidden"]
    inner_bias: Float[Array, "rel hidden"]
    middle: Float[Array, "hidden hidden"]
    middle_bias: Float[Array, " hidden"]
    outer: Float[Array, "hidden out"]
    level: Float[Array, " out"]
    relation_level: Float[Array, "rel out"]

    def __init__(self, features: int, hidden: int, num_relations: int, *, level: float, key: PRNGKeyArray):
        """**Arguments:** sizes; `level`: log of the initial rate."""
        keys, out = jr.split(key, 3), len(HALF_LIVES) + 1
        self.inner = jr.normal(keys[0], (features, hidden)) / features**0.5
        self.inner_bias = jnp.zeros((num_relations, hidden))
        self.middle, self.middle_bias = jr.normal(keys[1], (hidden, hidden)) / hidden**0.5, jnp.zeros(hidden)
        self.outer = 0.05 * jr.normal(keys[2], (hidden, out))
        # The shape begins at 1, the parts that fade a bit below the one that stays.
        self.level = jnp.array([level, *[level - 1] * (len(HALF_LIVES) - 1), 0.0])
        self.relation_level = jnp.zeros((num_relations, out))

    def __call__(self, rows: ActivityRows) -> tuple[Float[Array, "row part"], Float[Array, " row"]]:
        """(log c, log k) of rows."""

        def of_relation(table: Float[Array, "rel wide"]) -> Float[Array, "row wide"]:
            return take_rows(table, rows.relation, padded=False)

        hidden = jax.nn.gelu(rows.features @ self.inner + of_relation(self.inner_bias))
        hidden = hidden + jax.nn.gelu(hidden @ self.middle + self.middle_bias)
        out = hidden @ self.outer + self.level + of_relation(self.relation_level)
        return jnp.minimum(out[:, :-1], MAX_LOG_RATE), jnp.clip(out[:, -1], LEAST_LOG_SHAPE, LOG_SHAPE_LIMIT)


class FactorNetwork(eqx.Module):
    """The log factor of subjects, or of relations, in the rate of their unseen pairs: one hidden layer."""

    inner: Float[Array, "feature hidden"]
    bias: Float[Array, " hidden"]
    outer: Float[Array, " hidden"]
    level: Float[Array, ""]

    def __init__(self, features: int, hidden: int, *, level: float, key: PRNGKeyArray):
        self.inner, self.bias = jr.normal(key, (features, hidden)) / features**0.5, jnp.zeros(hidden)
        self.outer, self.level = jnp.zeros(hidden), jnp.array(level)

    def __call__(self, features: Float[Array, "row feature"]) -> Float[Array, " row"]:
        return jnp.minimum(jax.nn.gelu(features @ self.inner + self.bias) @ self.outer + self.level, MAX_LOG_RATE)


class EventRates(eqx.Module):
    """The rates of all facts, from their activity before a target.

    **Arguments:** sizes of the vocabulary; `config`; `key`: of the initialisation.
    """

    known: RateNetwork
    novel: RateNetwork
    unseen_subject: FactorNetwork
    unseen_relation: FactorNetwork
    relation_level: Float[Array, " rel"]
    season: Float[Array, "rel wave"]
    num_entities: int = eqx.field(static=True)
    num_relations: int = eqx.field(static=True)
    periods: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, num_entities: int, num_relations: int, config: EventTrainingConfig, *, key: PRNGKeyArray):
        keys, hidden = jr.split(key, 4), config.rate_hidden
        self.known = RateNetwork(FACT_FEATURES, hidden, num_relations, level=-7.0, key=keys[0])
        self.novel = RateNetwork(PAIR_FEATURES, hidden, num_relations, level=-7.0, key=keys[1])
        self.unseen_subject = FactorNetwork(SUBJECT_FEATURES, hidden, level=-6.0, key=keys[2])
        self.unseen_relation = FactorNetwork(RELATION_FEATURES, hidden, level=-6.0, key=keys[3])
        self.relation_level = jnp.zeros(num_relations)
        self.periods = config.periods_list()
        # Sine and cosine of every period and of its half.
        self.season = jnp.zeros((num_relations, 4 * len(self.periods)))
        self.num_entities, self.num_relations = num_entities, num_relations

    def _weights(self, horizons: Horizons) -> Float[Array, "rel part horizon"]:
        """What a unit of every c_m adds to the expected number within every horizon, by relation."""
        faded = jnp.exp2(-horizons.lag[:, None] / jnp.array(HALF_LIVES))
        season = jnp.exp(horizons.phase @ self.season.T)
        total = jnp.cumsum(season.T[:, None, :] * faded.T[None], 2)
        return total[:, :, horizons.last]

    def _counts(
        self, network: RateNetwork, rows: ActivityRows, weights: Float[Array, "rel part horizon"]
    ) -> ExpectedCounts:
        log_rate, log_shape = network(rows)
        of_row = take_rows(weights, rows.relation, padded=False)
        log_mean = jax.nn.logsumexp(log_rate[:, :, None] + jnp.log(of_row), 1)
        return ExpectedCounts(log_mean, log_shape)

    def known_counts(self, rows: ActivityRows, horizons: Horizons) -> ExpectedCounts:
        """Of known facts, one row each."""
        return self._counts(self.known, rows, self._weights(horizons))

    def novel_counts(self, rows: ActivityRows, horizons: Horizons) -> ExpectedCounts:
        """Of all novel facts of known pairs, one row for each pair."""
        return self._counts(self.novel, rows, self._weights(horizons))

    def unseen_factors(
        self,
        subject_features: Float[Array, "entity feature"],
        relation_features: Float[Array, "rel feature2"],
        horizons: Horizons,
    ) -> tuple[Float[Array, " entity"], Float[Array, "rel horizon"]]:
        """(of subjects, of relations by horizon): the log expected number of a pair that is unseen is their sum."""
        relation = self.unseen_relation(relation_features) + self.relation_level
        # The part that does not fade is the only one: nothing happened lately that could.
        return self.unseen_subject(subject_features), relation[:, None] + jnp.log(self._weights(horizons)[:, 0])

    def log_likelihood(self, batch: EventBatch) -> Float[Array, ""]:
        """Of all that happened within the horizons of a batch, summed over those that count."""
        horizons, unseen, pairs = batch.horizons, batch.unseen, batch.pairs
        weights = self._weights(horizons)
        total = jnp.zeros(len(horizons.last))
        for network, rows in ((self.known, batch.known), (self.novel, batch.novel)):
            found = self._counts(network, rows, weights).log_likelihood(rows.count)
            total = total + jnp.sum(rows.weight[:, None] * found, 0)
        subject, relation = self.unseen_factors(batch.subject_features, batch.relation_features, horizons)
        log_mean = take_rows(subject, unseen.subject, padded=False)[:, None]
        log_mean = log_mean + take_rows(relation, unseen.relation, padded=False)
        total = total + jnp.sum(unseen.weight[:, None] * unseen.count * log_mean, 0)
        # All subjects of a relation but those that had it already, whose pairs have rates of their own.
        factor = jnp.exp(subject)
        seen = segment_sum(
            pairs.known * take_rows(factor, pairs.subject, padded=False), pairs.relation, self.num_relations
        )
        total = total - jnp.sum(jnp.maximum(jnp.sum(factor) - seen, 0)[:, None] * jnp.exp(relation), 0)
        return jnp.sum(total * batch.counted)


def event_loss(model: EventRates, batch: EventBatch) -> Float[Array, ""]:
    """Minus the log likelihood of a batch, in nats for each event."""
    return -model.log_likelihood(batch) / jnp.maximum(batch.events, 1)
