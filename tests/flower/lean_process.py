"""A lean client in a process of its own in which PyTorch cannot be imported, as a node of the fake grid.

The process runs the app that `pyproject.toml` names. Requests go in and replies come out as lines of JSON.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict

from heron.flower.records import CONTENT, byte_array

ROOT = Path(__file__).parents[2]
POISON = "raise RuntimeError('torch was imported')\n"


def to_line(records: RecordDict) -> str:
    """Records of heron as JSON."""
    configs = {name: dict(record) for name, record in records.config_records.items()}
    arrays = records.array_records.get(CONTENT)
    content = None if arrays is None else base64.b64encode(arrays[CONTENT].data).decode()
    return json.dumps({"configs": configs, CONTENT: content})


def to_records(line: str) -> RecordDict:
    """The inverse of `to_line`."""
    values = json.loads(line)
    records = RecordDict({name: ConfigRecord(config) for name, config in values["configs"].items()})
    if values[CONTENT] is not None:
        records[CONTENT] = ArrayRecord({CONTENT: byte_array(base64.b64decode(values[CONTENT]))})
    return records


class LeanProcess:
    """The app of one node, to be called as an app is.

    Args:
        folder: where the poisoned package goes.
        node_config: of the node.
    """

    def __init__(self, folder: Path, node_config: dict[str, Any]) -> None:
        (folder / "torch").mkdir(parents=True)
        (folder / "torch" / "__init__.py").write_text(POISON)
        path = os.pathsep.join([str(folder), str(ROOT)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.flower.lean_process", json.dumps(node_config)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, message: Message, context: Context) -> Message:
        """Have the process work on a message; the context stays with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{message.metadata.message_type} {to_line(message.content)}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        return Message(to_records(line), reply_to=message)

    def close(self) -> int:
        """End the process; returns its exit code, 0 if torch was never imported."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait(30)


def main(node_config: dict[str, Any]) -> None:
    """Answer requests, one a line, until there are no more."""
    from flwr.supercore.task_identity import TaskIdentity

    from heron.apps.client import app

    for name in ("_task_id", "_run_id", "_node_id"):
        setattr(TaskIdentity, name, 1)
    context = Context(1, 1, node_config, RecordDict(), {})
    for line in sys.stdin:
        kind, _, content = line.partition(" ")
        message = Message(to_records(content), 1, kind)
        message.metadata.__dict__["_message_id"] = "1"
        sys.stdout.write(f"{to_line(app(message, context).content)}\n")
        sys.stdout.flush()
    assert "torch" not in sys.modules
    assert "sklearn" not in sys.modules


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
