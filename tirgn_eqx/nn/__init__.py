"""Layers, each usable alone."""

from tirgn_eqx.nn.batch_norm import BatchNorm as BatchNorm
from tirgn_eqx.nn.batch_norm import RunningStatistics as RunningStatistics
from tirgn_eqx.nn.conv_decoder import ConvDecoder as ConvDecoder
from tirgn_eqx.nn.conv_decoder import DropoutRates as DropoutRates
from tirgn_eqx.nn.graph_conv import GraphConvolution as GraphConvolution
from tirgn_eqx.nn.recurrent import GRUCell as GRUCell
from tirgn_eqx.nn.recurrent import TimeGate as TimeGate
from tirgn_eqx.nn.static_graph import StaticConvolution as StaticConvolution
from tirgn_eqx.nn.static_graph import StaticEdges as StaticEdges
from tirgn_eqx.nn.time_encoding import TimeEncoding as TimeEncoding
