"""Parquet columns: what is written comes back, other tools read it, and what is no trace is refused."""

import ipaddress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.errors import TraceError
from mozart.traces import parquet as mozart_parquet
from mozart.traces.packets import COLUMNS, PacketBatch, address_words, concatenate
from mozart.traces.parquet import ParquetReader, ParquetWriter, schema
from mozart.traces.reader import read
from mozart.traces.writer import PcapWriter
from pyarrow import parquet


def random_packets(packets: int, seed: int = 1) -> PacketBatch:
    """Make packets with random columns, in time order."""
    random = np.random.default_rng(seed)
    columns = {}
    for name, (dtype, words, _) in COLUMNS.items():
        shape = (packets, words) if words > 1 else packets
        limits = np.iinfo(dtype)
        columns[name] = random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    columns["time_ns"].sort()
    return PacketBatch.of(**columns)


def write(path: Path, *batches: PacketBatch) -> Path:
    with ParquetWriter(path) as writer:
        for batch in batches:
            writer.write(batch)
    assert writer.packets == sum(map(len, batches))
    return path


def read_all(*paths: Path, **options: int) -> PacketBatch:
    with ParquetReader(*paths, **options) as trace:
        found = concatenate([batch.copy() for batch in trace])
    assert trace.packets == len(found)
    return found


