"""Texts of addresses against the standard library's."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mozart.traces.addresses import address_column, address_texts
from mozart.traces.packets import IPV4_PREFIX, address_text

GROUP = st.one_of(st.just(0), st.integers(0, 0xFFFF))
SIX = st.lists(GROUP, min_size=8, max_size=8).map(lambda gs: sum(g << 16 * (7 - i) for i, g in enumerate(gs)))
FOUR = st.integers(0, 2**32 - 1).map(lambda value: value | IPV4_PREFIX)


@settings(deadline=None)
@given(values=st.lists(st.one_of(SIX, FOUR), min_size=1, max_size=20))
@example(values=[0, 1, 1 << 127, 0xFFFF << 112, 0x20010DB8 << 96, 0x1_0000_0000_0001 << 64, IPV4_PREFIX, 0xFFFF << 48])
def test_texts_are_those_of_the_standard_library(values: list[int]) -> None:
    words = np.array([(value >> 64, value & (2**64 - 1)) for value in values], np.uint64)
    expected = [address_text(*row) for row in words.tolist()]
    assert address_texts(words).to_pylist() == expected
    column = address_column(words[::-1])
    assert column.to_pylist() == expected[::-1]
    assert len(column.dictionary) == len(set(values))


def test_no_address_is_a_column_too() -> None:
    assert address_column(np.zeros((0, 2), np.uint64)).to_pylist() == []
