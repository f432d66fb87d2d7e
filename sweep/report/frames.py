"""The data frames behind a report's tables, as CSV holds them: not rounded, with what joins them to each other.

Rows of an arm on a source set have experiment, config_id, method and seeds; `config_id` leads to the fields in
`setup.csv`, and with a seed to `run_id` in the table `runs`.
"""

from dataclasses import replace

import polars as pl

from sweep.analysis.report_data import ReportData
from sweep.analysis.results import Cell
from sweep.report.sheet import Sheet
from xpe_core.config import list_settings
from xpe_core.language_facts import Facts

CELL = ("arm", "source_set")
OF_MEASURES = {"search_score": "search_accuracy", "replication_score": "replication_accuracy"}
"""What columns are called in a file whose `measure` says of each row what its scores are of, by any metric."""
IDS = ("experiment", "config_id", "method", "seeds")


def with_ids(sheet: Sheet, data: ReportData) -> Sheet:
    """Return a table whose data frame names the configurations that its rows are of."""
    if sheet.name == "setup":
        return replace(sheet, frame=setup_frame(data))
    frame = sheet.frame
    keys = ["config_id"] if "config_id" in frame.columns else list(CELL)
    if not set(keys) <= set(frame.columns):
        return sheet
    known = _identify(data).unique(keys, keep="first", maintain_order=True)
    wanted = [name for name in (*CELL, *IDS) if name not in frame.columns]
    frame = frame.join(known.select(*keys, *wanted), on=keys, how="left", maintain_order="left")
    if "baseline" in frame.columns and "source_set" in frame.columns:
        frame = _with_baseline(frame, known if keys == list(CELL) else _identify(data))
    frame = frame.rename({"score": data.results.metric, **OF_MEASURES}, strict=False)
    if "joshi_class" in frame.columns:
        frame = _name_facts(frame, data.results.rows.facts)
    return replace(sheet, frame=frame)


def setup_frame(data: ReportData) -> pl.DataFrame:
    """Return one row a configuration that is in the tables, with every field; a field that is not known is null."""
    cells = data.results.shown
    fields = list_settings(cell.config for cell in cells)
    rows = [{**_identity(cell), **{name: cell.config.known.get(name) for name in fields}} for cell in cells]
    return pl.DataFrame(rows, infer_schema_length=None)


def _name_facts(frame: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """Say whose pretraining `seen` means, such as `xlmr_seen`; columns of facts that are not known are absent."""
    if facts.low_performing is None:
        frame = frame.drop("low_performing")
    return frame.drop("seen") if facts.pretraining is None else frame.rename({"seen": f"{facts.pretraining.name}_seen"})


def _identify(data: ReportData) -> pl.DataFrame:
    """Return what identifies every configuration that was read, those in the tables first."""
    cells = sorted(data.results.cells, key=lambda cell: not cell.shown)
    schema = dict.fromkeys((*CELL, *IDS), pl.String)
    return pl.DataFrame([_identity(cell) for cell in cells], schema=schema)


def _identity(cell: Cell) -> dict[str, object]:
    return {
        **{"arm": cell.arm, "source_set": cell.source_set, "experiment": cell.experiment},
        **{"config_id": cell.config_id, "method": cell.method, "seeds": ",".join(map(str, cell.seeds))},
    }


def _with_baseline(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Add the config_id of what each row is compared with."""
    other = known.select(baseline="arm", source_set="source_set", baseline_config_id="config_id")
    other = other.unique(["baseline", "source_set"], keep="first", maintain_order=True)
    return frame.join(other, on=["baseline", "source_set"], how="left", maintain_order="left")
