"""Facts in, numpy out: folders, event tables and the simulated world as one `TemporalGraph`. No JAX here."""

from tirgn_eqx.data.convert import convert_data as convert_data
from tirgn_eqx.data.convert import cut_by_time as cut_by_time
from tirgn_eqx.data.graph import SPLITS as SPLITS
from tirgn_eqx.data.graph import StaticGraph as StaticGraph
from tirgn_eqx.data.graph import TemporalGraph as TemporalGraph
from tirgn_eqx.data.graph import from_facts as from_facts
from tirgn_eqx.data.index.history import build_history_vocabulary as build_history_vocabulary
from tirgn_eqx.data.index.history_index import HistoryVocabulary as HistoryVocabulary
from tirgn_eqx.data.readers.events import ReadingOptions as ReadingOptions
from tirgn_eqx.data.readers.events import read_events as read_events
from tirgn_eqx.data.readers.load import load_graph as load_graph
from tirgn_eqx.data.readers.load import map_data as map_data
from tirgn_eqx.data.readers.mapped_writer import FactBlock as FactBlock
from tirgn_eqx.data.readers.mapped_writer import map_graph as map_graph
from tirgn_eqx.data.readers.mapped_writer import write_mapped as write_mapped
from tirgn_eqx.data.readers.regcn_text import read_folder as read_folder
from tirgn_eqx.data.statistics import graph_statistics as graph_statistics
from tirgn_eqx.data.synthetic.world import simulate as simulate
from tirgn_eqx.data.vocabulary import match_checkpoint as match_checkpoint
from tirgn_eqx.data.vocabulary import match_checkpoints as match_checkpoints
from tirgn_eqx.data.writers import write_events as write_events
from tirgn_eqx.data.writers import write_folder as write_folder
