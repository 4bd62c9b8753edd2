"""Folders whose splits cannot be used: all their facts at once."""

import pytest

from tests.data.readers.folder_helpers import DATES, NAMES, SPLITS, facts_text, files, write
from tests.helpers import sorted_facts
from tirgn_eqx.data.readers.regcn_text import read_unsplit
from tirgn_eqx.errors import DataError


def test_unsplit_takes_all_facts_whatever_the_splits(tmp_path):
    everything = sorted((0, *fact) for facts in SPLITS.values() for fact in facts)
    for number, content in enumerate(
        [
            files(),
            files(valid="\n\n", test=facts_text(SPLITS["valid"] + SPLITS["test"])),
            files(train=facts_text(SPLITS["train"] + SPLITS["valid"]), valid=None),
            files(train=facts_text([fact for facts in SPLITS.values() for fact in facts]), valid=None, test=None),
            files(train=facts_text(SPLITS["test"]), test=facts_text(SPLITS["train"])),
            files(stat=None),
            files(stat=None, valid=None, train=facts_text(SPLITS["train"] + SPLITS["valid"]).replace("\n", "\r")),
        ]
    ):
        graph = read_unsplit(write(tmp_path / str(number), content))
        assert sorted_facts(graph) == everything
        assert (graph.num_entities, graph.num_relations) == (6, 3)
        assert graph.entity_names == NAMES and graph.static is not None
        assert graph.read is not None and graph.read.facts == len(everything) and graph.provenance == {}
    dated = read_unsplit(write(tmp_path / "dated", files(DATES.__getitem__, valid=None)))
    assert dated.time_unit == 86_400 and dated.times[0] == 16071
    assert read_unsplit(write(tmp_path / "twice", files(test=facts_text(SPLITS["train"])))).num_facts == 72


def test_unsplit_refuses_what_has_no_facts_or_times(tmp_path):
    for number, (content, match) in enumerate(
        [
            (files(train=None, valid=None, test=None), "none of train.txt, valid.txt and test.txt is there"),
            (files(train="", valid="", test=None), "no facts in train.txt, valid.txt"),
            (files(train="0\t0\t1\n"), "train.txt:1: 3 columns .* a fact needs its time"),
            (files(train="0\t0\t7\t0\n"), "train.txt:1: object 7 is beyond stat.txt"),
            (files(DATES.__getitem__, valid=facts_text(SPLITS["valid"])), "valid.txt:1: time is a number, but a date"),
        ]
    ):
        with pytest.raises(DataError, match=match):
            read_unsplit(write(tmp_path / str(number), content))
    with pytest.raises(DataError, match="folder is missing"):
        read_unsplit(tmp_path / "nowhere")
