import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from heron.errors import SplitError
from heron.split import SplitModel, check_trainable
from heron.split.untouched import same_bits

EXAMPLE = torch.linspace(-1, 1, 20).reshape(5, 4)


def split_of(client=None, server=None, auxiliary=None) -> SplitModel:
    """A trainable network of 4 -> 3 -> 2 features with one part exchanged."""
    return SplitModel(
        nn.Linear(4, 3) if client is None else client,
        nn.Linear(3, 2) if server is None else server,
        nn.Linear(3, 2) if auxiliary is None else auxiliary,
    )


class Function(nn.Module):
    """A module of one function, with a parameter so that there is something to train."""

    def __init__(self, function, parameter=None):
        super().__init__()
        self.function = function
        self.parameter = nn.Parameter(torch.ones(3) if parameter is None else parameter)

    def forward(self, inputs):
        return self.function(self, inputs)


def refused(split, reason, example=EXAMPLE, **options):
    with pytest.raises(SplitError, match=reason) as caught:
        check_trainable(split, example, **options)
    assert "\n" not in str(caught.value)


# 2 modes x 3 parts, the client once more; with micro-batches client and auxiliary on 4 examples and 4 or 2 pieces.
@pytest.mark.parametrize(("micro_batch", "expected"), [(None, 7), (1, 7 + 2 + 8), (64, 7 + 2 + 4)])
def test_says_exactly_what_it_ran(micro_batch, expected):
    class Calls(nn.Linear):
        def forward(self, inputs):
            log.append((self.name, self.training, tuple(inputs.shape)))
            return super().forward(inputs)

    log: list[tuple[str, bool, tuple[int, ...]]] = []
    client, server, auxiliary = Calls(4, 3), Calls(3, 2), Calls(3, 2)
    client.name, server.name, auxiliary.name = "client", "server", "auxiliary network"
    ran = check_trainable(split_of(client, server, auxiliary), EXAMPLE, micro_batch=micro_batch)
    modes = {True: "training", False: "evaluation"}
    assert len(ran) == len(log) == expected
    for line, (name, training, shape) in zip(ran, log, strict=True):
        assert line.startswith(f"{name} in {modes[training]} mode on {shape} -> ")
    assert ran[0] == "client in training mode on (2, 4) -> (2, 3)"


def test_without_an_auxiliary_network_it_is_neither_needed_nor_run():
    split = SplitModel(nn.Linear(4, 3), nn.Linear(3, 2))
    assert not any("auxiliary" in line for line in check_trainable(split, EXAMPLE, needs_auxiliary=False))
    refused(split, "expected an auxiliary network.*linear_head")
    # One that is there and does not fit is ignored as well.
    check_trainable(split_of(auxiliary=nn.Linear(7, 2)), EXAMPLE, needs_auxiliary=False)
    refused(split_of(auxiliary=nn.Linear(7, 2)), "auxiliary network in training mode to run")


def test_one_example_is_enough_for_batchnorm():
    split = split_of(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    ran = check_trainable(split, EXAMPLE[:1])
    assert ran[0] == "client in training mode on (2, 4) -> (2, 3)"


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_changed(fails):
    client = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    server = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(inplace=fails), nn.Linear(3, 2))
    if fails:
        server = server[1:]
    split = split_of(client, server)
    client[1].eval()
    client[0].bias.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in split.state_dict().items()}
    modes = {name: module.training for name, module in split.named_modules()}
    flags = {name: parameter.requires_grad for name, parameter in split.named_parameters()}
    example, generator = EXAMPLE.clone(), torch.get_rng_state()
    if fails:
        refused(split, "in place", example)
    else:
        check_trainable(split, example)
    assert all(same_bits(state[name], tensor) for name, tensor in split.state_dict().items())
    assert modes == {name: module.training for name, module in split.named_modules()}
    assert flags == {name: parameter.requires_grad for name, parameter in split.named_parameters()}
    assert all(parameter.grad is None for parameter in split.parameters())
    assert torch.equal(generator, torch.get_rng_state())
    assert torch.equal(example, EXAMPLE)


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("part", ["client", "server", "auxiliary"])
def test_lazy_layers_are_refused(part):
    refused(split_of(**{part: nn.LazyLinear(3)}), rf"lazy '{part}\.weight'; run the network once")


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_buffers_are_refused():
    refused(split_of(nn.Sequential(nn.Linear(4, 3), nn.LazyBatchNorm1d(affine=False))), "lazy 'client.1.running_mean'")


