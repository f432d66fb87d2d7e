"""The two Parquet tables of an experiment: `runs` and `evaluations`.

A table is a few files, each of the trials of one range of numbers. A file is replaced whole whenever one of its trials
ends, so that a trial that ends twice is counted once, and a reader never sees half of one.
"""

import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from sweep.records.rows import EvaluationRow
from sweep.storage import Folder
from xpe_core.config import FIELDS, RunConfig
from xpe_core.errors import InputError
from xpe_core.fields import Mark

if TYPE_CHECKING:
    from xpe_core.tasks.scores import LanguageScore  # slow to import

TRIALS_A_FILE = 128

Rows = Sequence[Mapping[str, object]]


ARROW_TYPES: dict[type, pa.DataType] = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def _arrow_type(annotation: object) -> pa.DataType:
    """Return the column type of a `RunConfig` field; what is none of `ARROW_TYPES` is text."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return next((kind for python, kind in ARROW_TYPES.items() if annotation is python), pa.string())


RUN_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("config_id", pa.string()),
        ("trial_id", pa.string()),
        ("trial_number", pa.int64()),
        ("arm", pa.string()),  # of a grid or a replication; of a study the method
        ("stage", pa.string()),  # of a study: search or replication
        ("method", pa.string()),
        ("state", pa.string()),  # complete, pruned, failed
        ("error", pa.string()),
        *((name, _arrow_type(field.annotation)) for name, field in FIELDS.items()),
        ("adapted_to", pa.string()),  # the language that the run was trained further on; null: none
        ("parent_run_id", pa.string()),  # the run that it was trained further from; null: none
        ("adapter", pa.string()),  # of an evaluation: where it was read from
        ("adapter_fingerprint", pa.string()),
        ("num_steps", pa.int64()),
        ("best_step", pa.int64()),
        ("validation_accuracy", pa.float64()),  # of the kept checkpoint, mean over the source languages
        ("selection_accuracy", pa.float64()),  # of the kept checkpoint, mean over the experiment's selection languages
        ("train_seconds", pa.float64()),  # of the whole pack, evaluations not counted
        ("tokens_per_second", pa.float64()),  # of the whole pack, text tokens
        ("padding_share", pa.float64()),  # of all positions in the backbone's batches
        ("peak_share", pa.float64()),  # of the rate of a plain matrix product in the run's precision, measured there
        ("num_runs_in_pack", pa.int64()),
        ("peak_memory_bytes", pa.int64()),  # of the worker process, or of its GPU
        ("num_trained_parameters", pa.int64()),
        ("code_version", pa.string()),
        ("package_versions", pa.string()),  # JSON
        ("backbone_fingerprint", pa.string()),
        ("data_fingerprint", pa.string()),
        ("num_rows_skipped", pa.int64()),  # bad rows of the data set that were left out; null in older experiments
        ("host", pa.string()),
        ("device", pa.string()),
    ]
)
EVALUATION_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("split", pa.string()),
        ("language", pa.string()),
        ("metric", pa.string()),
        ("num_examples", pa.int64()),
        ("score_sum", pa.float64()),  # over num_examples it is the metric; of accuracy the number of correct ones
        ("loss", pa.float64()),  # mean over the examples, whatever the metric
        ("chance_sum", pa.float64()),  # of always giving the most frequent answer; null where it is not known
    ]
)
OLDER_EVALUATION_SCHEMA = pa.schema(
    [
        *((name, EVALUATION_SCHEMA.field(name).type) for name in ("run_id", "split", "language", "num_examples")),
        ("num_correct", pa.int64()),
        ("macro_f1", pa.float64()),
        ("loss", pa.float64()),
        ("num_most_frequent", pa.int64()),
    ]
)
"""A row for all metrics, as older versions wrote it."""
LATER = RunConfig().marked(Mark.LATER)
"""Fields that older tables have no column for, with the values that they had then."""
SCHEMAS = {"runs": RUN_SCHEMA, "evaluations": EVALUATION_SCHEMA}
NEEDED = {
    "runs": (
        *("run_id", "config_id", "trial_id", "trial_number", "method", "state", "selection_accuracy"),
        *(name for name in RunConfig().values if name not in LATER),
    ),
    "evaluations": ("run_id", "split", "language", "metric", "num_examples", "score_sum"),
}
"""Columns without which a file says nothing; what another version lacks beside these is null."""
OLDER_NEEDED = ("run_id", "split", "language", "num_examples", "num_correct")


def write_rows(folder: Folder, table: str, part: int, run_ids: Sequence[str], rows: Rows) -> None:
    """Put the rows of these runs, all of one part (a trial's number // TRIALS_A_FILE), in the place of older ones."""
    schema, name = SCHEMAS[table], f"{table}/part-{part:04}.parquet"
    new = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    content = folder.read(name)
    if content is not None:
        old = _read_part(content, table, f"{folder}/{name}")
        others = pa.compute.invert(pa.compute.is_in(old["run_id"], pa.array(run_ids, pa.string())))
        new = pa.concat_tables([old.filter(others), new])
    target = pa.BufferOutputStream()
    pa.parquet.write_table(new.combine_chunks(), target, compression="zstd")
    folder.write(name, target.getvalue().to_pybytes())


def read_rows(folder: Folder, table: str) -> pa.Table | None:
    """Return a whole table, None where nothing has been written; InputError where a file cannot be read as a part."""
    below = folder / table
    found = []
    for name in below.names(".parquet"):
        part = below.read(name)
        if part is None:  # deleted since
            continue
        found.append(_read_part(part, table, f"{below}/{name}"))
    return pa.concat_tables(found) if found else None


def score_rows(run_id: str, split: str, scores: Iterable["LanguageScore"]) -> list[EvaluationRow]:
    """Return a run's rows of the table `evaluations`: one a language and metric."""
    return [
        {
            "run_id": run_id,
            "split": split,
            "language": score.language,
            "metric": metric,
            "num_examples": score.num_examples,
            "score_sum": score_sum,
            "loss": score.loss,
            "chance_sum": score.chance_sums.get(metric),
        }
        for score in scores
        for metric, score_sum in score.score_sums.items()
    ]


def _read_part(content: bytes, table: str, place: str) -> pa.Table:
    """Return a file's rows with the columns of today; InputError where it is no part of the table."""
    cannot = f"{place} cannot be read as a part of the table {table}"
    try:
        columns = set(pa.parquet.read_schema(pa.BufferReader(content)).names)
        is_older = table == "evaluations" and "metric" not in columns and "num_correct" in columns
        if lacking := [column for column in (OLDER_NEEDED if is_older else NEEDED[table]) if column not in columns]:
            reason = f"it lacks the column {', '.join(lacking)}; another version may have written it"
            raise InputError(f"{cannot}: {reason}")
        schema = OLDER_EVALUATION_SCHEMA if is_older else SCHEMAS[table]
        rows = pa.parquet.read_table(pa.BufferReader(content), schema=schema)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{cannot}: {str(error).splitlines()[0]}") from None
    if is_older:
        return _split_metrics(rows)
    return _fill_in(rows, columns) if table == "runs" else rows


def _split_metrics(rows: pa.Table) -> pa.Table:
    """Return a row a metric out of rows that have them all; those of one metric stay in their order."""
    f1_sums = pa.compute.multiply(rows["macro_f1"], rows["num_examples"].cast(pa.float64()))
    sums = {"accuracy": rows["num_correct"], "macro_f1": f1_sums}
    chances = {"accuracy": rows["num_most_frequent"]}
    parts = []
    for metric, score_sums in sums.items():
        own = rows.append_column("metric", pa.array([metric] * len(rows), pa.string()))
        own = own.append_column("score_sum", score_sums.cast(pa.float64()))
        chance = chances.get(metric, pa.nulls(len(rows), pa.float64()))
        own = own.append_column("chance_sum", chance.cast(pa.float64()))
        parts.append(own.select(EVALUATION_SCHEMA.names).filter(pa.compute.is_valid(own["score_sum"])))
    return pa.concat_tables(parts).cast(EVALUATION_SCHEMA)


def _fill_in(runs: pa.Table, columns: Collection[str]) -> pa.Table:
    """Return runs with the values that fields had before there was a column for them."""
    for name, value in LATER.items():
        if name not in columns and value is not None:
            place = runs.schema.get_field_index(name)
            runs = runs.set_column(place, runs.field(place), pa.array([value] * len(runs), runs.field(place).type))
    return runs
