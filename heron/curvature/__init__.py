"""Curvature of a client's loss, noise of its gradients, quality of its probes. Differentiates, never trains.

Read in this order: `client_loss`, `spectrum`, `gradients`, `analysis`.
"""

from heron.faces import extra_named

with extra_named():
    from heron.curvature.analysis import Analysis, Effort, analyse
    from heron.curvature.client_loss import ClientLoss
    from heron.curvature.gradients import ProbeQuality, noise_scale, probe_quality
    from heron.curvature.spectrum import Spectrum, spectrum_of

__all__ = [
    "Analysis",
    "ClientLoss",
    "Effort",
    "ProbeQuality",
    "Spectrum",
    "analyse",
    "noise_scale",
    "probe_quality",
    "spectrum_of",
]
