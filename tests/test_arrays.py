"""Arrays of both kinds, and the edge between them."""

import doctest
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import heron.arrays
import heron.tensors
from heron.arrays import dtype_name, is_floating, is_tensor, namespace, to_host
from heron.tensors import as_tensor

NAMES = ("float16", "float32", "float64", "bfloat16", "int8", "int32", "int64", "uint8", "bool")


@pytest.mark.parametrize("module", [heron.arrays, heron.tensors])
def test_examples_run(module) -> None:
    assert doctest.testmod(module).failed == 0


def test_arrays_import_no_torch() -> None:
    code = "import sys, heron.arrays, heron.faces; heron.arrays.is_tensor(1); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_there_and_back(name: str, shape: tuple[int, ...]) -> None:
    tensor = torch.arange(max(1, int(np.prod(shape)))).to(getattr(torch, name))[: int(np.prod(shape))].view(shape)
    array = to_host(tensor)
    again = as_tensor(array)
    assert array.shape == shape
    assert dtype_name(array) == dtype_name(tensor) == name
    assert is_floating(array) == is_floating(tensor) == tensor.is_floating_point()
    assert again.dtype == tensor.dtype
    assert again.equal(tensor)
    if tensor.numel():
        assert again.data_ptr() == tensor.data_ptr()


def test_bfloat16_keeps_its_bits() -> None:
    array = to_host(torch.tensor([1.0, -0.0, float("nan"), 3e38], dtype=torch.bfloat16))
    assert array.dtype == ml_dtypes.bfloat16
    assert array.view(np.uint16).tolist()[:2] == [0x3F80, 0x8000]


def test_to_host_detaches_and_is_contiguous() -> None:
    tensor = torch.ones(3, 2, requires_grad=True).t()
    assert to_host(tensor).flags.c_contiguous
    assert to_host(np.ones((3, 2)).T).flags.c_contiguous
    assert to_host(np.float32(2.0)).shape == ()


def test_a_read_only_array_is_copied() -> None:
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    as_tensor(array).add_(1)
    assert array.tolist() == [1.0, 1.0, 1.0]


@given(arrays(np.float32, array_shapes(max_dims=3), elements=st.floats(-1, 1, width=32)), st.booleans())
def test_any_layout_becomes_a_tensor(array: np.ndarray, turned: bool) -> None:
    view = array.T if turned else array[::-1]
    assert as_tensor(view).numpy().tolist() == view.tolist()
    shifted = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(np.float32)  # not aligned, read-only
    assert as_tensor(shifted).numpy().tolist() == array.ravel().tolist()


def test_tensors_pass() -> None:
    tensor = torch.ones(2)
    assert as_tensor(tensor) is tensor
    assert as_tensor(tensor, "meta").device.type == "meta"
    assert as_tensor(np.ones(2), "meta").device.type == "meta"


def test_namespaces() -> None:
    assert namespace(np.ones(1)) is np
    assert namespace(torch.ones(1)) is torch
    assert is_tensor(torch.nn.Parameter(torch.ones(1)))
    assert not is_tensor(np.ones(1))