def test_parts_with_nothing_to_train_are_refused():
    refused(split_of(server=nn.Flatten()), "trainable parameters in the server part")
    refused(split_of(server=nn.Linear(3, 2).requires_grad_(False)), "trainable parameters in the server part")
    frozen = split_of(client=nn.Linear(4, 3).requires_grad_(False))
    refused(frozen, "trainable parameters in the client part")
    check_trainable(frozen, EXAMPLE, needs_auxiliary=False)


def test_mixed_or_unsuitable_dtypes_are_refused_where_the_client_trains():
    class Mixed(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs.to(self.weight.dtype)).float()

    half = Mixed(3, 2).to(torch.bfloat16)
    refused(
        split_of(auxiliary=half), "float32 on cpu in 'client.weight' and torch.bfloat16 on cpu in 'auxiliary.weight'"
    )
    check_trainable(split_of(server=half), EXAMPLE)
    check_trainable(split_of(auxiliary=half), EXAMPLE, needs_auxiliary=False)
    check_trainable(split_of(auxiliary=copy.deepcopy(half).requires_grad_(False)), EXAMPLE)
    multiply = Function(lambda self, inputs: (inputs * self.parameter).real, torch.ones(3, dtype=torch.complex64))
    refused(
        split_of(auxiliary=multiply), "real floating-point parameters, found torch.complex64 in 'auxiliary.parameter'"
    )


def test_parameters_on_several_devices_are_refused():
    refused(split_of(auxiliary=nn.Linear(3, 2, device="meta")), "on cpu in 'client.weight' and torch.float32 on meta")


@pytest.mark.parametrize("part", ["client", "server", "auxiliary"])
def test_syncbatchnorm_is_refused_anywhere(part):
    features = 4 if part == "client" else 3
    module = nn.Sequential(nn.SyncBatchNorm(features), nn.Linear(features, 3))
    refused(split_of(**{part: module}), f"the SyncBatchNorm '{part}.0'")


def test_batchnorm_on_the_client_excludes_micro_batches_and_groupnorm_does_not():
    def parts(norm):
        return nn.Sequential(nn.Linear(4, 3), norm)

    for part in (
        {"client": parts(nn.BatchNorm1d(3))},
        {"auxiliary": nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))},
    ):
        check_trainable(split_of(**part), EXAMPLE)
        refused(split_of(**part), r"no BatchNorm on the client with micro-batches \(of 2\).*GroupNorm", micro_batch=2)
    check_trainable(split_of(parts(nn.GroupNorm(3, 3))), EXAMPLE, micro_batch=2)
    check_trainable(split_of(server=nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))), EXAMPLE, micro_batch=2)
    refused(split_of(), "at least 1 example, found 0", micro_batch=0)


@pytest.mark.parametrize("part", ["client", "auxiliary"])
def test_layers_of_ones_own_that_couple_examples_exclude_micro_batches(part):
    centred = Function(lambda self, inputs: (inputs - inputs.mean(0)) * self.parameter[:1])
    split = split_of(**({"client": nn.Sequential(nn.Linear(4, 3), centred)} if part == "client" else {part: centred}))
    check_trainable(split, EXAMPLE)
    refused(split, "independent of its batch", micro_batch=4)


def test_a_result_for_the_whole_batch_excludes_micro_batches():
    split = split_of(auxiliary=Function(lambda self, inputs: (inputs * self.parameter).mean()))
    check_trainable(split, EXAMPLE)
    refused(split, "independent of its batch", micro_batch=1)


def test_dropout_and_micro_batches_go_together():
    check_trainable(split_of(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))), EXAMPLE, micro_batch=1)


def test_tensors_shared_with_the_server_are_refused_and_within_the_client_allowed():
    client, server, auxiliary = nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(3, 2)
    auxiliary.weight = server.weight
    refused(split_of(client, server, auxiliary), "auxiliary and server without common.*'weight' and 'weight'")
    check_trainable(split_of(client, server, auxiliary), EXAMPLE, needs_auxiliary=False)
    square = nn.Linear(4, 4)
    refused(SplitModel(square, square, nn.Linear(4, 2)), "client and server without common parameters or buffers")
    tied = nn.Linear(4, 4)
    tied.weight = square.weight
    check_trainable(SplitModel(square, nn.Linear(4, 2), tied), EXAMPLE)


