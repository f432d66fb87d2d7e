"""The command `evaluate`."""

from typing import Annotated

import typer

from sweep.commands.options import RunOptions, tidy_list
from sweep.commands.start import check_tools, start
from sweep.experiment.evaluated import OF_EVALUATIONS, name_evaluation, read_evaluation_values
from xpe_core.steps import long_step

Adapters = Annotated[
    list[str],
    typer.Argument(help="Files or folders: of export, peft or micm-nlp, with folders seed-NN; or hub:USER/NAME@REV."),
]
Languages = Annotated[
    str, typer.Option("--languages", callback=tidy_list, help="A group, family, script, code, or several.")
]
Dataset = Annotated[str | None, typer.Option("--dataset", help="What to test on (where it was trained).")]
MaxExamples = Annotated[int | None, typer.Option("--max-examples", min=1, help="Test examples a language at most.")]
SourceSet = Annotated[
    str | None,
    typer.Option("--source-set", callback=tidy_list, help="What the adapters were trained on, if they do not say."),
]
Backbone = Annotated[str | None, typer.Option("--backbone", help="Where the backbone is, if not there.")]
Classes = Annotated[
    str | None,
    typer.Option("--classes", help="Names of unnamed classes in the order of the logits: a,b,c, @FILE, or: dataset."),
]
Fields = Annotated[list[str] | None, typer.Option("--set", help=f"One of {', '.join(OF_EVALUATIONS)}.")]


def evaluate(
    adapters: Adapters,
    languages: Languages = "all",
    dataset: Dataset = None,
    max_examples: MaxExamples = None,
    source_set: SourceSet = None,
    backbone: Backbone = None,
    classes: Classes = None,
    overrides: Fields = None,
    *,
    options: RunOptions,
) -> None:
    """Test trained adapters, whoever published them, on every language, into the same tables as one's own runs."""
    check_tools(options)
    values = read_evaluation_values(overrides or [], dataset=dataset, backbone=backbone, source_set=source_set)

    from sweep.experiment.classes import read_classes
    from sweep.planning.evaluation import IN_DATA_SETS_ORDER, build_evaluation, find_adapters, prepare_evaluation

    in_data_sets_order = classes is not None and classes.strip() == IN_DATA_SETS_ORDER
    names = None if classes is None or in_data_sets_order else read_classes(classes)
    with long_step("Reading adapters"):
        found = find_adapters(adapters, names)
    sweep = build_evaluation(found, languages, max_examples, values)
    name = options.name or name_evaluation(adapters[0])
    start(
        name,
        sweep,
        options,
        prepare_plan=lambda named: prepare_evaluation(name, named, found, in_data_sets_order),
    )
