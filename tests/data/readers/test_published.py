"""Published data by name: what comes is what was counted, whatever the server does."""

import hashlib
import sys

import pytest

from tests.helpers import DATASETS
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.readers import published
from tirgn_eqx.data.readers.published import Published, find_published, get_published
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.download import Patience, digest_of

QUICK = Patience(tries=3, timeout=2.0, backoff=0.01)
CONTENT = {
    "train.txt": b"".join(b"%d\t0\t%d\t%d\n" % (s, (s + 1) % 4, t) for t in range(6) for s in range(4)),
    "valid.txt": b"0\t0\t1\t6\n",
    "test.txt": b"1\t0\t2\t7\n",
    "stat.txt": b"4\t1\n",
}
DIGESTS = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in CONTENT.items()}


def made(**changes):
    files = {name: (len(content), DIGESTS[name]) for name, content in CONTENT.items()}
    return Published("TINY", "day", files | changes, None, None, None, None, None)


@pytest.fixture
def server(gdelt):
    gdelt.files |= {f"/sets/TINY/{name}": content for name, content in CONTENT.items()}
    return gdelt


def get(server, place, one=None, told=None):
    tell = (lambda _: None) if told is None else told.append
    return get_published(one or made(), place, server.url + "/sets", patience=QUICK, tell=tell)


def test_all_files_come_once(server, tmp_path):
    assert set(get(server, tmp_path / "out").values()) == {"fetched"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == CONTENT
    assert load_graph(tmp_path / "out").num_facts == 26
    asked = len(server.requests)
    assert set(get(server, tmp_path / "out").values()) == {"there"} and len(server.requests) == asked


@pytest.mark.parametrize(
    "trick", [500, ("cut", 40), ("lie", 5), (302, {"Location": "/sets/TINY/train.txt"}), (429, {"Retry-After": "0"})]
)
def test_a_server_that_stumbles_is_asked_again(server, tmp_path, trick):
    server.tricks["/sets/TINY/train.txt"] = [trick]
    told = []
    get(server, tmp_path, told=told)
    assert (tmp_path / "train.txt").read_bytes() == CONTENT["train.txt"]
    assert any(one["event"] == "retry" for one in told) or trick[0] == 302


def test_what_was_cut_goes_on_where_it_was(server, tmp_path):
    server.tricks["/sets/TINY/train.txt"] = [("cut", 100)]
    get(server, tmp_path)
    assert ("/sets/TINY/train.txt", "bytes=100-") in server.requests


@pytest.mark.parametrize(("size", "words"), [(True, "its sha256 is"), (False, "its sha256 is")])
def test_a_changed_file_never_gets_its_name(server, tmp_path, size, words):
    server.files["/sets/TINY/test.txt"] = b"1\t0\t3\t7\n"
    one = made() if size else made(**{"test.txt": (None, DIGESTS["test.txt"])})
    with pytest.raises(DataError, match=f"test.txt: {words} .*try again later, or give the files with --from"):
        get(server, tmp_path, one)
    assert not list(tmp_path.glob("test.txt*")) and (tmp_path / "train.txt").exists()


def test_a_missing_file_is_named_and_the_others_stay(server, tmp_path):
    del server.files["/sets/TINY/valid.txt"]
    with pytest.raises(DataError, match=r"valid.txt: not found \(HTTP 404\)"):
        get(server, tmp_path)
    server.files["/sets/TINY/valid.txt"] = CONTENT["valid.txt"]
    found = get(server, tmp_path)
    assert found["train.txt"] == "there" and found["valid.txt"] == "fetched"


def test_a_file_without_a_checksum_is_told(server, tmp_path):
    found = get(server, tmp_path, made(**{"stat.txt": (None, None)}))
    assert found["stat.txt"] == "unverified"


def test_git_names_contents_as_git_does(tmp_path):
    # `printf 'hello\n' | git hash-object --stdin`
    (tmp_path / "a").write_bytes(b"hello\n")
    assert digest_of(tmp_path / "a", "git") == "git:ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_folder_stands_in_for_the_server(tmp_path):
    source = tmp_path / "sets" / "TINY"
    source.mkdir(parents=True)
    for name, content in CONTENT.items():
        (source / name).write_bytes(content)
    for place, given in (("a", tmp_path / "sets"), ("b", source)):
        assert set(get_published(made(), tmp_path / place, given).values()) == {"fetched"}
    (source / "test.txt").write_bytes(b"1\t0\t3\t7\n")
    with pytest.raises(DataError, match="is not the published file"):
        get_published(made(), tmp_path / "c", source)
    assert not list((tmp_path / "c").glob("test.txt*"))
    (tmp_path / "a" / "train.txt").write_bytes(b"mine")
    with pytest.raises(DataError, match="is there, and is not the published file; move it away"):
        get_published(made(), tmp_path / "a", tmp_path / "sets")
    assert (tmp_path / "a" / "train.txt").read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file of Linux that cannot be read")
def test_a_file_here_that_cannot_be_read_is_named(tmp_path):
    source = tmp_path / "TINY"
    source.mkdir()
    for name, content in CONTENT.items():
        (source / name).write_bytes(content)
    (source / "valid.txt").unlink()
    (source / "valid.txt").symlink_to("/proc/self/mem")  # opens, and gives an error instead of its first byte
    with pytest.raises(DataError, match=r"TINY/valid.txt: cannot be read \(Input/output error\); give another folder"):
        get_published(made(), tmp_path / "out", source)
    assert (tmp_path / "out" / "train.txt").read_bytes() == CONTENT["train.txt"]


def test_names():
    assert find_published("icews14S").name == "ICEWS14s" and len(published.published()) == 7
    with pytest.raises(ConfigError, match="'yagoo': no published data set; did you mean 'YAGO'"):
        find_published("yagoo")


@pytest.mark.parametrize("name", ["ICEWS14s", "YAGO"])
def test_real_files_are_those_of_the_list(tmp_path, name):
    if not (DATASETS / name).is_dir():
        pytest.skip("the published data sets are not here")
    one = find_published(name)
    get_published(one, tmp_path, DATASETS)
    graph = load_graph(tmp_path)
    assert graph.checksum == one.sha256 and graph.num_entities == one.entities
