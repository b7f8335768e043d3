"""Messages with columns, the spool, and the broker file: what goes in comes out, and nothing else gets in."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.bus.access import BrokerAccess, read_access, write_access
from mozart.bus.messages import HEADER, pack, unpack
from mozart.bus.spool import Spool
from mozart.errors import BusError

HEADER_FIELDS = {"device": "s3", "epoch": 4, "final": False, "gaps": [[1, 2]], "tasks": {"x": {"counters": {}}}}


def columns() -> dict[str, Any]:
    return {
        "lossy/monitor/flow": np.array([1, 2**63, 7], np.uint64),
        "lossy/selector/src": np.arange(6, dtype=np.uint64).reshape(3, 2),
        "lossy/monitor/selected": np.array([True, False, True]),
        "lossy/monitor/missed_packets_bound": np.array([1.5, np.inf, np.nan]),
        "lossy/monitor/time_ns": np.array([], np.int64),
    }


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in members.items():
            made.writestr(name.replace("_npy", ".npy"), data)
    return buffer.getvalue()


def npy(column: Any, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, column, allow_pickle=pickled)
    return buffer.getvalue()


def test_header_and_columns_come_back_and_the_same_makes_the_same_bytes() -> None:
    header, found = unpack(pack({**HEADER_FIELDS, "cpu_s": np.float64(0.5), "n": np.int64(3)}, columns()))
    assert header == {**HEADER_FIELDS, "cpu_s": 0.5, "n": 3}
    assert list(found) == list(columns())
    for name, column in columns().items():
        assert found[name].dtype == column.dtype and found[name].shape == column.shape
        np.testing.assert_array_equal(found[name], column)
    assert pack(HEADER_FIELDS, columns()) == pack(HEADER_FIELDS, columns())


def test_columns_are_an_archive_that_numpy_reads() -> None:
    with np.load(io.BytesIO(pack({}, columns())), allow_pickle=False) as read:
        np.testing.assert_array_equal(read["lossy/monitor/flow"], columns()["lossy/monitor/flow"])


def test_what_is_no_number_is_not_packed() -> None:
    with pytest.raises(ValueError, match="header"):
        pack({}, {"header": np.zeros(1)})
    with pytest.raises(ValueError):
        pack({}, {"x": np.array([{}])})
    with pytest.raises(TypeError, match="set"):
        pack({"x": set()}, {})


class Evil:
    def __reduce__(self) -> Any:
        return (os.system, ("echo owned > /dev/stderr; exit 1",))


HUGE = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<i8', 'fortran_order': False, 'shape': (10000000000000,), }".ljust(118)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"not an archive",
        pack(HEADER_FIELDS, columns())[:-40],
        archive(x_npy=npy(np.zeros(3))),
        archive(header=b"[1, 2]"),
        archive(header=b"{"),
        archive(header=b"[" * 100_000),
        archive(header=b"{}", x_npy=b"\x93NUMPY"),
        archive(header=b"{}", x_npy=npy(np.zeros(3))[:-1]),
        archive(header=b"{}", x_npy=npy(np.zeros(3)) + b"more"),
        archive(header=b"{}", x_npy=HUGE),
        archive(header=b"{}", x_npy=HUGE.replace(b"10000000000000,", b"1000,          ")),
        archive(header=b"{}", x_npy=HUGE.replace(b"10000000000000,", b"-1,            ")),
        archive(header=b"{}", x_npy=npy(np.array([Evil()], object), pickled=True)),
        archive(header=b"{}", x_npy=pickle.dumps(Evil())),
        archive(header=b"{}", x=npy(np.zeros(3))),
    ],
)
def test_malformed_messages_are_bus_errors(message: bytes) -> None:
    with pytest.raises(BusError, match="not a message with columns"):
        unpack(message)


def test_a_message_that_would_grow_beyond_bounds_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(HEADER, "{}")
        with made.open("x.npy", "w") as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
    assert len(buffer.getvalue()) < 1 << 20
    with pytest.raises(BusError, match="at most"):
        unpack(buffer.getvalue())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_messages_are_understood_or_bus_errors(data: st.DataObject) -> None:
    message = bytearray(pack(HEADER_FIELDS, columns()))
    for _ in range(data.draw(st.integers(1, 6))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        header, _ = unpack(bytes(message))
        assert isinstance(header, dict)
    except BusError:
        pass


def test_spooled_messages_wait_in_order_and_survive_their_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    numbers = [spool.put("mozart/report/s1", payload) for payload in (b"a\nb", b"", bytes(range(256)))]
    spool.done(numbers[1])
    (tmp_path / "s" / ".9.draft").write_bytes(b"half a mess")  # what a crash leaves
    spool.close()
    again = Spool(tmp_path / "s")
    assert [(topic, payload) for _, topic, payload in again] == [
        ("mozart/report/s1", b"a\nb"),
        ("mozart/report/s1", bytes(range(256))),
    ]
    assert again.put("t", b"") > numbers[-1]
    assert sorted(path.suffix for path in (tmp_path / "s").iterdir()) == [".message"] * 3


def test_a_spool_belongs_to_one_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    check = f"from mozart.bus.spool import Spool; Spool({str(tmp_path)!r})"
    second = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert "BusError" in second.stderr and "another process has this spool" in second.stderr
    spool.close()
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_a_strange_file_in_a_spool_is_a_bus_error(tmp_path: Path) -> None:
    (tmp_path / "000000000003.message").write_bytes(b"no topic")
    with pytest.raises(BusError, match="not a message"):
        Spool(tmp_path).get(3)


def test_broker_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    access = BrokerAccess("127.0.0.1", 1884, {"s1": "secret"}, str(tmp_path))
    path = tmp_path / "deep" / "broker.json"
    write_access(path, access)
    write_access(path, access)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_access(path) == access
    assert "secret" not in repr(access)
    path.chmod(0o640)
    with pytest.raises(BusError, match="chmod 600"):
        read_access(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a broker file"),
        ("[]", "not a broker file"),
        ("[" * 100_000, "not a broker file"),
        ('{"host": "127.0.0.1", "users": {}}', "not a broker file"),
        ('{"host": "127.0.0.1", "port": "x", "users": {}}', "not a broker file"),
        ('{"host": "127.0.0.1", "port": 1, "users": {"a": 3}}', "names with passwords"),
        ('{"host": "127.0.0.1", "port": 70000, "users": {}}', "between 1 and 65535"),
        ('{"host": "192.0.2.1", "port": 1883, "users": {}}', "tunnel"),
        ('{"host": "broker.example.org", "port": 1883, "users": {}}', "tunnel"),
    ],
)
def test_other_broker_files_are_bus_errors(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "broker.json"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(BusError, match=complaint):
        read_access(path)


def test_the_broker_file_of_one_device_has_no_other_password(tmp_path: Path) -> None:
    access = BrokerAccess("::1", 1884, {"s1": "a", "s2": "b"})
    assert json.loads(json.dumps(dict(access.only("s2").users))) == {"s2": "b"}
    with pytest.raises(BusError, match="no password of s3"):
        access.only("s3")
    with pytest.raises(BusError, match="cannot be read"):
        read_access(tmp_path / "missing")
