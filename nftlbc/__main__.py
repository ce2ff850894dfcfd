"""`python -m nftlbc` does what the command `nftlbc` does."""

from nftlbc.cli import main

if __name__ == "__main__":
    main()
