"""Array aliases, and the pytrees that travel from the loader to the device.

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
| `query` | decoded queries: a distinct (s, r), or (s, o) for relations, or one per fact; padded |
| `answer` | facts that answer the queries, padded |
| `history` | (query, candidate) pairs of the history vocabulary, padded |
| `micro` | micro-batches of one snapshot |
| `neighbour` | past neighbours of the queried subjects, padded |
| `entry` | past triples of those subjects, padded: the evidence |
| `cell` | (query, neighbour) pairs: the candidates with evidence of every query, padded |
| `exact` | cells whose triple with the query's own relation happened before, padded |
| `evidence` | (relation query, entry) pairs: the past triples between the two entities of a query, padded |
| `group` / `popular` | distinct relations of the queries / past objects of those relations, padded |
| `link` | pairs of entities that met, of all entities, padded |
| `feature` / `head` | features of evidence / kinds of evidence that the model tells apart |
| `dim`, `chan`, `layer` | embedding width, channels, graph layers |

Padding indices lie one past the end: gathers fill them with 0, scatters and segment sums drop them.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

Scalar = Float[Array, ""]


class Window(eqx.Module):
    """The last `history_len` snapshots before a target, stacked and padded.

    Edges run in both directions. `edge_source` and `edge_target` are positions in `active`, and edges are sorted by
    target. `degree` is the in-degree with exact duplicates counted; it equals the out-degree, since every fact has its
    inverse. `pair_*` list the distinct subjects of every relation. Snapshots with `valid` False are padding at the
    front of a window that is shorter than `history_len`.
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


class EntityRows(eqx.Module):
    """The entities that a batch evolves, where it does not evolve all; entity ids in the batch are positions in
    `index`.

    The state of an entity depends on its own embedding and on its neighbours in the window. So the states of these rows
    equal those of the full computation as long as every entity with an edge in the window is among them.

    `index` is ascending and padded by the number of rows of the table; None means all rows, of which the last may be
    padding. `weight` is how many entities a row stands for in the softmax and in the static loss: 1 for itself, more
    for a row that was sampled from many, 0 for padding.
    """

    index: Int[Array, " row"] | None
    weight: Float[Array, " row"]

    def take(self, table: Float[Array, "entity dim"]) -> Float[Array, "row dim"]:
        """These rows of a table over all entities; zero for padding."""
        if self.index is None:
            return table
        # Without this mode, JAX clamps the padding index to the last entity and returns its row.
        return table.at[self.index].get(mode="fill", fill_value=0)


class Queries(eqx.Module):
    """Queries of one kind about one snapshot; with a leading `micro` axis when they are micro-batched.

    Entity queries ask for the object of (`subject`, `condition` = relation or inverse relation). Relation queries ask
    for the relation between `subject` and `condition` = object.

    - `weight`: how many facts ask the query; 0 for padding.
    - `answer`: a candidate that answers `answer_query`, for `answer_weight` facts; `answer_in_history`: whether the
      history vocabulary contains it.
    - (`history_query`, `history_candidate`), sorted by query: everything that the vocabulary contains for the queries.
    - `negatives` and `candidate_in_history` (the answer first): for the sampled loss alone.
    - (`true_query`, `true_candidate`): every candidate that is true at this time, for evaluation alone.
    """

    subject: Int[Array, "*micro query"]
    condition: Int[Array, "*micro query"]
    weight: Float[Array, "*micro query"]
    answer_query: Int[Array, "*micro answer"]
    answer: Int[Array, "*micro answer"]
    answer_weight: Float[Array, "*micro answer"]
    answer_in_history: Bool[Array, "*micro answer"]
    history_query: Int[Array, "*micro history"]
    history_candidate: Int[Array, "*micro history"]
    negatives: Int[Array, "*micro answer negative"] | None = None
    candidate_in_history: Bool[Array, "*micro answer candidate"] | None = None
    true_query: Int[Array, "*micro true"] | None = None
    true_candidate: Int[Array, "*micro true"] | None = None

    @classmethod
    def without_answers(
        cls,
        subject: Int[Array, " query"],
        condition: Int[Array, " query"],
        history_query: Int[Array, " history"],
        history_candidate: Int[Array, " history"],
    ) -> "Queries":
        """Queries whose answers are unknown, each of weight 1."""
        # Lists of answers of length 0, of the types that a checked function expects.
        none, weight = jnp.zeros(0, jnp.int32), jnp.ones(subject.shape)
        return cls(
            subject, condition, weight, none, none, weight[:0], none.astype(bool), history_query, history_candidate
        )


class Batch(eqx.Module):
    """Everything that a training step or an evaluation needs: the window, queries and time of a target snapshot.

    `time_index` is the model's clock at the target; `key` drives dropout and is `fold_in(seed, step)`; `rows` None
    means that all entities are evolved. When consecutive targets share the window, `time_index` has an entry for each
    of them and `target_of_micro` is the target of every micro-batch. The last target is forecast from the whole window,
    and each earlier one from one snapshot less.
    """

    window: Window
    entity_queries: Queries
    relation_queries: Queries
    time_index: Float[Array, "*target"]
    key: Shaped[PRNGKeyArray, ""] | None = None
    rows: EntityRows | None = None
    target_of_micro: Int[Array, " micro"] | None = None


