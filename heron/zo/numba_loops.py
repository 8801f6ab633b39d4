"""The loops of `NumbaKernel`, compiled by numba, over 64 entries at a time.

64 entries share one word of signs. They are one vector of LLVM, which it cuts into registers of the processor at hand,
whatever their width: nothing depends on whether a loop is recognised as one that can be vectorised. No flag allows a
fused multiply-add or a root by an estimate.

Imported late, by `numba_kernel` alone. One file, because numba's cache on disk notices changes of no other.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 64
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_INTEGERS = ir.VectorType(_I32, WIDTH)
# Bit j of a half word is brought to the place of the sign.
_SHIFTS = ir.Constant(_INTEGERS, [31 - lane % 32 for lane in range(WIDTH)])
_HALVES = ir.Constant(_INTEGERS, [lane // 32 for lane in range(WIDTH)])


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes64")


_LANES = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: types.Type) -> None:
        super().__init__(manager, fe_type, _FLOATS)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, start: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [start]), _FLOATS.as_pointer())


@intrinsic
def load(typing: Any, array: Any, start: Any) -> Any:
    """`array[start : start + 64]`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=4)

    return _LANES(array, types.int64), generate


def _storing(align: int, *, streams: bool) -> Callable[..., Any]:
    def typed(typing: Any, array: Any, start: Any, lanes: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array, start, lanes = arguments
            pointer = _pointer(context, builder, signature.args[0], array, start)
            stored = builder.store(lanes, pointer, align=align)
            if streams:
                stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_I32, 1)]))
            return context.get_dummy_value()

        return types.void(array, types.int64, lanes), generate

    return typed


store = intrinsic(_storing(4, streams=False))
# Past the caches: memory that is only written need not be read first. The address is a multiple of 32 bytes.
stream = intrinsic(_storing(32, streams=True))


@intrinsic
def fence(typing: Any) -> Any:
    """Let others see what was streamed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def splat(typing: Any, number: Any) -> Any:
    """One float32 number in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0], _FLOATS)

    return _LANES(types.float32), generate


@intrinsic
def signed(typing: Any, word: Any, plus: Any, flip: Any) -> Any:
    """Bits `plus` as float32, xor `flip` in lane i if bit i of `word` is set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, plus, flip = arguments
        halves = builder.bitcast(word, ir.VectorType(_I32, 2))  # little-endian: the low half first
        bits = builder.shuffle_vector(halves, halves, _HALVES)
        flips = builder.and_(builder.shl(bits, _SHIFTS), _splat(builder, flip, _INTEGERS))
        return builder.bitcast(builder.xor(_splat(builder, plus, _INTEGERS), flips), _FLOATS)

    return _LANES(types.uint64, types.uint32, types.uint32), generate


def _binary(operation: str) -> Callable[..., Any]:
    def typed(typing: Any, first: Any, second: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, operation)(*arguments)

        return _LANES(_LANES, _LANES), generate

    return typed


add, subtract, multiply, divide = (intrinsic(_binary(name)) for name in ("fadd", "fsub", "fmul", "fdiv"))


@intrinsic
def root(typing: Any, lanes: Any) -> Any:
    """Square root, rounded correctly."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_FLOATS, [_FLOATS]), f"llvm.sqrt.v{WIDTH}f32"
        )
        return builder.call(function, arguments)

    return _LANES(_LANES), generate


def _splat(builder: Any, number: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTEGERS, [0] * WIDTH))


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compiled at the first call; kept on disk for the next process, where a place can be written."""
    try:
        compiled = njit(function, nogil=True, cache=True)
    except RuntimeError:  # numba found no such place
        compiled = njit(function, nogil=True)
    return cast("Callable[..., None]", compiled)


@njit(nogil=True)
def _word(seed: Any, n: Any) -> Any:
    """Output `n` of SplitMix64, as in `stream`."""
    z = seed + (np.uint64(n) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(nogil=True)
def _sum(terms: Any, begin: Any, end: Any, n: Any) -> Any:
    """Sum of the terms `begin` to `end - 1`, at least one, in the entries of word `n`."""
    seeds, plus, flip = terms
    total = signed(_word(seeds[begin], n), plus[begin], flip[begin])
    for p in range(begin + 1, end):
        total = add(total, signed(_word(seeds[p], n), plus[p], flip[p]))
    return total


@njit(nogil=True)
def _put(array: Any, start: Any, lanes: Any, streams: Any) -> None:
    if streams:
        stream(array, start, lanes)
    else:
        store(array, start, lanes)


# Every loop takes its arrays; (origin, first, last): words `first` to `last - 1` of arrays whose first entry belongs to
# word `origin`; whether what is only written is streamed; and the terms (seeds, plus, flip), see `signed`.


def _add_terms(arrays: Any, place: Any, streams: Any, terms: Any, copies: Any) -> None:
    out, base, copy = arrays
    origin, first, last = place
    seeds, plus, flip = terms
    for n in range(first, last):
        start = WIDTH * (n - origin)
        lanes = load(base, start)
        for p in range(seeds.size):
            lanes = add(lanes, signed(_word(seeds[p], n), plus[p], flip[p]))
        if copies:
            store(out, start, lanes)
            _put(copy, start, lanes, streams)
        else:
            _put(out, start, lanes, streams)
    fence()


def _momentum(arrays: Any, place: Any, streams: Any, terms: Any, stops: Any, scalars: Any) -> None:
    """Step t has the terms `stops[t]` to `stops[t + 1] - 1`; so has Adam's."""
    theta, work, velocity = arrays
    origin, first, last = place
    decay, rate = scalars
    decays, rates = splat(decay), splat(rate)
    for n in range(first, last):
        start = WIDTH * (n - origin)
        x, v = load(theta, start), load(velocity, start)
        for t in range(stops.size - 1):
            v = add(multiply(v, decays), _sum(terms, stops[t], stops[t + 1], n))
            x = subtract(x, multiply(v, rates))
        store(theta, start, x)
        store(velocity, start, v)
        _put(work, start, x, streams)
    fence()


def _adam(arrays: Any, place: Any, streams: Any, terms: Any, stops: Any, factors: Any) -> None:
    theta, work, first_moment, second_moment = arrays
    origin, first, last = place
    scalars, step_sizes, root_scales = factors
    beta1, rest1, beta2, rest2, epsilon = scalars
    decays1, rests1, decays2, rests2 = splat(beta1), splat(rest1), splat(beta2), splat(rest2)
    for n in range(first, last):
        start = WIDTH * (n - origin)
        x, m, v = load(theta, start), load(first_moment, start), load(second_moment, start)
        for t in range(stops.size - 1):
            g = _sum(terms, stops[t], stops[t + 1], n)
            m = add(multiply(m, decays1), multiply(g, rests1))
            v = add(multiply(v, decays2), multiply(multiply(g, g), rests2))
            denominator = add(multiply(root(v), splat(root_scales[t])), splat(epsilon))
            x = subtract(x, divide(multiply(m, splat(step_sizes[t])), denominator))
        store(theta, start, x)
        store(first_moment, start, m)
        store(second_moment, start, v)
        _put(work, start, x, streams)
    fence()


add_terms, momentum, adam = _compiled(_add_terms), _compiled(_momentum), _compiled(_adam)
