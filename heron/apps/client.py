"""The client app: `flwr` starts it on every node."""

from heron.config import build_clients
from heron.flower import make_client_app

app = make_client_app(build_clients)
