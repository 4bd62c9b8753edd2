"""The help of `tirgn train` shows the settings of the model family that its other words choose."""

import pytest

from tirgn_eqx.config import FAMILIES, settings_of


@pytest.mark.parametrize(
    ("words", "family", "here", "elsewhere"),
    [
        ([], "TiRGN", ["--history-rate", "angle", "(default: 100)"], ["evidence_heads"]),
        (["--model", "regcn"], "RE-GCN", ["--history-window", "angle"], ["--history-rate", "history_mask"]),
        (["--preset=regcn-yago"], "RE-GCN", ["conv_kernel"], ["--history-rate"]),
        (["--model=evidence"], "evidence", ["evidence_heads", "(default: 0.005)"], ["--history-len", "--remat"]),
        (["--history", "evidence"], "RE-GCN", ["evidence_heads", "epochs"], ["--history-rate"]),
        (["--history", "evidence", "--model", "tirgn"], "TiRGN", ["evidence_heads", "--history-rate"], []),
        (["--events", "models/tkg/tirgn_best.npz"], "the event model", ["rate_hidden"], ["--history-rate", "angle"]),
        (["--model", "gru"], "TiRGN", ["--history-rate"], ["evidence_heads"]),
    ],
)
def test_help_shows_the_settings_of_the_chosen_family(run, words, family, here, elsewhere):
    result = run("train", *words, "--help")
    assert result.exit_code == 0, result.stderr
    assert f"Settings of {family}, as --set NAME=VALUE" in result.stdout
    unwrapped = " ".join(result.stdout.replace("│", " ").split())
    for text in here:
        assert text in unwrapped
    for text in elsewhere:
        assert f" {text} " not in result.stdout
    if "evidence" in words:
        assert "Settings of evidence, as --set evidence.NAME=VALUE" in result.stdout


def test_every_setting_of_a_family_is_in_its_help(run):
    for family in ("tirgn", "regcn", "evidence"):
        shown = run("train", "--model", family, "--help").stdout
        for name in settings_of(FAMILIES[family]):
            option = {"learning_rate": "lr", "save_minutes": "save-every"}.get(name, name.replace("_", "-"))
            assert f"{name} " in shown or f"--{option} " in shown, (family, name)
