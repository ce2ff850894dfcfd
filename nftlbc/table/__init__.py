"""The middle of the house: an nftables table as typed values, built from farms."""
