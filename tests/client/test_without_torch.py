"""A client's process needs no torch: it opens a broadcast, learns on a runtime of NumPy and encodes its reply."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROUND = """
import sys
import numpy as np
sys.modules["torch"] = None  # an import fails
from heron.algorithms.heron import HERON
from heron.client.opening import Opener
from heron.client.round import client_round
from heron.wire import ModelBroadcast, ScalarBroadcast, ScalarReply, decode, encode
from heron.wire.groups import Client, Settings, Smashed
from heron.wire.terms import TensorTerm, Terms, UploadTerm, decode_terms, encode_terms
from heron.wire.walk_log import flatten
from heron.wire.walks import Replayer, RoundWalks, Walk
from tests.client.toy_runtime import ToyExamples, ToyRuntime


class Memory(dict):
    def take(self, client_id):
        return self.pop(client_id, {})

    def keep(self, client_id, round_index, state):
        self[client_id] = dict(state)


client = Client(batch_size=4, optimizer=RULE, learning_rate=1e-2, keep_state=False)
chosen = Settings(seed=5, threads=1, update="scalars", client=client, smashed=Smashed(CODEC))
learning = HERON.learning(chosen)
runtime, data, memory = ToyRuntime(), ToyExamples(), Memory()
learner = HERON.make_client(runtime, learning)
replayer = Replayer(learning)
theta = {name: array.copy() for name, array in learner.model().items()}
opener = Opener(memory, theta, replayer)
travelling = tuple(TensorTerm(name, array.shape, "float32", "replayed") for name, array in theta.items())
upload = UploadTerm((3,), "float32", (), "int64", 4)
terms = decode_terms(encode_terms(Terms("heron", chosen, travelling, upload, upload_period=2)))
broadcast = decode(encode(ModelBroadcast(0, 0, theta)))
losses = []
for round_index in range(3):
    conversation = client_round(learner, terms, broadcast, {}, data, opener=opener)
    messages = [decode(encode(message)) for message in conversation]
    reply = messages[-1]
    assert isinstance(reply, ScalarReply) and reply.num_steps == 3 and len(messages) == 3, messages
    losses.append(float(reply.train_loss))
    done = RoundWalks(round_index, (Walk(0, 1, reply.projected_gradients),))
    rebuilt = replayer.advance(theta, done)
    for name, array in learner.model().items():
        np.testing.assert_array_equal(rebuilt[name], array)  # the Fed Server's replay is the client, bit for bit
    broadcast = decode(encode(ScalarBroadcast(round_index + 1, 0, round_index, 0, *flatten([done]), {})))
    theta = rebuilt
assert losses[-1] < losses[0], losses
assert sys.modules["torch"] is None
"""


def run(code: str) -> None:
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("codec", ["fp32", "int8", "dither6"])
def test_a_heron_client_learns_and_is_replayed(rule: str, codec: str) -> None:
    run(ROUND.replace("RULE", repr(rule)).replace("CODEC", repr(codec)))


def test_the_rooms_of_a_client_import_no_torch() -> None:
    run(
        "import importlib, pkgutil, sys\n"
        "import heron.client, heron.wire, heron.zo, heron.algorithms, heron.data.batch, heron.data.order\n"
        "rooms = [*pkgutil.iter_modules(heron.client.__path__, 'heron.client.'),"
        " *pkgutil.iter_modules(heron.wire.__path__, 'heron.wire.')]\n"
        "names = [room.name for room in rooms if 'torch' not in room.name]\n"
        "assert len(names) > 20\n"
        "for name in names: importlib.import_module(name)\n"
        "assert 'torch' not in sys.modules\n"
    )
