"""Settings, algorithms and networks that a guarantee of privacy does not hold for, refused before anything is built."""

from dataclasses import fields

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from heron.algorithms import ALGORITHMS, Algorithm
from heron.client.torch_runtime.network import LocalNetwork, TensorBatch
from heron.errors import ConfigError, SplitError
from heron.split import is_stochastic
from heron.split.untouched import untouched
from heron.wire.groups import Client, Settings
from heron.wire.privacy import Privacy
from heron.wire.terms import TensorTerm

_LOSS_TOLERANCE = 1e-4
_NORM_ADVICE = "use GroupNorm or LayerNorm, e.g. split.norm=group where a recipe has it"


def check_private_settings(algorithm: Algorithm, settings: Settings) -> None:
    """Refuse settings that would break a guarantee, and those of a guarantee that is not asked for.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the training.

    Raises:
        ConfigError: naming the key.
    """
    if not settings.privacy.is_on:
        _check_off(settings.privacy)
        return
    if algorithm.make_private is None:
        able = ", ".join(row.name for row in ALGORITHMS.values() if row.make_private is not None)
        raise ConfigError(
            f"expected privacy off with {algorithm.name}, found privacy: {_reason(algorithm)}; choose one of {able}, "
            f"or leave [privacy] out"
        )
    _check_keys(algorithm, settings)


def check_private_network(
    local: LocalNetwork, tensors: tuple[TensorTerm, ...], examples: TensorBatch, device: torch.device
) -> None:
    """Refuse a client's network in which an example changes what others contribute, or that sends more than updates.

    Args:
        local: the client's network.
        tensors: what travels of it.
        examples: two examples or more, of which two are tried.
        device: where it is.

    Raises:
        SplitError: naming the layer.
        ConfigError: if the criterion gives a mean alone.
    """
    check_private_layers(local.module)
    buffers = [term.name for term in tensors if term.role in ("buffer", "unit_buffer")]
    if buffers:
        raise SplitError(
            f"expected no statistics in a client's network with privacy, found {buffers[0]!r}, which would leave "
            f"without noise; {_NORM_ADVICE}"
        )
    _check_independent(local, examples, device)


def check_private_layers(module: nn.Module) -> None:
    """Refuse layers that mix examples, or draw by their place in the batch; no values of tensors are needed.

    Args:
        module: the client's network.

    Raises:
        SplitError: naming the layer.
    """
    for name, child in module.named_modules():
        if isinstance(child, _BatchNorm):
            raise SplitError(
                f"expected no BatchNorm on a client with privacy, found {name!r}: it mixes the examples of a batch, "
                f"and its statistics leave without noise; {_NORM_ADVICE}"
            )
    if is_stochastic(module):
        raise SplitError(
            f"expected no Dropout on a client with privacy, found {_first_stochastic(module)!r}: the masks of "
            f"an example would depend on its place in the batch; set its p to 0, that of a pre-trained model in its "
            f"config.json"
        )


def _check_independent(local: LocalNetwork, examples: TensorBatch, device: torch.device) -> None:
    """Compare the losses of two examples together with those of each alone."""
    two = TensorBatch(examples.inputs[:2], examples.labels[:2])
    with untouched(local.module, device):
        together = local.losses_pass(two, seed=0)
        alone = [
            local.losses_pass(TensorBatch(two.inputs[index : index + 1], two.labels[index : index + 1]), seed=0)
            for index in range(len(two))
        ]
    if together.shape != (len(two),) or not torch.allclose(
        together, torch.cat(alone), rtol=_LOSS_TOLERANCE, atol=_LOSS_TOLERANCE
    ):
        raise SplitError(
            f"expected a client's network and loss that treat every example by itself with privacy, found losses "
            f"{[round(float(loss), 4) for loss in together.flatten()]} of two examples together and "
            f"{[round(float(loss), 4) for loss in torch.cat(alone).flatten()]} alone; take out what mixes them"
        )


def _check_keys(algorithm: Algorithm, settings: Settings) -> None:
    """Refuse settings with which something would leave a client, or change what it becomes, without noise."""
    learning = algorithm.learning(settings)
    client, probes, has_probes = learning.client, settings.estimator, algorithm.orders(learning).probes
    refreshes, weighting = settings.server.refresh_auxiliary, settings.clients.weighting
    expected = (
        *_learning_rows(client),
        (
            "server.refresh_auxiliary=false",
            refreshes,
            not refreshes,
            "the auxiliary network would depend on smashed data, which are not noised",
        ),
        (
            f"privacy.exact_clip={Privacy().exact_clip:g}, or heron with client.exact=1 and no layer groups,",
            settings.privacy.exact_clip,
            learning.has_exact_head or settings.privacy.exact_clip == Privacy().exact_clip,
            "no head learns exactly by itself",
        ),
        ("clients.weighting=equal", weighting, weighting == "equal", "the number of examples is not noised"),
        ("estimator.probes of at least 1", probes.probes, probes.probes > 0 or not has_probes, "nothing else learns"),
        (
            "estimator.scheme=one_sided or central",
            probes.scheme,
            probes.scheme != "jvp" or not has_probes,
            "derivatives are of the mean loss, not of each example's",
        ),
        (
            "client.runtime=torch",
            client.runtime,
            client.runtime == "torch" or learning.has_exact_head or (has_probes and client.exact == 0),
            "an export has no gradients of single examples",
        ),
        (
            "client.local_steps of at least 1",
            client.local_steps,
            client.local_steps > 0,
            "the length of a pass tells how many examples a client has",
        ),
    )
    odd = [(allowed, str(found).lower(), reason) for allowed, found, holds, reason in expected if not holds]
    if len(odd) == 1:
        ((allowed, found, reason),) = odd
        raise ConfigError(f"expected {allowed} with privacy, found {found}: {reason}; set it, or leave [privacy] out")
    if odd:
        listed = "; ".join(f"{allowed}, found {found}: {reason}" for allowed, found, reason in odd)
        raise ConfigError(f"expected with privacy {listed}; set these, or leave [privacy] out")


def _learning_rows(client: Client) -> tuple[tuple[str, object, bool, str], ...]:
    """Ways to learn whose releases are clipped: what is expected, what is found, whether it holds, and why."""
    return (
        (
            "client.exact of 0 or 1",
            client.exact,
            client.exact in (0, 1) or client.learning != "zeroth_order",
            "gradients of layers below the head are not clipped",
        ),
        (
            "client.exact=0 with client.learning=local_zeroth_order",
            client.exact,
            client.learning != "local_zeroth_order" or client.exact == 0,
            "gradients of local heads are not clipped",
        ),
    )


def _first_stochastic(module: nn.Module) -> str:
    leaves = [name for name, child in module.named_modules() if not list(child.children()) and is_stochastic(child)]
    return str(leaves[0])


def _check_off(privacy: Privacy) -> None:
    """Refuse a section that asks for no guarantee and says how it should be given."""
    others = [field for field in fields(Privacy) if field.name != "label_epsilon"]
    changed = [field.name for field in others if getattr(privacy, field.name) != field.default]
    if changed:
        raise ConfigError(
            f"expected a number for privacy.epsilon or privacy.noise next to privacy.{changed[0]}, found neither: "
            f"nothing would be protected; set one, or leave privacy.{changed[0]} out"
        )


def _reason(algorithm: Algorithm) -> str:
    if algorithm.answers is not None:
        return "its clients learn from what the Main Server makes of their smashed data, which are not noised"
    if algorithm.downlink_only is not None:
        return "the auxiliary network of its clients is fitted to smashed data, which are not noised"
    return "its clients learn nothing, or nobody clips what an example contributes"
