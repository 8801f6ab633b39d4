"""White-box inversion: an image is searched whose smashed data are those that were seen, the client's part being known.

It needs no data of the attacker's own (He et al., ACSAC 2019). A narrow cut leaves many images to choose from; a
penalty on differences of neighbouring pixels chooses a smooth one.
"""

import copy

import torch
from torch import Tensor, nn

from heron.audit.decoder import PICTURES
from heron.audit.outcome import Outcome
from heron.audit.similarity import Range, ssim
from heron.audit.view import View
from heron.curvature.client_loss import without_dropout

_STEPS, _RATE = 400, 0.05
_SMOOTHNESS = 1e-2


def invert(view: View) -> Outcome:
    """Rebuild the images of one uploaded batch.

    Args:
        view: of the attacker.

    Returns:
        `inversion_ssim`.
    """
    if not view.are_images or view.victims.smashed is None:
        return Outcome()
    size = view.settings.client.batch_size
    pixels = Range.of(view.known.inputs)
    client = copy.deepcopy(view.split.client).train()
    without_dropout(client)
    client.requires_grad_(requires_grad=False)
    start = pixels.to_images(view.known.inputs).mean(0)
    rebuilt = searched(client, pixels, view.victims.smashed[:size], start)
    victims = pixels.to_images(view.victims.inputs[:size])
    shown = tuple(tensor[:PICTURES].cpu().numpy() for tensor in (victims, rebuilt))
    return Outcome({"inversion_ssim": float(ssim(victims, rebuilt).mean())}, (shown[0], shown[1]))


def searched(client: nn.Module, pixels: Range, smashed: Tensor, start: Tensor) -> Tensor:
    """Search images in [0, 1] whose smashed data are near those seen.

    Args:
        client: the client's part, whose parameters need no gradient.
        pixels: range of its inputs.
        smashed: of one batch, shape (B, ...).
        start: image to begin with, shape (C, H, W).

    Returns:
        Shape (B, C, H, W).
    """
    logits = torch.logit(start.clamp(0.02, 0.98)).expand(len(smashed), *start.shape).clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], _RATE)
    scale = float(smashed.square().mean()) + 1e-12
    for _ in range(_STEPS):
        optimizer.zero_grad()
        images = torch.sigmoid(logits)
        error = (client(pixels.to_inputs(images)) - smashed).square().mean() / scale
        (error + _SMOOTHNESS * _roughness(images)).backward()
        optimizer.step()
    return torch.sigmoid(logits.detach())


def _roughness(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels."""
    down, right = images.diff(dim=2).abs().mean(), images.diff(dim=3).abs().mean()
    return down + right
