"""Computes the terms of a run from algorithm, network and settings, and refuses what cannot be trained."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from heron.algorithms import Algorithm
from heron.arrays import dtype_name
from heron.client.torch_runtime.network import LocalNetwork, Parts, TensorBatch
from heron.client.torch_runtime.placement import place_orders
from heron.data import Batch
from heron.engines.label_classes import label_classes
from heron.engines.mask_refusals import check_mask_tensors
from heron.engines.pairs import pairs_needed
from heron.engines.privacy_refusals import check_private_network
from heron.engines.refusals import check_client_settings, check_one_boundary, check_optimizer, check_settings
from heron.split import SplitModel, check_disjoint, check_trainable
from heron.split.buffer_kinds import BufferKind, buffer_kinds
from heron.split.criterion import Criterion
from heron.tensors import as_tensor
from heron.wire.groups import Settings
from heron.wire.terms import Role, TensorTerm, Terms, UploadTerm
from heron.zo.buffers import preserved_buffers
from heron.zo.resolution import warn_of_radius

_BUFFER_ROLES: dict[BufferKind, Role] = {"statistic": "buffer", "unit": "unit_buffer", "constant": "constant"}


def agree(
    split: SplitModel,
    algorithm: Algorithm,
    settings: Settings,
    criterion: Criterion,
    example: Batch,
    *,
    num_classes: int = 0,
    data: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
) -> Terms:
    """Compute the terms of a run.

    Args:
        split: the cut network, on its device; it stays as it is.
        algorithm: a row of `ALGORITHMS`.
        settings: all groups of settings.
        criterion: mean loss over a batch.
        example: a few examples, to see with what uploads look like.
        num_classes: C; labels are in [0, C). 0 where nobody checks uploads; found out where labels are changed.
        data: name and settings of the data set, for clients that load their own.
        network: name and settings of the network, for clients that build their own part.

    Raises:
        SplitError: if the network cannot be trained this way.
        ConfigError: if settings contradict each other or the algorithm.

    Warns:
        UserWarning: if probes of radius `estimator.mu` round off in the parameters.
    """
    check_one_boundary(algorithm, settings)
    check_settings(algorithm, settings)
    _check_network(split, algorithm, settings, as_tensor(example.inputs, settings.device))
    check_optimizer(algorithm, settings)
    if settings.privacy.label_budget:
        num_classes = label_classes(split, example, torch.device(settings.device))
    local = LocalNetwork(split, criterion, head=algorithm.head, micro_batch=settings.client.micro_batch or None)
    _warn_of_radius(local, algorithm, settings)
    tensors = _tensor_terms(local, algorithm, settings, as_tensor(example.inputs, settings.device))
    check_client_settings(algorithm, settings, any(term.role == "replayed" for term in tensors))
    if settings.secure_sum:
        check_mask_tensors(tensors)
    if settings.privacy.is_on:
        check_private_network(local, tensors, local.tensors_of(example), torch.device(settings.device))
    return Terms(
        algorithm=algorithm.name,
        settings=settings,
        tensors=tensors,
        upload=_upload_term(local, local.tensors_of(example), num_classes),
        upload_period=algorithm.upload_period(settings),
        pairs=pairs_needed(split, algorithm, settings, criterion, example),
        data=dict(data or {}),
        network=dict(network or {}),
    )


def travelling(terms: Terms, split: Parts) -> dict[str, Tensor]:
    """Return the tensors that travel, by name, as the network holds them; no copies.

    Args:
        terms: of the run.
        split: the cut network.
    """
    parts = {term.name.partition(".")[0] for term in terms.tensors}
    named: dict[str, Tensor] = {}
    for part in parts:
        module: nn.Module = getattr(split, part)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            named[f"{part}.{name}"] = tensor.detach()
    return {term.name: named[term.name] for term in terms.tensors}


def _tensor_terms(
    local: LocalNetwork, algorithm: Algorithm, settings: Settings, inputs: Tensor
) -> tuple[TensorTerm, ...]:
    learning = algorithm.learning(settings)
    placed = place_orders(local.module, algorithm.orders(learning))
    probed: Role = "replayed" if learning.sends_scalars else "trained"
    roles: dict[str, Role] = dict.fromkeys(placed.probed, probed)
    roles |= dict.fromkeys(placed.exact, "trained")
    roles |= {name: _BUFFER_ROLES[kind] for name, kind in buffer_kinds(_chain(local.module), inputs).items()}
    named = dict(local.module.named_parameters()) | local.buffers()
    if algorithm.downlink_only is not None:
        part = f"{algorithm.downlink_only}."
        roles |= {
            name: "downlink_only"
            for name, tensor in local.module.named_parameters()
            if name.startswith(part) and tensor.requires_grad
        }
    return tuple(
        TensorTerm(name, tuple(named[name].shape), dtype_name(named[name]), role) for name, role in roles.items()
    )


def _chain(module: nn.ModuleDict) -> nn.ModuleDict:
    """The parts that are given the outputs of the one before; local heads, which have no buffers, are none of them."""
    return nn.ModuleDict({name: part for name, part in module.items() if name != "local_heads"})


def _warn_of_radius(local: LocalNetwork, algorithm: Algorithm, settings: Settings) -> None:
    """Warn of a smoothing radius that the element type of what clients probe cannot resolve."""
    learning = algorithm.learning(settings)
    names = place_orders(local.module, algorithm.orders(learning)).probed
    if names and learning.estimator is not None and learning.estimator.scheme != "jvp":
        named = dict(local.module.named_parameters())
        warn_of_radius([named[name] for name in names], learning.estimator.mu)


def _upload_term(local: LocalNetwork, example: TensorBatch, num_classes: int) -> UploadTerm:
    """Compute smashed data of the examples, of two at least; the network stays as it is."""
    if len(example) == 1:
        example = TensorBatch(torch.cat([example.inputs] * 2), torch.cat([example.labels] * 2))
    with preserved_buffers(local.module):
        smashed = local.smash_pass(example, seed=0)
    return UploadTerm(
        smashed=tuple(smashed.shape[1:]),
        dtype=dtype_name(smashed),
        labels=tuple(example.labels.shape[1:]),
        labels_dtype=dtype_name(example.labels),
        num_classes=num_classes,
    )


def _check_network(split: SplitModel, algorithm: Algorithm, settings: Settings, inputs: Tensor) -> None:
    check_trainable(
        split,
        inputs,
        micro_batch=settings.client.micro_batch or None,
        needs_auxiliary=algorithm.head == "auxiliary",
        holds_server=algorithm.head == "server",
    )
    if algorithm.downlink_only == "auxiliary" or settings.server.refresh_auxiliary:
        assert split.auxiliary is not None  # checked by then
        # The server changes theta_a by itself: a tensor of the client's own in it would be another one there.
        check_disjoint("client", split.client, "the auxiliary network that the server fits", split.auxiliary)
