"""Peaks in closed form. A map is one activation of B x D floats; every expected number counts what must be alive."""

import gc
import itertools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from heron.metering import CATEGORIES, MemoryProfile, measure_memory

FLOAT = 4


def chain(widths: list[int], *, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(*[nn.Linear(a, b, bias=bias) for a, b in itertools.pairwise(widths)])


def num_bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def checked(profile: MemoryProfile) -> MemoryProfile:
    assert tuple(profile.breakdown_bytes) == CATEGORIES
    assert sum(profile.breakdown_bytes.values()) == profile.peak_bytes
    return profile


def nonzero(profile: MemoryProfile) -> dict[str, int]:
    return {category: size for category, size in profile.breakdown_bytes.items() if size}


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 9), widths=st.lists(st.integers(1, 9), min_size=3, max_size=6))
def test_forward_pass_keeps_two_neighbouring_maps(batch: int, widths: list[int]) -> None:
    model, x = chain(widths), torch.zeros(batch, widths[0])
    with torch.no_grad():
        profile = checked(measure_memory(lambda: model(x), parameters=model.parameters(), inputs=[x], modules=[model]))
    maps = [FLOAT * batch * width for width in widths[1:]]
    assert nonzero(profile) == {
        "parameters": num_bytes(model),
        "inputs": x.nbytes,
        "activations": max(a + b for a, b in itertools.pairwise(maps)),
    }


@settings(max_examples=40, deadline=None)
@given(num_layers=st.integers(3, 6), batch=st.integers(1, 40), width=st.integers(2, 9))
def test_first_order_step_keeps_saved_maps_and_gradients(num_layers: int, batch: int, width: int) -> None:
    model, x = chain([width] * (num_layers + 1)), torch.zeros(batch, width)

    def step() -> None:
        loss = model(x).sum()
        loss.backward()
        model.zero_grad(set_to_none=True)

    profile = checked(measure_memory(step, parameters=model.parameters(), inputs=[x], modules=[model]))
    a_map, a_gradient, scalar = FLOAT * batch * width, FLOAT * (width * width + width), FLOAT
    # Backward through layer i: inputs of layers 2..i are saved, so i - 1 maps; the gradients at its output and at its
    # input are 2 more; gradients of layers i..n exist. At layer n the one at the output is an expanded scalar; at
    # layer 1 the one at the input is not needed. The loss and its gradient 1.0 stay alive throughout.
    live = {i: (i + 1) * a_map + (num_layers - i + 1) * a_gradient for i in range(2, num_layers)}
    live[num_layers] = num_layers * a_map + a_gradient
    live[1] = a_map + num_layers * a_gradient
    assert profile.peak_bytes == num_bytes(model) + x.nbytes + max(live.values()) + 2 * scalar


def test_first_order_breakdown_says_what_is_what() -> None:
    model, x = chain([4, 4, 4, 4]), torch.zeros(100, 4)

    def step() -> None:
        model(x).sum().backward()
        model.zero_grad(set_to_none=True)  # a gradient that is gone at the end is still named

    profile = checked(measure_memory(step, parameters=model.parameters(), inputs=[x], modules=[model]))
    a_map, a_gradient = FLOAT * 100 * 4, FLOAT * (4 * 4 + 4)
    # Layer 2 of 3 in the previous test's table: one map is saved, two are gradients of maps.
    assert nonzero(profile) == {
        "parameters": num_bytes(model),
        "inputs": x.nbytes,
        "activations": a_map,
        "gradients": 2 * a_gradient,
        "temporaries": 2 * a_map + 2 * FLOAT,
    }


@pytest.mark.parametrize("length", [2, 3, 50])
def test_freed_temporaries_do_not_count(length: int) -> None:
    x = torch.zeros(10)

    def step() -> None:
        y = x
        for _ in range(length):
            y = y + 1

    assert nonzero(measure_memory(step, parameters=[], inputs=[x])) == {"inputs": 40, "temporaries": 80}


@pytest.mark.parametrize(("hands_over", "maps"), [(True, 2), (False, 3)])
def test_generator_step_that_hands_over_holds_one_map_less(hands_over: bool, maps: int) -> None:
    model, x = chain([5, 5, 5]).requires_grad_(False), torch.zeros(7, 5)

    def client_step() -> Iterator[Tensor]:
        smashed = model(x)
        yield smashed
        if hands_over:
            del smashed
        model(x)

    def step() -> None:
        generator = client_step()
        next(generator)
        next(generator, None)

    profile = checked(measure_memory(step, parameters=model.parameters(), inputs=[x], modules=[model]))
    assert nonzero(profile) == {
        "parameters": num_bytes(model),
        "inputs": x.nbytes,
        "activations": maps * FLOAT * 7 * 5,
    }


def test_views_of_a_flat_buffer_count_once_with_their_first_name() -> None:
    flat = torch.zeros(12)
    profile = measure_memory(
        lambda: flat.add_(1.0),
        parameters=[flat[:5], flat[5:].view(7, 1)],
        buffers=[flat],
        optimizer_state=[flat.view(3, 4)],
        inputs=[flat],
    )
    assert nonzero(checked(profile)) == {"parameters": 48}


