"""`tirgn baseline`: forecasts without training."""

from typing import TYPE_CHECKING, Annotated

import typer

from tirgn_cli import options, output, tables, values
from tirgn_eqx.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tirgn_eqx.evaluate.results import EvaluationReport

baseline_app = typer.Typer(
    no_args_is_help=True,
    help="Evaluate forecasts that need no training.\n\nExample: tirgn baseline recurrency --data-path data/YAGO",
)


@baseline_app.command("recurrency")
@options.command()
def recurrency(
    *,
    data_path: options.DataPath = None,
    reading: options.ReadingFlags,
    split: options.Split = "test",
    multi_step: options.MultiStep = False,
    variant: Annotated[
        str,
        options.choice(
            choices=values.VARIANTS,
            help="strict: when (s, r, o) happened; relaxed: how often o followed r; combined: both (default: combined)",
            panel=options.MODEL,
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
) -> None:
    """Evaluate the recurrency baseline (Gastinger et al., IJCAI 2024): what happened before happens again.

    Its two parameters are searched on the valid split, for every relation, and used on the split that is evaluated.

    Example: tirgn baseline recurrency --data-path data/YAGO --json
    """
    held_out = values.check_split(split)
    values.check_choice("--variant", variant, values.VARIANTS)
    if (decay is None) != (share is None):
        raise ConfigError("--decay and --share: give both, or neither to have them searched on valid")
    if decay is not None and one_for_all:
        raise ConfigError("--one-for-all: for the search, which --decay and --share replace; give one or the other")
    setting = values.evaluation_setting(multi_step)

    with output.stdout_to_stderr():
        from tirgn_eqx.data import load_graph
        from tirgn_eqx.data.index.recurrence import build_recurrence_index
        from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency
        from tirgn_eqx.models.recurrency import Recurrency

        graph = load_graph(data_path or values.default_data_path(), **reading.given())
        index = build_recurrence_index(graph)
        if decay is not None and share is not None:
            model, chosen = Recurrency.constant(graph.num_relations, decay, share), "given"
        else:
            with output.working(f"searching decay and share on the valid split of {graph.name}"):
                try:
                    model = search_recurrency(graph, per_relation=not one_for_all, setting=setting, index=index)
                except DataError as error:
                    raise DataError(f"{error}; --decay and --share need no search") from error
            chosen = "searched on valid, " + ("one for all relations" if one_for_all else "per relation")
        with output.working(f"evaluating {graph.name}"):
            model = model.variant(variant)
            report = RecurrencyEvaluator(graph, held_out, setting, index)(model).report()
    parameters = model.to_dict()
    if as_json:
        more = {"model_type": "recurrency", "variant": variant, "parameters": parameters | {"chosen": chosen}}
        output.print_json(report.to_dict() | more)
    else:
        output.print_result(tables.format_dataset(graph.describe()))
        _show(f"{held_out} figures of the recurrency baseline, {variant}", report, parameters, chosen)


def _show(title: str, report: "EvaluationReport", parameters: dict[str, float | list[float]], chosen: str) -> None:
    tables.print_table(tables.make_metrics_table(title, report))
    shown = {key: value if isinstance(value, float) else "per relation" for key, value in parameters.items()}
    tables.print_table(tables.make_pairs("Parameters", shown | {"chosen": chosen}))
