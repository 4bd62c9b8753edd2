"""Array aliases and the data pytrees that travel from the loader to the device.

Axis names, the same everywhere:

| name | meaning |
|---|---|
| `entity` | entities of the vocabulary |
| `rel` / `rel2` | relations / relations and their inverses (`r + rel`) |
| `time` | snapshots of the local window, oldest first |
| `active` | entities with at least one edge in a snapshot, padded |
| `edge` | edges of a snapshot in both directions, padded |
| `row` | entities that a batch evolves, where it does not evolve all; padded |
| `pair` | distinct (relation, subject) pairs of a snapshot, padded |
| `unit` | questions decoded: a distinct (s, r), or (s, o) for relations, or one per fact; padded |
| `answer` | facts that answer the units, padded |
| `seen` | (unit, candidate) pairs of the history vocabulary, padded |
| `micro` | micro-batches of one snapshot |
| `partner` | known partners of the subjects that are asked about, padded |
| `entry` | past triples of those subjects, padded: the evidence |
| `cell` | (unit, partner) pairs: the candidates with evidence of every unit, padded |
| `exact` | cells whose triple happened before with the relation in question, padded |
| `kind` / `popular` | distinct relations asked for / objects that were seen with them, padded |
| `link` | known pairs of all entities, padded |
| `feature` / `head` | numbers that describe evidence / kinds of it that the model tells apart |
| `dim`, `chan`, `layer` | embedding width, channels, graph layers |

Padding indices lie one past the end: gathers fill them with 0, scatters and segment sums drop them.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

Scalar = Float[Array, ""]


class Window(eqx.Module):
    """The last `history_len` snapshots before a target, stacked and padded.

    Edges run in both directions; `edge_source` and `edge_target` are positions in `active`, and targets are
    sorted. `degree` is the in-degree (equal to the out-degree, since every fact has its inverse), exact
    duplicates counted. `pair_*` list the distinct subjects of every relation. Snapshots with `valid` False
    are padding at the front of a window that is shorter than `history_len`.
    """

    valid: Bool[Array, " time"]
    active: Int[Array, "time active"]
    degree: Float[Array, "time active"]
    edge_source: Int[Array, "time edge"]
    edge_relation: Int[Array, "time edge"]
    edge_target: Int[Array, "time edge"]
    relation_count: Float[Array, "time rel2"]
    pair_entity: Int[Array, "time pair"]
    pair_relation: Int[Array, "time pair"]


class Rows(eqx.Module):
    """The few entities that a batch touches, where only those are evolved; every entity id in the batch is then a
    position in `index`.

    An entity's state depends on its own row and its neighbours' in the window, so the states of these rows are
    those of the full computation as long as every entity with an edge in the window is among them. `index` is
    ascending, padded by the number of the table's rows; None means all rows, of which the last may be padding. `weight`
    says how many entities a row stands for in the softmax and in the static loss: 1 when it is there for itself, more
    when it was drawn from many, 0 for padding.
    """

    index: Int[Array, " row"] | None
    weight: Float[Array, " row"]

    def of(self, table: Float[Array, "entity dim"]) -> Float[Array, "row dim"]:
        """These rows of a table over all entities; zero for padding."""
        if self.index is None:
            return table
        return table.at[self.index].get(mode="fill", fill_value=0)


class Queries(eqx.Module):
    """Questions of one kind about one snapshot; a leading `micro` axis when they are micro-batched.

    Entity queries ask for the object of (`subject`, `given` = relation or inverse relation); relation queries
    ask for the relation between `subject` and `given` = object. `weight` is how many facts ask the question
    (0 for padding). Answer i, worth `answer_weight[i]`, says that candidate `answer[i]` answers unit
    `answer_unit[i]`; `answer_seen[i]` says whether the history vocabulary holds it. (`seen_unit`,
    `seen_candidate`), sorted by unit, list all that the vocabulary holds for the units. `negatives` and
    `candidate_seen` (truth first) exist for the sampled loss only; (`true_unit`, `true_candidate`), every
    candidate that is true at this time, for evaluation only.
    """

    subject: Int[Array, "*micro unit"]
    given: Int[Array, "*micro unit"]
    weight: Float[Array, "*micro unit"]
    answer_unit: Int[Array, "*micro answer"]
    answer: Int[Array, "*micro answer"]
    answer_weight: Float[Array, "*micro answer"]
    answer_seen: Bool[Array, "*micro answer"]
    seen_unit: Int[Array, "*micro seen"]
    seen_candidate: Int[Array, "*micro seen"]
    negatives: Int[Array, "*micro answer negative"] | None = None
    candidate_seen: Bool[Array, "*micro answer candidate"] | None = None
    true_unit: Int[Array, "*micro true"] | None = None
    true_candidate: Int[Array, "*micro true"] | None = None

    @classmethod
    def without_answers(
        cls,
        subject: Int[Array, " unit"],
        given: Int[Array, " unit"],
        seen_unit: Int[Array, " seen"],
        seen_candidate: Int[Array, " seen"],
    ) -> "Queries":
        """Questions whose answers nobody knows yet, each asked once."""
        none, weight = jnp.zeros(0, jnp.int32), jnp.ones(subject.shape)
        return cls(subject, given, weight, none, none, weight[:0], none.astype(bool), seen_unit, seen_candidate)


class Batch(eqx.Module):
    """All that one training step or one evaluation needs: a target snapshot's window, questions and time.

    `time_index` is the model's clock at the target; `key` drives dropout and is `fold_in(seed, step)`; `rows` None
    means that all entities are evolved. When several consecutive targets share the window, `time_index` has one entry
    for each, and `target_of_micro` says which of them a micro-batch asks about; the last one is forecast from the
    whole window, every earlier one from a snapshot less.
    """

    window: Window
    entity_queries: Queries
    relation_queries: Queries
    time_index: Float[Array, "*target"]
    key: Shaped[PRNGKeyArray, ""] | None = None
    rows: Rows | None = None
    target_of_micro: Int[Array, " micro"] | None = None


class Answers(eqx.Module):
    """The facts that answer units, and (for evaluation only) all that is true of the units at that time."""

    answer_unit: Int[Array, " answer"]
    answer: Int[Array, " answer"]
    answer_weight: Float[Array, " answer"]
    true_unit: Int[Array, " true"]
    true_candidate: Int[Array, " true"]


class Partners(eqx.Module):
    """All that is known between the subjects asked about and their partners; by subject, then partner.

    `entry_*` describe the past triples of every partner (`entry_pair`: its position), `features` the partners as such.
    """

    object: Int[Array, " partner"]
    features: Float[Array, "partner pair_feature"]
    entry_pair: Int[Array, " entry"]
    entry_relation: Int[Array, " entry"]
    entry_features: Float[Array, "entry entry_feature"]


class EntityQuestions(eqx.Module):
    """Questions (subject, relation, ?) with their evidence.

    Cell c is the candidate `partners.object[cell_partner[c]]` of unit `cell_unit[c]`; cells are in order of units.
    `exact_cell` and `exact_entry` name the entries that were the same triple. `popular_*` list who was seen with the
    relations `kind`, `unit_kind` says which of those a unit asks for. `answer_cell`, `answer_popular` and
    `cell_popular` say where answers and candidates stand in these lists, one past the end where they do not.
    """

    subject: Int[Array, " unit"]
    relation: Int[Array, " unit"]
    activity: Float[Array, "unit feature"]
    cell_unit: Int[Array, " cell"]
    cell_partner: Int[Array, " cell"]
    cell_popular: Int[Array, " cell"]
    exact_cell: Int[Array, " exact"]
    exact_entry: Int[Array, " exact"]
    kind: Int[Array, " kind"]
    unit_kind: Int[Array, " unit"]
    popular_kind: Int[Array, " popular"]
    popular_object: Int[Array, " popular"]
    popular_features: Float[Array, "popular feature"]
    answers: Answers
    answer_cell: Int[Array, " answer"]
    answer_popular: Int[Array, " answer"]


class RelationQuestions(eqx.Module):
    """Questions (subject, ?, object): `partner` is the unit's position among the partners, one past the end for two
    that never met; `asked_entry` lists the entries of all units, by unit."""

    subject: Int[Array, " unit"]
    object: Int[Array, " unit"]
    partner: Int[Array, " unit"]
    asked_unit: Int[Array, " asked"]
    asked_entry: Int[Array, " asked"]
    answers: Answers


class Surroundings(eqx.Module):
    """What is known of everybody: `activity` of all entities, and the links between them, by subject."""

    activity: Float[Array, "entity feature"]
    link_subject: Int[Array, " link"]
    link_object: Int[Array, " link"]
    link_features: Float[Array, "link feature"]


class Settled(eqx.Module):
    """What a model's background has made of `Surroundings`: everybody as subject and as object. Computed once, it
    serves all questions about a target."""

    activity: Float[Array, "entity feature"]
    subject: Float[Array, "entity dim"]
    object: Float[Array, "entity dim"]


class EvidenceBatch(eqx.Module):
    """Questions about one snapshot, or about some of its subjects, with all that the past says of them.

    `key` drives dropout; `surroundings` None is for a model without background.
    """

    partners: Partners
    entity: EntityQuestions
    relation: RelationQuestions
    surroundings: Surroundings | Settled | None
    key: Shaped[PRNGKeyArray, ""] | None = None
