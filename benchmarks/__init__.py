"""What nftlbc's promises of speed are held against: ``python -m benchmarks``."""
