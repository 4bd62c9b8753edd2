"""Bad usage and bad data: one line on stderr, nothing on stdout, the right exit code."""

import pytest


def check(result, code: int, text: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert text in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "--epoch", "3"], "no such option: --epoch"),
        (["train", "--epoch", "3"], "--epochs"),
        (["train", "--epochs", "many"], "--epochs"),
        (["train", "--epochs", "-1"], "epochs = -1: must be at least 0"),
        (["train", "--history-rate", "1.5"], "history_rate = 1.5: must be at most 1"),
        (["train", "--precision", "f16"], "precision = 'f16': must be one of auto, bf16, f32, f64"),
        (["train", "--remat", "some"], "remat = 'some': must be one of none, dots, full"),
        (["train", "--monitor", "loss"], "monitor = 'loss': must be one of mrr, nll"),
        (["train", "--num-days", "-1"], "--num-days"),
        (["train", "--preset", "icews8"], "preset 'icews8' does not exist; did you mean 'icews18'?"),
        (
            ["train", "--set", "embeding_dim=8"],
            "'embeding_dim' does not exist for TiRGN; did you mean 'embedding_dim'?",
        ),
        (["train", "--set", "angle"], "expected key=value"),
        (["train", "--set", "angle=steep"], "angle = 'steep': must be float"),
        (["train", "--config", "missing.toml"], "missing.toml: cannot be read"),
        (["eval"], "nothing to evaluate; give a checkpoint, or --scores FILE with --data-path"),
        (["predict"], "missing argument 'CKPT'; see `tirgn predict --help`"),
        (["eval", "model.npz", "--split", "train"], "--split 'train': must be one of valid, test"),
        (["vram-probe", "--budget", "12 Gibi"], "--budget '12 Gibi': not a size; write it like 12GiB"),
        (["vram-probe", "--shape", "entites=3"], "'entites' does not exist; did you mean 'entities'?"),
        (["vram-probe", "--shape", "entities=3,relations=2"], "edges, queries missing"),
        (["vram-probe", "--shape", "entities=0"], "entities = '0' must be a whole number above 0"),
        (["vram-probe", "--shape", "entities"], "'entities' is not name=number"),
        (["vram-probe", "--data-path", "sim", "--shape", "entities=3"], "give one of them"),
        (["import-torch", "state.npz"], "missing option"),
        (["import-torch", "state.npz", "--data-path", "x", "--out", "model.pt"], "a checkpoint is an .npz file"),
        (["data", "stats"], "missing argument 'PATH'; see `tirgn data stats --help`"),
        (["data", "sats", "x"], "no such command 'sats'"),
        (["trian"], "no such command 'trian'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(run, arguments, text):
    check(run(*arguments), 2, text)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("epoch = 3\n", "config key 'epoch' does not exist for TiRGN; did you mean 'epochs'?"),
        ('epochs = "three"\n', "epochs = 'three': must be int, not str"),
        ("epochs = = 3\n", "not valid toml"),
    ],
)
def test_bad_config_file_names_the_file(run, tmp_path, content, text):
    file = tmp_path / "run.toml"
    file.write_text(content)
    result = run("train", "--config", file)
    check(result, 2, text)
    assert str(file) in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["train", "--data-path"], ["data", "stats"], ["vram-probe", "--data-path"]],
    ids=lambda arguments: arguments[0],
)
def test_missing_data_is_exit_code_1(run, tmp_path, arguments):
    check(run(*arguments, tmp_path / "nowhere"), 1, "nowhere: does not exist")


def test_a_line_that_is_no_fact_is_named(run, folder):
    with (folder / "valid.txt").open("a") as file:
        file.write("1\tx\t2\t8\n")
    check(run("data", "stats", folder), 1, "valid.txt:7")


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut off", b"not a checkpoint"])
def test_missing_or_foreign_checkpoint_is_exit_code_1(run, tmp_path, content):
    path = tmp_path / "model.npz"
    if content is not None:
        path.write_bytes(content)
    check(run("eval", path), 1, str(path))


def broken_statistics(monkeypatch, error: BaseException) -> None:
    def graph_statistics(graph):
        raise error

    monkeypatch.setattr("tirgn_eqx.data.graph_statistics", graph_statistics)


def test_an_unexpected_error_is_one_line_with_a_hint(run, monkeypatch):
    broken_statistics(monkeypatch, KeyError("first\nsecond"))
    check(run("data", "stats", "sim"), 1, "KeyError: 'first")
    check(run("data", "stats", "sim"), 1, "run again with --debug for the traceback")


def test_debug_shows_the_traceback(run, monkeypatch):
    broken_statistics(monkeypatch, RuntimeError("broken"))
    for result in (
        run("data", "stats", "sim", "--debug"),
        run("--debug", "data", "stats", "sim"),
        run("data", "stats", "sim", env={"TIRGN_DEBUG": "1"}),
    ):
        assert result.exit_code == 1
        assert "Traceback" in result.stderr and "graph_statistics" in result.stderr
        assert result.stderr.endswith("error: RuntimeError: broken\n")
        assert result.stdout == ""


def test_debug_keeps_the_exit_code_of_a_known_error(run, tmp_path):
    result = run("data", "stats", tmp_path / "nowhere", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "error: " in result.stderr.splitlines()[-1]


def test_out_of_memory_says_what_to_try(run, monkeypatch):
    broken_statistics(monkeypatch, RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 5368709120 bytes"))
    check(run("data", "stats", "sim"), 1, "try --batch-size, --remat full, or ask `tirgn vram-probe --budget`")


def test_interrupt_is_exit_code_130(run, monkeypatch):
    broken_statistics(monkeypatch, KeyboardInterrupt())
    result = run("data", "stats", "sim")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert "interrupted" in result.stderr


def test_a_message_is_never_read_as_markup(run, tmp_path):
    check(run("data", "stats", tmp_path / "[bold]x[/red]"), 1, "[bold]x[/red]: does not exist")


def test_a_folder_that_cannot_be_written_is_one_line(run, folder, tmp_path):
    (tmp_path / "models").write_text("a file, not a folder")
    check(run("train", "--data-path", folder, "--model-dir", tmp_path / "models"), 1, "models")
