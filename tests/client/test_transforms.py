"""Transforms of the projected gradients: applied in order, before the update is made and the scalars are sent."""

import numpy as np
import pytest

from heron.algorithms import ALGORITHMS
from heron.client.round import finish
from heron.seeds import StepKey
from heron.wire.groups import Client, Probes, Settings
from heron.wire.learning import Learning
from tests.client.toy_runtime import ToyExamples, ToyRuntime

KEY = StepKey(5, 0, 0, 0)
BATCH = ToyExamples().batch(np.arange(4))


def step(*transforms, update: str = "scalars"):
    """The learner after a step, and what it sent."""
    client = Client(optimizer="sgd", learning_rate=0.1, keep_state=False)
    learning = Learning(Settings(update=update, client=client, estimator=Probes(probes=3)), transforms)
    learner = ALGORITHMS["heron"].make_client(ToyRuntime(), learning)
    generator = learner.step(BATCH, KEY)
    next(generator)
    return learner, finish(generator).projected_gradients


def test_a_transform_changes_what_is_used_and_what_is_sent() -> None:
    plain, sent = step()
    halved, sent_half = step(lambda scalars_P, key: scalars_P * np.float32(0.5))
    np.testing.assert_array_equal(sent_half, sent * np.float32(0.5))
    start = ToyRuntime().theta.theta
    moved, moved_half = plain.runtime.theta.theta - start, halved.runtime.theta.theta - start
    np.testing.assert_allclose(moved_half, moved / 2, rtol=1e-3, atol=1e-7)


def test_transforms_are_applied_in_order_with_the_place_of_the_step() -> None:
    seen = []

    def clip(scalars_P, key):
        seen.append(("clip", key))
        return np.clip(scalars_P, -0.01, 0.01)

    def noise(scalars_P, key):
        seen.append(("noise", key))
        return scalars_P + np.random.default_rng(key.seed("noise")).normal(size=len(scalars_P)).astype(np.float32)

    _, sent = step(clip, noise)
    assert seen == [("clip", KEY), ("noise", KEY)]
    assert np.abs(sent).max() > 0.01, "noise comes after clipping"
    _, again = step(clip, noise)
    np.testing.assert_array_equal(sent, again)


@pytest.mark.parametrize("update", ["dense", "scalars"])
def test_the_update_is_made_with_the_transformed_scalars(update: str) -> None:
    learner, _ = step(lambda scalars_P, key: scalars_P * 0, update=update)
    np.testing.assert_array_equal(learner.runtime.theta.theta, ToyRuntime().theta.theta)
