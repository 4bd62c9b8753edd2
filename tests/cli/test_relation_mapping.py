"""`--map-relations`: a checkpoint of relations alone evaluates and forecasts data with entities of their own."""

import json

import pytest

from tests.cli.cli_helpers import SMALL_EVIDENCE, call_app, measured
from tests.cli.test_pairing_by_name import write_folder

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """`own`, with a checkpoint in `models`; `other`: the same facts with other entities and spellings of relations."""
    place = tmp_path_factory.mktemp("mapped")
    write_folder(place / "own")
    write_folder(place / "other")
    (place / "other" / "entity2id.txt").write_text("".join(f"entity {number}\t{number}\n" for number in range(6)))
    (place / "other" / "relation2id.txt").write_text("190\t0\n0423_Q1\t1\n")
    result = call_app(
        *("train", "--data-path", place / "own", "--model", "evidence", *SMALL_EVIDENCE[2:], "--epochs", 1, "--quiet"),
        *("--set", "evidence_background=false", "--model-dir", place / "models", "--logdir", place / "logs"),
        *("--tracker", "none"),
    )
    assert result.exit_code == 0, result.output
    return place


def test_eval_says_what_it_knows_and_what_was_left_out(run, place):
    checkpoint = place / "models" / "tirgn_best.npz"
    own = measured(run("eval", checkpoint, "--json"))
    result = run("eval", checkpoint, "--data-path", place / "other", "--map-relations", "by-cameo", "--json")
    found = measured(result)
    renamed = {"190": "190_Q4", "0423_Q1": "042_Q1"}
    assert found["relation_mapping"] == {"how": "by-cameo", "known": 2, "renamed": renamed}
    assert found["entity"] == pytest.approx(own["entity"]) and found["relation"] == pytest.approx(own["relation"])
    assert (
        "relations: 2 of 2 are known to the checkpoint, 2 by another name, such as '190' as '190_Q4'" in result.stderr
    )
    result = run("eval", checkpoint, "--data-path", place / "other", "--map-relations", "by-name", "--json")
    found = measured(result)
    assert found["relation_mapping"]["renamed"] == {"190": "190_Q4"} and sum(found["dataset"]["left_out"].values()) > 0
    assert "1 relation, such as '0423_Q1'" in result.stderr and result.stderr.count("left out") == 1
    assert "relation_mapping" not in own


def test_predict_answers_by_the_names_of_the_data(run, place):
    checkpoint = place / "models" / "tirgn_best.npz"
    words = ("predict", checkpoint, "--data-path", place / "other", "--map-relations", "by-name")
    result = run(*words, "--subject", "entity 1", "--relation", "190", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["relation"] == "190" and found["candidates"][0]["name"].startswith("entity ")
    result = run(*words[:4], "--subject", "entity 1", "--relation", "190")
    assert result.exit_code == 1 and "no fact is left" in result.stderr
