"""An attacker's view: uploads as the run's clients make them, and the attacker's own data."""

import pytest
import torch

from heron.audit import make_view
from heron.audit.decoder import decode
from heron.audit.inversion import invert
from heron.data import Splits
from heron.errors import ConfigError
from heron.tensors import as_tensor
from heron.wire.messages import PackedData, SmashedData
from heron.wire.smashed import unpack_upload
from tests.audit.views import digits_view


def test_smashed_data_are_those_of_the_trained_client() -> None:
    view = digits_view("rounds=2", "client.local_steps=2", rounds=1)
    assert view.victims.smashed is not None
    with torch.no_grad():
        expected = view.split.client(view.victims.inputs)
    torch.testing.assert_close(view.victims.smashed, expected, atol=1e-6, rtol=1e-5)
    assert len(view.known.labels) == 288 + 360
    assert view.are_images
    assert view.are_classes
    assert not view.are_tokens


def test_a_codec_is_part_of_what_is_seen() -> None:
    """As many different values a channel and batch as 4 bits have, as in an upload of the run."""
    view, plain = digits_view("smashed.codec=int4"), digits_view()
    assert view.victims.smashed is not None
    assert plain.victims.smashed is not None
    for channel in view.victims.smashed[:32].unbind(1):
        assert len(channel.unique()) <= 16
    assert torch.equal(view.victims.inputs, plain.victims.inputs)
    assert not torch.equal(view.victims.smashed, plain.victims.smashed)
    uploads: list[torch.Tensor] = []

    def listen(message: object, _: object) -> None:
        if isinstance(message, PackedData):
            uploads.append(torch.as_tensor(unpack_upload(message).smashed))
        assert not isinstance(message, SmashedData)

    federation = view.federation()
    federation.listeners.append(listen)
    federation.run_round()
    assert all(len(channel.unique()) <= 16 for channel in uploads[0].unbind(1))


def test_clip_noise_and_shown_labels_are_part_of_what_is_seen() -> None:
    view, plain = digits_view("smashed.clip=1", "smashed.noise=0.1", "privacy.label_epsilon=2"), digits_view()
    assert view.victims.smashed is not None
    assert plain.victims.smashed is not None
    assert view.victims.shown is not None
    assert view.known.smashed is not None
    clipped = plain.victims.smashed.flatten(1)
    clipped = clipped * (1.0 / clipped.norm(dim=1, keepdim=True)).clamp(max=1.0)
    noise = view.victims.smashed.flatten(1) - clipped
    assert float(noise.std()) == pytest.approx(0.1, rel=0.05)
    assert torch.equal(view.victims.labels, plain.victims.labels), "an attack is judged by the true ones"
    kept = float((view.victims.shown == view.victims.labels).float().mean())
    assert abs(kept - 1 / (1 + 9 * 2.718281828**-2)) < 0.2
    assert plain.victims.shown is not None
    assert torch.equal(plain.victims.shown, plain.victims.labels)


def test_an_algorithm_that_uploads_nothing_shows_nothing() -> None:
    view = digits_view(algorithm="fedavg")
    assert view.victims.smashed is None
    assert decode(view).figures == {}
    assert invert(view).figures == {}


def test_an_attacker_needs_data_of_its_own() -> None:
    view = digits_view()
    empty = torch.utils.data.Subset(view.splits.test, [])
    splits = Splits(view.splits.train, empty, empty, 10)
    with pytest.raises(ConfigError, match=r"expected at least 16 validation and test examples .* found 0; raise"):
        make_view(view.split, view.algorithm, view.settings, splits, examples=64)


def test_without_a_federation_a_run_begins_at_the_trained_network() -> None:
    view = digits_view()
    own = make_view(view.split, view.algorithm, view.settings, view.splits, examples=64)
    start = {name: tensor.clone() for name, tensor in view.split.state_dict().items()}
    built, other = own.federation(), view.federation()
    assert list(map(len, built.partition)) == list(map(len, other.partition))
    for name, tensor in built.fed_server.global_model().items():
        assert torch.equal(as_tensor(tensor), start[name])
    built.run_round()
    assert all(torch.equal(start[name], tensor) for name, tensor in own.split.state_dict().items())


@pytest.mark.slow
def test_white_box_inversion_of_a_wide_cut_is_nearly_exact() -> None:
    view = digits_view("split.cut=relu1")
    outcome = invert(view)
    assert outcome.figures["inversion_ssim"] > 0.9
    assert outcome.pictures is not None
    assert outcome.pictures[0].shape == outcome.pictures[1].shape == (12, 1, 8, 8)


def test_too_few_victims_are_refused_as_on_the_command_line() -> None:
    view = digits_view()
    with pytest.raises(ConfigError, match="expected examples of at least 16, found 3"):
        make_view(view.split, view.algorithm, view.settings, view.splits, examples=3)
