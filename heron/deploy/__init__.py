"""Deployments on Flower: the certificates, node keys, scripts and settings that they need, and checks of them.

Nothing here starts or imports Flower. `init_deployment` makes a complete folder, which belongs to the user afterwards.
"""

from heron.deploy.check import check_deployment
from heron.deploy.findings import Finding
from heron.deploy.folder import add_client, init_deployment, renew_certificate
from heron.deploy.plan import DeploymentPlan

__all__ = ["DeploymentPlan", "Finding", "add_client", "check_deployment", "init_deployment", "renew_certificate"]
