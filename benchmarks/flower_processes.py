"""Real Flower processes on loopback, for scripts and tests: a simulation, and a secured deployment.

Everything runs in a separate network and process namespace, if that is permitted: nothing listens outside it, and
nothing survives it. Keys and certificates are those of `heron deploy init`; the processes are started without its
scripts, so that code that measures or kills them can identify each. `supervise` is their restart loop.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from heron.deploy import DeploymentPlan, init_deployment

AppConfig = Mapping[str, str | int | float]
ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
_NAMESPACE = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
_INSIDE = "HERON_IN_NAMESPACE"
_STOP_S = 20
_RESTART_S = 5


def can_have_namespace() -> bool:
    """Return whether this process may make a network and process namespace."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return (
        subprocess.run([*_NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0
    )


def enter_namespace() -> None:
    """Start this script again in a namespace of its own, and end with its exit code; does nothing inside one."""
    if os.environ.get(_INSIDE):
        return
    command = [*_NAMESPACE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, env=os.environ | {_INSIDE: "1"}, check=False).returncode)


def environment(folder: Path) -> dict[str, str]:
    """Environment of Flower's processes: a separate home, the environment's commands, no calls to the internet."""
    path = os.environ.get("PYTHONPATH", "")
    return os.environ | {
        "FLWR_HOME": str(folder / "home"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT),
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
    }


def run_config(values: AppConfig) -> str:
    """Keys of the app's configuration as `flwr run --run-config` takes them."""
    return " ".join(f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}" for key, value in values.items())


def simulate(folder: Path, config: AppConfig, num_clients: int, timeout_s: float) -> tuple[str, dict[str, float]]:
    """Run the apps in Flower's simulation. To be called in a namespace: Ray listens everywhere.

    Returns:
        The log, and the largest memory of all processes of the namespace together (PSS: a shared page counts once).
    """
    assert os.environ.get(_INSIDE), "call enter_namespace first"
    (folder / "home").mkdir(parents=True, exist_ok=True)
    federation = f"num-supernodes={num_clients} client-resources-num-cpus=1"
    command = ["flwr", "run", ".", "local", "--stream", "--federation-config", federation]
    peak_mib: dict[str, float] = {"all processes": 0.0}
    over = threading.Event()
    watch = threading.Thread(target=_watch_namespace, args=(peak_mib, over), daemon=True)
    watch.start()
    try:
        return _flwr([*command, "--run-config", run_config(config)], folder, timeout_s), peak_mib
    finally:
        over.set()
        watch.join()


def _watch_namespace(peak_mib: dict[str, float], over: threading.Event) -> None:
    while not over.wait(1.0):
        total = 0
        for process in psutil.process_iter():
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        peak_mib["all processes"] = max(peak_mib["all processes"], round(total / 2**20, 1))


