"""A process that speaks the wire's language loads no torch."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIRE = """
import sys
import numpy as np
from heron.client.opening import Opener
from heron.client.states import ClientStates
from heron.wire import ModelBroadcast, ScalarBroadcast, ScalarReply, SmashedData
from heron.wire import decode, encode, pack_upload, unpack_upload
from heron.wire.digests import digest_of
from heron.wire.groups import Client, Probes, Settings, Smashed
from heron.wire.learning import Learning
from heron.wire.update_codec import UpdateCodec
from heron.wire.walk_log import flatten
from heron.wire.walks import Replayer, RoundWalks, Walk

theta = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones((), np.float32)}
client = Client(optimizer="sgd", learning_rate=0.1)
settings = Settings(seed=5, update="scalars", client=client, estimator=Probes(1e-2, 2))
replayer, states = Replayer(Learning(settings)), ClientStates()
opener = Opener(states, theta, replayer)
assert opener.open(decode(encode(ModelBroadcast(0, 1, theta)))).keys() == theta.keys()
done = RoundWalks(0, (Walk(0, 1, np.ones(4, np.float32)), Walk(1, 3, -np.ones(2, np.float32))))
expected = replayer.advance(theta, done)
broadcast = ScalarBroadcast(1, 1, 0, digest_of(expected), *flatten([done]), {})
opened = opener.open(decode(encode(broadcast)))
assert {name: array.tobytes() for name, array in opened.items()} == {n: a.tobytes() for n, a in expected.items()}

reply = ScalarReply(1, 1, 40, 2, np.float32(0.5), np.ones(4, np.float32), {"seen": np.array(7)})
assert decode(encode(reply)).projected_gradients.tolist() == [1, 1, 1, 1]
upload = SmashedData(1, 1, 0, np.ones((2, 3), np.float32), np.arange(2))
assert unpack_upload(decode(encode(pack_upload(upload, Smashed("int4"), 0)))).smashed.tolist() == [[1, 1, 1]] * 2
coder = UpdateCodec("int8", theta, {})
update = coder.unpack_update(coder.pack_update(opened, theta, 3), theta)
assert {name: array.shape for name, array in update.items()} == {"a": (2, 3), "b": ()}
assert "torch" not in sys.modules, "torch"
"""


def run(program: str) -> None:
    """Run a program in a fresh process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_messages_and_replay_need_no_torch() -> None:
    run(WIRE)
