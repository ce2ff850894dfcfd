"""nftlbc compiles layer-4 load balancer farms into one nftables script."""

__version__ = "0.1.0"