def assert_same(found: PacketBatch, expected: PacketBatch) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 60), st.integers(0, 100))
def test_any_columns_come_back_whatever_the_batches(tmp_path_factory, sizes, batch_packets, seed):
    batch = random_packets(sum(sizes), seed)
    ends = np.cumsum(sizes).tolist()
    parts = [batch[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    path = write(tmp_path_factory.mktemp("any") / "x.parquet", *parts)
    assert_same(read_all(path, batch_packets=batch_packets), batch)


def test_row_groups_fill_up_and_a_large_batch_is_split(tmp_path, monkeypatch):
    monkeypatch.setattr(mozart_parquet, "ROW_GROUP_PACKETS", 100)
    batch = random_packets(450)
    path = write(tmp_path / "x.parquet", batch[:30], batch[30:80], batch[80:])
    file = parquet.ParquetFile(path)
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(groups) == 450
    assert max(groups) < 200
    assert_same(read_all(path), batch)


def test_batches_are_copied_because_the_reader_reuses_them(tmp_path):
    batch = random_packets(10)
    expected = batch.copy()
    with ParquetWriter(tmp_path / "x.parquet") as writer:
        writer.write(batch)
        batch.ip_bytes[:] = 0
    assert_same(read_all(tmp_path / "x.parquet"), expected)


def test_other_tools_see_integers_and_addresses_of_16_bytes(tmp_path):
    batch = PacketBatch.of(
        time_ns=[1, 2],
        src=[address_words("192.0.2.1"), address_words("2001:db8::1")],
        dst_port=[53, 443],
    )
    table = parquet.read_table(write(tmp_path / "x.parquet", batch))
    assert table.schema.names == list(COLUMNS)
    addresses = [ipaddress.IPv6Address(value) for value in table["src"].to_pylist()]
    assert [str(address.ipv4_mapped or address) for address in addresses] == ["192.0.2.1", "2001:db8::1"]
    assert table["dst_port"].to_pylist() == [53, 443]
    assert table.schema.field("time_ns").type == pa.int64()
    assert table.schema.field("tcp_seq").metadata[b"meaning"] == b"TCP sequence number, else 0"


def test_columns_of_other_integer_types_and_more_columns_are_taken(tmp_path):
    batch = PacketBatch.of(time_ns=[1, 2], ip_bytes=[40, 1500])
    table = parquet.read_table(write(tmp_path / "x.parquet", batch))
    wide = table.set_column(table.schema.get_field_index("ip_bytes"), "ip_bytes", pa.array([40, 1500], pa.int64()))
    parquet.write_table(wide.append_column("note", pa.array(["a", "b"])), tmp_path / "y.parquet")
    assert_same(read_all(tmp_path / "y.parquet"), batch)


def test_several_files_are_one_trace(tmp_path):
    batch = random_packets(30)
    paths = [write(tmp_path / f"{i}.parquet", batch[i * 10 : i * 10 + 10]) for i in range(3)]
    assert_same(read_all(*paths), batch)
    with pytest.raises(TraceError, match=r"0\.parquet: begins before the file before it ends"):
        read_all(paths[1], paths[0])


def test_the_packet_where_time_falls_is_counted_in_its_own_file(tmp_path):
    early = write(tmp_path / "early.parquet", PacketBatch.of(time_ns=[1, 2, 3]))
    late = write(tmp_path / "late.parquet", PacketBatch.of(time_ns=[4, 6, 5]))
    with pytest.raises(TraceError, match=r"late\.parquet: time_ns falls at packet 3;"):
        read_all(early, late)


def test_a_file_is_not_held_in_memory_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(mozart_parquet, "ROW_GROUP_PACKETS", 5_000)
    path = write(tmp_path / "x.parquet", random_packets(100_000))
    before = pa.total_allocated_bytes()
    with ParquetReader(path, batch_packets=2_500) as trace:
        held = max(pa.total_allocated_bytes() - before for _ in trace)
    assert trace.packets == 100_000
    assert held < path.stat().st_size / 3


def test_nothing_is_left_out_of_columns_and_that_is_said_as_of_captures(tmp_path):
    with ParquetReader(write(tmp_path / "x.parquet", random_packets(3))) as columns:
        assert len(list(columns)) == 1
    capture = tmp_path / "x.pcap"
    with PcapWriter(capture) as writer:
        writer.write(PacketBatch.of(time_ns=[1], ip_bytes=[40], src=[address_words("192.0.2.1")]))
    with read(capture) as packets:
        list(packets)
    assert columns.skipped == dict.fromkeys(packets.skipped, 0)


def changed(path: Path, name: str, values: pa.Array) -> Path:
    table = parquet.read_table(write(path, PacketBatch.of(time_ns=[1, 2])))
    parquet.write_table(table.set_column(table.schema.get_field_index(name), name, values), path)
    return path


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("time_ns", pa.array([2, 1]), "time_ns falls at packet 2; sort"),
        ("dscp", pa.array([1, None], pa.uint8()), "column dscp has empty cells"),
        ("src_port", pa.array([1, 70_000]), "cannot be read as Parquet: Integer value 70000 not in range"),
        ("src", pa.array(["192.0.2.1", "192.0.2.2"]), "cannot be read as Parquet"),
    ],
)
def test_what_is_no_trace_is_refused(name, values, message, tmp_path):
    path = changed(tmp_path / "x.parquet", name, values)
    with pytest.raises(TraceError) as refused:
        read_all(path)
    assert str(path) in str(refused.value)
    assert message in str(refused.value)


def test_a_table_of_something_else_is_refused_with_the_columns_that_a_trace_has(tmp_path):
    parquet.write_table(pa.table({"time_ns": [1], "price": [2.0]}), tmp_path / "x.parquet")
    with pytest.raises(TraceError, match=r"has no column src, dst, .*; a trace needs time_ns, src"):
        read_all(tmp_path / "x.parquet")


def test_damaged_and_missing_files_are_named(tmp_path):
    whole = write(tmp_path / "x.parquet", random_packets(1000)).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-100])
    for name in ("cut.parquet", "missing.parquet"):
        with pytest.raises(TraceError, match=name):
            read_all(tmp_path / name)


def test_an_interrupted_writer_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), ParquetWriter(tmp_path / "x.parquet") as writer:
        writer.write(random_packets(10))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_schema_follows_the_packet_layout():
    assert schema().names == list(COLUMNS)
    assert all(not field.nullable for field in schema())
