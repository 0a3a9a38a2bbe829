"""Notifications of failures, promotions and drift, to the Apprise addresses under ``notify`` in params.yaml.

Sending never fails a flow: an undelivered message is a warning, with a timeout of ``PATIENCE``. Addresses contain tokens;
neither they nor Apprise's log lines are ever shown, only key and kind of an address.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.core.config.params import Params
from components.core.config.strict import SettingsError
from components.core.errors import redacted
from flows.project import Project
from flows.settings import notifications

PATIENCE = 10.0  # seconds for all addresses together
LONGEST = 4000  # characters of a text: about the limit of chat services
VARIABLE = re.compile(r"\$\{(\w*)\}")
APPRISE = "apprise"  # its logger


@dataclass(frozen=True)
class Address:
    """An address. ``key``: its place in params.yaml; ``url``: contains its secrets."""

    key: str
    url: str

    def __str__(self) -> str:
        return f"{self.key} ({self.url.partition('://')[0] if '://' in self.url else 'no address'}://...)"

    __repr__ = __str__  # the generated one would show the secrets in a traceback


def failure_addresses(params: Params) -> list[Address]:
    """Return the addresses of ``notify.on_failure``; SettingsError names a variable that the environment lacks."""
    return addresses(notifications(params).on_failure, "notify.on_failure", os.environ)


def promotion_addresses(params: Params) -> list[Address]:
    """Return the addresses of ``notify.on_promotion``; SettingsError names a variable that the environment lacks."""
    return addresses(notifications(params).on_promotion, "notify.on_promotion", os.environ)


def drift_addresses(params: Params) -> list[Address]:
    """Return the addresses of ``notify.on_drift``; SettingsError names a variable that the environment lacks."""
    return addresses(notifications(params).on_drift, "notify.on_drift", os.environ)


def check_addresses(params: Params) -> None:
    """Check all addresses before work starts; SettingsError names a variable that the environment lacks."""
    failure_addresses(params)
    promotion_addresses(params)
    drift_addresses(params)


def addresses(texts: Sequence[str], key: str, environment: Mapping[str, str]) -> list[Address]:
    """Replace every ``${NAME}`` in the addresses from ``environment``."""
    return [Address(f"{key}.{index}", _complete(text, f"{key}.{index}", environment)) for index, text in enumerate(texts)]


def _complete(text: str, key: str, environment: Mapping[str, str]) -> str:
    names = VARIABLE.findall(text)
    if missing := [name for name in names if not environment.get(name)]:
        raise SettingsError(f"{key}: the environment has no variable {', '.join(missing)}; the address takes it from there")
    return VARIABLE.sub(lambda match: environment[match[1]], text)


def notify_failure(project: Project, title: str, text: str) -> None:
    """Notify ``notify.on_failure``. Never raises."""
    try:
        _send_and_warn(failure_addresses(project.params), title, text)
    except Exception as error:
        _warn(error)


def notify_promotion(project: Project, title: str, text: str) -> None:
    """Notify ``notify.on_promotion``. Never raises."""
    try:
        _send_and_warn(promotion_addresses(project.params), title, text)
    except Exception as error:
        _warn(error)


def notify_return(project: Project, title: str, text: str) -> None:
    """Notify ``on_promotion`` and ``on_failure``, each address once, of a champion that was taken back. Never raises."""
    try:
        receivers = [*promotion_addresses(project.params), *failure_addresses(project.params)]
        _send_and_warn(list({address.url: address for address in receivers}.values()), title, text)
    except Exception as error:
        _warn(error)


def notify_drift(project: Project, title: str, text: str) -> None:
    """Notify ``notify.on_drift``. Never raises."""
    try:
        _send_and_warn(drift_addresses(project.params), title, text)
    except Exception as error:
        _warn(error)


def _warn(error: Exception) -> None:
    # Other errors may contain an address.
    reason = str(error) if isinstance(error, SettingsError) else type(error).__name__
    print(f"warning: nobody is notified: {reason}", file=sys.stderr)


def _send_and_warn(receivers: list[Address], title: str, text: str) -> None:
    for address, fault in send(receivers, title, text).items():
        if fault:
            print(f"warning: {address}: {fault}", file=sys.stderr)


def send(receivers: list[Address], title: str, text: str, patience: float = PATIENCE) -> dict[Address, str]:
    """Send the message to all addresses concurrently; return address -> error, "" if it was delivered."""
    faults = dict.fromkeys(receivers, f"not delivered within {patience:g} s")
    body = redacted(text)
    body = body if len(body) <= LONGEST else f"{body[:LONGEST]}\n..."

    def deliver(address: Address) -> None:
        faults[address] = _deliver(address, f"darkroom on {socket.gethostname()}: {title}", body)

    # Daemons: a hanging one does not keep the process alive.
    threads = [threading.Thread(target=deliver, args=(address,), daemon=True) for address in receivers]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(faults)


class _LogCapture(logging.Handler):
    """Capture Apprise's log of this thread, which contains whole addresses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread_id = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread_id:
            self.lines.append(record.getMessage())


def _deliver(address: Address, title: str, body: str) -> str:
    import apprise

    logger, capture = logging.getLogger(APPRISE), _LogCapture()
    logger.propagate = False
    logger.addHandler(capture)
    try:
        service = apprise.Apprise()
        if not service.add(address.url):
            return "this is no address that Apprise knows"
        return "" if service.notify(title=title, body=body) else f"not delivered{_reason(capture.lines)}"
    except Exception as error:  # of a plugin; its message may contain the address
        return f"not delivered ({type(error).__name__})"
    finally:
        logger.removeHandler(capture)


def _reason(lines: list[str]) -> str:
    """Extract the reason from the log lines, without secrets."""
    text = "\n".join(lines)
    if answered := re.search(r"error=(\d{3})\b", text):
        return f": the service answers {answered[1]}"
    return ": no connection" if "onnection" in text else ""
