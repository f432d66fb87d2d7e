"""What ledger and tables hold of a worker's report."""

from collections.abc import Sequence

from sweep.driver.messages import Provenance, TrialReport
from sweep.records.events import Reported
from sweep.records.experiment_folder import ExperimentFolder
from sweep.records.ledger import TrialRecord
from sweep.records.parquet import Rows
from sweep.records.rows import RunRow
from sweep.records.runs import RunKey
from sweep.records.states import State


def describe_report(record: TrialRecord, report: TrialReport) -> Reported:
    """Return a worker's report as the ledger has it; lists are in the order of the trial's runs.

    A run that ended before the pack has fewer `num_steps` than the report's `step`; its values are those of its end.
    """
    return {
        "event": "report",
        "trial_id": record.trial_id,
        "step": report.step,
        "seconds": round(record.seconds, 3),
        "selection_accuracy": report.selection_accuracy,
        "num_steps": [run.num_steps for run in report.runs],
        "validation_accuracies": [run.validation_accuracy for run in report.runs],
        "selection_accuracies": [run.selection_accuracy for run in report.runs],
        "train_losses": [run.train_loss for run in report.runs],
    }


def describe_run(record: TrialRecord, report: TrialReport, index: int) -> RunRow:
    """Return the row of `runs` of one of a trial's runs, after its worker's last report."""
    run = report.runs[index]
    # where the scheduler stopped the trial, also a run that had ended by itself was never tested
    state = run.state if report.finished or run.state == State.FAILED else State.PRUNED
    row: RunRow = {
        **identify(record, record.runs[index], state),
        "error": run.error,
        "adapter": run.adapter,
        "adapter_fingerprint": run.adapter_fingerprint,
        "num_steps": run.num_steps,
        "best_step": run.best_step,
        "validation_accuracy": run.best_validation_accuracy,
        "selection_accuracy": run.selection_accuracy,
        "train_seconds": run.train_seconds,
        "tokens_per_second": run.tokens_per_second,
        "padding_share": run.padding_share,
        "peak_share": run.peak_share,
        "num_runs_in_pack": run.num_runs_in_pack,
        "peak_memory_bytes": run.peak_memory_bytes,
        "num_trained_parameters": run.num_trained_parameters,
    }
    return row if report.provenance is None else _add_provenance(row, report.provenance)


def identify(record: TrialRecord, run: RunKey, state: State) -> RunRow:
    """Return the row of a run that has not started; of its configuration it has the id and the method."""
    config = record.run_config.with_seed(run.seed)
    return {
        "run_id": run.run_id(config),
        "state": state,
        "seed": run.seed,
        "adapted_to": run.adapted_to,
        "parent_run_id": run.parent_run_id,
        "config_id": config.config_id,
        "trial_id": record.trial_id,
        "trial_number": record.number,
        "arm": record.arm,
        "stage": record.stage,
        "method": config.method,
    }


def _add_provenance(row: RunRow, provenance: Provenance) -> RunRow:
    return {
        **row,
        "code_version": provenance.code_version,
        "package_versions": provenance.package_versions,
        "backbone_fingerprint": provenance.backbone_fingerprint,
        "host": provenance.host,
        "device": provenance.device,
        "data_fingerprint": provenance.data_fingerprint,
        "num_rows_skipped": provenance.num_rows_skipped,
    }


def end_unrun(folder: ExperimentFolder, record: TrialRecord, state: State, error: str) -> None:
    """Write a trial that has no results as ended."""
    runs: list[RunRow] = [{**identify(record, run, State.FAILED), "error": error} for run in record.runs]
    folder.end(record, state, error, add_configurations(record, runs), [])


def add_configurations(record: TrialRecord, rows: Sequence[RunRow]) -> Rows:
    """Return the rows of a trial's runs with the known fields of their configurations."""
    config = record.run_config
    return [{**config.with_seed(run.seed).known, **row} for run, row in zip(record.runs, rows, strict=True)]