@pytest.mark.parametrize("part", ["auxiliary", "server"])
@pytest.mark.parametrize(
    "first",
    [
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Flatten(), nn.Hardtanh(-9, 9, inplace=True)),
        nn.Dropout(0.5, inplace=True),
    ],
    ids=["relu", "through a view, no value changes", "in training mode only"],
)
def test_a_first_operation_in_place_is_refused(part, first):
    name = {"auxiliary": "auxiliary network", "server": "server"}[part]
    refused(split_of(**{part: nn.Sequential(first, nn.Linear(3, 2))}), f"the {name} to leave its input alone")


def test_a_later_operation_in_place_is_fine():
    check_trainable(split_of(server=nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))), EXAMPLE)


def test_a_write_past_the_version_counter_and_one_to_the_inputs_are_found():
    past = Function(lambda self, inputs: inputs.data.add_(1) * self.parameter)
    refused(split_of(server=past), "the server to leave its input alone")
    refused(split_of(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3))), "the client to leave its input alone")


def test_a_forward_pass_that_changes_parameters_is_refused():
    def clip(self, inputs):
        self.parameter.data.clamp_(max=0.5)
        return inputs * self.parameter

    split = split_of(nn.Sequential(nn.Linear(4, 3), Function(clip)))
    refused(split, "only read parameters, found that the client changes '1.parameter'")
    assert torch.equal(split.client[1].parameter, torch.ones(3))


@pytest.mark.parametrize("part", ["client", "auxiliary", "server"])
def test_outputs_that_are_not_finite_are_refused(part):
    name = {"auxiliary": "auxiliary network"}.get(part, part)
    module = nn.Linear(4 if part == "client" else 3, 3)
    nn.init.constant_(module.bias, torch.inf)
    refused(split_of(**{part: module}), f"finite outputs of the {name} in training mode")


def test_inputs_that_are_not_finite_are_told_apart():
    refused(split_of(), "finite inputs for the client.*check the data", torch.full((2, 4), torch.nan))


def test_smashed_data_that_is_not_one_batch_first_tensor_is_refused():
    linear = nn.Linear(4, 3)
    refused(
        split_of(Function(lambda _, inputs: (linear(inputs), inputs))),
        "client in training mode to return one tensor, found tuple",
    )
    refused(split_of(Function(lambda _, inputs: linear(inputs).mean(0)), nn.Linear(3, 2)), r"shape \(batch, ...\)")
    refused(
        split_of(Function(lambda _, inputs: linear(inputs).t()), nn.Linear(2, 2), nn.Linear(2, 2)), r"found \(3, 2\)"
    )
    # If the numbers of features and examples are equal, only a second batch size reveals the fault.
    square = Function(lambda self, inputs: (inputs[:, :2] * self.parameter).t(), torch.ones(2))
    parts = {"client": square, "server": nn.LazyLinear(2), "auxiliary": nn.Linear(2, 2)} | {"server": nn.Linear(2, 2)}
    refused(split_of(**parts), r"found \(2, 3\) for 3 examples")


@pytest.mark.parametrize("part", ["client", "auxiliary", "server"])
def test_random_numbers_that_no_seed_reaches_are_refused(part):
    name = {"auxiliary": "auxiliary network"}.get(part, part)
    linear = nn.Linear(4 if part == "client" else 3, 3)
    hidden = Function(lambda self, inputs: F.dropout(linear(inputs) * self.parameter, training=self.training))
    refused(split_of(**{part: hidden}), f"found that the {name} draws others in training mode")

    class Declared(nn.Dropout):
        def forward(self, inputs):
            return F.dropout(linear(inputs), self.p, self.training)

    declared = Declared(0.5)
    declared.linear = linear
    check_trainable(split_of(**{part: declared}), EXAMPLE)


def test_a_part_that_does_not_run_and_an_example_that_is_no_batch_are_refused():
    refused(
        split_of(nn.Linear(5, 3)), r"client in training mode to run on float32 of shape \(2, 4\), found RuntimeError"
    )
    refused(split_of(), "expected an example batch", torch.zeros(0, 4))


def test_token_inputs_are_fine():
    split = SplitModel(nn.Embedding(10, 3), nn.Linear(3, 10), nn.Linear(3, 10))
    ran = check_trainable(split, torch.arange(8).reshape(2, 4), micro_batch=1)
    assert ran[0] == "client in training mode on (2, 4) -> (2, 4, 3)"
