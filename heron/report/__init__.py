"""Presentation of saved results: tables, plots, an HTML page and TensorBoard events."""

from heron.faces import extra_named

with extra_named():
    from heron.report.analysis_tables import plot_analysis, print_analysis
    from heron.report.audit_page import write_audit_page
    from heron.report.audit_tables import plot_audit, print_audit
    from heron.report.events import EventWriter, check_tensorboard
    from heron.report.fleet_tables import print_fleet
    from heron.report.grid_plots import plot_grid
    from heron.report.model_card import ExportedModel, model_card
    from heron.report.page import write_report
    from heron.report.plan_tables import print_plan, print_upload_note
    from heron.report.plots import plot_learning_curves
    from heron.report.tables import print_comparison, print_comparison_note, print_costs, print_kernel_note, print_run

__all__ = [
    "EventWriter",
    "ExportedModel",
    "check_tensorboard",
    "model_card",
    "plot_analysis",
    "plot_audit",
    "plot_grid",
    "plot_learning_curves",
    "print_analysis",
    "print_audit",
    "print_comparison",
    "print_comparison_note",
    "print_costs",
    "print_fleet",
    "print_kernel_note",
    "print_plan",
    "print_run",
    "print_upload_note",
    "write_audit_page",
    "write_report",
]
