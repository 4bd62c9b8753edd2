"""Settings from presets, recipes, files and assignments: precedence, families, and what is refused."""

import pytest

from tirgn_eqx.config import (
    PRESETS,
    RECIPES,
    EventTrainingConfig,
    EvidenceTrainingConfig,
    GivenSettings,
    MixtureTrainingConfig,
    REGCNTrainingConfig,
    TiRGNTrainingConfig,
    parse_assignments,
    preset,
)
from tirgn_eqx.errors import ConfigError


def test_precedence_is_default_preset_recipe_file_set_option(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("epochs = 7\nangle = 3\nhistory_len = 4\nnum_layers = 1\n")
    assert GivenSettings().config() == TiRGNTrainingConfig()
    named = GivenSettings("icews18").config()
    assert (named.history_len, named.angle, named.epochs) == (10, 10.0, 500)
    config = GivenSettings("icews18", None, file, ["angle=2", "num_layers=3"], {"num_layers": 5}).config()
    assert (config.epochs, config.history_len, config.angle, config.num_layers) == (7, 4, 2.0, 5)
    assert config.batch_size == 0
    fast = GivenSettings("yago", "fast").config()
    assert (fast.loss, fast.unique_queries, fast.history_len) == ("shared", True, 1)
    assert GivenSettings("yago", "fast", assignments=["loss=full"]).config().loss == "full"
    assert GivenSettings("yago", "exact").config() == GivenSettings("yago").config() == preset("yago")
    with pytest.raises(ConfigError, match="recipe 'fats' does not exist.*fast"):
        GivenSettings(recipe="fats").config()


def test_a_mixture_has_the_cheap_structure_where_none_is_named():
    mixed = {"history": "evidence"}
    structure = GivenSettings(options=mixed).config("sim").structure
    assert structure == preset("structure").replace(**RECIPES["fast"], logdir="runs/tirgn/structure")
    assert GivenSettings(recipe="exact", options=mixed).config().structure.loss == "full"
    given = GivenSettings(assignments=["epochs=4"], options=mixed | {"learning_rate": 0.01}).config().structure
    assert (given.epochs, given.learning_rate, given.embedding_dim) == (4, 0.01, structure.embedding_dim)
    # A family or a preset that is named has its own settings.
    named = GivenSettings(options=mixed | {"family": "regcn"}).config().structure
    assert named == REGCNTrainingConfig(logdir="runs/tirgn/structure")
    assert GivenSettings("yago", options=mixed).config().structure.family == "tirgn"


def test_the_settings_are_only_what_was_given():
    assert GivenSettings(assignments=["angle=2"], options={"num_layers": 1}).settings() == {"angle": 2, "num_layers": 1}
    assert GivenSettings("yago").settings() == PRESETS["yago"].settings
    assert GivenSettings("yago", options={"family": "tirgn", "epochs": 3}).settings() == {
        **PRESETS["yago"].settings,
        "epochs": 3,
    }


def test_the_family_comes_from_wherever_it_is_named(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('family = "evidence"\nepochs = 7\n')
    kinds = [
        (GivenSettings(options={"family": "evidence"}), EvidenceTrainingConfig),
        (GivenSettings(assignments=["family=evidence"]), EvidenceTrainingConfig),
        (GivenSettings(file=file), EvidenceTrainingConfig),
        (GivenSettings("regcn-yago"), REGCNTrainingConfig),
        (GivenSettings("yago", options={"family": "regcn"}), REGCNTrainingConfig),
        (GivenSettings("yago", options={"history": "evidence"}), MixtureTrainingConfig),
        (GivenSettings("regcn-yago", options={"family": "mixture"}), MixtureTrainingConfig),
    ]
    for given, kind in kinds:
        assert type(given.config("sim")) is kind
    assert (GivenSettings(file=file).config().epochs, GivenSettings(file=file).config().lr_schedule) == (7, "cosine")
    assert kinds[-1][0].config().structure == preset("regcn-yago").replace(logdir="runs/tirgn/structure")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (GivenSettings(assignments=["epoch=3"]), "config key 'epoch' does not exist for TiRGN; did you mean 'epochs'?"),
        (
            GivenSettings(options={"family": "regcn", "history_rate": 0.5}),
            "history_rate is a setting of TiRGN, not of RE-GCN; leave it out, or train tirgn",
        ),
        (
            GivenSettings(options={"family": "evidence"}, assignments=["angle=3"]),
            "angle is a setting of TiRGN and RE-GCN, not of evidence; leave it out, or train tirgn and regcn",
        ),
        (
            GivenSettings(options={"history": "evidence"}, assignments=["evidence_heads=3"]),
            "evidence_heads is a setting of evidence, not of RE-GCN; give evidence.evidence_heads",
        ),
        (
            GivenSettings(options={"history": "evidence"}, assignments=["evidence.angle=3"]),
            "angle is a setting of TiRGN and RE-GCN, not of evidence; leave it out, or train tirgn and regcn",
        ),
        (
            GivenSettings(assignments=["evidence.epochs=3"]),
            "evidence is a setting of a mixture, not of TiRGN; leave it out, or train mixture",
        ),
        (
            GivenSettings(options={"family": "gru"}),
            "family = 'gru': must be one of tirgn, regcn, evidence, mixture, events",
        ),
        (
            GivenSettings(options={"family": "evidence", "history": "evidence"}),
            "history = evidence: for tirgn and regcn, not for evidence; leave one of them out",
        ),
        (
            GivenSettings(options={"history": "evidence"}, assignments=["evidence=3"]),
            "evidence = 3: must be settings by name",
        ),
        (GivenSettings(options={"self": 1}), "config key 'self' does not exist for TiRGN; did you mean 'seed'?"),
        (GivenSettings(options={"history": "both"}), "history = 'both': must be one of mask, evidence"),
        (
            GivenSettings("yago", options={"family": "evidence"}),
            "--preset yago: is a preset of tirgn, not of evidence; leave one out",
        ),
        (
            GivenSettings(recipe="fast", options={"family": "evidence"}),
            "--recipe fast: a way to train tirgn and regcn; leave it out for evidence",
        ),
        (GivenSettings(assignments=["conv_kernel=4"]), "conv_kernel = 4: must be odd; try 5"),
        (GivenSettings(assignments=["angle"]), "--set 'angle': expected key=value, such as --set angle=10"),
        (GivenSettings(assignments=["epochs=three"]), "epochs = 'three': must be int, not str"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given, message):
    with pytest.raises(ConfigError) as error:
        given.config()
    assert str(error.value) == message


@pytest.mark.parametrize("base", [None, EvidenceTrainingConfig(evidence_heads=3), MixtureTrainingConfig()])
def test_settings_of_an_event_model_are_read_back_with_those_of_its_base(tmp_path, base):
    config = EventTrainingConfig(rate_hidden=5, base=base)
    (tmp_path / "events.toml").write_text(config.to_toml())
    assert GivenSettings(file=tmp_path / "events.toml").config() == config
    (tmp_path / "bad.toml").write_text('family = "events"\n[base]\nfamily = "events"\n')
    with pytest.raises(ConfigError, match="bad.toml: base: family = 'events': must be one that is no model of several"):
        GivenSettings(file=tmp_path / "bad.toml").config()


def test_errors_of_a_file_begin_with_its_name(tmp_path):
    file = tmp_path / "run.toml"
    for text, message in (
        ("epoch = 3\n", "config key 'epoch' does not exist for TiRGN; did you mean 'epochs'?"),
        ('family = "gru"\n', "family = 'gru': must be one of tirgn, regcn, evidence, mixture, events"),
        ("epochs = -1\n", "epochs = -1: must be at least 0"),
        ("self = 1\n", "config key 'self' does not exist for TiRGN; did you mean 'seed'?"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError) as error:
            GivenSettings(file=file).config()
        assert str(error.value) == f"{file}: {message}"


def test_changing_the_configuration_of_a_checkpoint():
    config = MixtureTrainingConfig.of(preset("yago"), EvidenceTrainingConfig(epochs=7, seed=1))
    assert GivenSettings(options={"epochs": 3, "history": "evidence"}).changed(config).evidence.epochs == 7
    other = GivenSettings(assignments=["evidence.epochs=5"]).changed(config.replace(logdir="logs"))
    assert (other.evidence.epochs, other.logdir, other.evidence.logdir) == (5, "logs", "logs/evidence")
    with pytest.raises(ConfigError, match="holds tirgn-evidence, and the settings ask for regcn-evidence"):
        GivenSettings(options={"family": "regcn"}).changed(config)
    with pytest.raises(ConfigError, match="holds tirgn, and the settings ask for tirgn-evidence"):
        GivenSettings(options={"history": "evidence"}).changed(preset("yago"))


def test_assignments_are_toml_or_text():
    texts = ["angle=10", "loss = sampled", "static-graph=false", "logdir=a=b", "evidence.epochs=5", "structure.seed=1"]
    assert parse_assignments(texts) == {
        **{"angle": 10, "loss": "sampled", "static_graph": False, "logdir": "a=b"},
        **{"evidence": {"epochs": 5}, "seed": 1},
    }
