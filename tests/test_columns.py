"""Columns as bytes and back."""

import numpy as np
import pytest

from pdm.columns import pack, unpack


@pytest.mark.parametrize("dtype", ["float64", "int64", "int8", "bool"])
@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("width", [0, 1, 4])
def test_a_table_of_any_width_even_none_comes_back_as_it_went(rows: int, width: int, dtype: str) -> None:
    table = np.arange(rows * width).reshape(rows, width).astype(dtype)
    serial = np.array([f"P-{row}" for row in range(rows)], dtype=object)
    back = unpack(pack({"serial": serial, "table": table}))
    np.testing.assert_array_equal(back["table"], table)
    assert (back["table"].dtype, back["table"].shape) == (table.dtype, table.shape)
    assert back["serial"].tolist() == serial.tolist()