class Answers(eqx.Module):
    """The facts that answer queries, and (for evaluation alone) everything that is true for the queries then."""

    answer_query: Int[Array, " answer"]
    answer: Int[Array, " answer"]
    answer_weight: Float[Array, " answer"]
    true_query: Int[Array, " true"]
    true_candidate: Int[Array, " true"]


class Neighbours(eqx.Module):
    """The past neighbours of the queried subjects, by subject and then by neighbour, and the triples between them.

    `features` describe a neighbour as such. `entry_*` describe the past triples; `entry_neighbour` is the position of
    their neighbour.
    """

    object: Int[Array, " neighbour"]
    features: Float[Array, "neighbour pair_feature"]
    entry_neighbour: Int[Array, " entry"]
    entry_relation: Int[Array, " entry"]
    entry_features: Float[Array, "entry entry_feature"]


class EvidenceEntityQueries(eqx.Module):
    """Queries (subject, relation, ?) with their evidence.

    - Cell c is the candidate `neighbours.object[cell_neighbour[c]]` of query `cell_query[c]`; cells are sorted by
      query.
    - `exact_cell` and `exact_entry`: cells and entries of the query's own triple in the past.
    - `group` lists the distinct relations of the queries, and `query_group` is the group of every query. `popular_*`
      are the past objects of the relation `popular_group`.
    - `answer_cell`, `answer_popular`, `cell_popular`: positions of answers and candidates in these lists, one past the
      end where there is none.
    """

    subject: Int[Array, " query"]
    relation: Int[Array, " query"]
    activity: Float[Array, "query feature"]
    cell_query: Int[Array, " cell"]
    cell_neighbour: Int[Array, " cell"]
    cell_popular: Int[Array, " cell"]
    exact_cell: Int[Array, " exact"]
    exact_entry: Int[Array, " exact"]
    group: Int[Array, " group"]
    query_group: Int[Array, " query"]
    popular_group: Int[Array, " popular"]
    popular_object: Int[Array, " popular"]
    popular_features: Float[Array, "popular feature"]
    answers: Answers
    answer_cell: Int[Array, " answer"]
    answer_popular: Int[Array, " answer"]


class EvidenceRelationQueries(eqx.Module):
    """Queries (subject, ?, object) with their evidence.

    `neighbour` is the position of the object among the neighbours, one past the end for two entities that never met.
    (`evidence_query`, `evidence_entry`), sorted by query, list the past triples between the two.
    """

    subject: Int[Array, " query"]
    object: Int[Array, " query"]
    neighbour: Int[Array, " query"]
    evidence_query: Int[Array, " evidence"]
    evidence_entry: Int[Array, " evidence"]
    answers: Answers


class GlobalGraph(eqx.Module):
    """The past of all entities: when and how often each was active, and the links between them, sorted by subject."""

    activity: Float[Array, "entity feature"]
    link_subject: Int[Array, " link"]
    link_object: Int[Array, " link"]
    link_features: Float[Array, "link feature"]


class EntityCache(eqx.Module):
    """Vectors of all entities as subjects and as objects, computed from a `GlobalGraph` once for all queries about a
    target; `activity` is that of the graph."""

    activity: Float[Array, "entity feature"]
    subject: Float[Array, "entity dim"]
    object: Float[Array, "entity dim"]


class EvidenceBatch(eqx.Module):
    """Queries about one snapshot, or about some of its subjects, with their evidence.

    `global_graph` is None for a model without background; `key` drives dropout.
    """

    neighbours: Neighbours
    entity: EvidenceEntityQueries
    relation: EvidenceRelationQueries
    global_graph: GlobalGraph | EntityCache | None
    key: Shaped[PRNGKeyArray, ""] | None = None


class Horizons(eqx.Module):
    """The steps from a target on, and how many of them each horizon has.

    - `lag`: steps from the time at which ages are taken to every step; `phase`: sine and cosine of the periods at each.
    - `last`: of every horizon, the position of its last step.
    """

    lag: Float[Array, " step"]
    phase: Float[Array, "step wave"]
    last: Int[Array, " horizon"]


class ActivityRows(eqx.Module):
    """Facts or pairs with the features of their activity, and how often they occurred within horizons.

    `weight`: how many rows each stands for; 0 for padding. `subject` is read where the rows are pairs.
    """

    subject: Int[Array, " row"]
    relation: Int[Array, " row"]
    features: Float[Array, "row feature"]
    count: Float[Array, "row horizon"]
    weight: Float[Array, " row"]


class KnownPairs(eqx.Module):
    """All pairs of a graph, the same in every batch, and which of them occurred before the target: 1, or 0."""

    subject: Int[Array, " pair"]
    relation: Int[Array, " pair"]
    known: Float[Array, " pair"]


class EventBatch(eqx.Module):
    """What happened within horizons after a target, and the activity before it; see `tirgn_eqx.data.index.activity`.

    - `known` are facts, `novel` pairs with the number of their novel facts, `unseen` unseen pairs that occurred,
      without features: those of all subjects and of all relations stand beside, and `pairs` says which are not unseen.
    - `counted`: 1 for a horizon that ends within what is known, else 0; `events`: all events of those that count.
    """

    known: ActivityRows
    novel: ActivityRows
    unseen: ActivityRows
    subject_features: Float[Array, "entity feature2"]
    relation_features: Float[Array, "rel feature3"]
    pairs: KnownPairs
    horizons: Horizons
    counted: Float[Array, " horizon"]
    events: Float[Array, ""]