def test_iterators_are_read_once_and_every_name_is_used() -> None:
    tensors = {name: torch.zeros(size) for size, name in enumerate(["p", "b", "o", "i"], start=1)}
    profile = measure_memory(
        lambda: torch.zeros(10),
        parameters=iter([tensors["p"]]),
        buffers=iter([tensors["b"]]),
        optimizer_state=iter([tensors["o"]]),
        inputs=iter([tensors["i"]]),
    )
    expected = {"parameters": 4, "buffers": 8, "optimizer_state": 12, "inputs": 16, "temporaries": 40}
    assert nonzero(checked(profile)) == expected


def test_empty_step_is_what_was_there() -> None:
    profile = checked(measure_memory(lambda: None, parameters=[torch.zeros(3)]))
    assert profile.peak_bytes == 12


def test_what_is_read_without_a_name_counts_from_the_start() -> None:
    forgotten = torch.zeros(5)

    def step() -> None:
        torch.zeros(100)  # the peak, before the first sight of the forgotten tensor
        forgotten.sum()

    assert nonzero(checked(measure_memory(step, parameters=[]))) == {"temporaries": 400 + 20}


def test_memory_that_python_makes_counts_from_then_on() -> None:
    def step() -> None:
        torch.zeros(100)
        torch.tensor([1.0, 2.0]).sum()

    assert nonzero(checked(measure_memory(step, parameters=[]))) == {"temporaries": 400}


def test_gradients_of_before_count_until_they_are_dropped() -> None:
    weight = nn.Parameter(torch.zeros(10))
    weight.grad = torch.zeros(10)

    def keep() -> None:
        torch.zeros(100)

    def drop() -> None:
        weight.grad = None
        torch.zeros(100)

    assert nonzero(measure_memory(keep, parameters=[weight])) == {
        "parameters": 40,
        "gradients": 40,
        "temporaries": 400,
    }
    assert nonzero(measure_memory(drop, parameters=[weight])) == {"parameters": 40, "temporaries": 400}


def test_gradients_assigned_by_hand_are_named_at_the_end() -> None:
    weight = nn.Parameter(torch.zeros(10))

    def step() -> None:
        (weight.grad,) = torch.autograd.grad((2.0 * weight).sum(), weight)

    # At the peak: weight, its product and the loss are gone; grad of the product is an expanded scalar.
    assert checked(measure_memory(step, parameters=[weight])).breakdown_bytes["gradients"] == 40


def test_optimizer_state_made_by_the_step_is_named_by_a_function() -> None:
    weight = nn.Parameter(torch.zeros(10))
    weight.grad = torch.zeros(10)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)

    def state() -> list[Tensor]:
        return [entry["momentum_buffer"] for entry in optimizer.state.values()]

    first = checked(measure_memory(optimizer.step, parameters=[weight], optimizer_state=state))
    second = checked(measure_memory(optimizer.step, parameters=[weight], optimizer_state=state()))
    assert nonzero(first) == nonzero(second) == {"parameters": 40, "gradients": 40, "optimizer_state": 40}


def test_calls_of_a_part_and_recomputed_forwards_are_activations() -> None:
    model, x = chain([4, 4, 4]), torch.zeros(50, 4)

    def step() -> None:
        checkpoint(model[0], x, use_reentrant=False).sum().backward()

    # No call goes to `model` itself. The recomputed map and the expanded gradient are alive when the weight's gradient
    # is made; a first-order step without the checkpoint would look the same for one layer.
    sizes = nonzero(checked(measure_memory(step, parameters=model.parameters(), inputs=[x], modules=[model])))
    assert sizes["activations"] == FLOAT * 50 * 4


def test_frees_by_the_garbage_collector_are_seen() -> None:
    def step() -> None:
        for _ in range(3):
            cycle: list[object] = [torch.zeros(100)]
            cycle.append(cycle)
            del cycle
            gc.collect()

    assert measure_memory(step, parameters=[]).peak_bytes == 400


def test_tensors_alive_at_the_end_stay_usable() -> None:
    kept: list[Tensor] = []
    profile = measure_memory(lambda: kept.append(torch.ones(10)), parameters=[])
    assert profile.peak_bytes == 40
    assert kept[0].sum() == 10
    kept.clear()
    assert measure_memory(lambda: None, parameters=[]).peak_bytes == 0


def test_a_step_that_raises_leaves_nothing_behind() -> None:
    model = chain([3, 3])
    probe = nn.Sequential(model, nn.Flatten(7))  # raises in forward

    with pytest.raises(IndexError):
        measure_memory(lambda: probe(torch.zeros(2, 3)), parameters=model.parameters(), modules=[probe])
    for layer in probe.modules():
        assert not layer._forward_hooks
        assert not layer._forward_pre_hooks
    assert all(not parameter._post_accumulate_grad_hooks for parameter in model.parameters())
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_a_forward_pass_that_raises_inside_the_step_ends_the_activations() -> None:
    model = nn.Sequential(nn.Flatten(7))

    def step() -> None:
        with pytest.raises(IndexError):
            model(torch.zeros(2, 3))
        torch.zeros(10)

    assert nonzero(measure_memory(step, parameters=[], modules=[model])) == {"temporaries": 40}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_and_its_autograd_thread_give_the_same_bytes() -> None:
    def profile(device: str) -> MemoryProfile:
        model, x = chain([32, 32, 32, 32]).to(device), torch.zeros(64, 32, device=device)
        return measure_memory(
            lambda: model(x).sum().backward(), parameters=model.parameters(), inputs=[x], modules=[model]
        )

    assert profile("cuda") == profile("cpu")