class Deployment:
    """A SuperLink and SuperNodes with TLS and node authentication.

    Args:
        folder: where keys, state and logs go.
        num_clients: number of nodes; node i is client i.
        node_configs: further keys of the configuration of some nodes, as `key=value key=value`.
        node_paths: a folder that comes first for some nodes: packages of Python, and commands in its `bin`.

    Attributes:
        parties: the folder that `heron deploy init` made.
        port: of the SuperLink.
        peak_rss_mib: largest resident memory seen, by kind of process.
    """

    def __init__(
        self,
        folder: Path,
        num_clients: int,
        node_configs: Mapping[int, str] | None = None,
        node_paths: Mapping[int, Path] | None = None,
    ) -> None:
        self.folder = folder
        self._node_configs = node_configs or {}
        self._node_paths = node_paths or {}
        self.parties = folder / "parties"
        self.num_clients = num_clients
        self.peak_rss_mib: dict[str, float] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[list[str], Path | None]] = {}
        self.port = _free_port()
        self._watching = threading.Event()

    def start(self) -> None:
        """Make keys, start the SuperLink, register the nodes' keys, start the nodes."""
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        plan = DeploymentPlan(self.num_clients, port=self.port)
        init_deployment(self.parties, plan)
        authority = self.parties / "server" / "ca.crt"
        (self.folder / "home" / "config.toml").write_text(
            f'[superlink.dep]\naddress = "{plan.control}"\nroot-certificates = "{authority}"\n'
        )
        self.start_superlink()
        for client_id in range(self.num_clients):
            public = self.parties / "server" / "nodes" / f"client-{client_id}.pub"
            _flwr(["flwr", "supernode", "register", str(public), "dep"], self.folder, 60)
            self.start_node(client_id)
        threading.Thread(target=self._watch, daemon=True).start()

    def start_superlink(self) -> None:
        """Start the SuperLink and wait until it answers."""
        names = {"--ssl-ca-certfile": "ca.crt", "--ssl-certfile": "server.crt", "--ssl-keyfile": "server.key"}
        files = [word for flag, name in names.items() for word in (flag, str(self.parties / "server" / name))]
        command = [str(BIN / "flower-superlink"), *files, "--enable-supernode-auth", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--database", str(self.folder / "state.db")]
        self._start("superlink", [*command, "--disable-runtime-dependency-installation"])
        self.wait_for_superlink()

    def wait_for_superlink(self, timeout_s: float = 120.0) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise SystemExit(f"the SuperLink does not answer on port {self.port}; see its log")

    def start_node(self, client_id: int) -> None:
        """Start the SuperNode of a client."""
        client = self.parties / f"client-{client_id}"
        options = ["--root-certificates", str(client / "ca.crt")]
        options += ["--auth-supernode-private-key", str(client / "node.key")]
        config = f"partition-id={client_id} {self._node_configs.get(client_id, '')}".strip()
        path = self._node_paths.get(client_id)
        self.start_supernode(f"supernode{client_id}", [*options, "--node-config", config], path)

    def start_supernode(self, name: str, options: list[str], path: Path | None = None) -> None:
        """Start a SuperNode that calls this deployment's SuperLink."""
        command = [str(BIN / "flower-supernode"), "--superlink", f"127.0.0.1:{self.port}"]
        self._start(name, [*command, "--port", str(_free_port()), *options], path)

    def is_running(self, name: str) -> bool:
        """Return whether a process is still running."""
        return self._processes[name].poll() is None

    def end(self, name: str) -> list[str]:
        """End a process; returns the lines that it wrote."""
        _end(self._processes.pop(name))
        return (self.folder / f"{name}.log").read_text(errors="replace").splitlines()

    def run(self, config: AppConfig, timeout_s: float, app: Path = ROOT) -> str:
        """Run the apps; returns the log."""
        command = ["flwr", "run", str(app), "dep", "--stream", "--run-config", run_config(config)]
        return _flwr(command, self.folder, timeout_s)

    def supervise(self) -> None:
        """Restart every process that ends from now on."""
        threading.Thread(target=self._restart, daemon=True).start()

    def descendants(self, name: str) -> list[psutil.Process]:
        """Processes that a process started, such as apps."""
        try:
            return psutil.Process(self._processes[name].pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self, name: str) -> None:
        """SIGKILL of one process; what it has started is left alone.

        Raises:
            SystemExit: if it has ended already.
        """
        if self._processes[name].poll() is not None:
            raise SystemExit(f"{name} has ended by itself")
        self._processes[name].kill()

    def stop(self) -> None:
        """End every process that was started here."""
        self._watching.set()
        for process in reversed(self._processes.values()):
            _end(process)
        self._processes.clear()

    def _start(self, name: str, command: list[str], path: Path | None = None) -> None:
        variables = environment(self.folder)
        if path is not None:
            variables["PYTHONPATH"] = f"{path}{os.pathsep}{variables['PYTHONPATH']}"
            variables["PATH"] = f"{path / 'bin'}{os.pathsep}{variables['PATH']}"
        log = (self.folder / f"{name}.log").open("ab")
        self._processes[name] = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=variables, start_new_session=True
        )
        log.close()
        self._commands[name] = (command, path)

    def _restart(self) -> None:
        while not self._watching.wait(_RESTART_S):
            for name, process in list(self._processes.items()):
                if process.poll() is not None and not self._watching.is_set():
                    self._start(name, *self._commands[name])

    def _watch(self) -> None:
        while not self._watching.wait(0.2):
            for name, process in list(self._processes.items()):
                kind = name.rstrip("0123456789")
                try:
                    root = psutil.Process(process.pid)
                    children = [(f"app of a {kind}", child) for child in root.children(recursive=True)]
                    for label, each in [(kind, root), *children]:
                        rss_mib = each.memory_info().rss / 2**20
                        self.peak_rss_mib[label] = max(self.peak_rss_mib.get(label, 0.0), round(rss_mib, 1))
                except psutil.Error:
                    continue


@contextmanager
def deployment(
    folder: Path,
    num_clients: int,
    node_configs: Mapping[int, str] | None = None,
    node_paths: Mapping[int, Path] | None = None,
) -> Iterator[Deployment]:
    """Run a deployment; nothing of it is left afterwards."""
    parties = Deployment(folder, num_clients, node_configs, node_paths)
    try:
        parties.start()
        yield parties
    finally:
        parties.stop()


def _flwr(command: list[str], folder: Path, timeout_s: float) -> str:
    """Run one of Flower's commands; returns what it printed."""
    process = subprocess.Popen(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _end(process)
        output, _ = process.communicate()
        raise SystemExit(f"{' '.join(command[:3])} took more than {timeout_s:g} s:\n{output.decode()}") from None
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{output.decode()}")
    return output.decode()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process that was started here, and what it has started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        family = []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for each in family:
        try:
            each.kill()
        except psutil.Error:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
