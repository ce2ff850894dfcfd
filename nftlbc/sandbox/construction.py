"""Carrying out a topology: settings, links, addresses, servers, in that order."""

import errno

from nftlbc.sandbox.channel import Channel
from nftlbc.sandbox.command import Command, RunCommand
from nftlbc.sandbox.errors import SandboxError, SandboxNotAllowed
from nftlbc.sandbox.keeper import Settings
from nftlbc.sandbox.outages import OWN_SCTP_ONLY
from nftlbc.sandbox.processes import Processes
from nftlbc.sandbox.refusal import explain_refusal
from nftlbc.sandbox.request import HOSTS, Host
from nftlbc.sandbox.servers import ServeBackends
from nftlbc.sandbox.topology import Topology

# Seconds, for each step; 100 000 routes take about two.
_PATIENCE = 120.0


def build(
    processes: Processes,
    topology: Topology,
    *,
    ip: tuple[str, ...],
    nft: tuple[str, ...],
    unlimited_icmp: bool,
) -> None:
    """Make three empty namespaces the network of the topology, its servers listening.

    Raises SandboxError, and SandboxNotAllowed where the namespaces turn out to give no
    rights (Ubuntu's AppArmor) or /proc/sys is read-only (containers).
    """
    layout = topology.layout
    # Before there are links: what they inherit is among the settings.
    settings = {
        host: processes.job(
            host, Settings(tuple(topology.settings(host, unlimited_icmp=unlimited_icmp).items()))
        )
        for host in HOSTS
    }
    for channel in settings.values():
        _set(channel)
    batch = (*ip, "-batch", "-")
    links = topology.links(processes.pids["clients"], processes.pids["servers"])
    _succeed(_start(processes, "balancer", batch, links))
    addresses = [_start(processes, host, batch, topology.addresses(host)) for host in HOSTS]
    for command in addresses:
        _succeed(command)
    if layout.sctp_ports:
        _succeed(_start(processes, "servers", (*nft, "-f", "-"), OWN_SCTP_ONLY))
    servers = processes.job(
        "servers",
        ServeBackends(layout.families, layout.tcp_ports, layout.udp_ports, layout.sctp_ports),
    )
    servers.expect(str, _PATIENCE)


def _start(processes: Processes, host: Host, argv: tuple[str, ...], script: str) -> Command:
    return Command(argv, processes.job(host, RunCommand(argv, script.encode())))


def _set(channel: Channel) -> None:
    number, path = channel.expect(tuple, _PATIENCE)
    channel.close()
    if number == errno.ENOENT:
        raise SandboxError(f"this kernel has no /proc/sys/{path}")
    if number:
        raise SandboxNotAllowed(explain_refusal(number))


def _succeed(command: Command) -> None:
    done = command.wait(_PATIENCE)
    if done.returncode == 0:
        return
    if "Operation not permitted" in done.stderr:
        raise SandboxNotAllowed(explain_refusal(errno.EPERM))
    raise SandboxError(f"{' '.join(command.argv)}: {done.stderr.strip()[-500:]}")
