"""The gate of a mixture: what it is fitted for, and on which snapshots."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import make_graph, tiny_config
from tirgn_eqx.config import MixtureTrainingConfig, preset
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.models import Encoding, MixtureAtTarget, build_model
from tirgn_eqx.train.gate import L2_WEIGHT, gate_loss

SMALL = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "evidence_background": False}


@pytest.fixture(scope="module")
def model():
    config = MixtureTrainingConfig.of(tiny_config(history_len=1), preset("evidence").replace(**SMALL))
    shape = eqx.filter_eval_shape(lambda key: build_model(4, 2, config, key=key), jax.random.key(0))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)


class Known(MixtureAtTarget):
    """A model whose answers have log probabilities that are known: 0, -1, -2, ... and twice as much."""

    def answer_log_probabilities(self, batch):
        def places(answers):
            return -jnp.arange(len(answers.answer), dtype=jnp.float32)

        return places(batch.entity.answers), 2 * places(batch.relation.answers)


def test_a_gate_is_fitted_for_both_kinds_of_questions_and_kept_simple(model):
    encoding = Encoding(jnp.zeros((4, 8)), jnp.zeros((4, 8)), jnp.zeros(()))
    made = eqx.tree_at(lambda g: (g.by_feature, g.by_relation), model.gate, replace_fn=lambda x: jnp.full(x.shape, 0.5))
    facts = [(0, 0, 1, 0), (0, 0, 1, 1), (0, 0, 1, 1), (2, 1, 3, 1), (1, 1, 3, 1)]
    asked = make_graph(facts, num_entities=4, num_relations=2)
    batch = (
        EvidenceLoader(asked, EvidenceIndex(asked), "train", EvidenceOptions(**model.evidence.loader_options))
        .build(0)
        .batch
    )
    weights = [np.asarray(kind.answers.answer_weight) for kind in (batch.entity, batch.relation)]
    assert all(set(weight.tolist()) == {0.0, 1.0, 2.0} for weight in weights)
    loss, metrics = gate_loss(made, Known(model, encoding, jnp.zeros(())), batch)
    entity, relation = (n * np.arange(len(w)) @ w / w.sum() for n, w in zip((1, 2), weights))
    assert [float(metrics[f"loss_{kind}"]) for kind in ("entity", "relation")] == pytest.approx([entity, relation])
    assert float(loss) == pytest.approx(entity + relation + L2_WEIGHT * (0.25 + 0.25), rel=1e-6)
