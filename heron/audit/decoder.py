"""Decoder inversion: a network that is trained to turn smashed data into images, on images of the attacker's own.

The strongest attack that needs no access to the clients but their uploads (He et al., ACSAC 2019; UnSplit, Erdogan et
al., WPES 2022). A person recognises every digit from 16 floats.

`n` images, `B` of a batch.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from heron.audit.outcome import Outcome
from heron.audit.similarity import Range, ssim
from heron.audit.view import View
from heron.randomness import build_seeded
from heron.seeds import derive_seed

_STEPS, _BATCH, _RATE = 1_000, 64, 2e-3
_PERIOD, _HELD_OUT = 100, 8
_WIDTH, _CHANNELS = 256, 32
_LARGEST_VECTOR = 64  # smashed data of up to this number of values are decoded as a vector
PICTURES = 12
"""Number of victims that are shown."""


def decode(view: View) -> Outcome:
    """Train a decoder on the attacker's own images and rebuild those of the clients.

    Args:
        view: of the attacker.

    Returns:
        `decoder_ssim`; and `mean_ssim`, to compare it with, that of the mean image, which knows nothing of a victim.
    """
    if not view.are_images or view.victims.smashed is None or view.known.smashed is None:
        return Outcome()
    pixels = Range.of(view.known.inputs)
    known, victims = pixels.to_images(view.known.inputs), pixels.to_images(view.victims.inputs)
    decoder = trained_decoder(view.known.smashed, known, view.seed)
    with torch.no_grad():
        rebuilt = decoder(view.victims.smashed)
    mean = known.mean(0, keepdim=True).expand_as(victims)
    figures = {"decoder_ssim": float(ssim(victims, rebuilt).mean()), "mean_ssim": float(ssim(victims, mean).mean())}
    shown = tuple(tensor[:PICTURES].cpu().numpy() for tensor in (victims, rebuilt))
    return Outcome(figures, (shown[0], shown[1]))


def trained_decoder(smashed: Tensor, images: Tensor, seed: int) -> nn.Module:
    """Train a decoder; the one that does best on an eighth of the examples, which it does not learn from, is kept.

    Args:
        smashed: shape (n, ...).
        images: values in [0, 1], shape (n, C, H, W).
        seed: of weights and batches.

    Returns:
        Module from smashed data to images.
    """
    shape, image_shape = tuple(smashed.shape[1:]), tuple(images.shape[1:])
    mean, spread = smashed.mean(0), smashed.std(0).clamp_min(1e-3 * float(smashed.std()) + 1e-12)
    network: nn.Module = build_seeded(lambda: _Decoder(shape, image_shape, mean, spread), derive_seed("decoder", seed))
    network.to(smashed.device)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    held_out, own = order[: len(order) // _HELD_OUT], order[len(order) // _HELD_OUT :]
    optimizer = torch.optim.Adam(network.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    best, kept = float("inf"), copy.deepcopy(network.state_dict())
    for step in range(_STEPS):
        chosen = own[torch.randint(len(own), (_BATCH,), generator=generator)]
        optimizer.zero_grad()
        mse_loss(network(smashed[chosen]), images[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if (step + 1) % _PERIOD == 0:
            with torch.no_grad():
                error = float(mse_loss(network(smashed[held_out]), images[held_out]))
            if error < best:
                best, kept = error, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return network.eval()


class _Decoder(nn.Module):
    """Two hidden layers for a vector; for a map convolutions, with an enlargement in between.

    Args:
        shape: of the smashed data of one example.
        image_shape: (C, H, W).
        mean: of every value.
        spread: its standard deviation.
    """

    def __init__(self, shape: tuple[int, ...], image_shape: tuple[int, ...], mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean, requires_grad=False)
        self.spread = nn.Parameter(spread, requires_grad=False)
        self._image_shape = image_shape
        self._is_map = len(shape) == 3 and mean.numel() > _LARGEST_VECTOR
        channels, height, width = image_shape
        if self._is_map:
            self.inner: nn.Module = _convolutions(shape[0], _CHANNELS, _CHANNELS)
            self.outer: nn.Module = _convolutions(_CHANNELS, _CHANNELS, channels)
        else:
            self.inner = nn.Sequential(
                nn.Flatten(),
                nn.Linear(mean.numel(), _WIDTH),
                nn.ReLU(),
                nn.Linear(_WIDTH, _WIDTH),
                nn.ReLU(),
                nn.Linear(_WIDTH, channels * height * width),
            )
            self.outer = nn.Identity()

    def forward(self, smashed: Tensor) -> Tensor:
        """Rebuild images, shape (B, C, H, W), from smashed data, shape (B, ...)."""
        found: Tensor = self.inner((smashed - self.mean) / self.spread)
        if self._is_map:
            found = interpolate(found, self._image_shape[1:], mode="bilinear", align_corners=False)
        return torch.sigmoid(self.outer(found)).reshape(-1, *self._image_shape)


def _convolutions(channels: int, hidden: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(hidden, hidden, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(hidden, outputs, 3, padding=1),
    )
