"""The command line as a user meets it: help, exit statuses, messages, pipes and Ctrl-C."""

import io
import json
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from fcntl import ioctl
from functools import partial
from pathlib import Path
from termios import FIONREAD
from typing import Any, ClassVar

import mozart
import pytest
from mozart.cli import COMMANDS, Group, build_parser, main
from mozart.errors import MozartError
from mozart.tests.needs import trace as real_trace
from mozart.traces.packets import PacketBatch, address_words, concatenate
from mozart.traces.progress import watched
from mozart.traces.reader import read
from mozart.traces.writer import PcapWriter

MOZART = [sys.executable, "-c", "import sys; from mozart.cli import main; sys.exit(main())"]
SECOND_NS = 1_000_000_000


def packets(count: int) -> PacketBatch:
    """Make UDP packets of one flow, a second apart."""
    return PacketBatch.of(
        time_ns=[(100 + i) * SECOND_NS for i in range(count)],
        src=[address_words("192.0.2.1")] * count, dst=[address_words("192.0.2.2")] * count,
        src_port=[1000] * count, dst_port=[53] * count, protocol=[17] * count,
        ip_bytes=[128] * count, payload_bytes=[100] * count,
    )  # fmt: skip


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Write a trace of ten packets."""
    with PcapWriter(tmp_path / "trace.pcap") as writer:
        writer.write(packets(10))
    return tmp_path / "trace.pcap"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def lengths_and_times(path: Path) -> tuple[int, list[float]]:
    with read(path) as trace:
        batch = concatenate([batch.copy() for batch in trace])
    return len(batch), (batch.time_ns / SECOND_NS).tolist()


def test_help_and_version_import_nothing_heavy():
    check = (
        "import sys; from mozart.cli import main\n"
        "for arguments in (['--help'], ['--version'], ['trace', '--help']):\n"
        "    try: main(arguments)\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'numba', 'rich', 'matplotlib', 'pyarrow', 'networkx'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "trace" in done.stdout
    assert f"mozart {mozart.__version__}" in done.stdout


def commands(table, words=()):
    for name, command in table.items():
        if isinstance(command, Group):
            yield from commands(command.commands, (*words, name))
        else:
            yield (*words, name)


@pytest.mark.parametrize("words", list(commands(COMMANDS)), ids=" ".join)
def test_every_command_has_help_of_its_own(words, capsys):
    with pytest.raises(SystemExit) as end:
        build_parser().parse_args([*words, "--help"])
    assert end.value.code == 0
    assert f"usage: mozart {' '.join(words)}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["trace"], ["nonsense"], ["trace", "info"], ["trace", "info", "x", "--no"]])
def test_bad_usage_ends_with_2_and_says_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: mozart" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("info missing.pcap", "missing.pcap"),
        ("info {folder}", "{folder}"),
        ("info {folder}/text.pcap", "text.pcap"),
        ("info {trace} {folder}/x.parquet", "x.parquet is Parquet and {trace} is not"),
        ("info missing.parquet", "missing.parquet: there is no such file"),
        ("convert missing.pcap {folder}/out.pcap", "missing.pcap"),
        ("convert {trace} {folder}/out.pcapng", "no format has this suffix; there are .pcap, "),
        ("convert {trace} {folder}/none/out.pcap", "there is no folder"),
        ("convert {trace} {trace}", "exists; give --force"),
        (f"info {'n' * 300}.pcap", "n.pcap: cannot open the trace: File name too long"),
        (f"convert {{trace}} {{folder}}/{'n' * 300}.pcap", "n.pcap: cannot be written: File name too long"),
        ("convert {trace} {folder}", "is a folder"),
        (
            "slice {trace} {folder}/out.pcap --start 5 --end 2",
            "the slice ends at 2 s, not after its start at 5 s",
        ),
        ("slice {trace} {folder}/out.pcap --packets 5", "--packets 5: give A:B"),
        ("slice {trace} {folder}/out.pcap --packets :5 --start 1", "--packets goes without --start"),
        ("slice {trace} {folder}/out.pcap --stretch 0", "--stretch must be a number above 0, not 0"),
        ("slice {trace} {folder}/out.pcap --stretch 1e9", "cannot be written"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_is_wrong(arguments, message, trace, tmp_path, capsys):
    (tmp_path / "text.pcap").write_text("this is no capture file at all")
    before = sorted(tmp_path.iterdir())
    places = {"trace": trace, "folder": tmp_path}
    assert run("trace", *arguments.format(**places).split()) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("mozart: ")
    assert message.format(**places) in complaint
    assert sorted(tmp_path.iterdir()) == before


def test_info_as_json_is_all_that_standard_output_gets(trace, capsys):
    assert run("trace", "info", trace, "--json") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["packets"], report["flows"], report["duration_s"], report["complete"]) == (
        10,
        1,
        9.0,
        True,
    )
    assert set(report["skipped"]) >= {"not_ip", "cut_off", "malformed", "out_of_order"}
    assert captured.err == ""


def test_info_as_tables_and_figures(trace, tmp_path, capsys):
    assert run("trace", "info", trace, "--plot", tmp_path / "figures") == 0
    captured = capsys.readouterr()
    for shown in ("10, 0.00% of them IPv6", "1.1 packets/s", "UDP", "not measured", "packets a flow"):
        assert shown in captured.out
    assert "figures/rate.pdf" in captured.err
    assert len(list((tmp_path / "figures").iterdir())) == 6


def test_info_of_a_damaged_trace_shows_what_was_read_then_the_damage(trace, capsys):
    trace.write_bytes(trace.read_bytes()[:-5])
    assert run("trace", "info", trace, "--json") == 2
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["packets"], report["complete"]) == (9, False)
    assert "byte" in captured.err


@pytest.mark.parametrize("name", ["auckland_20000125_87s.pcap.gz", "caida_nyc_20180315_0.024s.pcap.gz"])
def test_info_of_real_traces_gives_their_published_counts(name, capsys):
    published = {"auckland": (31249, 2580, 87.5, 0.24), "caida": (10000, 3149, 0.024, 0.61)}[name.split("_")[0]]
    assert run("trace", "info", real_trace(name), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["packets"], report["flows"]) == published[:2]
    assert report["duration_s"] == pytest.approx(published[2], rel=0.01)
    assert report["flow_packets"]["one_packet_share"] == pytest.approx(published[3], abs=0.005)


def test_info_stopped_by_ctrl_c_shows_what_was_read(monkeypatch, capsys):
    class Interrupted:
        skipped: ClassVar = {"not_ip": 4}
        reordered = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __iter__(self):
            yield packets(3)
            raise KeyboardInterrupt

    monkeypatch.setattr("mozart.traces.info_command.open_trace", lambda paths, buffers: Interrupted())
    assert run("trace", "info", "x", "--json") == 130
    report = json.loads(capsys.readouterr().out)
    assert (report["packets"], report["skipped"], report["complete"]) == (3, {"not_ip": 4}, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_on_a_pipe_shows_what_came_through_it(trace, number):
    with subprocess.Popen(
        [*MOZART, "trace", "info", "-", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(trace.read_bytes())
        process.stdin.flush()
        wait_until(partial(is_empty, process.stdin.fileno()), "the pipe to be empty")
        process.send_signal(number)
        report = json.load(process.stdout)
        process.wait()
    found = report["packets"], report["complete"], process.returncode
    assert found == (len(all_packets(trace)), False, 128 + number)


def is_empty(pipe: int) -> bool:
    waiting = array("i", [1])
    ioctl(pipe, FIONREAD, waiting)
    return not waiting[0]


def all_packets(path):
    with read(path) as found:
        return concatenate([batch.copy() for batch in found])


def test_slice_by_time_by_packets_and_stretched(trace, tmp_path, capsys):
    out = tmp_path / "out.pcap"
    assert run("trace", "slice", trace, out, "--start", "2", "--end", "5") == 0
    assert lengths_and_times(out) == (3, [102, 103, 104])
    assert "out.pcap: 3 packets" in capsys.readouterr().err
    assert run("trace", "slice", trace, out, "--packets", "8:", "--stretch", "0.5", "--force") == 0
    assert lengths_and_times(out) == (2, [108, 108.5])


def test_convert_there_and_back_gives_the_same_bytes(trace, tmp_path):
    columns, back = tmp_path / "x.parquet", tmp_path / "back.pcap"
    assert run("trace", "convert", trace, columns) == 0
    assert run("trace", "convert", columns, back) == 0
    assert back.read_bytes() == trace.read_bytes()
    assert run("trace", "info", columns, "--json") == 0


def test_what_is_not_measured_is_said_when_it_is_written(trace, tmp_path, capsys):
    data = trace.read_bytes()
    not_ip = data[24:40] + bytes(28)
    trace.write_bytes(data[:24] + not_ip + data[24:])
    assert run("trace", "convert", trace, tmp_path / "out.parquet") == 0
    assert "out.parquet: 10 packets; not measured: not ip 1" in capsys.readouterr().err


def test_several_inputs_become_one_trace(trace, tmp_path):
    later = tmp_path / "later.pcap"
    with PcapWriter(later) as writer:
        writer.write(packets(20)[10:])
    assert run("trace", "convert", trace, later, tmp_path / "both.pcap.gz") == 0
    assert lengths_and_times(tmp_path / "both.pcap.gz")[0] == 20


def test_a_damaged_input_is_converted_up_to_the_damage(trace, tmp_path, capsys):
    trace.write_bytes(trace.read_bytes()[:-5])
    assert run("trace", "convert", trace, tmp_path / "out.pcap") == 2
    assert lengths_and_times(tmp_path / "out.pcap")[0] == 9
    complaint = capsys.readouterr().err
    assert "out.pcap: 9 packets" in complaint
    assert "byte" in complaint


def test_standard_input_and_output_are_pipes_for_traces(trace):
    done = subprocess.run(
        [*MOZART, "trace", "slice", "-", "-", "--packets", ":4"],
        input=trace.read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout == trace.read_bytes()[: 24 + 4 * (16 + 28)]


def test_a_reader_that_leaves_early_gets_no_complaint(trace):
    with subprocess.Popen(
        [*MOZART, "trace", "info", str(trace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP")],
)
def test_ctrl_c_and_sigterm_leave_nothing_under_the_name_and_say_so(number, status, name, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    with subprocess.Popen(
        [*MOZART, "trace", "convert", "-", str(folder / "out.pcap")],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        wait_until(lambda: list(folder.iterdir()), "the temporary file to appear")
        process.send_signal(number)
        assert process.stderr is not None
        complaint = process.stderr.read()
    assert process.returncode == status
    assert "out.pcap was not written" in complaint
    assert f"stopped by {name}" in complaint
    assert list(folder.iterdir()) == []


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (MozartError("the run failed because of this"), 1, "the run failed because of this"),
        (OSError(28, "No space left on device", "out.pcap"), 1, "out.pcap: No space left on device"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_how_a_command_ends_becomes_the_exit_status(error, status, message, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr("mozart.traces.info_command.run", fail)
    assert run("trace", "info", "x") == status
    assert capsys.readouterr().err == f"mozart: {message}\n"


def test_progress_is_shown_on_a_terminal_only_and_passes_every_batch(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")  # on a dumb one nothing is drawn
    batches = [packets(2), packets(3)]
    for stream, shows in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(watched(batches, "read")) == batches
        assert ("read" in stream.getvalue()) == shows
