"""Results for people: tables and plots, from saved results only."""

from heron.report.grid_plots import plot_grid
from heron.report.plots import plot_learning_curves
from heron.report.tables import print_comparison, print_comparison_note, print_costs, print_run

__all__ = [
    "plot_grid",
    "plot_learning_curves",
    "print_comparison",
    "print_comparison_note",
    "print_costs",
    "print_run",
]
