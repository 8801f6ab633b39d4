"""Audit of a run: attacks on what leaves its clients, measured. They train models of their own, never the run's.

Read in this order: `observer`, `view`, `decoder`, `labels`, `attacks`, `grid`; `bounds`, `trials`, `canaries`.
"""

from heron.faces import extra_named

with extra_named():
    from heron.audit.attacks import ATTACKS, LEAKS, Attack, Figure, figures_of, run_attacks
    from heron.audit.bounds import epsilon_bound, gaussian_distance, interval
    from heron.audit.canaries import Bounds, canary_bounds
    from heron.audit.decoder import trained_decoder
    from heron.audit.dependence import distance_correlation
    from heron.audit.grid import Case, rows_of
    from heron.audit.labels import linear_probe
    from heron.audit.membership import auc
    from heron.audit.observer import Seen
    from heron.audit.outcome import Outcome
    from heron.audit.similarity import ssim
    from heron.audit.trials import Trials
    from heron.audit.view import View, check_examples, make_view

__all__ = [
    "ATTACKS",
    "LEAKS",
    "Attack",
    "Bounds",
    "Case",
    "Figure",
    "Outcome",
    "Seen",
    "Trials",
    "View",
    "auc",
    "canary_bounds",
    "check_examples",
    "distance_correlation",
    "epsilon_bound",
    "figures_of",
    "gaussian_distance",
    "interval",
    "linear_probe",
    "make_view",
    "rows_of",
    "run_attacks",
    "ssim",
    "trained_decoder",
]
