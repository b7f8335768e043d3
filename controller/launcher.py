"""Start Ryu with mozart's application, on loopback: `python -m mozart.controller.launcher --run DIR --listen ...`.

Ryu 4.34 was written for an eventlet whose wsgi module has ALREADY_HANDLED; newer ones lack it, and nothing else is
missing. The launcher gives it one before anything of Ryu is imported.
"""

from __future__ import annotations

import argparse
import configparser
import ipaddress
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import LiveError, MozartError, SpecError
from ..fields import finite

APPLICATION = "mozart.controller.app"


def arguments_of(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m mozart.controller.launcher", description=__doc__.split("\n")[0])
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="folder of the run")
    parser.add_argument("--plan-request", type=Path, metavar="FILE", help="request for the first plan, for a new run")
    parser.add_argument("--listen", default="127.0.0.1:6653", metavar="ADDRESS:PORT", help="where switches connect")
    parser.add_argument("--broker", type=Path, metavar="FILE", help="access to the bus; without it there is none")
    parser.add_argument("--switch-deadline", type=finite, default=30.0, metavar="S", help="then missing ones are named")
    parser.add_argument("--app", action="append", default=[], metavar="MODULE", help="another Ryu application beside")
    return parser.parse_args(given)


def loopback(text: str) -> tuple[str, int]:
    """Read 'ADDRESS:PORT'; raises SpecError for what is not that, or does not stay on this machine."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        number = int(port)
    except ValueError:
        raise SpecError(f"--listen {text}: write it as 127.0.0.1:6653") from None
    if not address.is_loopback or not 0 < number < 65536:
        raise SpecError(f"--listen {text}: the controller listens on loopback only, on a port from 1 to 65535")
    return str(address), number


def refuse_port_in_use(host: str, port: int) -> None:
    """Raise LiveError where something listens already; Ryu would go on without listening."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise LiveError(
                f"cannot listen on {host}:{port} for switches: {error.strerror}; "
                f"see who does with: ss -ltnp 'sport = :{port}'"
            ) from None


def write_config(args: argparse.Namespace) -> Path:
    """Write the file that tells the application which run it belongs to."""
    config = configparser.ConfigParser(interpolation=None)
    config["mozart"] = {"run": str(args.run.resolve()), "switch_deadline_s": str(args.switch_deadline)}
    for name in ("plan_request", "broker"):
        if getattr(args, name):
            config["mozart"][name] = str(getattr(args, name).resolve())
    args.run.mkdir(parents=True, exist_ok=True)
    path: Path = args.run / "controller.conf"
    with path.open("w") as file:
        config.write(file)
    return path


def run(args: argparse.Namespace) -> None:
    """Run Ryu until it is told to stop."""
    host, port = loopback(args.listen)
    refuse_port_in_use(host, port)
    config = write_config(args)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the applications are closed
    import eventlet.wsgi

    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        eventlet.wsgi.ALREADY_HANDLED = object()
    from ryu.cmd import manager

    listen = ["--ofp-listen-host", host, "--ofp-tcp-listen-port", str(port)]
    manager.main([*listen, "--config-file", str(config), APPLICATION, *args.app], prog="mozart-controller")


def main(given: Sequence[str] | None = None) -> int:
    """Run the controller; errors of ours end it with a message and their exit code."""
    try:
        run(arguments_of(given))
    except MozartError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # while it was still starting; later Ryu takes it
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
