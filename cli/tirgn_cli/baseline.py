"""`tirgn baseline`: forecasts without training."""

from typing import Annotated, Any

import typer

from tirgn_cli import options
from tirgn_cli.manners import mannered
from tirgn_eqx.errors import ConfigError, DataError

baseline_app = typer.Typer(
    no_args_is_help=True,
    help="Evaluate forecasts that need no training.\n\nExample: tirgn baseline recurrency --data-path data/YAGO",
)


@baseline_app.command("recurrency")
@mannered
def recurrency(
    data_path: options.DataPath = None,
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    split: options.Split = "test",
    multi_step: options.MultiStep = False,
    variant: Annotated[
        str,
        options.option(
            metavar="|".join(options.VARIANTS),
            help="strict: when (s, r, o) happened; relaxed: how often o followed r; combined: both (default: combined)",
            panel=options.MODEL,
            autocompletion=lambda: list(options.VARIANTS),
        ),
    ] = "combined",
    decay: Annotated[
        float | None,
        options.option(
            metavar="X",
            help="how fast the past fades, in halvings per step, for all relations; needs --share "
            "(default: searched on valid)",
            panel=options.MODEL,
        ),
    ] = None,
    share: Annotated[
        float | None,
        options.option(
            metavar="X",
            help="weight of the strict part, 0 to 1, for all relations; needs --decay (default: searched on valid)",
            panel=options.MODEL,
        ),
    ] = None,
    one_for_all: Annotated[
        bool,
        options.option(
            "--one-for-all",
            help="search one decay and one share for all relations (default: one of each for every relation)",
            panel=options.MODEL,
        ),
    ] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Evaluate the recurrency baseline (Gastinger et al., IJCAI 2024): what happened before happens again.

    Its two parameters are searched on the valid split, for every relation, and used on the split that is evaluated.

    Example: tirgn baseline recurrency --data-path data/YAGO --json
    """
    options.check_split(split)
    if variant not in options.VARIANTS:
        raise ConfigError(f"--variant {variant!r}: must be one of {', '.join(options.VARIANTS)}")
    if (decay is None) != (share is None):
        raise ConfigError("--decay and --share: give both, or neither to have them searched on valid")
    if decay is not None and one_for_all:
        raise ConfigError(
            "--one-for-all is about the search, which --decay and --share leave out; give one or the other"
        )

    from tirgn_cli import show

    with show.clean_stdout():
        from tirgn_eqx.data import load_graph
        from tirgn_eqx.data.index.recurrence import build_recurrence_index
        from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency
        from tirgn_eqx.models.recurrency import Recurrency

        load = options.given(
            num_days=num_days,
            max_events=max_events,
            granularity=granularity,
            time_format=time_format,
            columns=columns,
            skip_bad_rows=skip_bad_rows,
        )
        graph = load_graph(data_path or options.default_data_path(), **load)
        setting = "multi-step" if multi_step else "single-step"
        index = build_recurrence_index(graph)
        if decay is not None and share is not None:
            model, chosen = Recurrency.constant(graph.num_relations, decay, share), "given"
        else:
            with show.working(f"searching decay and share on the valid split of {graph.name}"):
                try:
                    model = search_recurrency(graph, per_relation=not one_for_all, setting=setting, index=index)
                except DataError as error:
                    raise DataError(f"{error}; --decay and --share need no search") from error
            chosen = "searched on valid, " + ("one for all relations" if one_for_all else "per relation")
        with show.working(f"evaluating {graph.name}"):
            evaluator = RecurrencyEvaluator(graph, "valid" if split == "valid" else "test", setting, index)
            model = model.variant(variant)
            evaluation = evaluator(model)
    measured = evaluation.to_dict() | {"model_type": "recurrency", "variant": variant}
    measured |= {"parameters": model.to_dict() | {"chosen": chosen}}
    if as_json:
        show.document(measured)
    else:
        _show(measured)


def _show(measured: dict[str, Any]) -> None:
    from tirgn_cli import show
    from tirgn_cli.eval import figures_table

    title = f"{measured['split']} figures of the recurrency baseline, {measured['variant']}"
    show.line(show.stdout(), show.dataset(measured["dataset"]))
    show.result(figures_table(title, measured))
    values = {
        key: value if isinstance(value, float) else "per relation" for key, value in measured["parameters"].items()
    }
    show.result(show.pairs("Parameters", values | {"chosen": measured["parameters"]["chosen"]}))
