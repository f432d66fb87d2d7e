"""Answers out of experiments' tables, as plain functions that return data frames: which configuration is better, for
which languages, and is it real.

`read_results` comes first. What the others return is in their docstrings, or in those of the rows that these name.
"""

from sweep.analysis.choice import RankedRow, compare, find_cells, find_experiments_of, parse_weights, rank
from sweep.analysis.configurations import (
    Best,
    asked_runs,
    best_experiment,
    find_best,
    first_error,
    rank_configurations,
    read_evaluations,
    read_runs,
)
from sweep.analysis.effort import CostRow, CurveRow, RungRow, costs, importances, learning_curves, rungs
from sweep.analysis.per_language import extremes, kinship_table, language_table
from sweep.analysis.published import PublishedRow, published_table
from sweep.analysis.reading import read_results, read_together
from sweep.analysis.report_data import ReportData, read_report_data
from sweep.analysis.results import Cell, Experiment, Results
from sweep.analysis.stored_experiment import read_panels
from sweep.analysis.tables import DifferenceRow, MainRow, differences, main_table
from sweep.analysis.targets import ALL_TARGETS, TableRows, find_rows, target_groups
from sweep.analysis.tradeoff import CurseRow, FrontRow, pareto_front, winners_curse
from sweep.analysis.transfers import TransferRow, transfer_table

__all__ = [
    "ALL_TARGETS",
    "Best",
    "Cell",
    "CostRow",
    "CurseRow",
    "CurveRow",
    "DifferenceRow",
    "Experiment",
    "FrontRow",
    "MainRow",
    "PublishedRow",
    "RankedRow",
    "ReportData",
    "Results",
    "RungRow",
    "TableRows",
    "TransferRow",
    "asked_runs",
    "best_experiment",
    "compare",
    "costs",
    "differences",
    "extremes",
    "find_best",
    "find_cells",
    "find_experiments_of",
    "find_rows",
    "first_error",
    "importances",
    "kinship_table",
    "language_table",
    "learning_curves",
    "main_table",
    "pareto_front",
    "parse_weights",
    "published_table",
    "rank",
    "rank_configurations",
    "read_evaluations",
    "read_panels",
    "read_report_data",
    "read_results",
    "read_runs",
    "read_together",
    "rungs",
    "target_groups",
    "transfer_table",
    "winners_curse",
]
