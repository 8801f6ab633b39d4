"""The programs of `TritonKernel`: a row of entries for each word of signs. Imported late, by `triton_kernel` alone.

A product and a sum are never fused (`enable_fp_fusion=False` at the call); quotients and roots are rounded correctly
(`_rn`). Arguments have no annotations, because Triton evaluates them.
"""

import triton
import triton.language as tl

GOLDEN = tl.constexpr(0x9E3779B97F4A7C15)
MIX_1 = tl.constexpr(0xBF58476D1CE4E5B9)
MIX_2 = tl.constexpr(0x94D049BB133111EB)


@triton.jit
def _term(seeds, scales, p, words, columns):
    """`scale_p * direction(seed_p)`; words (ROWS, 1), columns (1, 64)."""
    seed = tl.load(seeds + p).to(tl.uint64, bitcast=True)
    z = seed + (words.to(tl.uint64) + 1) * GOLDEN
    z = (z ^ (z >> 30)) * MIX_1
    z = (z ^ (z >> 27)) * MIX_2
    z = z ^ (z >> 31)
    scale = tl.load(scales + p)
    return tl.where((z >> columns.to(tl.uint64)) & 1 == 0, scale, -scale)


@triton.jit
def _sum(seeds, scales, begin, end, words, columns):
    total = _term(seeds, scales, begin, words, columns)
    for p in range(begin + 1, end):
        total = total + _term(seeds, scales, p, words, columns)
    return total


@triton.jit
def _place(ROWS: tl.constexpr):
    words = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, 64)[None, :]
    return words, columns, words * 64 + columns


@triton.jit
def add_terms(
    out,
    base,
    copy,
    size,
    seeds,
    scales,
    num_terms,
    COPIES: tl.constexpr,
    ROWS: tl.constexpr,
):
    """See `TritonKernel.add_directions_`."""
    words, columns, entries = _place(ROWS)
    inside = entries < size
    x = tl.load(base + entries, inside)
    for p in range(num_terms):
        x = x + _term(seeds, scales, p, words, columns)
    tl.store(out + entries, x, inside)
    if COPIES:
        tl.store(copy + entries, x, inside)


@triton.jit
def momentum(
    theta,
    work,
    velocity,
    size,
    seeds,
    scales,
    stops,
    num_steps,
    decay,
    rate,
    ROWS: tl.constexpr,
):
    """See `TritonKernel.momentum_`."""
    words, columns, entries = _place(ROWS)
    inside = entries < size
    x = tl.load(theta + entries, inside)
    v = tl.load(velocity + entries, inside)
    for t in range(num_steps):
        g = _sum(seeds, scales, tl.load(stops + t), tl.load(stops + t + 1), words, columns)
        v = v * decay + g
        x = x - v * rate
    tl.store(theta + entries, x, inside)
    tl.store(work + entries, x, inside)
    tl.store(velocity + entries, v, inside)


@triton.jit
def adam(
    theta,
    work,
    first,
    second,
    size,
    seeds,
    scales,
    stops,
    num_steps,
    step_sizes,
    root_scales,
    beta1,
    rest1,
    beta2,
    rest2,
    epsilon,
    ROWS: tl.constexpr,
):
    """See `TritonKernel.adam_`."""
    words, columns, entries = _place(ROWS)
    inside = entries < size
    x = tl.load(theta + entries, inside)
    m = tl.load(first + entries, inside)
    v = tl.load(second + entries, inside)
    for t in range(num_steps):
        g = _sum(seeds, scales, tl.load(stops + t), tl.load(stops + t + 1), words, columns)
        m = m * beta1 + g * rest1
        v = v * beta2 + (g * g) * rest2
        denominator = tl.sqrt_rn(v) * tl.load(root_scales + t) + epsilon
        x = x - tl.div_rn(m * tl.load(step_sizes + t), denominator)
    tl.store(theta + entries, x, inside)
    tl.store(work + entries, x, inside)
    tl.store(first + entries, m, inside)
    tl.store(second + entries, v, inside)
