"""What a deployment on Flower needs beside the apps: certificates, node keys, scripts, settings; and checks of them.

Nothing here starts or imports Flower. What `init_deployment` makes is complete, and the user's from then on.
"""

from heron.deploy.check import check_deployment
from heron.deploy.findings import Finding
from heron.deploy.folder import add_client, init_deployment, renew_certificate
from heron.deploy.plan import DeploymentPlan

__all__ = ["DeploymentPlan", "Finding", "add_client", "check_deployment", "init_deployment", "renew_certificate"]
